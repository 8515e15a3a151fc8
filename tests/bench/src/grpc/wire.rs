//! HTTP/2 as far as a gRPC client needs it, written by hand so that it costs little beside the server: requests are
//! bytes made once, headers of replies are not decoded, what must be answered (settings, pings) is.

use anyhow::Context;
use bytes::{Buf, Bytes, BytesMut};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes received after which the window of the connection is opened again.
const REOPEN: u32 = 1 << 30;
/// The window that every transport gets: the largest.
const WINDOW: u32 = (1 << 31) - 1;
/// What the protocol gives a connection before that.
const FIRST_WINDOW: u32 = 65_535;
/// Largest frame without asking. Source: RFC 9113, SETTINGS_MAX_FRAME_SIZE.
const FRAME: usize = 16_384;

/// Frame types and flags. Source: RFC 9113, section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The two methods. Source: Nacos `nacos_grpc_service.proto`.
pub(crate) const UNARY: &str = "/Request/request";
/// See [`UNARY`].
pub(crate) const STREAM: &str = "/BiRequestStream/requestBiStream";

/// One HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Transport {
    socket: TcpStream,
    received: BytesMut,
    out: Vec<u8>,
    next: u32,
    unreturned: u32,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Frame {
    /// a piece of a message
    Data(u32, Bytes),
    /// the end of a reply
    End(u32),
    /// the server has closed
    Closed,
}

