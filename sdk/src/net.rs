//! Connections to the target, and HTTP exchanges.

use crate::bindings::about::muster::plugin::host;
use crate::bindings::checker::exports::muster::plugin::checker::Verdict;
use crate::bindings::checker::muster::plugin::{dial, fetch};
use std::io::{self, Read, Write};
use std::time::Duration;

pub use dial::DialError;
pub use fetch::{FetchError, Request, Response};

/// The most bytes that the host gives for one read.
const READ_MAX: usize = 64 << 10;

/// What a health check can reach: its target, and what its manifest asks for and the operator of the node grants.
pub trait Net {
    /// What [`connect`](Self::connect) gives.
    type Connection: Connection;

    /// Connects to the target; no timeout means the rest of the call's time.
    ///
    /// # Errors
    /// As the host saw it.
    fn connect(&self, timeout: Option<Duration>) -> Result<Self::Connection, DialError>;

    /// One HTTP exchange with the target; redirects are not followed.
    ///
    /// # Errors
    /// There was no response.
    fn fetch(&self, request: &Request) -> Result<Response, FetchError>;

    /// One HTTP exchange with the URL in the setting `endpoint`; an empty path of the request means that of the URL. The
    /// manifest has to name the setting in `fetch` and the place in `hosts`, and the operator has to grant the place.
    ///
    /// # Errors
    /// There was no response; [`FetchError::Denied`] when something of that is missing.
    fn fetch_from(&self, endpoint: &str, request: &Request) -> Result<Response, FetchError> {
        let _ = (endpoint, request); // where nothing is granted
        Err(FetchError::Denied)
    }

    /// The time until the host ends this call.
    fn remaining(&self) -> Duration;
}

/// A byte stream to the target. It closes when it is dropped.
pub trait Connection: Read + Write {
    /// Goes on with TLS from here; the host holds the trust store. `verify` false accepts any certificate.
    ///
    /// # Errors
    /// [`DialError::Tls`] when the handshake failed.
    fn start_tls(&mut self, server_name: Option<&str>, verify: bool) -> Result<(), DialError>;
}

/// The network as the host gives it.
#[derive(Clone, Copy, Debug)]
pub struct HostNet;

impl Net for HostNet {
    type Connection = HostConnection;

    fn connect(&self, timeout: Option<Duration>) -> Result<HostConnection, DialError> {
        dial::connect(timeout.map(millis)).map(HostConnection)
    }

    fn fetch(&self, request: &Request) -> Result<Response, FetchError> {
        fetch::send(None, request)
    }

    fn fetch_from(&self, endpoint: &str, request: &Request) -> Result<Response, FetchError> {
        fetch::send(Some(endpoint), request)
    }

    fn remaining(&self) -> Duration {
        remaining()
    }
}

/// A connection that the host holds.
#[derive(Debug)]
pub struct HostConnection(dial::Connection);

impl Read for HostConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let max = buffer.len().min(READ_MAX);
        let bytes = self.0.read(u32::try_from(max).unwrap_or(u32::MAX))?;
        let length = bytes.len().min(max);
        buffer[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }
}

impl Write for HostConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Connection for HostConnection {
    fn start_tls(&mut self, server_name: Option<&str>, verify: bool) -> Result<(), DialError> {
        self.0.start_tls(server_name, verify)
    }
}

impl Request {
    /// A GET without headers or body, with the rest of the call's time.
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET".to_owned(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same, given up after `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout_ms = Some(millis(timeout));
        self
    }
}

