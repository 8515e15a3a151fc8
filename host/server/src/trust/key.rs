//! Ed25519 keys. A public key is written `ed25519:BASE64`, a private one is a file as `openssl genpkey -algorithm
//! ed25519` makes it (PKCS#8 in PEM, RFC 8410), readable by its owner only.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Before every public key, and every signature's key.
const SCHEME: &str = "ed25519:";
/// PKCS#8 of an Ed25519 key up to the seed. Source: RFC 8410, section 7.
const PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Bytes of the largest file that may be a key.
const MAX_FILE: u64 = 16 << 10;
/// Characters of the longest name of a key.
const MAX_NAME: usize = 64;

/// A key that signatures are checked with.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether `signature` is this key's over `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a public key is written \"ed25519:\" and 44 characters of base64, as `muster plugin keygen` prints it"
)]
pub struct KeyError;

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let bytes = STANDARD.decode(text.strip_prefix(SCHEME).ok_or(KeyError)?).map_err(|_| KeyError)?;
        bytes.try_into().map(Self).map_err(|_| KeyError)
    }
}

/// A public key that an operator trusts, with what they call it: `ed25519:BASE64 name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustKey {
    /// the key
    pub key: PublicKey,
    /// what it is called; may be empty
    pub name: String,
}

impl FromStr for TrustKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let (key, name) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let name = name.trim();
        if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(KeyError);
        }
        Ok(Self { key: key.parse()?, name: name.to_owned() })
    }
}

impl fmt::Display for TrustKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, " {}", self.name) }
    }
}

/// Why a private key cannot be read, or made.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: io::Error,
    },
    /// There is something already.
    #[error("{} is there already; a key is never written over: choose another file", path.display())]
    Exists {
        /// the file
        path: PathBuf,
    },
    /// Others than the owner can read it.
    #[error("{path} can be read by others than its owner; run: chmod 600 {path}", path = path.display())]
    Open {
        /// the file
        path: PathBuf,
    },
    /// It is no key.
    #[error(
        "{} holds no Ed25519 private key in PEM (BEGIN PRIVATE KEY); make one with `muster plugin keygen`",
        path.display()
    )]
    NoKey {
        /// the file
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandom,
}

/// A key that signs. Shows nowhere.
pub struct SigningKey(Ed25519KeyPair);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(hidden, {})", self.public())
    }
}

impl SigningKey {
    /// Makes a key and writes it to `path`, which must not be there yet, with mode 0600.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| KeyFileError::NoRandom)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyFileError::NoRandom)?;
        let pem = STANDARD.encode([&PKCS8[..], &seed].concat());
        let text = format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n");
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
            _ => KeyFileError::Io { path: path.to_owned(), source },
        };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Self(pair))
    }

    /// Reads a key that only its owner can read.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_owned() });
        }
        let mut text = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut text).map_err(failed)?;
        let no_key = || KeyFileError::NoKey { path: path.to_owned() };
        let der = PrivatePkcs8KeyDer::from_pem_slice(&text).map_err(|_| no_key())?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.map(Self).map_err(|_| no_key())
    }

    /// The key that its signatures are checked with.
    ///
    /// # Panics
    /// Never: ring's public keys of this kind have 32 bytes.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut signature = [0; 64];
        signature.copy_from_slice(self.0.sign(message).as_ref());
        signature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_kept_for_its_owner_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.key");
        let made = SigningKey::create(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(SigningKey::load(&path).unwrap().public(), made.public());
        assert!(matches!(SigningKey::create(&path), Err(KeyFileError::Exists { .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = SigningKey::load(&path).unwrap_err().to_string();
        assert!(error.ends_with(&format!("run: chmod 600 {}", path.display())), "{error}");
        assert!(!format!("{made:?}").contains("PRIVATE"));
    }

    /// The second vector of RFC 8032, section 7.1: the key as OpenSSL would write it signs as the RFC says.
    #[test]
    fn rfc_8032_is_followed() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rfc.key");
        let pem = STANDARD.encode([&PKCS8[..], &seed].concat());
        std::fs::write(&path, format!("-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n"))
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let key = SigningKey::load(&path).unwrap();
        assert_eq!(
            key.public().0[..],
            hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        );
        let signature = key.sign(&[0x72]);
        let expected = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                        085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(signature[..], hex(expected));
        assert!(key.public().signed(&[0x72], &signature) && !key.public().signed(&[0x73], &signature));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:!!!"] {
            assert_eq!(text.parse::<TrustKey>(), Err(KeyError), "{text}");
        }
        let key: TrustKey =
            "ed25519:PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw=  the team ".parse().unwrap();
        assert_eq!(key.name, "the team");
        assert_eq!(key.to_string(), "ed25519:PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw= the team");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no.key");
        std::fs::write(&path, "hello").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(SigningKey::load(&path), Err(KeyFileError::NoKey { .. })));
    }
}
