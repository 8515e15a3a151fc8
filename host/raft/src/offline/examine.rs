//! Looking for what is wrong with a file.

use super::facts::{Examination, Facts, Finding, Kind};
use super::look_into;
use crate::db::{TxnError, decode, get_meta};
use crate::error::OpenError;
use crate::group::Group;
use crate::quarantine::{self, Quarantined};
use crate::records::{AppliedRecord, EntryRecord, LogIdRecord, MembershipRecord, SnapshotRecord, VoteRecord};
use crate::rows::change_of;
use crate::snapshot;
use crate::tables::{LOG, ROWS, meta};
use crate::types::{Batch, EncodedCommand, Entry};
use openraft::EntryPayload;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};
use std::path::Path;

/// Findings of one kind that are listed one by one; the rest are counted.
const LISTED: usize = 20;

/// Looks at the file of a node that does not run: checksums, log, rows, snapshot and membership, and how they fit
/// together. Nothing is written to it.
///
/// # Errors
/// [`OpenError`]; [`OpenError::Corrupt`] where checksums are wrong, or the file is none of ours.
pub fn examine(path: &Path) -> Result<Examination, OpenError> {
    let (db, node) = look_into(path)?;
    let examined = db.read(|txn| {
        let mut look = Look { txn, facts: Facts { node, ..Facts::default() }, findings: Vec::new() };
        look.at_all()?;
        let quarantine = look.at_quarantine()?;
        Ok(Examination { facts: look.facts, findings: look.findings, quarantine })
    });
    Ok(examined?)
}

struct Look<'a> {
    txn: &'a ReadTransaction,
    facts: Facts,
    findings: Vec<Finding>,
}

/// What is known when the log is looked at.
struct Ends {
    purged: Option<LogIdRecord>,
    applied: AppliedRecord,
    snapshot: Option<SnapshotRecord>,
}

