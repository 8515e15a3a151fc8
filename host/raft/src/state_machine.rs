//! The rows: applying committed entries to them, and their snapshots.
//!
//! Applying is one transaction for all entries that openraft hands over together: the rows and the id of the
//! last applied entry change in the same commit, so that no entry is ever applied twice or half. The commit
//! itself is not durable (no second fsync): should a crash take it back, then the id goes back with the rows
//! and the entries, which are durable in the log, are applied again.

use crate::Committed;
use crate::db::{Db, DbError, TxnError, View, blocking, get_meta, put_meta};
use crate::quarantine::{self, Quarantined};
use crate::records::{AppliedRecord, StoredMembershipRecord};
use crate::rows::{OpenRows, change_of, key_of};
use crate::snapshot;
use crate::tables::{ROWS, meta};
use crate::types::{
    Applied, Batch, Entry, LogId, Snapshot, SnapshotMeta, StorageError, StorageIOError, StoredMembership,
    TypeConfig,
};
use muster_core::persist::Change;
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder};
use redb::{Durability, ReadableTable, WriteTransaction};
use std::io::Cursor;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The rows of this node, and who hears of their changes.
#[derive(Clone, Debug)]
pub(crate) struct StateMachine {
    db: Arc<Db>,
    committed: mpsc::Sender<Committed>,
}

/// What applying entries came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// an answer for each entry
    applied: Vec<Applied>,
    /// the entries that changed something
    committed: Vec<Committed>,
    /// the commands that were passed over
    quarantined: Vec<Quarantined>,
}

impl StateMachine {
    pub(crate) fn new(db: Arc<Db>, committed: mpsc::Sender<Committed>) -> Self {
        Self { db, committed }
    }

