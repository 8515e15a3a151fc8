//! Ways of logging in: what is answered to the server's challenge.

use crate::options::Options;
use crate::rsa;
use crate::trouble::Trouble;
use mysql_common::auth::plugins::caching_sha2_password::scramble_sha256;
use mysql_common::auth::plugins::mysql_native_password::scramble_native;

/// Bytes of a challenge.
pub(crate) const NONCE: usize = 20;

/// A way of logging in, as the server names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Native,
    CachingSha2,
    Sha256,
    Clear,
    Other(String),
}

impl Method {
    pub(crate) fn named(name: &[u8]) -> Self {
        match name {
            b"mysql_native_password" => Self::Native,
            b"caching_sha2_password" => Self::CachingSha2,
            b"sha256_password" => Self::Sha256,
            b"mysql_clear_password" => Self::Clear,
            other => Self::Other(crate::wire::line(other, 64)),
        }
    }

    pub(crate) fn name(&self) -> &[u8] {
        match self {
            Self::Native | Self::Other(_) => b"mysql_native_password",
            Self::CachingSha2 => b"caching_sha2_password",
            Self::Sha256 => b"sha256_password",
            Self::Clear => b"mysql_clear_password",
        }
    }
}

/// One login in progress.
pub(crate) struct Login<'a> {
    options: Options<'a>,
    encrypted: bool,
    method: Method,
    nonce: [u8; NONCE],
    /// the server was asked for its key, which is what comes next
    awaits_key: bool,
}

impl<'a> Login<'a> {
    pub(crate) const fn new(
        options: Options<'a>,
        encrypted: bool,
        method: Method,
        nonce: [u8; NONCE],
    ) -> Self {
        Self { options, encrypted, method, nonce, awaits_key: false }
    }

    pub(crate) const fn method(&self) -> &Method {
        &self.method
    }

    /// The server would rather have another way.
    pub(crate) fn switch(&mut self, method: Method, challenge: &[u8]) -> Result<Vec<u8>, Trouble> {
        if let Method::Other(name) = method {
            return Err(Trouble::UnknownAuth(name));
        }
        self.nonce = nonce(challenge).unwrap_or(self.nonce);
        self.method = method;
        self.awaits_key = false;
        self.first()
    }

    /// The first answer. For a way that the check does not know it is a guess that the server may correct.
    pub(crate) fn first(&mut self) -> Result<Vec<u8>, Trouble> {
        let password = self.options.password.as_bytes();
        if password.is_empty() && self.method != Method::Clear {
            return Ok(Vec::new());
        }
        match self.method {
            Method::Native | Method::Other(_) => {
                Ok(scramble_native(&self.nonce, password).map(Vec::from).unwrap_or_default())
            }
            Method::CachingSha2 => {
                Ok(scramble_sha256(&self.nonce, password).map(Vec::from).unwrap_or_default())
            }
            Method::Sha256 if self.encrypted => Ok(self.clear()),
            Method::Sha256 => self.ask_for_key(1),
            // Whoever asks for it gets the password itself, so it must be proven who asks.
            Method::Clear if self.encrypted && self.options.verify => Ok(self.clear()),
            Method::Clear => {
                Err(Trouble::TlsNeeded("a clear text login needs tls = required and tls-verify"))
            }
        }
    }

    /// What is answered to more data within the login; none to only wait on.
    pub(crate) fn more(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        const DONE: &[u8] = &[3];
        const IN_FULL: &[u8] = &[4];
        if std::mem::take(&mut self.awaits_key) {
            return rsa::seal(self.options.password.as_bytes(), &self.nonce, data)
                .map(Some)
                .ok_or(Trouble::Protocol("its public key cannot be used"));
        }
        match (&self.method, data) {
            (Method::CachingSha2, DONE) => Ok(None),
            (Method::CachingSha2, IN_FULL) if self.encrypted => Ok(Some(self.clear())),
            (Method::CachingSha2, IN_FULL) => self.ask_for_key(2).map(Some),
            _ => Err(Trouble::Protocol("data within the login that has no meaning")),
        }
    }

    fn ask_for_key(&mut self, request: u8) -> Result<Vec<u8>, Trouble> {
        if !self.options.key_retrieval {
            return Err(Trouble::TlsNeeded(
                "the password may not be sent without TLS or public-key-retrieval",
            ));
        }
        self.awaits_key = true;
        Ok(vec![request])
    }

    /// The password and a zero.
    fn clear(&self) -> Vec<u8> {
        [self.options.password.as_bytes(), &[0]].concat()
    }
}

/// A challenge of 20 bytes, most often with a zero after it.
pub(crate) fn nonce(challenge: &[u8]) -> Option<[u8; NONCE]> {
    challenge.get(..NONCE)?.try_into().ok()
}
