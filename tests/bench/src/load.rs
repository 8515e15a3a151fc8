//! The load generator: HTTP/1.1 over kept connections, written by hand so that it costs little beside the server.

use crate::process::CpuTime;
use crate::stats::{Paired, Round};
use anyhow::Context;
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Bytes that one read takes at most.
const READ: usize = 64 * 1024;
/// How long one reply may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// How one side of a comparison is loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// connections, each with one request at a time
    pub(crate) connections: usize,
    /// length of a round
    pub(crate) round: Duration,
    /// pairs of rounds; one more pair before them warms both sides up and is not counted
    pub(crate) rounds: usize,
}

/// Connections to one server, and what is sent over them.
#[derive(Debug)]
pub(crate) struct Client {
    process: u32,
    requests: Arc<[Bytes]>,
    connections: Vec<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    next: usize,
    step: usize,
}

/// A whole GET, POST or PUT request without a body.
pub(crate) fn request(method: &str, path: &str) -> Bytes {
    let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
    let agent = "User-Agent: Nacos-Java-Client:v1.4.7\r\nConnection: keep-alive\r\n";
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{agent}{length}\r\n").into()
}

impl Client {
    /// Connects to a server that runs as `process`. Each connection sends other ones of `requests`.
    ///
    /// # Errors
    /// The server does not take connections.
    pub(crate) async fn connect(
        process: u32,
        address: SocketAddr,
        requests: Arc<[Bytes]>,
        count: usize,
    ) -> anyhow::Result<Self> {
        let mut connections = Vec::with_capacity(count);
        for next in 0..count {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            connections.push(Connection { stream, buffer: vec![0; READ], next, step: count });
        }
        Ok(Self { process, requests, connections })
    }

    /// Sends requests over all connections until `time` is over; whoever has begun one finishes it.
    ///
    /// # Errors
    /// A reply that is not 200, or none.
    pub(crate) async fn round(&mut self, time: Duration) -> anyhow::Result<Round> {
        let before = CpuTime::of(self.process)?;
        let began = Instant::now();
        let count = self.until(usize::MAX, began + time).await?;
        let seconds = began.elapsed().as_secs_f64();
        Ok(Round::new(count, seconds, CpuTime::of(self.process)?.since(&before)))
    }

    /// Sends every request once.
    ///
    /// # Errors
    /// As [`Client::round`].
    pub(crate) async fn each_once(&mut self) -> anyhow::Result<u64> {
        let far = Instant::now() + Duration::from_secs(600);
        self.until(self.requests.len(), far).await
    }

    async fn until(&mut self, before: usize, ends: Instant) -> anyhow::Result<u64> {
        let mut running = JoinSet::new();
        for mut connection in self.connections.drain(..) {
            let requests = self.requests.clone();
            running.spawn(async move {
                let count = connection.run(&requests, before, ends).await;
                count.map(|count| (connection, count))
            });
        }
        let mut sum = 0;
        while let Some(ended) = running.join_next().await {
            let (connection, count) = ended??;
            sum += count;
            self.connections.push(connection);
        }
        anyhow::ensure!(sum > 0, "not one request was answered in time");
        Ok(sum)
    }
}

impl Connection {
    async fn run(&mut self, requests: &[Bytes], before: usize, ends: Instant) -> anyhow::Result<u64> {
        let mut count = 0;
        while self.next < before && Instant::now() < ends {
            let request = &requests[self.next % requests.len()];
            self.next += self.step;
            self.exchange(request).await?;
            count += 1;
        }
        Ok(count)
    }

    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(request).await?;
        let reply =
            tokio::time::timeout(PATIENCE, read_reply(&mut self.stream, &mut self.buffer, None)).await;
        reply.context("no reply in time")?
    }
}

