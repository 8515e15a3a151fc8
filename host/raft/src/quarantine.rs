//! Commands that are committed and cannot be applied: kept aside, told, and never in the way of what follows.
//!
//! # What gets here
//!
//! A command that this release cannot decode, on which the rules break, or whose result cannot be encoded. The rows
//! stay as they were before it, the other commands of its entry and all entries after it are applied, and whoever
//! proposed it is answered [`ProposeError::Quarantined`](crate::ProposeError::Quarantined). What is *not* the
//! command's fault still stops the node: redb that fails, rows or a log that cannot be read.
//!
//! # Do all nodes decide alike?
//!
//! Nodes of one release do: decoding and the rules read nothing but the command and the rows, so that all of them
//! quarantine it or none does. Nodes of different releases may not. A newer one may write a command that an older one
//! does not know; the newer ones apply it, the older one quarantines it, and from there on **its rows differ from
//! theirs**. (A leader refuses what it does not know itself, so that this takes a leader of the newer release.) Nothing
//! repairs that by itself, since the command may have been overtaken by later ones, so that applying it afterwards
//! would be wrong. What heals it is the rows of the others, and they make the records of the entries that they cover
//! void:
//!
//! - the leader's snapshot, when this node lags so far behind that it is sent one;
//! - an empty data directory: upgrade the node, take it out (`removePeer`), start it with an empty data directory, and
//!   it is let in again with everything. This is the operator's way.
//!
//! Where all nodes have quarantined the same command, their rows are equal, and the write simply did not happen.
//! `clearQuarantine` puts the alert away once that has been looked at.
//!
//! # Bounds
//!
//! [`MOST`] commands are kept, each with its first [`MOST_BYTES`] bytes and [`MOST_REASON`] bytes of the reason. Those
//! past that are passed over, logged and counted as well, but not kept.

use crate::db::{Db, Txn, TxnError, blocking, decode, encode, get_meta, put_meta};
use crate::store::Store;
use crate::tables::{QUARANTINE, meta};
use crate::types::EncodedCommand;
use redb::{Durability, ReadTransaction, ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};

/// Commands that are kept.
pub(crate) const MOST: u64 = 1_000;
/// Bytes of a command that are kept.
pub(crate) const MOST_BYTES: usize = 64 << 10;
/// Bytes of a reason that are kept.
pub(crate) const MOST_REASON: usize = 1 << 10;

/// A committed command that was not applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// index of its entry in the log
    pub index: u64,
    /// which command of the entry, from 0
    pub number: u32,
    /// bytes of the command, all of them
    pub bytes: u64,
    /// why it was not applied
    pub reason: String,
    /// the command as it is in the log: JSON, cut after 64 KiB
    pub command: String,
}

/// Why the quarantine was not read or cleared: the storage failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QuarantineError {
    /// which file, why
    pub message: String,
}

/// How many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LedgerRecord {
    kept: u64,
    not_kept: u64,
    /// index of the last entry of which a command was not kept
    last_not_kept: u64,
}

impl Quarantined {
    pub(crate) fn new(index: u64, number: usize, command: &EncodedCommand, reason: String) -> Self {
        Self {
            index,
            number: u32::try_from(number).unwrap_or(u32::MAX),
            bytes: command.size() as u64,
            reason: first(&reason, MOST_REASON),
            command: first(command.text(), MOST_BYTES),
        }
    }
}

/// As much of `text` as fits into `most` bytes.
fn first(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}