impl Look<'_> {
    fn damage(&mut self, what: impl Into<String>) {
        self.findings.push(Finding::damage(what));
    }

    /// Of several alike: the first ones, and how many more.
    fn damages(&mut self, mut all: Vec<String>) {
        let more = all.len().saturating_sub(LISTED);
        all.truncate(LISTED);
        all.into_iter().for_each(|what| self.damage(what));
        if more > 0 {
            self.damage(format!("{more} more like these"));
        }
    }

    /// What cannot be decoded is a finding; what cannot be read is an error.
    fn decoded<T>(&mut self, read: Result<T, TxnError>) -> Result<Option<T>, TxnError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(TxnError::Undecodable { what, reason }) => {
                self.damage(format!("{what} cannot be decoded: {reason}"));
                Ok(None)
            }
            Err(error @ TxnError::Redb(_)) => Err(error),
        }
    }

    fn meta<T: serde::de::DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, TxnError> {
        let read = get_meta(self.txn, key);
        Ok(self.decoded(read)?.flatten())
    }

    fn at_all(&mut self) -> Result<(), TxnError> {
        let group: Option<Group> = self.meta(meta::GROUP)?;
        let vote: Option<VoteRecord> = self.meta(meta::VOTE)?;
        let committed: Option<LogIdRecord> = self.meta(meta::COMMITTED)?;
        let ends = Ends {
            purged: self.meta(meta::PURGED)?,
            applied: self.meta(meta::APPLIED)?.unwrap_or_default(),
            snapshot: self.meta(meta::SNAPSHOT)?,
        };
        self.facts.group = group.map(|group| group.to_string());
        self.facts.term = vote.map(|vote| vote.term);
        self.facts.committed = committed.map(|id| id.index);
        self.facts.purged = ends.purged.map(|id| id.index);
        self.facts.applied = ends.applied.last.map(|id| id.index);
        self.facts.snapshot =
            ends.snapshot.as_ref().and_then(|snapshot| snapshot.covers.last).map(|id| id.index);
        let membership = self.at_log(&ends)?;
        self.at_ends(&ends);
        self.at_membership(&membership);
        self.at_rows()?;
        self.at_snapshot(&ends)
    }

    /// Every entry: readable, in its place, without a gap. Answers the membership in force.
    fn at_log(&mut self, ends: &Ends) -> Result<MembershipRecord, TxnError> {
        let mut membership = ends.applied.membership.membership().clone();
        let mut next = ends.purged.map_or(0, |id| id.index + 1);
        let mut term = ends.purged.map_or(0, |id| id.term);
        let log = self.txn.open_table(LOG)?;
        for stored in log.iter()? {
            let (index, value) = stored?;
            let index = index.value();
            self.facts.first_log.get_or_insert(index);
            self.facts.last_log = Some(index);
            if index != next {
                self.damage(format!("the log has entry {index} where {next} should come next"));
            }
            next = index + 1;
            let read = decode::<EntryRecord>(value.value(), || format!("log entry {index}"));
            let Some(entry) = self.decoded(read)?.map(Entry::from) else { continue };
            let id = LogIdRecord::from(entry.log_id);
            if id.index != index || id.term < term {
                self.damage(format!(
                    "log entry {index} says it is entry {} of term {}, after term {term}",
                    id.index, id.term
                ));
            }
            term = term.max(id.term);
            if ends.applied.last.is_some_and(|last| last.index == index && last != id) {
                self.damage(format!("the rows contain another entry {index} than the log has"));
            }
            let is_new = ends.applied.last.is_none_or(|last| index > last.index);
            match entry.payload {
                EntryPayload::Membership(new) if is_new => membership = (&new).into(),
                EntryPayload::Normal(batch) if is_new => self.at_commands(index, &batch),
                _ => {}
            }
        }
        self.facts.last_log_term = self.facts.last_log.max(self.facts.purged).map(|_| term);
        if self.facts.term.unwrap_or(0) < term {
            self.damage(format!("the log has entries of term {term}, and this node voted in none so late"));
        }
        Ok(membership)
    }

    fn at_commands(&mut self, index: u64, batch: &Batch) {
        for (number, command) in batch.commands.iter().enumerate() {
            let Err(error) = command.decode() else { continue };
            self.findings.push(Finding {
                kind: Kind::Quarantine,
                what: format!("this release does not know command {number} of log entry {index}: {error}"),
                remedy: "It is not in the rows yet, and would be put into quarantine. Start a release that knows it: \
                         the newest one that any member runs."
                    .into(),
            });
        }
    }

    /// Log, rows and snapshot have to overlap.
    fn at_ends(&mut self, ends: &Ends) {
        let Facts { purged, last_log, applied, snapshot, committed, .. } = self.facts;
        let end = last_log.max(purged);
        if applied < purged {
            self.damage(format!(
                "the log was dropped up to entry {}, and the rows have only what came up to {}",
                shown(purged),
                shown(applied)
            ));
        }
        if applied > end && snapshot < applied {
            self.damage(format!(
                "the rows contain what came up to entry {}, the log ends with {}, and no snapshot covers the rest",
                shown(applied),
                shown(end)
            ));
        }
        if snapshot > applied {
            self.damage(format!(
                "the snapshot covers more, up to entry {}, than the rows, up to {}",
                shown(snapshot),
                shown(applied)
            ));
        }
        if ends.snapshot.is_some() && snapshot < purged {
            self.damage(format!(
                "the log was dropped up to entry {}, and the snapshot covers only what came up to {}",
                shown(purged),
                shown(snapshot)
            ));
        }
        if committed > end.max(applied) {
            self.damage(format!(
                "entry {} is committed, and the log ends with {}: acknowledged writes are missing",
                shown(committed),
                shown(end)
            ));
        }
    }

    fn at_membership(&mut self, membership: &MembershipRecord) {
        self.facts.members = membership.members();
        self.facts.changing = membership.is_changing();
        let node = self.facts.node;
        let empty = self.facts.members.is_empty();
        if !empty && !self.facts.members.iter().any(|member| member.id == node) {
            self.findings.push(Finding {
                kind: Kind::Membership,
                what: format!("node {node} is not, or no longer, a member of its group"),
                remedy: "Start it with an empty data directory to have it let in again.".into(),
            });
        }
    }

    fn at_rows(&mut self) -> Result<(), TxnError> {
        let rows = self.txn.open_table(ROWS)?;
        self.facts.rows = rows.len()?;
        let mut wrong = Vec::new();
        for row in rows.iter()? {
            let (key, value) = row?;
            wrong.extend(undecodable(change_of(key.value(), value.value()))?);
        }
        self.damages(wrong);
        Ok(())
    }

    /// It can be read as a whole, and where it covers all that the rows contain, it is the same as they.
    fn at_snapshot(&mut self, ends: &Ends) -> Result<(), TxnError> {
        let current = snapshot::current(self.txn);
        let Some(Some((record, bytes))) = self.decoded(current)? else { return Ok(()) };
        let read = snapshot::decode(&bytes);
        let Some(rows) = self.decoded(read)? else { return Ok(()) };
        let mut wrong = Vec::new();
        for (key, value) in rows {
            wrong.extend(undecodable(change_of(key, value))?.map(|what| format!("in the snapshot: {what}")));
        }
        self.damages(wrong);
        if record.covers.last == ends.applied.last && snapshot::encode(self.txn)? != bytes {
            self.damage("the snapshot and the rows contain the same entries, and are not the same");
        }
        Ok(())
    }

    fn at_quarantine(&mut self) -> Result<Vec<Quarantined>, TxnError> {
        self.facts.quarantined = quarantine::count(self.txn)?;
        let read = quarantine::all(self.txn);
        let kept = self.decoded(read)?.unwrap_or_default();
        for one in kept.iter().take(LISTED) {
            self.findings.push(quarantined(one));
        }
        let more = self.facts.quarantined.saturating_sub(kept.len().min(LISTED) as u64);
        if more > 0 {
            let what = format!("{more} more commands are in quarantine");
            self.findings.push(Finding { kind: Kind::Quarantine, what, remedy: SAME_RELEASE.into() });
        }
        Ok(kept)
    }
}

