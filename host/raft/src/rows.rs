//! The rows in a transaction: what `muster_core::persist::apply` reads, and how its changes are written.

use crate::db::{TxnError, decode, encode};
use crate::tables::{ROWS, instances_of, overlays_of, parse_row_key, row_key};
use muster_core::ids::ServiceKey;
use muster_core::persist::{Change, Command, Reply, Row, RowKey, Rows, apply};
use redb::{ReadTransaction, ReadableTable, Table};
use std::ops::Range;

/// The rows as the open write transaction has them.
pub(crate) struct OpenRows<'txn>(pub(crate) Table<'txn, &'static [u8], &'static [u8]>);

impl OpenRows<'_> {
    /// Decides what `command` does and writes it.
    pub(crate) fn run(&mut self, command: &Command) -> Result<(Reply, Vec<Change>), TxnError> {
        let (reply, changes) = apply(self, command)?;
        for change in &changes {
            self.write(change)?;
        }
        Ok((reply, changes))
    }

    pub(crate) fn write(&mut self, change: &Change) -> Result<(), TxnError> {
        let key = row_key(&change.key);
        match &change.row {
            Some(row) => {
                let value = encode(row, || name(&key))?;
                self.0.insert(key.as_slice(), value.as_slice())?;
            }
            None => {
                self.0.remove(key.as_slice())?;
            }
        }
        Ok(())
    }

    fn keys_in(&self, range: Range<Vec<u8>>) -> Result<Vec<RowKey>, TxnError> {
        let range = range.start.as_slice()..range.end.as_slice();
        self.0.range::<&[u8]>(range)?.map(|entry| key_of(entry?.0.value())).collect()
    }
}

impl Rows for OpenRows<'_> {
    type Error = TxnError;

    fn get(&self, key: &RowKey) -> Result<Option<Row>, TxnError> {
        let key = row_key(key);
        let value = self.0.get(key.as_slice())?;
        value.map(|value| decode(value.value(), || name(&key))).transpose()
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
