//! Both ends of the one conversation that the MySQL probe has with a primary whose user has no password. Source: MySQL
//! Internals, "Protocol::HandshakeV10", "Protocol::HandshakeResponse41" and "ProtocolText::Resultset".

use anyhow::{Context as _, ensure};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What the probe asks a server that it has no other statement for.
const STATEMENT: &str =
    "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'super_read_only', 'innodb_read_only')";
const VARIABLES: [&str; 3] = ["innodb_read_only", "read_only", "super_read_only"];

/// What the server can: 4.1's protocol, authentication and plugins for it, and nothing that the probe would answer
/// with more bytes.
const CAPABILITIES: u32 = 0x0008_8200 | 0x0000_0005 | 0x0000_2000;
const VERSION: &[u8] = b"8.0.36";
const METHOD: &[u8] = b"mysql_native_password\0";
const OK: [u8; 7] = [0, 0, 0, 2, 0, 0, 0];
const END: [u8; 5] = [0xfe, 0, 0, 2, 0];
const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
/// Bytes that are read at a time, as the probe does.
const CHUNK: usize = 8 << 10;

/// Packets over a connection.
struct Wire {
    stream: TcpStream,
    ahead: Vec<u8>,
}

impl Wire {
    const fn new(stream: TcpStream) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    async fn receive(&mut self) -> io::Result<Vec<u8>> {
        self.fill(4).await?;
        let length = self.ahead[..3].iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.fill(4 + length).await?;
        let payload = self.ahead[4..4 + length].to_vec();
        self.ahead.drain(..4 + length);
        Ok(payload)
    }

    async fn fill(&mut self, length: usize) -> io::Result<()> {
        while self.ahead.len() < length {
            self.ahead.reserve(CHUNK);
            if self.stream.read_buf(&mut self.ahead).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }
}

/// Adds a packet.
fn put(bytes: &mut Vec<u8>, sequence: &mut u8, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend([length[0], length[1], length[2], *sequence]);
    bytes.extend(payload);
    *sequence = sequence.wrapping_add(1);
}

fn packet(mut sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(payload.len() + 4);
    put(&mut bytes, &mut sequence, payload);
    bytes
}

fn greeting() -> Vec<u8> {
    let [low, high] = [CAPABILITIES & 0xffff, CAPABILITIES >> 16].map(u32::to_le_bytes);
    let parts: [&[u8]; 12] = [
        &[10],
        VERSION,
        &[0, 1, 0, 0, 0],
        b"12345678",
        &[0],
        &low[..2],
        &[45, 2, 0],
        &high[..2],
        &[21],
        &[0; 10],
        b"123456789012\0",
        METHOD,
    ];
    packet(0, &parts.concat())
}

/// A field of a row, shorter than 251 bytes.
fn field(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    [&[length], text.as_bytes()].concat()
}

/// The three variables, all off.
fn variables() -> Vec<u8> {
    let (mut bytes, mut sequence) = (Vec::new(), 1);
    let mut add = |payload: &[u8]| put(&mut bytes, &mut sequence, payload);
    add(&[2]);
    for name in ["Variable_name", "Value"] {
        let names = ["def", "", "session_variables", "session_variables", name, name].map(field).concat();
        add(&[&names[..], &[12, 45, 0, 0, 1, 0, 0, 253, 1, 0, 0, 0, 0]].concat());
    }
    add(&END);
    for name in VARIABLES {
        add(&[field(name), field("OFF")].concat());
    }
    add(&END);
    bytes
}

/// Logs in whoever comes, answers a statement, and waits for the goodbye.
pub(super) async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.write_all(&greeting()).await?;
    let mut wire = Wire::new(stream);
    wire.receive().await?;
    wire.stream.write_all(&packet(2, &OK)).await?;
    while wire.receive().await?.first() == Some(&COM_QUERY) {
        wire.stream.write_all(&variables()).await?;
    }
    Ok(())
}

/// The probe as native code.
pub(super) async fn look(stream: TcpStream) -> anyhow::Result<()> {
    let mut wire = Wire::new(stream);
    let greeting = wire.receive().await?;
    let zero = greeting.iter().position(|byte| *byte == 0).context("no version")?;
    let version = String::from_utf8_lossy(&greeting[1..zero]).into_owned();
    let (capabilities, most) = (CAPABILITIES.to_le_bytes(), (1_u32 << 20).to_le_bytes());
    let parts: [&[u8]; 7] = [&capabilities, &most, &[45], &[0; 23], b"probe\0", &[0], METHOD];
    wire.stream.write_all(&packet(1, &parts.concat())).await?;
    ensure!(wire.receive().await?.first() == Some(&0), "the login is refused");
    wire.stream.write_all(&packet(0, &[&[COM_QUERY], STATEMENT.as_bytes()].concat())).await?;
    let columns = wire.receive().await?.first().copied().context("no answer")?;
    for _ in 0..=columns {
        wire.receive().await?;
    }
    let mut rows = Vec::new();
    loop {
        let row = wire.receive().await?;
        if row.first() == Some(&0xfe) && row.len() < 9 {
            break;
        }
        rows.push(pair(&row).context("a row is cut")?);
    }
    wire.stream.write_all(&packet(0, &[COM_QUIT])).await?;
    ensure!(!version.is_empty() && rows.len() == VARIABLES.len(), "{version}: {rows:?}");
    ensure!(rows.iter().all(|(_, value)| value == "OFF"), "{rows:?}");
    Ok(())
}

fn pair(row: &[u8]) -> Option<(String, String)> {
    let next = |bytes: &mut &[u8]| {
        let (length, rest) = bytes.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::from(*length))?;
        *bytes = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let mut rest = row;
    Some((next(&mut rest)?, next(&mut rest)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn both_ends_understand_each_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let both = async { serve(listener.accept().await.unwrap().0).await.unwrap() };
        let asked = async { look(TcpStream::connect(address).await.unwrap()).await.unwrap() };
        tokio::join!(both, asked);
    }
}
