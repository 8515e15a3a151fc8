//! What the members of a cluster have agreed on about one plugin: a row of the Raft log, and the acts that change it.
//!
//! An act decides nothing by itself: it names the version that it is about by its serial, and does nothing when that one
//! is not there any more. So members may say the same thing twice, late, or at the same time.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A version: what is in its files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Digests {
    /// sha256 of the component, lower-case hex
    pub component: String,
    /// sha256 of the manifest: other grants are another version
    pub manifest: String,
    /// sha256 of the signatures, where there are any
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// The versions of one plugin that all members want.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wanted {
    /// that of the version that came last
    pub serial: u64,
    /// the active version; none: what each member has by itself, a bundled one or a file of its own
    pub active: Option<Digests>,
    /// that of the active version; 0 when there is none
    pub active_serial: u64,
    /// the version before it, as [`Wanted::active`]
    pub previous: Option<Digests>,
    /// whether there was a version before it
    pub has_previous: bool,
    /// the version on its way
    pub candidate: Option<Coming>,
    /// the version that was taken back last
    pub withdrawn: Option<Withdrawn>,
    /// an operator wants the plugin not to be called
    pub called_off: bool,
    /// what operators granted it on all members
    #[serde(skip_serializing_if = "Granted::is_empty")]
    pub granted: Granted,
}

/// A version on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coming {
    /// which one
    pub serial: u64,
    /// what it is
    pub version: Digests,
    /// the digest of a version that may ask for more than the active one
    pub approved: Option<String>,
    /// whether the member that it was sent to had a version of the plugin
    pub replaces: bool,
    /// members on which it passed everything, and whether it was called for a target there
    pub ready: BTreeMap<u64, bool>,
    /// how far an operator wants it to be without waiting
    pub pushed: Push,
}

/// A version that was taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Withdrawn {
    /// which one
    pub serial: u64,
    /// what it is
    pub version: Digests,
    /// the member that found it out; none for an operator
    pub by: Option<u64>,
    /// why, for people
    pub why: String,
    /// whether it was the active one
    pub was_active: bool,
}

/// How far an operator wants a candidate to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Push {
    /// as far as its answers bring it
    #[default]
    None,
    /// not in shadow any more
    Canary,
    /// active
    Active,
}

/// What a plugin may have on all members, beside what the settings of each of them grant.
///
/// Texts, which whoever grants them has read: a member that cannot read one grants nothing by it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Granted {
    /// places beyond its targets
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub hosts: BTreeSet<String>,
    /// names of secrets, never what they stand for
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
}

/// Hosts, and secrets, that a plugin may be granted. A grant beyond it changes nothing.
pub const MAX_GRANTED: usize = 128;

impl Granted {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.secrets.is_empty()
    }

    /// Both together; none when that is too much.
    #[must_use]
    pub fn with(&self, more: &Self) -> Option<Self> {
        let all = Self { hosts: &self.hosts | &more.hosts, secrets: &self.secrets | &more.secrets };
        (all.hosts.len() <= MAX_GRANTED && all.secrets.len() <= MAX_GRANTED).then_some(all)
    }

    /// What is left without `less`.
    #[must_use]
    pub fn without(&self, less: &Self) -> Self {
        Self { hosts: &self.hosts - &less.hosts, secrets: &self.secrets - &less.secrets }
    }
}

/// What a member or an operator says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// A version comes, in the place of one that is on its way.
    Install {
        /// what it is
        version: Digests,
        /// the digest of a version that may ask for more than the active one
        approved: Option<String>,
        /// whether the member that it was sent to has a version of the plugin
        replaces: bool,
    },
    /// The candidate passed everything on one member.
    Ready {
        /// which one
        serial: u64,
        /// the member
        node: u64,
        /// whether it was called for a target there
        tried: bool,
    },
    /// An operator does not want to wait.
    Push {
        /// which candidate
        serial: u64,
        /// how far
        to: Push,
    },
    /// The candidate becomes active. Said by the leader ([`may_activate`]).
    Activate {
        /// which one
        serial: u64,
    },
    /// A candidate goes, or the active version makes room for the one before it.
    Withdraw {
        /// which one
        serial: u64,
        /// the member that found it out; none for an operator
        by: Option<u64>,
        /// why, for people
        why: String,
    },
    /// An operator wants the plugin not to be called, or to be called again.
    CallOff {
        /// not
        off: bool,
    },
    /// An operator grants the plugin more.
    Grant(Granted),
    /// An operator takes grants back.
    Revoke(Granted),
    /// An operator takes all of them back.
    RevokeAll,
}

