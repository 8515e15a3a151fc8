//! One client: a transport, its stream, what it was sent.

use super::payload;
use super::wire::{Frame, Messages, STREAM, Transport, UNARY, kind};
use anyhow::Context;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// How a successful reply begins.
const SUCCESS: &[u8] = br#"{"resultCode":200,"#;

/// A client whose setup was acknowledged.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// its connection
    pub(crate) transport: Transport,
    stream: u32,
    messages: Messages,
    /// pushes that came while an answer was awaited
    early: VecDeque<Bytes>,
}

impl Subscriber {
    /// Connects, opens the stream and waits until the server has seen its first message.
    ///
    /// # Errors
    /// The server refuses, or closes.
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let mut transport = Transport::connect(address).await?;
        let stream = transport.open(STREAM, &payload::setup(), false);
        let mut client = Self { transport, stream, messages: Messages::default(), early: VecDeque::new() };
        let first = client.message().await?.context("closed before the setup was acknowledged")?;
        anyhow::ensure!(kind(&first)? == "SetupAckRequest", "a setup was answered by {:?}", kind(&first));
        Ok(client)
    }

    /// The next message of the server; none when it has closed. What it asks for is answered.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn message(&mut self) -> anyhow::Result<Option<Bytes>> {
        loop {
            if let Some(message) = self.early.pop_front() {
                return Ok(Some(message));
            }
            self.transport.flush().await?;
            match self.transport.frame().await? {
                Frame::Data(stream, piece) if stream == self.stream => self.arrived(&piece)?,
                Frame::Closed => return Ok(None),
                Frame::End(stream) if stream == self.stream => return Ok(None),
                _ => {}
            }
        }
    }

    fn arrived(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        let complete = self.messages.take(piece)?;
        for message in &complete {
            let start = &message[..message.len().min(256)];
            if let Some(id) = payload::between(start, br#""requestId":""#, b'"') {
                let taken = payload::taken(kind(message)?, std::str::from_utf8(id)?);
                self.transport.send(self.stream, &taken, false);
            }
        }
        self.early.extend(complete);
        Ok(())
    }

    /// A unary call whose answer must be a success.
    ///
    /// # Errors
    /// It is none.
    pub(crate) async fn call(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.answer(message).await.map(drop)
    }

    /// A unary call; its answer without the five bytes before it.
    ///
    /// # Errors
    /// The answer is not a success.
    pub(crate) async fn answer(&mut self, message: &[u8]) -> anyhow::Result<Bytes> {
        let call = self.transport.open(UNARY, message, true);
        self.transport.flush().await?;
        let mut answer = BytesMut::new();
        loop {
            match self.transport.frame().await? {
                Frame::Data(stream, piece) if stream == self.stream => self.arrived(&piece)?,
                Frame::Data(stream, piece) if stream == call => answer.extend_from_slice(&piece),
                Frame::End(stream) if stream == call => break,
                Frame::Closed => anyhow::bail!("closed in the middle of a call"),
                _ => {}
            }
        }
        let success = payload::find(&answer[..answer.len().min(256)], SUCCESS).is_some();
        anyhow::ensure!(success, "answered {:?}", String::from_utf8_lossy(&answer));
        Ok(answer.freeze().slice(5..))
    }
}