impl Transport {
    /// Connects; settings are on their way when it answers.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let socket = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await??;
        socket.set_nodelay(true)?;
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
        settings.extend_from_slice(&WINDOW.to_be_bytes());
        frame(&mut out, SETTINGS, 0, 0, &settings);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW - FIRST_WINDOW).to_be_bytes());
        Ok(Self { socket, received: BytesMut::new(), out, next: 1, unreturned: 0 })
    }

    /// Begins a request of one framed message. `last`: there will be no other.
    pub(crate) fn open(&mut self, path: &str, message: &[u8], last: bool) -> u32 {
        let stream = self.next;
        self.next += 2;
        frame(&mut self.out, HEADERS, END_HEADERS, stream, &head(path));
        self.send(stream, message, last);
        stream
    }

    /// Adds a framed message to a request.
    pub(crate) fn send(&mut self, stream: u32, message: &[u8], last: bool) {
        let mut pieces = message.chunks(FRAME).peekable();
        while let Some(piece) = pieces.next() {
            let end = if last && pieces.peek().is_none() { END_STREAM } else { 0 };
            frame(&mut self.out, DATA, end, stream, piece);
        }
    }

    /// Writes what was added.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        if !self.out.is_empty() {
            self.socket.write_all(&self.out).await?;
            self.out.clear();
        }
        Ok(())
    }

    /// The next frame that matters. May be cancelled while it waits for the server.
    ///
    /// # Errors
    /// The connection is broken, or the server says that this client is.
    pub(crate) async fn frame(&mut self) -> anyhow::Result<Frame> {
        loop {
            while let Some((kind, flags, stream, payload)) = self.whole() {
                match kind {
                    DATA => {
                        self.unreturned += u32::try_from(payload.len())?;
                        self.reopen();
                        return Ok(Frame::Data(stream, payload));
                    }
                    HEADERS if flags & END_STREAM != 0 => return Ok(Frame::End(stream)),
                    SETTINGS if flags & ACK == 0 => frame(&mut self.out, SETTINGS, ACK, 0, &[]),
                    PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, &payload),
                    RESET => anyhow::bail!("stream {stream} was reset: {payload:?}"),
                    GOAWAY => return Ok(Frame::Closed),
                    _ => {}
                }
            }
            self.flush().await?;
            self.received.reserve(8_192);
            if self.socket.read_buf(&mut self.received).await? == 0 {
                return Ok(Frame::Closed);
            }
        }
    }

    fn whole(&mut self) -> Option<(u8, u8, u32, Bytes)> {
        let [a, b, c, kind, flags, rest @ ..] = self.received.get(..9)?.first_chunk::<9>()?;
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let (kind, flags, stream) = (*kind, *flags, u32::from_be_bytes(*rest) & 0x7fff_ffff);
        if self.received.len() < 9 + length {
            return None;
        }
        self.received.advance(9);
        Some((kind, flags, stream, self.received.split_to(length).freeze()))
    }

    fn reopen(&mut self) {
        if self.unreturned >= REOPEN {
            let by = std::mem::take(&mut self.unreturned);
            frame(&mut self.out, WINDOW_UPDATE, 0, 0, &by.to_be_bytes());
        }
    }

    /// Makes a unary call and reads its reply: how many bytes, and the first piece of it.
    ///
    /// # Errors
    /// The reply is none, or not one that holds `wanted` in its first piece.
    pub(crate) async fn call(&mut self, message: &[u8], wanted: &[u8]) -> anyhow::Result<usize> {
        let call = self.open(UNARY, message, true);
        self.flush().await?;
        let (mut length, mut start) = (0, BytesMut::new());
        loop {
            match self.frame().await? {
                Frame::Data(stream, data) if stream == call => {
                    length += data.len();
                    if start.len() < 256 {
                        start.extend_from_slice(&data[..data.len().min(256)]);
                    }
                }
                Frame::End(stream) if stream == call => break,
                Frame::Closed => anyhow::bail!("closed in the middle of a call"),
                _ => {}
            }
        }
        let found = super::payload::find(&start, wanted).is_some();
        anyhow::ensure!(found, "answered {:?}", String::from_utf8_lossy(&start));
        Ok(length)
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&[length[1], length[2], length[3], kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The headers of a request, without the table that both sides would have to keep.
/// Source: RFC 7541, appendix A (static indices) and section 6.2.2 (literals).
fn head(path: &str) -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    let mut literal = |name: &[u8], value: &str| {
        head.extend_from_slice(name);
        head.push(u8::try_from(value.len()).unwrap_or(0x7f));
        head.extend_from_slice(value.as_bytes());
    };
    literal(&[0x04], path);
    literal(&[0x01], "127.0.0.1");
    literal(&[0x0f, 0x10], "application/grpc");
    literal(b"\x00\x02te", "trailers");
    literal(&[0x0f, 0x2b], "grpc-java-netty/1.50.2");
    head
}

/// Puts the messages of a stream together again.
#[derive(Debug, Default)]
pub(crate) struct Messages(BytesMut);

impl Messages {
    /// Takes a piece; the messages that are complete now, without their five bytes.
    ///
    /// # Errors
    /// A message that is compressed.
    pub(crate) fn take(&mut self, piece: &[u8]) -> anyhow::Result<Vec<Bytes>> {
        self.0.extend_from_slice(piece);
        let mut complete = Vec::new();
        while let Some([flag, length @ ..]) = self.0.first_chunk::<5>() {
            anyhow::ensure!(*flag == 0, "a compressed message");
            let length = u32::from_be_bytes(*length) as usize;
            if self.0.len() < 5 + length {
                break;
            }
            self.0.advance(5);
            complete.push(self.0.split_to(length).freeze());
        }
        if self.0.is_empty() {
            self.0 = BytesMut::new();
        }
        Ok(complete)
    }
}

/// The kind of a message, from its first bytes.
///
/// # Errors
/// It has none.
pub(crate) fn kind(message: &[u8]) -> anyhow::Result<&str> {
    // field 2: metadata, of which field 3 is the type
    let [0x12, _, 0x1a, length, rest @ ..] = message else {
        anyhow::bail!("not a payload: {:?}", String::from_utf8_lossy(&message[..message.len().min(100)]));
    };
    Ok(std::str::from_utf8(rest.get(..usize::from(*length)).context("no type")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::payload::Payload;

    #[test]
    fn messages_are_put_together() {
        let one = Payload::new("NotifySubscriberRequest", "{}").framed();
        let both = [&one[..], &one[..]].concat();
        let mut messages = Messages::default();
        assert!(messages.take(&both[..7]).unwrap().is_empty());
        let complete = messages.take(&both[7..]).unwrap();
        assert_eq!(complete, [one.slice(5..), one.slice(5..)]);
        assert_eq!(kind(&complete[0]).unwrap(), "NotifySubscriberRequest");
        assert!(kind(b"nothing").is_err());
    }
}