const SAME_RELEASE: &str = "Where other members run a newer release, they may have applied it, and the rows of this node \
                            differ: upgrade it, take it out (removePeer) and start it with an empty data directory. \
                            Where all members passed it over, the write did not happen: write it again if it is \
                            wanted, and put the alert away with clearQuarantine.";

fn quarantined(one: &Quarantined) -> Finding {
    let Quarantined { index, number, bytes, reason, command } = one;
    let what = format!("command {number} of log entry {index} ({bytes} bytes) is in quarantine: {reason}");
    let known = serde_json::from_str::<EncodedCommand>(command).is_ok_and(|command| command.decode().is_ok());
    let remedy = match known {
        false => SAME_RELEASE,
        true => {
            "This release knows it, the one that ran before did not: members of this release have applied it, and the \
             rows of this node differ from theirs. Take this node out (removePeer) and start it with an empty data \
             directory."
        }
    };
    Finding { kind: Kind::Quarantine, what, remedy: remedy.into() }
}

/// What cannot be decoded, in words.
fn undecodable<T>(read: Result<T, TxnError>) -> Result<Option<String>, TxnError> {
    match read {
        Ok(_) => Ok(None),
        Err(TxnError::Undecodable { what, reason }) => {
            Ok(Some(format!("{what} cannot be decoded: {reason}")))
        }
        Err(error @ TxnError::Redb(_)) => Err(error),
    }
}

fn shown(index: Option<u64>) -> String {
    index.map_or_else(|| "none".into(), |index| index.to_string())
}
