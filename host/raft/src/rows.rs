//! The rows in a transaction: what `muster_core::persist::apply` reads, and how its changes are written.

use crate::db::{TxnError, decode, encode};
use crate::tables::{ROWS, instances_of, overlays_of, parse_row_key, row_key};
use muster_core::ids::ServiceKey;
use muster_core::persist::{Change, Command, Reply, Row, RowKey, Rows, apply};
use redb::{ReadTransaction, ReadableTable, Table};
use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The rows as the open write transaction has them.
pub(crate) struct OpenRows<'txn> {
    pub(crate) table: Table<'txn, &'static [u8], &'static [u8]>,
    /// whether the table is being read at this moment
    reading: Cell<bool>,
}

/// What a command did, or why it could do nothing.
pub(crate) type Ran = Result<(Reply, Vec<Change>), String>;

impl<'txn> OpenRows<'txn> {
    pub(crate) fn new(table: Table<'txn, &'static [u8], &'static [u8]>) -> Self {
        Self { table, reading: Cell::new(false) }
    }

    /// Decides what `command` does and writes it. Where it can do nothing, nothing was written.
    pub(crate) fn run(&mut self, command: &Command) -> Result<Ran, TxnError> {
        let (reply, changes) = match guarded(&self.reading, || apply(&*self, command)) {
            Ok(decided) => decided?,
            Err(reason) => return Ok(Err(reason)),
        };
        // all of them before the first is written
        let stored: Result<Vec<Stored>, TxnError> = changes.iter().map(stored).collect();
        match stored {
            Ok(stored) => stored.into_iter().try_for_each(|stored| self.store(stored))?,
            Err(TxnError::Undecodable { what, reason }) => {
                return Ok(Err(format!("{what} cannot be stored: {reason}")));
            }
            Err(error @ TxnError::Redb(_)) => return Err(error),
        }
        Ok(Ok((reply, changes)))
    }

    pub(crate) fn write(&mut self, change: &Change) -> Result<(), TxnError> {
        self.store(stored(change)?)
    }

    fn store(&mut self, (key, value): Stored) -> Result<(), TxnError> {
        match value {
            Some(value) => drop(self.table.insert(key.as_slice(), value.as_slice())?),
            None => drop(self.table.remove(key.as_slice())?),
        }
        Ok(())
    }

    fn reads<T>(&self, read: impl FnOnce() -> T) -> T {
        self.reading.set(true);
        let value = read();
        self.reading.set(false);
        value
    }

    fn keys_in(&self, range: Range<Vec<u8>>) -> Result<Vec<RowKey>, TxnError> {
        let range = range.start.as_slice()..range.end.as_slice();
        self.reads(|| self.table.range::<&[u8]>(range)?.map(|entry| key_of(entry?.0.value())).collect())
    }
}

/// A row as it is stored: none removes it.
type Stored = (Vec<u8>, Option<Vec<u8>>);

fn stored(change: &Change) -> Result<Stored, TxnError> {
    let key = row_key(&change.key);
    let value = change.row.as_ref().map(|row| encode(row, || name(&key))).transpose()?;
    Ok((key, value))
}

/// What the rules answer, or how they broke: the one command must not stop the node at this and every later start.
/// A break while the table was read is the storage's, and goes on.
fn guarded<T>(reading: &Cell<bool>, rules: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(rules)).map_err(|broke| match reading.get() {
        true => resume_unwind(broke),
        false => format!("the rules broke on it: {}", said(broke.as_ref())),
    })
}

fn said(broke: &(dyn Any + Send)) -> &str {
    let text = broke.downcast_ref::<&str>().copied();
    text.or_else(|| broke.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

impl Rows for OpenRows<'_> {
    type Error = TxnError;

    fn get(&self, key: &RowKey) -> Result<Option<Row>, TxnError> {
        let key = row_key(key);
        self.reads(|| {
            let value = self.table.get(key.as_slice())?;
            value.map(|value| decode(value.value(), || name(&key))).transpose()
        })
    }

    fn instances_of(&self, service: &ServiceKey) -> Result<Vec<RowKey>, TxnError> {
        self.keys_in(instances_of(service))
    }

    fn overlays_of(&self, service: &ServiceKey) -> Result<Vec<RowKey>, TxnError> {
        self.keys_in(overlays_of(service))
    }
}

/// All rows, as the changes that would make them.
pub(crate) fn all(txn: &ReadTransaction) -> Result<Vec<Change>, TxnError> {
    txn.open_table(ROWS)?
        .iter()?
        .map(|entry| {
            let (key, value) = entry?;
            change_of(key.value(), value.value())
        })
        .collect()
}

/// The change that writes the row stored as `key` and `value`.
pub(crate) fn change_of(key: &[u8], value: &[u8]) -> Result<Change, TxnError> {
    Ok(Change { key: key_of(key)?, row: Some(decode(value, || name(key))?) })
}

pub(crate) fn key_of(bytes: &[u8]) -> Result<RowKey, TxnError> {
    parse_row_key(bytes).ok_or_else(|| TxnError::undecodable(name(bytes), "unknown kind of key"))
}

fn name(key: &[u8]) -> String {
    match parse_row_key(key) {
        Some(key) => format!("row {key:?}"),
        None => format!("row {key:02x?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_of_the_rules_is_theirs_and_one_of_the_storage_goes_on() {
        let reading = Cell::new(false);
        assert_eq!(guarded(&reading, || 7), Ok(7));
        let broke = guarded(&reading, || panic!("attempt to add with {}", "overflow"));
        assert_eq!(broke, Err::<(), _>("the rules broke on it: attempt to add with overflow".to_owned()));
        let in_storage = catch_unwind(AssertUnwindSafe(|| {
            guarded(&reading, || {
                reading.set(true);
                panic!("a page that is no page")
            })
        }));
        assert!(in_storage.is_err_and(|broke| said(broke.as_ref()) == "a page that is no page"));
    }
}