/// Keeps `new`, as far as there is room. Within the transaction that passes them over, so that a command is here
/// exactly once, however often its entry is applied again after a crash.
pub(crate) fn put(txn: &WriteTransaction, new: &[Quarantined]) -> Result<(), TxnError> {
    if new.is_empty() {
        return Ok(());
    }
    let mut ledger: LedgerRecord = get_meta(txn, meta::QUARANTINE)?.unwrap_or_default();
    let mut kept = txn.open_table(QUARANTINE)?;
    for one in new {
        if ledger.kept >= MOST {
            ledger.not_kept += 1;
            ledger.last_not_kept = one.index;
            continue;
        }
        let value = encode(one, || format!("quarantined command {} of log entry {}", one.number, one.index))?;
        kept.insert((one.index, one.number), value.as_slice())?;
        ledger.kept += 1;
    }
    drop(kept);
    put_meta(txn, meta::QUARANTINE, &ledger)
}

/// Forgets what entries up to `index` brought.
pub(crate) fn forget(txn: &WriteTransaction, index: u64) -> Result<(), TxnError> {
    let Some(mut ledger) = get_meta::<LedgerRecord>(txn, meta::QUARANTINE)? else { return Ok(()) };
    let mut kept = txn.open_table(QUARANTINE)?;
    kept.retain(|(entry, _), _| entry > index)?;
    ledger.kept = redb::ReadableTableMetadata::len(&kept)?;
    drop(kept);
    if ledger.last_not_kept <= index {
        ledger.not_kept = 0;
    }
    put_meta(txn, meta::QUARANTINE, &ledger)
}

/// How many commands are in quarantine, the ones that were not kept among them.
pub(crate) fn count(txn: &impl Txn) -> Result<u64, TxnError> {
    let ledger: LedgerRecord = get_meta(txn, meta::QUARANTINE)?.unwrap_or_default();
    Ok(ledger.kept + ledger.not_kept)
}

/// Those that were kept, in log order.
pub(crate) fn all(txn: &ReadTransaction) -> Result<Vec<Quarantined>, TxnError> {
    let kept = txn.open_table(QUARANTINE)?;
    let read = kept.iter()?.map(|entry| {
        let (key, value) = entry?;
        let (index, number) = key.value();
        decode(value.value(), || format!("quarantined command {number} of log entry {index}"))
    });
    read.collect()
}

/// The alert.
pub(crate) fn report(new: &[Quarantined]) {
    for entry in new.chunk_by(|one, next| one.index == next.index) {
        let Some(Quarantined { index, number, reason, .. }) = entry.first() else { continue };
        tracing::error!(
            index,
            command = number,
            commands = entry.len(),
            reason,
            "committed commands cannot be applied and are in quarantine: the rows are as if they had never been \
             written. Look at them with `muster raft status`; where the members run different releases, bring this \
             one to the newest and let it join again with an empty data directory"
        );
    }
}

impl Db {
    /// Counts again, for [`Store::quarantined`].
    pub(crate) fn count_quarantined(&self) -> Result<u64, crate::db::DbError> {
        let count = self.read(count)?;
        self.set_quarantined(count);
        Ok(count)
    }
}

impl Store {
    /// How many commands this node has passed over: anything but 0 needs an operator. See `muster raft doctor`.
    pub fn quarantined(&self) -> u64 {
        self.0.db.quarantined()
    }

    /// The commands that this node has passed over, in log order; a thousand at most.
    ///
    /// # Errors
    /// [`QuarantineError`].
    pub async fn quarantine(&self) -> Result<Vec<Quarantined>, QuarantineError> {
        let read = blocking(&self.0.db, |db| db.read(all)).await;
        read.map_err(|error| QuarantineError { message: error.to_string() })
    }

    /// Empties the quarantine of this node; answers how many commands were in it. The rows stay as they are.
    ///
    /// # Errors
    /// [`QuarantineError`].
    pub async fn clear_quarantine(&self) -> Result<u64, QuarantineError> {
        let cleared = blocking(&self.0.db, |db| {
            let before = db.write(Durability::Immediate, |txn| {
                let before = count(txn)?;
                forget(txn, u64::MAX)?;
                Ok(before)
            })?;
            db.count_quarantined()?;
            Ok(before)
        });
        cleared.await.map_err(|error| QuarantineError { message: error.to_string() })
    }
}
