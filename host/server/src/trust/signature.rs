//! `NAME.sig`, beside the component: a line with the version, then one line for each signature, its key and itself.

use super::key::{PublicKey, SigningKey};
use super::statement::Statement;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// The first line.
const VERSION: &str = "muster plugin signature v1";
/// Signatures of one file: a key and the one that takes its place, an author and a reviewer.
pub const MAX_SIGNATURES: usize = 16;
/// Bytes of the largest file.
pub(super) const MAX_FILE: usize = 4 << 10;

/// Who signed, and their signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature {
    /// who
    pub key: PublicKey,
    bytes: [u8; 64],
}

impl Signature {
    /// Whether it is of this statement.
    pub fn is_of(&self, statement: &Statement) -> bool {
        self.key.signed(statement.bytes(), &self.bytes)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", self.key)
    }
}

/// Why a file holds no signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not such a file, or of a later release.
    #[error("its first line is not \"{VERSION}\"")]
    Version,
    /// A line that is no signature.
    #[error("line {0} is not a key and a signature, `ed25519:… …`")]
    Line(usize),
    /// Nobody signed.
    #[error("it holds no signature")]
    Empty,
    /// More than anybody needs.
    #[error("it holds more than {MAX_SIGNATURES} signatures")]
    TooMany,
    /// The same key twice.
    #[error("line {0}: this key has signed already")]
    Twice(usize),
}

/// All signatures of a file; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures(Vec<Signature>);

impl Signatures {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn parse(text: &[u8]) -> Result<Self, SignatureError> {
        let text = std::str::from_utf8(text).map_err(|_| SignatureError::Version)?;
        let mut lines = text.lines().enumerate();
        if lines.next().is_none_or(|(_, first)| first != VERSION) {
            return Err(SignatureError::Version);
        }
        let mut all: Vec<Signature> = Vec::new();
        for (at, line) in lines {
            let signature = parse_line(line).ok_or(SignatureError::Line(at + 1))?;
            if all.iter().any(|other| other.key == signature.key) {
                return Err(SignatureError::Twice(at + 1));
            }
            if all.len() == MAX_SIGNATURES {
                return Err(SignatureError::TooMany);
            }
            all.push(signature);
        }
        if all.is_empty() { Err(SignatureError::Empty) } else { Ok(Self(all)) }
    }

    /// The signature of `key` over `statement`, with those of `others` that are of the same statement.
    pub fn sign(key: &SigningKey, statement: &Statement, others: Option<Self>) -> Self {
        let own = Signature { key: key.public(), bytes: key.sign(statement.bytes()) };
        let others = others.map_or_else(Vec::new, |others| others.0);
        let stay = others.into_iter().filter(|one| one.key != own.key && one.is_of(statement));
        Self(stay.take(MAX_SIGNATURES - 1).chain([own.clone()]).collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Signature> {
        self.0.iter()
    }
}

impl fmt::Display for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION}")?;
        self.0.iter().try_for_each(|one| writeln!(f, "{} {}", one.key, STANDARD.encode(one.bytes)))
    }
}

fn parse_line(line: &str) -> Option<Signature> {
    let (key, signature) = line.split_once(' ')?;
    let bytes = STANDARD.decode(signature).ok()?.try_into().ok()?;
    Some(Signature { key: key.parse().ok()?, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SigningKey {
        let folder = tempfile::tempdir().unwrap();
        SigningKey::create(&folder.path().join(name)).unwrap()
    }

    #[test]
    fn what_is_written_reads_back_and_is_of_these_bytes_only() {
        let (one, two) = (key("one"), key("two"));
        let statement = Statement::of(b"wasm", b"manifest");
        let first = Signatures::sign(&one, &statement, None);
        let both = Signatures::sign(&two, &statement, Some(first));
        let read = Signatures::parse(both.to_string().as_bytes()).unwrap();
        assert_eq!(read, both);
        assert_eq!(read.iter().map(|one| one.key).collect::<Vec<_>>(), [one.public(), two.public()]);
        assert!(read.iter().all(|one| one.is_of(&statement)));
        for other in [Statement::of(b"wasn", b"manifest"), Statement::of(b"wasm", b"manifest ")] {
            assert!(!read.iter().any(|one| one.is_of(&other)));
            let again = Signatures::sign(&one, &other, Some(read.clone()));
            assert_eq!(again.iter().count(), 1, "what is of other bytes does not stay");
        }
    }

    #[test]
    fn what_holds_no_signatures_is_refused() {
        let statement = Statement::of(b"", b"");
        let good = Signatures::sign(&key("one"), &statement, None).to_string();
        let line = good.lines().nth(1).unwrap();
        let refused = |text: &str| Signatures::parse(text.as_bytes()).unwrap_err();
        assert_eq!(refused(""), SignatureError::Version);
        assert_eq!(refused(&good.replace("v1", "v2")), SignatureError::Version);
        assert_eq!(refused(VERSION), SignatureError::Empty);
        assert_eq!(refused(&format!("{VERSION}\n{line}\nx")), SignatureError::Line(3));
        assert_eq!(refused(&format!("{VERSION}\n{line}\n{line}")), SignatureError::Twice(3));
        assert_eq!(refused(&good.replace("ed25519", "ed448")), SignatureError::Line(2));
        assert_eq!(Signatures::parse(&[0xff]), Err(SignatureError::Version));
    }
}