/// One request over a connection of its own; the body of its reply.
///
/// # Errors
/// A reply that is not 200, or none.
pub(crate) async fn fetch(address: SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    let (mut buffer, mut body) = (vec![0; READ], Vec::new());
    let reply = read_reply(&mut stream, &mut buffer, Some(&mut body));
    tokio::time::timeout(PATIENCE, reply).await.context("no reply in time")??;
    Ok(body)
}

/// Reads one reply to its end. The body is thrown away unless somebody wants it.
async fn read_reply(
    stream: &mut TcpStream,
    buffer: &mut [u8],
    body: Option<&mut Vec<u8>>,
) -> anyhow::Result<()> {
    let mut filled = 0;
    let head = loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        anyhow::ensure!(read > 0, "the connection was closed, or the head of the reply is too long");
        filled += read;
        if let Some(end) = head_end(&buffer[..filled]) {
            break end;
        }
    };
    let text = std::str::from_utf8(&buffer[..head])?;
    anyhow::ensure!(text.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..filled]));
    let mut left = content_length(text)?.checked_sub(filled - head).context("more than one reply")?;
    let mut sink = Vec::new();
    let keep = body.is_some();
    let body = body.unwrap_or(&mut sink);
    if keep {
        body.extend_from_slice(&buffer[head..filled]);
    }
    while left > 0 {
        let most = left.min(buffer.len());
        let read = stream.read(&mut buffer[..most]).await?;
        anyhow::ensure!(read > 0, "the connection was closed in the middle of a body");
        left -= read;
        if keep {
            body.extend_from_slice(&buffer[..read]);
        }
    }
    Ok(())
}

fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn content_length(head: &str) -> anyhow::Result<usize> {
    let named = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = named.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, value) = lengths.next().context("a reply without content-length")?;
    Ok(value.trim().parse()?)
}

/// Rounds against both servers in turn, the baseline first.
///
/// # Errors
/// As [`Client::round`].
pub(crate) fn paired(
    runtime: &Runtime,
    shape: Shape,
    baseline: &mut Client,
    muster: &mut Client,
) -> anyhow::Result<Paired> {
    let baseline = |time| runtime.block_on(baseline.round(time));
    paired_by(shape, baseline, |time| runtime.block_on(muster.round(time)))
}

/// Rounds of two sides in turn, the baseline first.
///
/// # Errors
/// Those of a round.
pub(crate) fn paired_by(
    shape: Shape,
    mut baseline: impl FnMut(Duration) -> anyhow::Result<Round>,
    mut muster: impl FnMut(Duration) -> anyhow::Result<Round>,
) -> anyhow::Result<Paired> {
    let mut paired = Paired::default();
    for round in 0..=shape.rounds {
        let one = baseline(shape.round)?;
        let other = muster(shape.round)?;
        if round > 0 {
            paired.push(one, other);
        }
    }
    Ok(paired)
}

/// The runtime of the load generator: one thread for every core, like the servers.
///
/// # Errors
/// The system has no threads left.
pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("load").build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_to_their_end() {
        assert_eq!(head_end(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"), Some(25));
        assert_eq!(head_end(b"HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(content_length("HTTP/1.1 200 OK\r\ncontent-LENGTH: 12\r\n").unwrap(), 12);
        assert!(content_length("HTTP/1.1 200 OK\r\n").is_err());
    }

    #[test]
    fn a_reply_that_comes_in_pieces_is_one_reply() {
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
        let runtime = runtime().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let server = async {
                let (mut stream, _) = listener.accept().await.unwrap();
                // closed with the request unread, the connection would be reset under the client
                stream.read_exact(&mut [0; REQUEST.len()]).await.unwrap();
                for piece in ["HTTP/1.1 200 OK\r\nContent-", "Length: 6\r\n\r\nabc", "def"] {
                    stream.write_all(piece.as_bytes()).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let (body, ()) = tokio::join!(fetch(address, REQUEST), server);
            assert_eq!(body.unwrap(), b"abcdef");
        });
    }
}