/// What `act` makes of a row; none when it changes nothing.
pub fn act(row: Option<&Wanted>, act: &Act) -> Option<Wanted> {
    let mut new = row.cloned().unwrap_or_default();
    new.take(act);
    (row != Some(&new)).then_some(new)
}

impl Wanted {
    /// The candidate, if it is this one.
    fn coming(&mut self, serial: u64) -> Option<&mut Coming> {
        self.candidate.as_mut().filter(|coming| coming.serial == serial)
    }

    fn take(&mut self, act: &Act) {
        match act {
            Act::Install { version, approved, replaces } => {
                self.serial += 1;
                self.candidate = Some(Coming {
                    serial: self.serial,
                    version: version.clone(),
                    approved: approved.clone(),
                    replaces: *replaces,
                    ready: BTreeMap::new(),
                    pushed: Push::None,
                });
            }
            Act::Ready { serial, node, tried } => {
                if let Some(coming) = self.coming(*serial) {
                    coming.ready.insert(*node, *tried);
                }
            }
            Act::Push { serial, to } => {
                if let Some(coming) = self.coming(*serial) {
                    coming.pushed = coming.pushed.max(*to);
                }
            }
            Act::Activate { serial } => self.activate(*serial),
            Act::Withdraw { serial, by, why } => {
                if let Some((version, was_active)) = self.withdraw(*serial) {
                    let (serial, by, why) = (*serial, *by, why.clone());
                    self.withdrawn = Some(Withdrawn { serial, version, by, why, was_active });
                }
            }
            Act::CallOff { off } => self.called_off = *off,
            Act::Grant(more) => {
                if let Some(all) = self.granted.with(more) {
                    self.granted = all;
                }
            }
            Act::Revoke(less) => self.granted = self.granted.without(less),
            Act::RevokeAll => self.granted = Granted::default(),
        }
    }

    fn activate(&mut self, serial: u64) {
        let Some(coming) = self.candidate.take_if(|coming| coming.serial == serial) else { return };
        self.has_previous = self.active.is_some() || coming.replaces;
        self.previous = self.active.replace(coming.version);
        (self.active_serial, self.called_off) = (serial, false);
    }

    /// The version that went, and whether it was active.
    fn withdraw(&mut self, serial: u64) -> Option<(Digests, bool)> {
        if let Some(coming) = self.candidate.take_if(|coming| coming.serial == serial) {
            return Some((coming.version, false));
        }
        if self.active_serial != serial || !self.has_previous {
            return None;
        }
        let version = std::mem::replace(&mut self.active, self.previous.take())?;
        (self.active_serial, self.has_previous, self.called_off) = (0, false, false);
        Some((version, true))
    }
}

