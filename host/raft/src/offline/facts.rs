//! What looking at a data file comes to.

use crate::quarantine::Quarantined;
use crate::status::Member;
use serde::Serialize;
use std::fmt;

/// What is in a file, and what is wrong with it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Examination {
    /// what is in it
    pub facts: Facts,
    /// what is wrong, or needs to be known; none where all is good
    pub findings: Vec<Finding>,
    /// the commands that were passed over, as far as they were kept
    pub quarantine: Vec<Quarantined>,
}

/// What is in a file. Indexes are those of log entries.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    /// whose it is
    pub node: u64,
    /// the group that it belongs to
    pub group: Option<String>,
    /// the last term it voted in
    pub term: Option<u64>,
    /// the last entry that was dropped from the log
    pub purged: Option<u64>,
    /// the first entry in the log
    pub first_log: Option<u64>,
    /// the last entry in the log
    pub last_log: Option<u64>,
    /// the term of the last entry that was ever in the log
    pub last_log_term: Option<u64>,
    /// the last entry known to be committed, which may lag
    pub committed: Option<u64>,
    /// the last entry in the rows
    pub applied: Option<u64>,
    /// the last entry in the snapshot
    pub snapshot: Option<u64>,
    /// who belongs to the group, as far as this file knows
    pub members: Vec<Member>,
    /// whether a change of the voters is under way
    pub changing: bool,
    /// how many rows there are
    pub rows: u64,
    /// how many commands are in quarantine
    pub quarantined: u64,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// of which kind
    pub kind: Kind,
    /// what was found
    pub what: String,
    /// what to do
    pub remedy: String,
}

/// Kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// the file contradicts itself, or something in it cannot be read
    Damage,
    /// a command could not be applied, or will not be
    Quarantine,
    /// the node is not in its group
    Membership,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n   {}", self.what, self.remedy)
    }
}

impl Finding {
    pub(super) fn damage(what: impl Into<String>) -> Self {
        let remedy = "Do not start the node on it. Restore the file from a copy; or, where other members hold the data, \
                      take this node out (removePeer), and start it with an empty data directory: it gets everything \
                      from them.";
        Self { kind: Kind::Damage, what: what.into(), remedy: remedy.into() }
    }
}
