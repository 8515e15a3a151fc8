//! Why a check came to no answer.

use muster_sdk::health_check::DialError;

/// What stood in the way. Holds no password.
#[derive(Debug, PartialEq)]
pub(crate) enum Trouble {
    /// there was no TCP connection, or it broke
    Dial(DialError),
    /// the server's own error
    Server { code: u16, message: String },
    /// it does not speak as a MySQL server does
    Protocol(&'static str),
    /// TLS is required, and the server has none
    NoTls,
    /// the password may not leave without TLS
    TlsNeeded(&'static str),
    /// the server wants a way of logging in that the check does not know
    UnknownAuth(String),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Dial(error.into())
    }
}

impl From<DialError> for Trouble {
    fn from(error: DialError) -> Self {
        Self::Dial(error)
    }
}

impl Trouble {
    /// The same with the password struck out of the server's words: after a login in full a server knows it, and
    /// may put it there.
    pub(crate) fn without(self, password: &str) -> Self {
        match self {
            Self::Server { code, message } => Self::Server { code, message: struck(message, password) },
            Self::UnknownAuth(name) => Self::UnknownAuth(struck(name, password)),
            other => other,
        }
    }

    /// Whether TLS itself failed.
    pub(crate) const fn is_tls(&self) -> bool {
        matches!(self, Self::Dial(DialError::Tls(_)))
    }
}

/// `text` with `password` struck out.
pub(crate) fn struck(text: String, password: &str) -> String {
    if password.is_empty() { text } else { text.replace(password, "***") }
}