/// Whether a candidate may become active: it is ready on every member that is alive, and, where it is a check that
/// somebody uses, at least one of them has called it. A member that is not alive gets the version when it is back.
pub fn may_activate(coming: &Coming, alive: &BTreeSet<u64>) -> bool {
    let is_ready = |id: &u64| coming.ready.contains_key(id);
    !alive.is_empty() && alive.iter().all(is_ready) && coming.ready.values().any(|tried| *tried)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str) -> Digests {
        Digests { component: name.into(), manifest: "m".into(), signature: None }
    }

    fn install(name: &str) -> Act {
        Act::Install { version: version(name), approved: None, replaces: true }
    }

    fn withdraw(serial: u64) -> Act {
        Act::Withdraw { serial, by: Some(1), why: "it trapped".into() }
    }

    /// The row after these acts.
    fn after(acts: &[Act]) -> Wanted {
        acts.iter().fold(Wanted::default(), |row, one| act(Some(&row), one).unwrap_or(row))
    }

    #[test]
    fn a_version_becomes_active_and_the_one_before_it_comes_back() {
        let row = after(&[install("one"), Act::Activate { serial: 1 }, install("two")]);
        assert_eq!((row.active.clone(), row.active_serial), (Some(version("one")), 1));
        let row = act(Some(&row), &Act::Activate { serial: 2 }).unwrap();
        assert_eq!((&row.active, &row.previous), (&Some(version("two")), &Some(version("one"))));
        let row = act(Some(&row), &withdraw(2)).unwrap();
        assert_eq!((row.active.clone(), row.previous.clone()), (Some(version("one")), None));
        assert!(row.withdrawn.as_ref().is_some_and(|gone| gone.was_active && gone.version == version("two")));
        assert_eq!(act(Some(&row), &withdraw(2)), None, "said by a second member");
    }

    #[test]
    fn the_first_version_makes_room_for_what_each_member_has_by_itself() {
        let row = after(&[install("one"), Act::Activate { serial: 1 }, withdraw(1)]);
        assert_eq!((row.active, row.has_previous), (None, false));
        let alone = Act::Install { version: version("new"), approved: None, replaces: false };
        let row = after(&[alone, Act::Activate { serial: 1 }]);
        assert_eq!(act(Some(&row), &withdraw(1)), None, "there is nothing to go back to");
    }

    #[test]
    fn what_is_said_of_a_candidate_that_was_replaced_changes_nothing() {
        let row = after(&[install("one"), install("two")]);
        let late = [
            Act::Ready { serial: 1, node: 3, tried: true },
            Act::Push { serial: 1, to: Push::Active },
            Act::Activate { serial: 1 },
            withdraw(1),
        ];
        for late in late {
            assert_eq!(act(Some(&row), &late), None, "{late:?}");
        }
        assert_eq!(row.candidate.map(|coming| coming.version), Some(version("two")));
    }

    #[test]
    fn a_push_only_goes_forward() {
        let push = |to| Act::Push { serial: 1, to };
        let row = after(&[install("one"), push(Push::Active), push(Push::Canary)]);
        assert_eq!(row.candidate.map(|coming| coming.pushed), Some(Push::Active));
    }

    #[test]
    fn every_live_member_has_to_be_ready_and_one_of_them_has_to_have_called_it() {
        let ready = |nodes: &[(u64, bool)]| {
            let acts = nodes.iter().map(|(node, tried)| Act::Ready { serial: 1, node: *node, tried: *tried });
            let acts: Vec<_> = std::iter::once(install("one")).chain(acts).collect();
            after(&acts).candidate.unwrap()
        };
        let alive = BTreeSet::from([1, 2]);
        assert!(!may_activate(&ready(&[(1, true)]), &alive));
        assert!(may_activate(&ready(&[(1, true), (2, false)]), &alive));
        assert!(!may_activate(&ready(&[(1, false), (2, false)]), &alive), "nobody has seen it work");
        assert!(may_activate(&ready(&[(1, true)]), &BTreeSet::from([1])), "the other is not alive");
        assert!(!may_activate(&ready(&[(1, true)]), &BTreeSet::new()));
    }

    #[test]
    fn an_activation_lets_the_plugin_be_called_again() {
        let row = after(&[Act::CallOff { off: true }, install("one"), Act::Activate { serial: 1 }]);
        assert!(!row.called_off);
    }

    fn granted(hosts: &[&str], secrets: &[&str]) -> Granted {
        let set = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Granted { hosts: set(hosts), secrets: set(secrets) }
    }

    #[test]
    fn grants_add_up_and_are_taken_back() {
        let first = Act::Grant(granted(&["a.example:443"], &["one"]));
        let second = Act::Grant(granted(&["b.example:443"], &["one", "two"]));
        let row = after(&[first.clone(), second]);
        assert_eq!(row.granted, granted(&["a.example:443", "b.example:443"], &["one", "two"]));
        assert_eq!(act(Some(&row), &first), None, "said again");
        let row = act(Some(&row), &Act::Revoke(granted(&["a.example:443"], &["two", "three"]))).unwrap();
        assert_eq!(row.granted, granted(&["b.example:443"], &["one"]));
        let row = act(Some(&row), &Act::RevokeAll).unwrap();
        assert_eq!((row.granted, row.serial), (Granted::default(), 0));
    }

    #[test]
    fn grants_are_bounded_and_stay_with_the_plugin_when_its_versions_change() {
        let row = after(&[Act::Grant(granted(&[], &["one"])), install("one"), Act::Activate { serial: 1 }]);
        assert_eq!(row.granted, granted(&[], &["one"]));
        let many = (0..MAX_GRANTED).map(|n| n.to_string()).collect();
        let many = Act::Grant(Granted { secrets: many, hosts: BTreeSet::new() });
        assert_eq!(act(Some(&row), &many), None, "one too many");
        assert_eq!(after(&[many]).granted.secrets.len(), MAX_GRANTED);
    }

    #[test]
    fn a_row_of_a_release_that_knew_less_can_be_read() {
        let row: Wanted = serde_json::from_str(r#"{"serial": 3, "calledOff": true}"#).unwrap();
        assert_eq!(row, Wanted { serial: 3, called_off: true, ..Wanted::default() });
        let text = serde_json::to_string(&row).unwrap();
        assert!(!text.contains("granted"), "a row without grants is what it was before: {text}");
        let row: Wanted = serde_json::from_str(r#"{"granted": {"secrets": ["one"], "later": 1}}"#).unwrap();
        assert_eq!(row.granted, granted(&[], &["one"]));
    }
}
