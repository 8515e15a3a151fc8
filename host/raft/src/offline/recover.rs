//! A group of one, of what one member of a lost group has.

use super::examine::examine;
use super::facts::{Finding, Kind};
use crate::db::{Db, DbError, get_meta, put_meta};
use crate::error::OpenError;
use crate::group::Group;
use crate::log_store::log_state;
use crate::records::{AppliedRecord, MembershipRecord, StoredMembershipRecord};
use crate::recover::{applied_index, apply_until};
use crate::snapshot;
use crate::status::Member;
use crate::tables::{LOG, meta};
use redb::{Durability, WriteTransaction};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Copies that may lie beside the file.
const MOST_COPIES: u32 = 1_000;
/// What is written as the address of a node whose own is not known; it is corrected when the node starts.
const UNKNOWN_ADDRESS: &str = "127.0.0.1:7848";

/// What was done.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// the file as it was before
    pub backup: PathBuf,
    /// whose file it is, the only member from now on
    pub node: u64,
    /// the members before
    pub members: Vec<Member>,
    /// the new group
    pub group: Group,
    /// index of the last entry that the rows contain
    pub last: u64,
    /// entries among them that were not known to be committed, and are from now on
    pub unconfirmed: u64,
}

/// Why it was not done. Nothing was changed then, but that a copy may lie beside the file.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The file cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It contradicts itself.
    #[error("{path} is damaged: {finding}")]
    Damaged {
        /// the file
        path: PathBuf,
        /// the first that was found
        finding: Finding,
    },
    /// It was never part of a group.
    #[error("{path} holds nothing: the node never belonged to a group, so just start it")]
    Nothing {
        /// the file
        path: PathBuf,
    },
    /// The node is alone already.
    #[error("{path}: this node is the only voter of its group and needs nobody else: just start it")]
    Alone {
        /// the file
        path: PathBuf,
    },
    /// No copy could be made.
    #[error("no copy of {path} could be made: {source}")]
    Copy {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: io::Error,
    },
}

impl From<DbError> for RecoverError {
    fn from(error: DbError) -> Self {
        Self::Open(error.into())
    }
}

/// Makes a group of one of the file of a node that does not run, for a cluster whose majority is gone for ever.
///
/// Everything in its log is applied, also entries whose commit this node never heard of: as nobody else is left, they
/// cannot be told from committed ones. Log and rows are folded into a snapshot, the node becomes the only member, and
/// the group gets a new number, so that members of the old one which do come back are strangers to it. What is lost is
/// what the others had acknowledged and this node had not received.
///
/// # Errors
/// [`RecoverError`].
pub fn recover(path: &Path) -> Result<Recovered, RecoverError> {
    let own = || path.to_owned();
    let seen = examine(path)?;
    if let Some(finding) = seen.findings.into_iter().find(|finding| finding.kind == Kind::Damage) {
        return Err(RecoverError::Damaged { path: own(), finding });
    }
    let members = seen.facts.members;
    if members.is_empty() || seen.facts.applied.max(seen.facts.last_log).is_none() {
        return Err(RecoverError::Nothing { path: own() });
    }
    let node = seen.facts.node;
    if members.iter().filter(|member| member.voter).all(|member| member.id == node) {
        return Err(RecoverError::Alone { path: own() });
    }
    let backup = copy(path).map_err(|source| RecoverError::Copy { path: own(), source })?;

    let db = Arc::new(Db::open(path, Some(node), true)?.0);
    let confirmed = applied_index(&db)?.max(seen.facts.committed);
    if let Some(end) = db.read(log_state)?.last_log_id {
        apply_until(&db, end.index)?;
    }
    let group = Group::draw();
    let address = members.iter().find(|member| member.id == node).map(|member| member.address.clone());
    let only = MembershipRecord::only(node, address.unwrap_or_else(|| UNKNOWN_ADDRESS.into()));
    let last = fold(&db, group, only)?.ok_or_else(|| RecoverError::Nothing { path: own() })?;
    db.close()?;
    let unconfirmed = last.saturating_sub(confirmed.unwrap_or(0));
    Ok(Recovered { backup, node, members, group, last, unconfirmed })
}

/// Rows, log and membership become a snapshot of `group` with one member; answers the last entry in it.
fn fold(db: &Db, group: Group, only: MembershipRecord) -> Result<Option<u64>, DbError> {
    let applied: Option<AppliedRecord> = db.read(|txn| get_meta(txn, meta::APPLIED))?;
    let Some(last) = applied.and_then(|applied| applied.last) else { return Ok(None) };
    let covers = AppliedRecord { last: Some(last), membership: StoredMembershipRecord::of(last, only) };
    let rows = db.read(snapshot::encode)?;
    // One transaction: a crash leaves the old group or the new one.
    db.write(Durability::Immediate, |txn: &WriteTransaction| {
        put_meta(txn, meta::GROUP, &group)?;
        put_meta(txn, meta::APPLIED, &covers)?;
        put_meta(txn, meta::COMMITTED, &last)?;
        put_meta(txn, meta::PURGED, &last)?;
        txn.open_table(LOG)?.retain(|_, _| false)?;
        snapshot::store_within(txn, covers.clone(), &format!("recovered-{group}"), &rows)
    })?;
    Ok(Some(last.index))
}

/// Copies the file beside itself, durably.
fn copy(path: &Path) -> io::Result<PathBuf> {
    for number in 1..=MOST_COPIES {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".before-recover-{number}"));
        let name = PathBuf::from(name);
        let mut new = match File::options().write(true).create_new(true).open(&name) {
            Ok(new) => new,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        io::copy(&mut File::open(path)?, &mut new)?;
        new.sync_all()?;
        return Ok(name);
    }
    Err(io::Error::other("there are a thousand copies already: remove some"))
}