    /// Waits for room: a naming loop that falls behind slows writes down instead of growing a queue.
    async fn publish(&self, committed: Committed) {
        let index = committed.index;
        if self.committed.send(committed).await.is_err() {
            // The rows are safe. Nobody is left to look at the change: the node is going down.
            tracing::debug!(index, "nobody listens to committed changes any more");
        }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let read =
            blocking(&self.db, |db| db.read(|txn| get_meta::<AppliedRecord>(txn, meta::APPLIED))).await;
        let record = read.map_err(|error| StorageIOError::read_state_machine(any(&error)))?;
        let record = record.unwrap_or_default();
        Ok((record.last.map(Into::into), record.membership.into()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let Some(first) = entries.first().map(|entry| entry.log_id) else { return Ok(Vec::new()) };
        let outcome = blocking(&self.db, move |db| apply(db, entries)).await;
        let outcome = outcome.map_err(|error| {
            tracing::error!(index = first.index, %error, "committed entries cannot be applied");
            StorageIOError::apply(first, any(&error))
        })?;
        for committed in outcome.committed {
            self.publish(committed).await;
        }
        Ok(outcome.applied)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder { db: self.db.clone(), view: Some(self.db.view()) }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let (covers, id) = (AppliedRecord::from(meta), meta.snapshot_id.clone());
        let install = move |txn: &WriteTransaction| install(txn, covers, &id, snapshot.get_ref());
        let changes = blocking(&self.db, move |db| {
            let changes = db.write(Durability::Immediate, install)?;
            db.count_quarantined()?;
            Ok(changes)
        });
        let changes = changes.await;
        let changes =
            changes.map_err(|error| StorageIOError::write_snapshot(Some(meta.signature()), any(&error)))?;
        let index = meta.last_log_id.map_or(0, |id| id.index);
        self.publish(Committed { index, changes }).await;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let read = blocking(&self.db, |db| db.read(snapshot::current)).await;
        let current = read.map_err(|error| StorageIOError::read_snapshot(None, any(&error)))?;
        Ok(current.map(|(record, bytes)| Snapshot {
            meta: (&record).into(),
            snapshot: Box::new(Cursor::new(bytes)),
        }))
    }
}

/// Copies the rows as they were when it was made.
pub(crate) struct SnapshotBuilder {
    db: Arc<Db>,
    /// taken by the first build; a second one looks anew
    view: Option<Result<View, DbError>>,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let view = self.view.take();
        let build = move |db: &Arc<Db>| {
            let view = view.unwrap_or_else(|| db.view())?;
            snapshot::build(db, &view)
        };
        let built = blocking(&self.db, build).await;
        let (record, bytes) = built.map_err(|error| {
            tracing::error!(%error, "no snapshot could be made");
            StorageIOError::write_snapshot(None, any(&error))
        })?;
        tracing::info!(snapshot = %record.id, bytes = record.bytes, "snapshot made");
        Ok(Snapshot { meta: (&record).into(), snapshot: Box::new(Cursor::new(bytes)) })
    }
}

/// Applies `entries` in one transaction, and tells of those that cannot be.
pub(crate) fn apply(db: &Arc<Db>, entries: Vec<Entry>) -> Result<Outcome, DbError> {
    let outcome = apply_all(db, entries)?;
    if !outcome.quarantined.is_empty() {
        quarantine::report(&outcome.quarantined);
        db.count_quarantined()?;
    }
    Ok(outcome)
}

fn apply_all(db: &Arc<Db>, entries: Vec<Entry>) -> Result<Outcome, DbError> {
    db.write(Durability::None, |txn| {
        let mut outcome = Outcome::default();
        let mut state: AppliedRecord = get_meta(txn, meta::APPLIED)?.unwrap_or_default();
        let mut rows = OpenRows::new(txn.open_table(ROWS)?);
        for entry in entries {
            state.last = Some(entry.log_id.into());
            let (applied, changes) = match entry.payload {
                EntryPayload::Blank => Default::default(),
                EntryPayload::Normal(batch) => {
                    run(&mut rows, entry.log_id.index, &batch, &mut outcome.quarantined)?
                }
                EntryPayload::Membership(membership) => {
                    state.membership = StoredMembershipRecord::new(entry.log_id, &membership);
                    Default::default()
                }
            };
            outcome.applied.push(applied);
            if !changes.is_empty() {
                outcome.committed.push(Committed { index: entry.log_id.index, changes });
            }
        }
        drop(rows);
        quarantine::put(txn, &outcome.quarantined)?;
        put_meta(txn, meta::APPLIED, &state)?;
        Ok(outcome)
    })
}

/// Runs the commands of the entry at `index`, in order: each sees what those before it have written. One that cannot
/// be run is passed over, and goes to `quarantined`.
fn run(
    rows: &mut OpenRows<'_>,
    index: u64,
    batch: &Batch,
    quarantined: &mut Vec<Quarantined>,
) -> Result<(Applied, Vec<Change>), TxnError> {
    let mut applied = Applied::default();
    let mut all = Vec::new();
    for (number, encoded) in batch.commands.iter().enumerate() {
        let ran = match encoded.decode() {
            Ok(command) => rows.run(&command)?,
            Err(error) => Err(format!("this release does not know it: {error}")),
        };
        applied.replies.push(match ran {
            Ok((reply, changes)) => {
                all.extend(changes);
                Ok(reply)
            }
            Err(reason) => {
                quarantined.push(Quarantined::new(index, number, encoded, reason.clone()));
                Err(reason)
            }
        });
    }
    Ok((applied, all))
}

/// Replaces all rows by those of a snapshot from another node; says what changes by that.
fn install(
    txn: &WriteTransaction,
    covers: AppliedRecord,
    id: &str,
    bytes: &[u8],
) -> Result<Vec<Change>, TxnError> {
    let new = snapshot::decode(bytes)?;
    let mut rows = OpenRows::new(txn.open_table(ROWS)?);
    let mut changes = Vec::new();
    for entry in rows.table.iter()? {
        let key = entry?.0.value().to_vec();
        if new.binary_search_by(|(new, _)| (*new).cmp(&key)).is_err() {
            changes.push(Change { key: key_of(&key)?, row: None });
        }
    }
    for (key, value) in new {
        changes.push(change_of(key, value)?);
    }
    for change in &changes {
        rows.write(change)?;
    }
    drop(rows);
    // What was passed over here is in these rows as the leader has it.
    quarantine::forget(txn, covers.last.map_or(0, |last| last.index))?;
    put_meta(txn, meta::APPLIED, &covers)?;
    snapshot::store_within(txn, covers, id, bytes)?;
    Ok(changes)
}

fn any(error: &DbError) -> AnyError {
    AnyError::new(error)
}
