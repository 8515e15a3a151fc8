//! An authenticated, encrypted stream between two nodes.
//!
//! On the wire: each end begins with `MUSTER`, 0 and the version of the protocol; then the two messages of the
//! handshake, which carry who each end is; then sealed chunks. Everything after the beginning is `length (2 bytes,
//! big endian), that many bytes`.

use crate::secrets::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use snow::{Builder, HandshakeState, StatelessTransportState};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The pattern and its parts. See <https://noiseprotocol.org/noise.html>, section 9.
const NOISE: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";
/// Begins every connection; the last byte is the version.
const GREETING: [u8; 8] = [b'M', b'U', b'S', b'T', b'E', b'R', 0, 1];
/// Longest Noise message, bytes.
const CHUNK: usize = 65_535;
/// Bytes of a chunk that are not content: the tag, and whether more follows.
const OVERHEAD: usize = 16 + 1;
/// Shortest shared secret, bytes. A shorter one could be guessed from a recorded handshake.
const SECRET_LEAST: usize = 16;
/// Largest message of several chunks, bytes.
const MESSAGE_MOST: usize = 64 << 20;

/// The shared secret is too short to protect anything.
#[derive(Debug, thiserror::Error)]
#[error(
    "cluster.secret: must have at least {SECRET_LEAST} characters, such as `openssl rand -base64 32` makes"
)]
pub struct SecretTooShort;

/// The key of all sessions.
#[derive(Clone)]
pub struct Psk(Arc<[u8; 32]>);

impl std::fmt::Debug for Psk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Psk(hidden)")
    }
}

impl Psk {
    /// From the shared secret.
    ///
    /// # Errors
    /// [`SecretTooShort`].
    pub fn new(secret: &Secret) -> Result<Self, SecretTooShort> {
        let text = secret.reveal();
        if text.len() < SECRET_LEAST {
            return Err(SecretTooShort);
        }
        let digest = Sha256::new().chain_update(b"muster member link\0").chain_update(text).finalize();
        Ok(Self(Arc::new(digest.into())))
    }
}

/// Who an end of a connection is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// member id
    pub(super) id: u64,
    /// drawn at every start: another one is another life of the same node
    pub(super) life: u64,
    /// `ip:port` by which it is in the member list
    pub(super) address: String,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is no member port, or speaks another version of the protocol than {}", GREETING[7])]
    Greeting,
    #[error("it does not have the same cluster.secret")]
    Secret,
    #[error("it says nothing sensible of itself: {0}")]
    Hello(serde_json::Error),
    #[error("noise: {0}")]
    Noise(snow::Error),
}

/// Opens a session on a connection that this node made.
pub(super) async fn initiate(
    mut stream: TcpStream,
    psk: &Psk,
    own: &Hello,
) -> Result<(Hello, Reader, Writer), HandshakeError> {
    let mut noise = state(psk, true)?;
    let mut buffer = vec![0; CHUNK];
    let hello = serde_json::to_vec(own).map_err(HandshakeError::Hello)?;
    let length = noise.write_message(&hello, &mut buffer).map_err(HandshakeError::Noise)?;
    stream.write_all(&GREETING).await?;
    write_chunk(&mut stream, &buffer[..length]).await?;
    greeted(&mut stream).await?;
    // An end with another secret closes here, without a word.
    let answer = read_chunk(&mut stream, &mut buffer).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => HandshakeError::Secret,
        _ => HandshakeError::Io(error),
    })?;
    finish(stream, noise, &answer)
}

/// Answers a connection that another node made.
pub(super) async fn respond(
    mut stream: TcpStream,
    psk: &Psk,
    own: &Hello,
) -> Result<(Hello, Reader, Writer), HandshakeError> {
    let mut noise = state(psk, false)?;
    let mut buffer = vec![0; CHUNK];
    greeted(&mut stream).await?;
    stream.write_all(&GREETING).await?;
    let first = read_chunk(&mut stream, &mut buffer).await?;
    let mut payload = vec![0; CHUNK];
    let length = noise.read_message(&first, &mut payload).map_err(|_| HandshakeError::Secret)?;
    let hello: Hello = serde_json::from_slice(&payload[..length]).map_err(HandshakeError::Hello)?;
    let own = serde_json::to_vec(own).map_err(HandshakeError::Hello)?;
    let length = noise.write_message(&own, &mut buffer).map_err(HandshakeError::Noise)?;
    write_chunk(&mut stream, &buffer[..length]).await?;
    let (reader, writer) = halves(stream, noise)?;
    Ok((hello, reader, writer))
}

fn state(psk: &Psk, initiator: bool) -> Result<HandshakeState, HandshakeError> {
    let build = || {
        let builder = Builder::new(NOISE.parse()?).prologue(&GREETING)?.psk(0, &psk.0)?;
        if initiator { builder.build_initiator() } else { builder.build_responder() }
    };
    build().map_err(HandshakeError::Noise)
}

async fn greeted(stream: &mut TcpStream) -> Result<(), HandshakeError> {
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).await?;
    if greeting == GREETING { Ok(()) } else { Err(HandshakeError::Greeting) }
}

fn finish(
    stream: TcpStream,
    mut noise: HandshakeState,
    answer: &[u8],
) -> Result<(Hello, Reader, Writer), HandshakeError> {
    let mut payload = vec![0; CHUNK];
    let length = noise.read_message(answer, &mut payload).map_err(|_| HandshakeError::Secret)?;
    let hello = serde_json::from_slice(&payload[..length]).map_err(HandshakeError::Hello)?;
    let (reader, writer) = halves(stream, noise)?;
    Ok((hello, reader, writer))
}

