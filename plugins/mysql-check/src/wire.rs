//! Packets of the MySQL protocol, and a cursor that cannot run past their end.

use crate::trouble::Trouble;
use muster_sdk::health_check::{Connection, DialError};

/// The longest packet that is accepted, in bytes. A check asks for little; the protocol allows 16 MiB.
const MAX_PACKET: usize = 256 << 10;
/// How much is read at once, in bytes.
const CHUNK: usize = 8 << 10;

/// A connection that carries packets.
pub(crate) struct Wire<C> {
    connection: C,
    /// read and not yet taken
    ahead: Vec<u8>,
    /// number of the next packet
    sequence: u8,
}

impl<C: Connection> Wire<C> {
    pub(crate) const fn new(connection: C) -> Self {
        Self { connection, ahead: Vec::new(), sequence: 0 }
    }

    /// The payload of the next packet.
    pub(crate) fn receive(&mut self) -> Result<Vec<u8>, Trouble> {
        self.fill(4)?;
        let length =
            usize::from(self.ahead[0]) | usize::from(self.ahead[1]) << 8 | usize::from(self.ahead[2]) << 16;
        if length > MAX_PACKET {
            return Err(Trouble::Protocol("a packet is too long"));
        }
        self.fill(4 + length)?;
        self.sequence = self.ahead[3].wrapping_add(1);
        let payload = self.ahead[4..4 + length].to_vec();
        self.ahead.drain(..4 + length);
        Ok(payload)
    }

    /// Reads until at least `length` bytes are there.
    fn fill(&mut self, length: usize) -> Result<(), Trouble> {
        while self.ahead.len() < length {
            let mut chunk = [0; CHUNK];
            match self.connection.read(&mut chunk)? {
                0 => return Err(DialError::Closed.into()),
                count => self.ahead.extend_from_slice(&chunk[..count]),
            }
        }
        Ok(())
    }

    /// Sends an answer within the running exchange.
    pub(crate) fn send(&mut self, payload: &[u8]) -> Result<(), Trouble> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
        if payload.len() > MAX_PACKET {
            return Err(Trouble::Protocol("the statement is too long"));
        }
        let mut packet = Vec::with_capacity(payload.len() + 4);
        packet.extend_from_slice(&[length[0], length[1], length[2], self.sequence]);
        packet.extend_from_slice(payload);
        self.sequence = self.sequence.wrapping_add(1);
        Ok(self.connection.write_all(&packet)?)
    }

    /// Sends the first packet of a new exchange.
    pub(crate) fn command(&mut self, payload: &[u8]) -> Result<(), Trouble> {
        self.sequence = 0;
        self.send(payload)
    }

    /// Goes on with TLS.
    pub(crate) fn start_tls(&mut self, verify: bool) -> Result<(), Trouble> {
        if !self.ahead.is_empty() {
            return Err(Trouble::Protocol("bytes before TLS that were not asked for"));
        }
        Ok(self.connection.start_tls(None, verify)?)
    }
}

/// Reads a payload from its start. Every method is none past the end.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// Up to a zero, which is dropped.
    pub(crate) fn until_zero(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|&byte| byte == 0)?;
        let head = self.take(length);
        self.0 = &self.0[1..];
        head
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// A length-encoded number of at most four bytes' worth.
    pub(crate) fn number(&mut self) -> Option<usize> {
        let width = match self.byte()? {
            small @ 0..=0xfa => return Some(usize::from(small)),
            0xfc => 2,
            0xfd => 3,
            0xfe => 8,
            _ => return None,
        };
        let wide = self.take(width)?.iter().rev().fold(0_u64, |sum, &byte| sum << 8 | u64::from(byte));
        usize::try_from(wide).ok()
    }

    /// A length-encoded text, or a null.
    pub(crate) fn field(&mut self) -> Option<Option<&'a [u8]>> {
        if self.0.first() == Some(&0xfb) {
            self.byte();
            return Some(None);
        }
        let length = self.number()?;
        self.take(length).map(Some)
    }
}

/// A server's text as one short line: printable, at most `most` characters.
pub(crate) fn line(bytes: &[u8], most: usize) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}
