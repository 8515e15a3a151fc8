//! What happens to the file before Raft starts on it.

use crate::db::{Db, DbError, get_meta};
use crate::log_store::{entries, log_state};
use crate::records::{AppliedRecord, LogIdRecord, MembershipRecord};
use crate::rows;
use crate::state_machine::apply;
use crate::tables::meta;
use muster_core::persist::Change;
use openraft::EntryPayload;
use std::ops::Bound;
use std::sync::Arc;

/// Entries are applied again in portions of about this many bytes.
const PORTION: usize = 4 << 20;

/// Applies what the log holds and the rows lack, as far as it is known to be committed; answers all rows.
///
/// Raft does the same when it starts, but tells the naming loop of it through the channel, which nobody
/// reads before `open` has returned. Doing it here makes the rule for the caller simple: the rows that
/// `open` answers hold every acknowledged write, and the channel brings all that comes later.
pub(crate) fn recover(db: &Arc<Db>, node: u64) -> Result<Vec<Change>, DbError> {
    let applied: AppliedRecord = db.read(|txn| Ok(get_meta(txn, meta::APPLIED)?.unwrap_or_default()))?;
    let next = applied.last.map_or(0, |last| last.index + 1);
    if let Some(end) = committed(db, node, &applied, next)? {
        apply_until(db, end)?;
    }
    db.read(rows::all)
}

/// Applies what the rows lack of the log, up to entry `end`.
pub(crate) fn apply_until(db: &Arc<Db>, end: u64) -> Result<(), DbError> {
    let mut next = applied_index(db)?.map_or(0, |last| last + 1);
    while next <= end {
        let range = (Bound::Included(next), Bound::Included(end));
        let portion = db.read(|txn| entries(txn, range, PORTION))?;
        let Some(last) = portion.last().map(|entry| entry.log_id.index) else { break };
        tracing::info!(from = next, to = last, "applying log entries again");
        apply(db, portion)?;
        next = last + 1;
    }
    Ok(())
}

/// Index of the last entry in the rows.
pub(crate) fn applied_index(db: &Db) -> Result<Option<u64>, DbError> {
    let applied: AppliedRecord = db.read(|txn| Ok(get_meta(txn, meta::APPLIED)?.unwrap_or_default()))?;
    Ok(applied.last.map(|last| last.index))
}

/// The last entry that is known to be committed.
///
/// Where this node alone votes, that is the last one in its log: durable here is durable in the majority.
fn committed(db: &Arc<Db>, node: u64, applied: &AppliedRecord, next: u64) -> Result<Option<u64>, DbError> {
    let known = db.read(|txn| get_meta::<LogIdRecord>(txn, meta::COMMITTED))?.map(|id| id.index);
    let memberships = memberships(db, applied, next)?;
    let alone = memberships.iter().all(|membership| membership.is_only_voter(node));
    if memberships.is_empty() || !alone {
        return Ok(known);
    }
    Ok(db.read(log_state)?.last_log_id.map(|id| id.index))
}

/// Every membership that may be in force: the applied one, and those of entries that are not applied yet.
fn memberships(db: &Arc<Db>, applied: &AppliedRecord, next: u64) -> Result<Vec<MembershipRecord>, DbError> {
    let mut found = Vec::new();
    if *applied.membership.membership() != MembershipRecord::default() {
        found.push(applied.membership.membership().clone());
    }
    let range = (Bound::Included(next), Bound::Unbounded);
    for entry in db.read(|txn| entries(txn, range, usize::MAX))? {
        if let EntryPayload::Membership(membership) = &entry.payload {
            found.push(membership.into());
        }
    }
    Ok(found)
}
