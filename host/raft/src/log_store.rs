//! The log and the vote.
//!
//! Appended entries and votes are durable before openraft hears of it: each is one transaction with one
//! fsync. Purging is not: the prefix rule (see [`db`](crate::db)) makes sure that a purged entry is gone only
//! together with what replaced it.

use crate::db::{Db, DbError, TxnError, blocking, decode, encode, get_meta, put_meta};
use crate::records::{EntryRecord, LogIdRecord, VoteRecord};
use crate::tables::{LOG, meta};
use crate::types::{Entry, LogId, StorageError, StorageIOError, TypeConfig, Vote};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader};
use redb::{Durability, ReadTransaction, ReadableTable, WriteTransaction};
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};

/// Entries are handed to replication in portions of about this many bytes.
const PORTION: usize = 4 << 20;

/// The log and the vote of this node. Clones are the same log.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    db: Arc<Db>,
    /// Known to be committed, but not yet written. It goes along with the next append: alone it is not worth
    /// a transaction, since all it saves is that a restarted member of a cluster waits for its leader before
    /// it applies the newest entries again.
    committed: Arc<Mutex<Option<LogIdRecord>>>,
}

impl LogStore {
    pub(crate) fn new(db: Arc<Db>) -> Self {
        Self { db, committed: Arc::default() }
    }

    fn unwritten_commit(&self) -> Option<LogIdRecord> {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read_range(
        &self,
        range: (Bound<u64>, Bound<u64>),
        most: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let read = blocking(&self.db, move |db| db.read(|txn| entries(txn, range, most))).await;
        read.map_err(|error| StorageIOError::read_logs(any(&error)).into())
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read_range((range.start_bound().cloned(), range.end_bound().cloned()), usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.read_range((Bound::Included(start), Bound::Excluded(end)), PORTION).await
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let read = blocking(&self.db, |db| db.read(log_state)).await;
        read.map_err(|error| StorageIOError::read_logs(any(&error)).into())
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let record = VoteRecord::from(vote);
        let save = move |txn: &WriteTransaction| put_meta(txn, meta::VOTE, &record);
        let saved = blocking(&self.db, move |db| db.write(Durability::Immediate, save)).await;
        saved.map_err(|error| StorageIOError::write_vote(any(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let read = blocking(&self.db, |db| db.read(|txn| get_meta::<VoteRecord>(txn, meta::VOTE))).await;
        let vote = read.map_err(|error| StorageIOError::read_vote(any(&error)))?;
        Ok(vote.map(Into::into))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = committed.map(Into::into);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        if let Some(committed) = self.unwritten_commit() {
            return Ok(Some(committed.into()));
        }
        let read =
            blocking(&self.db, |db| db.read(|txn| get_meta::<LogIdRecord>(txn, meta::COMMITTED))).await;
        let committed = read.map_err(|error| StorageIOError::read_logs(any(&error)))?;
        Ok(committed.map(Into::into))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let committed = self.unwritten_commit();
        let write = move |txn: &WriteTransaction| insert(txn, entries, committed);
        let written = blocking(&self.db, move |db| db.write(Durability::Immediate, write)).await;
        written.map_err(|error| StorageIOError::write_logs(any(&error)))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        let cut = move |txn: &WriteTransaction| {
            txn.open_table(LOG)?.retain_in(since.index.., |_, _| false)?;
            Ok(())
        };
        let done = blocking(&self.db, move |db| db.write(Durability::Immediate, cut)).await;
        done.map_err(|error| StorageIOError::write_logs(any(&error)).into())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        let cut = move |txn: &WriteTransaction| {
            put_meta(txn, meta::PURGED, &LogIdRecord::from(upto))?;
            txn.open_table(LOG)?.retain_in(..=upto.index, |_, _| false)?;
            Ok(())
        };
        let done = blocking(&self.db, move |db| db.write(Durability::None, cut)).await;
        done.map_err(|error| StorageIOError::write_logs(any(&error)).into())
    }
}

/// Entries of `range`, as long as they fit into `most` bytes, but at least one.
pub(crate) fn entries(
    txn: &ReadTransaction,
    range: (Bound<u64>, Bound<u64>),
    most: usize,
) -> Result<Vec<Entry>, TxnError> {
    if is_empty(range) {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    let mut bytes = 0;
    for entry in txn.open_table(LOG)?.range(range)? {
        let (index, value) = entry?;
        bytes += value.value().len();
        if bytes > most && !entries.is_empty() {
            break;
        }
        let record: EntryRecord = decode(value.value(), || format!("log entry {}", index.value()))?;
        entries.push(record.into());
    }
    Ok(entries)
}

/// What the log holds.
pub(crate) fn log_state(txn: &ReadTransaction) -> Result<LogState<TypeConfig>, TxnError> {
    let purged = get_meta::<LogIdRecord>(txn, meta::PURGED)?.map(LogId::from);
    let last = match txn.open_table(LOG)?.last()? {
        Some((index, value)) => {
            let record: EntryRecord = decode(value.value(), || format!("log entry {}", index.value()))?;
            Some(Entry::from(record).log_id)
        }
        None => purged,
    };
    Ok(LogState { last_purged_log_id: purged, last_log_id: last })
}

fn insert(
    txn: &WriteTransaction,
    entries: Vec<Entry>,
    committed: Option<LogIdRecord>,
) -> Result<(), TxnError> {
    let mut log = txn.open_table(LOG)?;
    for entry in entries {
        let index = entry.log_id.index;
        let bytes = encode(&EntryRecord::from(entry), || format!("log entry {index}"))?;
        log.insert(index, bytes.as_slice())?;
    }
    drop(log);
    committed.map_or(Ok(()), |committed| put_meta(txn, meta::COMMITTED, &committed))
}

/// redb takes a range that ends before it starts for a mistake.
fn is_empty((start, end): (Bound<u64>, Bound<u64>)) -> bool {
    let first = match start {
        Bound::Included(first) => first,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    match end {
        Bound::Included(last) => last < first,
        Bound::Excluded(after) => after <= first,
        Bound::Unbounded => false,
    }
}

fn any(error: &DbError) -> AnyError {
    AnyError::new(error)
}