fn halves(stream: TcpStream, noise: HandshakeState) -> Result<(Reader, Writer), HandshakeError> {
    let noise = Arc::new(noise.into_stateless_transport_mode().map_err(HandshakeError::Noise)?);
    let (read, write) = stream.into_split();
    let reader = Reader { stream: read, noise: noise.clone(), nonce: 0, buffer: vec![0; CHUNK] };
    Ok((reader, Writer { stream: write, noise, nonce: 0, buffer: vec![0; CHUNK] }))
}

async fn write_chunk(stream: &mut (impl AsyncWriteExt + Unpin), chunk: &[u8]) -> io::Result<()> {
    let length = u16::try_from(chunk.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(chunk).await
}

async fn read_chunk(stream: &mut (impl AsyncReadExt + Unpin), buffer: &mut [u8]) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    stream.read_exact(&mut buffer[..length]).await?;
    Ok(buffer[..length].to_vec())
}

/// The receiving half of a session.
pub(super) struct Reader {
    stream: OwnedReadHalf,
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    buffer: Vec<u8>,
}

impl Reader {
    /// The next message.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        let mut plain = vec![0; CHUNK];
        loop {
            let sealed = read_chunk(&mut self.stream, &mut self.buffer).await?;
            let opened = self.noise.read_message(self.nonce, &sealed, &mut plain);
            let length = opened.map_err(|_| invalid("a chunk was changed on its way"))?;
            self.nonce += 1;
            let [more, content @ ..] = &plain[..length] else { return Err(invalid("an empty chunk")) };
            if message.len() + content.len() > MESSAGE_MOST {
                return Err(invalid("a message is too large"));
            }
            message.extend_from_slice(content);
            if *more == 0 {
                return Ok(message);
            }
        }
    }
}

/// The sending half of a session.
pub(super) struct Writer {
    stream: OwnedWriteHalf,
    noise: Arc<StatelessTransportState>,
    nonce: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// Sends one message.
    pub(super) async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        if message.len() > MESSAGE_MOST {
            return Err(invalid("a message is too large"));
        }
        let mut parts = message.chunks(CHUNK - OVERHEAD).peekable();
        let mut plain = Vec::with_capacity(message.len().min(CHUNK));
        while let Some(part) = parts.next() {
            plain.clear();
            plain.push(u8::from(parts.peek().is_some()));
            plain.extend_from_slice(part);
            let sealed = self.noise.write_message(self.nonce, &plain, &mut self.buffer);
            let length = sealed.map_err(io::Error::other)?;
            self.nonce += 1;
            write_chunk(&mut self.stream, &self.buffer[..length]).await?;
        }
        Ok(())
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn psk(text: &str) -> Psk {
        Psk::new(&Secret::new(text)).unwrap()
    }

    fn hello(id: u64) -> Hello {
        Hello { id, life: id * 7, address: format!("10.0.0.{id}:8848") }
    }

    type Session = Result<(Hello, Reader, Writer), HandshakeError>;

    async fn pair(one: &str, other: &str) -> (Session, Session) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (one, other) = (psk(one), psk(other));
        let (own, theirs) = (hello(1), hello(2));
        tokio::join!(
            async { initiate(TcpStream::connect(address).await.unwrap(), &one, &own).await },
            async { respond(listener.accept().await.unwrap().0, &other, &theirs).await },
        )
    }

    #[tokio::test]
    async fn two_nodes_with_the_same_secret_understand_each_other() {
        let (one, other) = pair("a secret of some length", "a secret of some length").await;
        let (who, mut reader, _writer) = one.unwrap();
        let (by_whom, _reader, mut writer) = other.unwrap();
        assert_eq!((who, by_whom), (hello(2), hello(1)));
        let large: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for message in [b"x".to_vec(), large, vec![7; CHUNK - OVERHEAD], vec![7; CHUNK - OVERHEAD + 1]] {
            let (sent, read) = tokio::join!(writer.write(&message), reader.read());
            sent.unwrap();
            assert_eq!(read.unwrap(), message);
        }
    }

    #[tokio::test]
    async fn another_secret_is_refused_on_both_sides() {
        let (one, other) = pair("a secret of some length", "another one of some length").await;
        assert!(matches!(one.err().unwrap(), HandshakeError::Secret));
        assert!(matches!(other.err().unwrap(), HandshakeError::Secret));
    }

    #[tokio::test]
    async fn who_is_no_member_is_refused_before_anything_is_said() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: n\r\n\r\n").await.unwrap();
        let stream = listener.accept().await.unwrap().0;
        let refused = respond(stream, &psk("a secret of some length"), &hello(1)).await;
        assert!(matches!(refused.err().unwrap(), HandshakeError::Greeting));
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty());
    }

    #[tokio::test]
    async fn a_changed_chunk_ends_the_session() {
        let (one, other) = pair("a secret of some length", "a secret of some length").await;
        let (_, mut reader, _writer) = one.unwrap();
        let (_, _reader, mut writer) = other.unwrap();
        write_chunk(&mut writer.stream, &[9; 40]).await.unwrap();
        assert_eq!(reader.read().await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_short_secret_is_none() {
        assert!(Psk::new(&Secret::new("short")).is_err());
        assert_eq!(format!("{:?}", psk("a secret of some length")), "Psk(hidden)");
    }
}
