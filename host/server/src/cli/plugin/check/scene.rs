//! Targets that misbehave, on loopback, for as long as the check runs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a target treats whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// reads and never answers
    Silent,
    /// closes at once
    HangsUp,
    /// sends 64 KiB of noise and closes
    Noise,
    /// sends a byte every 10 ms, forever
    Drips,
    /// sends back what it gets
    Echoes,
}

/// Opens a target. It ends with the runtime.
pub(super) async fn open(manner: Manner) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    #[allow(clippy::disallowed_methods, reason = "a command of its own, whose runtime ends with it")]
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                // the other side goes away when it likes
                let _ = treat(stream, manner).await;
            });
        }
    });
    Ok(address)
}

async fn treat(mut stream: TcpStream, manner: Manner) -> io::Result<()> {
    let (mut reader, mut writer) = stream.split();
    match manner {
        Manner::HangsUp => {}
        Manner::Silent => drop(tokio::io::copy(&mut reader, &mut tokio::io::sink()).await?),
        Manner::Echoes => drop(tokio::io::copy(&mut reader, &mut writer).await?),
        Manner::Noise => {
            writer.write_all(&noise(64 << 10)).await?;
            writer.shutdown().await?;
            // what was sent stays readable until the other side has closed
            reader.read_to_end(&mut Vec::new()).await?;
        }
        Manner::Drips => loop {
            writer.write_all(b"x").await?;
            tokio::time::sleep(Duration::from_millis(10)).await;
        },
    }
    Ok(())
}

/// The same bytes each time: what a check finds can be found again.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// An address on which nobody listens.
pub(super) async fn closed() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0").await?.local_addr()
}
