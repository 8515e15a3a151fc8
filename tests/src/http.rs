//! A minimal HTTP/1.1 client: what a test writes is what goes over the wire.

use crate::wait::Clock;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a request may take, connect to last byte.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Percent-encodes one query or form value.
pub fn encode(value: &str) -> String {
    utf8_percent_encode(value, PLAIN).to_string()
}

/// One request, sent exactly as written.
#[derive(Clone, Debug)]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request line: method and target (path with query).
    pub fn new(method: &str, target: impl Into<String>) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the user agent, by which Nacos tells client kinds apart.
    #[must_use]
    pub fn agent(self, value: &str) -> Self {
        self.header("User-Agent", value)
    }

    /// A form body, already encoded.
    #[must_use]
    pub fn form(mut self, body: impl Into<String>) -> Self {
        self.body = body.into().into_bytes();
        self.header("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8")
    }

    /// A JSON body.
    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.header("Content-Type", "application/json")
    }

    /// A component as body.
    #[must_use]
    pub fn wasm(mut self, component: Vec<u8>) -> Self {
        self.body = component;
        self.header("Content-Type", "application/wasm")
    }

    fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// One response.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status
    pub status: u16,
    /// header names in lower case
    pub headers: Vec<(String, String)>,
    /// body as text
    pub body: String,
}

impl Reply {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Status and body are exactly these.
    #[track_caller]
    pub fn is(&self, status: u16, body: &str) -> &Self {
        assert_eq!((self.status, self.body.as_str()), (status, body));
        self
    }

    /// The v1 success answer: 200 and the two letters, byte for byte.
    #[track_caller]
    pub fn ok(&self) -> &Self {
        self.is(200, "ok")
    }

    /// The status is this and the text occurs in the body.
    #[track_caller]
    pub fn has(&self, status: u16, text: &str) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.contains(text), "no {text:?} in {:?}", self.body);
        self
    }

    /// The body of a 200 as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.value()
    }

    /// The body as JSON, whatever the status.
    #[track_caller]
    pub fn value(&self) -> Value {
        let parsed = serde_json::from_str(&self.body);
        assert!(parsed.is_ok(), "not JSON: {:?}", self.body);
        parsed.unwrap_or_default()
    }

    /// The `data` of a v2/v3 success envelope.
    #[track_caller]
    pub fn data(&self) -> Value {
        let json = self.json();
        assert_eq!((&json["code"], &json["message"]), (&0.into(), &"success".into()), "{json}");
        json["data"].clone()
    }

    /// A v2/v3 failure: status, code, the code's fixed message; gives `data`.
    #[track_caller]
    pub fn failure(&self, status: u16, code: u32, message: &str) -> Value {
        let json = self.value();
        assert_eq!((self.status, &json["code"]), (status, &code.into()), "{json}");
        assert_eq!(json["message"], message, "{json}");
        json["data"].clone()
    }

    fn parse(bytes: &[u8]) -> io::Result<Self> {
        let split = find(bytes, b"\r\n\r\n").ok_or_else(|| broken("response without a head"))?;
        let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|s| s.parse().ok());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let chunked = headers.iter().any(|(n, v)| n == "transfer-encoding" && v == "chunked");
        let length = headers.iter().find(|(n, _)| n == "content-length").and_then(|(_, v)| v.parse().ok());
        let body = &bytes[split + 4..];
        let body = if chunked { unchunk(body)? } else { whole(body, length)? };
        Ok(Self {
            status: status.ok_or_else(|| broken("response without a status"))?,
            headers,
            body: String::from_utf8(body).map_err(|_| broken("body is not UTF-8"))?,
        })
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn broken(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// A body cut short is an error: it must not pass for a shorter answer.
fn whole(body: &[u8], length: Option<usize>) -> io::Result<Vec<u8>> {
    match length {
        Some(length) if body.len() < length => Err(broken("body cut short")),
        Some(length) => Ok(body[..length].to_vec()),
        None => Ok(body.to_vec()),
    }
}

fn unchunk(mut rest: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n").ok_or_else(|| broken("chunk without size"))?;
        let size = String::from_utf8_lossy(&rest[..end]);
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| broken("bad chunk size"))?;
        let data = rest.get(end + 2..end + 2 + size).ok_or_else(|| broken("chunk cut short"))?;
        if size == 0 {
            return Ok(body);
        }
        body.extend_from_slice(data);
        rest = rest.get(end + 4 + size..).ok_or_else(|| broken("chunk cut short"))?;
    }
}

/// Sends requests to one node, each over a connection of its own.
#[derive(Clone, Copy, Debug)]
pub struct Http {
    /// where to
    pub addr: SocketAddr,
}

impl Http {
    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// When the node cannot be reached, or the answer is missing, late or cut short.
    pub fn try_send(&self, request: &Request) -> io::Result<Reply> {
        let clock = Clock::start();
        let mut stream = TcpStream::connect_timeout(&self.addr, REQUEST_DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(REQUEST_DEADLINE))?;
        stream.write_all(&request.bytes(self.addr))?;
        let mut bytes = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            let left = REQUEST_DEADLINE.checked_sub(clock.elapsed()).ok_or(io::ErrorKind::TimedOut)?;
            stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match stream.read(&mut buffer)? {
                0 => return Reply::parse(&bytes),
                n => bytes.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// Sends one request.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn send(&self, request: &Request) -> Reply {
        let reply = self.try_send(request);
        assert!(reply.is_ok(), "{request:?}: {reply:?}");
        reply.expect("just checked")
    }

    /// `GET`, without a user agent.
    #[track_caller]
    pub fn get(&self, target: impl Into<String>) -> Reply {
        self.send(&Request::new("GET", target))
    }

    /// `POST`, everything in the query.
    #[track_caller]
    pub fn post(&self, target: impl Into<String>) -> Reply {
        self.send(&Request::new("POST", target))
    }

    /// `PUT`, everything in the query.
    #[track_caller]
    pub fn put(&self, target: impl Into<String>) -> Reply {
        self.send(&Request::new("PUT", target))
    }

    /// `PATCH`, everything in the query.
    #[track_caller]
    pub fn patch(&self, target: impl Into<String>) -> Reply {
        self.send(&Request::new("PATCH", target))
    }

    /// `DELETE`, everything in the query.
    #[track_caller]
    pub fn delete(&self, target: impl Into<String>) -> Reply {
        self.send(&Request::new("DELETE", target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_cut_short_is_an_error_and_a_whole_one_is_read() {
        assert!(Reply::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok").is_err());
        let whole = Reply::parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        whole.ok();
        let chunked = b"HTTP/1.1 404 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n";
        Reply::parse(chunked).unwrap().is(404, "no");
        assert!(Reply::parse(&chunked[..chunked.len() - 9]).is_err());
    }

    #[test]
    fn encoding_keeps_only_what_needs_no_encoding() {
        assert_eq!(encode("a@@b {\"k\":1}"), "a%40%40b%20%7B%22k%22%3A1%7D");
    }
}