impl Response {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

impl DialError {
    /// The reason in words, for a verdict's message.
    pub fn reason(&self) -> String {
        match self {
            Self::Refused => "connection refused".to_owned(),
            Self::TimedOut => "no answer in time".to_owned(),
            Self::Unreachable => "no route to the instance".to_owned(),
            Self::Closed => "the connection was closed".to_owned(),
            Self::Denied => "not allowed by the node".to_owned(),
            Self::Tls(reason) => format!("TLS: {reason}"),
            Self::Other(reason) => reason.clone(),
        }
    }
}

impl DialError {
    /// The verdict that this error is: a refused connection is unhealthy at once, what the node does not allow says
    /// nothing of the target, all else counts. The code is `plugin` and a word, such as `redis.refused`.
    pub fn verdict(&self, plugin: &str) -> Verdict {
        let reason = self.reason();
        let code = |word: &str| format!("{plugin}.{word}");
        match self {
            Self::Refused => Verdict::failed_now(&code("refused"), reason),
            Self::TimedOut => Verdict::failed(&code("timed-out"), reason),
            Self::Unreachable => Verdict::failed(&code("unreachable"), reason),
            Self::Closed => Verdict::failed(&code("closed"), reason),
            Self::Denied => Verdict::inconclusive(&code("denied"), reason),
            Self::Tls(_) => Verdict::failed(&code("tls"), reason),
            Self::Other(_) => Verdict::failed(&code("failed"), reason),
        }
    }
}

impl FetchError {
    /// The verdict that this error is, as [`DialError::verdict`] has it.
    pub fn verdict(&self, plugin: &str) -> Verdict {
        let reason = self.reason();
        let code = |word: &str| format!("{plugin}.{word}");
        match self {
            Self::Refused => Verdict::failed_now(&code("refused"), reason),
            Self::TimedOut => Verdict::failed(&code("timed-out"), reason),
            Self::Unreachable => Verdict::failed(&code("unreachable"), reason),
            Self::Denied => Verdict::inconclusive(&code("denied"), reason),
            Self::BadResponse(_) => Verdict::failed(&code("bad-response"), reason),
            Self::Tls(_) => Verdict::failed(&code("tls"), reason),
            Self::Other(_) => Verdict::failed(&code("failed"), reason),
        }
    }

    /// The reason in words, for a verdict's message.
    pub fn reason(&self) -> String {
        match self {
            Self::Refused => "connection refused".to_owned(),
            Self::TimedOut => "no answer in time".to_owned(),
            Self::Unreachable => "no route to the server".to_owned(),
            Self::Denied => "not allowed by the node".to_owned(),
            Self::BadResponse(reason) => format!("not a good response: {reason}"),
            Self::Tls(reason) => format!("TLS: {reason}"),
            Self::Other(reason) => reason.clone(),
        }
    }
}

impl From<DialError> for io::Error {
    fn from(error: DialError) -> Self {
        let kind = match &error {
            DialError::Refused => io::ErrorKind::ConnectionRefused,
            DialError::TimedOut => io::ErrorKind::TimedOut,
            DialError::Unreachable => io::ErrorKind::HostUnreachable,
            DialError::Closed => io::ErrorKind::ConnectionReset,
            DialError::Denied => io::ErrorKind::PermissionDenied,
            DialError::Tls(_) | DialError::Other(_) => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// The way back, for code that reads and writes through `std::io` and has to tell the reasons apart.
impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(other) => match kind {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Self::Closed,
                io::ErrorKind::ConnectionRefused => Self::Refused,
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::TimedOut,
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable,
                io::ErrorKind::PermissionDenied => Self::Denied,
                _ => Self::Other(other.to_string()),
            },
        }
    }
}

/// The time until the host ends this call.
pub(crate) fn remaining() -> Duration {
    Duration::from_millis(u64::from(host::remaining_ms()))
}

/// Whole milliseconds, at least one: a timeout of nothing is never meant.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_through_std_io() {
        for error in [DialError::Refused, DialError::TimedOut, DialError::Tls("no".to_owned())] {
            assert_eq!(DialError::from(io::Error::from(error.clone())), error);
        }
        let end = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(DialError::from(end), DialError::Closed);
    }

    #[test]
    fn only_what_the_target_did_counts_against_it() {
        use crate::health_check::Outcome;
        let outcomes = [DialError::Refused, DialError::TimedOut, DialError::Denied, DialError::Closed]
            .map(|error| error.verdict("x").outcome);
        assert_eq!(outcomes, [Outcome::FailedNow, Outcome::Failed, Outcome::Inconclusive, Outcome::Failed]);
        assert_eq!(FetchError::Denied.verdict("x").code, "x.denied");
    }

    #[test]
    fn a_timeout_is_never_nothing() {
        assert_eq!(millis(Duration::ZERO), 1);
        assert_eq!(millis(Duration::from_secs(1)), 1000);
    }
}
