//! Statements and their answers.

use crate::login::Session;
use crate::trouble::Trouble;
use crate::wire::{Cursor, line};
use muster_sdk::health_check::Connection;

/// Rows that are kept; the rest is read and dropped.
const MAX_ROWS: usize = 16;
/// Fields of a row that are kept.
const MAX_FIELDS: usize = 4;
/// Bytes of an answer after which the check stops listening: the statement runs, which was the question.
const MAX_ANSWER: usize = 256 << 10;

/// The first rows of an answer. A statement without rows has none.
pub(crate) type Rows = Vec<Vec<Option<Vec<u8>>>>;

const COM_QUIT: u8 = 0x01;
const COM_QUERY: u8 = 0x03;

impl<C: Connection> Session<C> {
    /// Runs a statement.
    pub(crate) fn query(&mut self, statement: &str) -> Result<Rows, Trouble> {
        self.wire.command(&[&[COM_QUERY], statement.as_bytes()].concat())?;
        let head = self.wire.receive()?;
        match head.first() {
            Some(0x00) => Ok(Rows::new()),
            Some(0xff) => Err(error_of(&head)),
            Some(0xfb) => Err(Trouble::Protocol("the server asks for a local file")),
            _ => {
                let columns = Cursor::new(&head).number().ok_or(Trouble::Protocol("no count of columns"))?;
                self.columns(columns)?;
                self.rows()
            }
        }
    }

    /// Skips the descriptions of the columns and the mark at their end.
    fn columns(&mut self, count: usize) -> Result<(), Trouble> {
        if count > 4096 {
            return Err(Trouble::Protocol("too many columns")); // MySQL's own limit
        }
        for _ in 0..count {
            self.wire.receive()?;
        }
        let end = self.wire.receive()?;
        if is_end(&end) { Ok(()) } else { Err(Trouble::Protocol("no end of the columns")) }
    }

    fn rows(&mut self) -> Result<Rows, Trouble> {
        let mut rows = Rows::new();
        let mut heard = 0;
        while heard < MAX_ANSWER {
            let packet = self.wire.receive()?;
            if is_end(&packet) {
                break;
            }
            if packet.first() == Some(&0xff) {
                return Err(error_of(&packet));
            }
            heard += packet.len();
            if rows.len() < MAX_ROWS {
                rows.push(row(&packet).ok_or(Trouble::Protocol("a row is cut"))?);
            }
        }
        Ok(rows)
    }

    /// Says goodbye, so that the server does not count the connection as aborted. It has nothing to answer.
    pub(crate) fn quit(&mut self) {
        let _ = self.wire.command(&[COM_QUIT]); // the check is over, whether it arrives or not
    }
}

fn row(packet: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let mut cursor = Cursor::new(packet);
    let mut fields = Vec::new();
    while !cursor.rest().is_empty() && fields.len() < MAX_FIELDS {
        fields.push(cursor.field()?.map(<[u8]>::to_vec));
    }
    Some(fields)
}

/// The mark at the end of columns and of rows; a row that begins with 0xfe is longer.
fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

/// The server's error. Before the login it has no SQL state.
pub(crate) fn error_of(packet: &[u8]) -> Trouble {
    let mut cursor = Cursor::new(packet);
    let code = cursor.take(1).and_then(|_| cursor.u16());
    let Some(code) = code else { return Trouble::Protocol("an error without a number") };
    if cursor.rest().first() == Some(&b'#') {
        cursor.take(6);
    }
    Trouble::Server { code, message: line(cursor.rest(), 160) }
}
