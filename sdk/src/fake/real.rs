//! Real sockets of this machine behind the same traits: a plugin's logic against a real server, without wasm.

use crate::net::{Connection, DialError, FetchError, Net, Request, Response};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// TCP to one address. It has no TLS and no HTTP; the host has.
#[derive(Clone, Copy, Debug)]
pub struct StdNet {
    target: SocketAddr,
    timeout: Duration,
}

impl StdNet {
    /// Reaches `target`; `timeout` holds for each connect, read and write.
    pub const fn new(target: SocketAddr, timeout: Duration) -> Self {
        Self { target, timeout }
    }
}

impl Net for StdNet {
    type Connection = StdConnection;

    fn connect(&self, timeout: Option<Duration>) -> Result<StdConnection, DialError> {
        let stream = TcpStream::connect_timeout(&self.target, timeout.unwrap_or(self.timeout))?;
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(StdConnection(stream))
    }

    fn fetch(&self, _request: &Request) -> Result<Response, FetchError> {
        Err(FetchError::Denied)
    }

    fn remaining(&self) -> Duration {
        self.timeout
    }
}

/// A socket.
#[derive(Debug)]
pub struct StdConnection(TcpStream);

impl Read for StdConnection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for StdConnection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Connection for StdConnection {
    fn start_tls(&mut self, _server_name: Option<&str>, _verify: bool) -> Result<(), DialError> {
        Err(DialError::Tls("there is no TLS in native tests".to_owned()))
    }
}
