//! `dial`: a connection to the target of the running check. There is no address to give, so there is none to check.

use super::tls;
use crate::{
    bindings::since_v0_1_1::dial::{DialError, Host, HostConnection},
    state::{CallState, GuestState},
    trace::{Turn, words::Bytes},
};
use serde_json::json;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::client::TlsStream;
use wasmtime::component::Resource;

/// Bytes that one read returns at most.
const MAX_READ: u64 = 64 << 10;

/// A connection of the running call.
#[allow(unreachable_pub, reason = "the generated traits that name it are `pub`")]
pub enum Connection {
    /// as it was opened
    Plain(TcpStream),
    /// after `start-tls`
    Tls(Box<TlsStream<TcpStream>>),
    /// a handshake failed or was broken off
    Broken,
    /// there is none: a trace answers
    Taped,
}

type Answer<T> = wasmtime::Result<Result<T, DialError>>;

impl Host for GuestState {
    async fn connect(&mut self, timeout_ms: Option<u32>) -> Answer<Resource<Connection>> {
        let began = Instant::now();
        let turn = self
            .call
            .turn::<Result<u32, DialError>>("dial.connect", |_| json!({"timeout-ms": timeout_ms}))?;
        let (answer, number) = match turn {
            Turn::Played(Ok(number)) => (Ok(Connection::Taped), Some(number)),
            Turn::Played(Err(error)) => (Err(error), None),
            Turn::Live(pending) => {
                let answer = connect(&mut self.call, timeout_ms).await.map(Connection::Plain);
                let open = || self.call.tape.as_ref().map(crate::trace::Tape::open);
                let number = if answer.is_ok() { open() } else { None };
                let said = || answer.as_ref().map(|_| number.unwrap_or_default()).map_err(Clone::clone);
                self.call.done(&pending, began, said);
                (answer, number)
            }
        };
        self.call.note("dial.connect", began, || outcome(answer.as_ref().map(|_| "connected".to_owned())));
        match answer {
            Ok(connection) => {
                let connection = self.table.push(connection)?;
                if let (Some(tape), Some(number)) = (&self.call.tape, number) {
                    tape.bind(connection.rep(), number);
                }
                self.call.open += 1;
                Ok(Ok(connection))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}

async fn connect(call: &mut CallState, timeout_ms: Option<u32>) -> Result<TcpStream, DialError> {
    let Some(target) = call.target() else { return Err(DialError::Denied) };
    call.take_connection().ok_or(DialError::Denied)?;
    let sooner = timeout_ms.map(|ms| Duration::from_millis(ms.into())).filter(|t| *t < call.remaining());
    let connected = match sooner {
        // the end of the call is its time limit
        None => call.wait(TcpStream::connect(target)).await,
        Some(limit) => call
            .wait(tokio::time::timeout(limit, TcpStream::connect(target)))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
    };
    connected.map_err(dial_error)
}

impl HostConnection for GuestState {
    async fn read(&mut self, this: Resource<Connection>, max: u32) -> Answer<Vec<u8>> {
        let began = Instant::now();
        let Self { table, call, .. } = self;
        let connection = table.get_mut(&this)?;
        let turn = call.turn::<Result<Bytes, DialError>>(
            "dial.read",
            |sent| json!({"connection": sent.connection(this.rep()), "max": max}),
        )?;
        let pending = match turn {
            Turn::Played(answer) => return Ok(answer.map(|bytes| bytes.0)),
            Turn::Live(pending) => pending,
        };
        let answer = read(call, connection, max).await;
        call.note("dial.read", began, || outcome(answer.as_ref().map(|b| format!("{} bytes", b.len()))));
        call.done(&pending, began, || answer.clone().map(Bytes));
        Ok(answer)
    }

    async fn write(&mut self, this: Resource<Connection>, bytes: Vec<u8>) -> Answer<()> {
        let began = Instant::now();
        let Self { table, call, .. } = self;
        let connection = table.get_mut(&this)?;
        let turn = call.turn(
            "dial.write",
            |sent| json!({"connection": sent.connection(this.rep()), "bytes": sent.bytes(&bytes)}),
        )?;
        let pending = match turn {
            Turn::Played(answer) => return Ok(answer),
            Turn::Live(pending) => pending,
        };
        let answer = write(call, connection, &bytes).await;
        call.note("dial.write", began, || {
            outcome(answer.as_ref().map(|()| format!("{} bytes", bytes.len())))
        });
        call.done(&pending, began, || answer.clone());
        Ok(answer)
    }

    async fn start_tls(
        &mut self,
        this: Resource<Connection>,
        server_name: Option<String>,
        verify: bool,
    ) -> Answer<()> {
        let began = Instant::now();
        let Self { table, call, .. } = self;
        let connection = table.get_mut(&this)?;
        let turn = call.turn("dial.start-tls", |sent| {
            json!({"connection": sent.connection(this.rep()), "server-name": server_name, "verify": verify})
        })?;
        let pending = match turn {
            Turn::Played(answer) => return Ok(answer),
            Turn::Live(pending) => pending,
        };
        let answer = start_tls(call, connection, server_name, verify).await;
        call.note("dial.start-tls", began, || outcome(answer.as_ref().map(|()| format!("verify {verify}"))));
        call.done(&pending, began, || answer.clone());
        Ok(answer)
    }

    async fn drop(&mut self, this: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        self.call.open = self.call.open.saturating_sub(1);
        Ok(())
    }
}

async fn read(call: &mut CallState, connection: &mut Connection, max: u32) -> Result<Vec<u8>, DialError> {
    let room = u64::from(max).min(MAX_READ).min(call.traffic);
    if room == 0 {
        if max > 0 {
            // at least one byte was wanted
            call.take_traffic(1).ok_or(DialError::Denied)?;
        }
        return Err(DialError::Denied);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(usize::MAX));
    let read = match connection {
        Connection::Plain(stream) => call.wait(stream.read_buf(&mut bytes)).await,
        Connection::Tls(stream) => call.wait(stream.read_buf(&mut bytes)).await,
        Connection::Broken | Connection::Taped => return Err(DialError::Closed),
    };
    match read {
        Ok(count) => {
            // `with_capacity` may have rounded up
            call.traffic = call.traffic.saturating_sub(count as u64);
            Ok(bytes)
        }
        // a TLS peer that closes without saying so; the bytes are what they are
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
        Err(error) => Err(dial_error(error)),
    }
}

async fn write(call: &mut CallState, connection: &mut Connection, bytes: &[u8]) -> Result<(), DialError> {
    call.take_traffic(bytes.len() as u64).ok_or(DialError::Denied)?;
    let written = match connection {
        Connection::Plain(stream) => call.wait(stream.write_all(bytes)).await,
        Connection::Tls(stream) => {
            call.wait(async {
                stream.write_all(bytes).await?;
                stream.flush().await
            })
            .await
        }
        Connection::Broken | Connection::Taped => return Err(DialError::Closed),
    };
    written.map_err(dial_error)
}

async fn start_tls(
    call: &mut CallState,
    connection: &mut Connection,
    name: Option<String>,
    verify: bool,
) -> Result<(), DialError> {
    let Some(target) = call.target() else { return Err(DialError::Denied) };
    match std::mem::replace(connection, Connection::Broken) {
        Connection::Plain(stream) => {
            let stream = call
                .wait(tls::handshake(stream, name, target.ip(), verify))
                .await
                .map_err(|text| DialError::Tls(crate::text::one_line(&text, 256)))?;
            *connection = Connection::Tls(Box::new(stream));
            Ok(())
        }
        already @ Connection::Tls(_) => {
            *connection = already;
            Err(DialError::Tls("TLS was started before".into()))
        }
        Connection::Broken | Connection::Taped => Err(DialError::Closed),
    }
}

pub(crate) fn dial_error(error: io::Error) -> DialError {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => DialError::Refused,
        Kind::TimedOut => DialError::TimedOut,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::AddrNotAvailable | Kind::NetworkDown => {
            DialError::Unreachable
        }
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => {
            DialError::Closed
        }
        _ => DialError::Other(crate::text::one_line(&error.to_string(), 256)),
    }
}

fn outcome(answer: Result<String, &DialError>) -> String {
    answer.unwrap_or_else(|error| match error {
        DialError::Refused => "refused".to_owned(),
        DialError::TimedOut => "timed out".to_owned(),
        DialError::Unreachable => "unreachable".to_owned(),
        DialError::Closed => "closed".to_owned(),
        DialError::Denied => "denied".to_owned(),
        DialError::Tls(why) => format!("TLS: {why}"),
        DialError::Other(why) => why.clone(),
    })
}
