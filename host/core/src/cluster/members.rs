//! The member list: who is in it, how each is doing, whom to report to next.

use super::owner::{NodeId, View};
use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// From ready to the first report, in milliseconds. Source: Nacos `ServerMemberManager`.
pub const FIRST_REPORT: Millis = Millis::from_secs(5);
/// Between two reports, each to the next member in turn. Source: Nacos `MemberInfoReportTask`.
pub const REPORT_EVERY: Millis = Millis::from_secs(2);
/// Between two reports to each member that is not UP. Source: Nacos 3 `UnhealthyMemberInfoReportTask`.
pub const RECHECK_EVERY: Millis = Millis::from_secs(5);
/// Failures in a row that a member may have before it is DOWN.
/// Source: Nacos `nacos.core.member.fail-access-cnt`.
pub const FAILURES_MOST: u32 = 3;

/// How a member is doing. Source: Nacos `NodeState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MemberState {
    /// not serving yet
    Starting,
    /// serving
    Up,
    /// failed a report
    Suspicious,
    /// failed too many
    Down,
    /// taken out by an operator
    Isolation,
}

impl MemberState {
    /// The state of that name, in any case.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Starting, Self::Up, Self::Suspicious, Self::Down, Self::Isolation];
        all.into_iter().find(|state| state.word().eq_ignore_ascii_case(word))
    }

    /// Nacos's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Up => "UP",
            Self::Suspicious => "SUSPICIOUS",
            Self::Down => "DOWN",
            Self::Isolation => "ISOLATION",
        }
    }

    /// Whether such a member owns clients (N324).
    pub const fn serves(self) -> bool {
        matches!(self, Self::Up | Self::Suspicious)
    }
}

/// Another member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// how it is doing
    pub state: MemberState,
    /// reports that failed in a row
    pub failures: u32,
    /// who it is; none until it was reached for the first time
    pub id: Option<NodeId>,
}

/// The other members of the list, by address. See the module.
#[derive(Clone, Debug)]
pub struct Members {
    this: NodeId,
    address: String,
    peers: BTreeMap<String, Peer>,
    /// the one that was reported to last
    turn: String,
    report_at: Option<Millis>,
    recheck_at: Option<Millis>,
}

impl Members {
    /// Only this node.
    pub fn new(this: NodeId, address: &str) -> Self {
        Self {
            this,
            address: address.to_owned(),
            peers: BTreeMap::new(),
            turn: String::new(),
            report_at: None,
            recheck_at: None,
        }
    }

    /// Takes over the addresses of a new list. Members that stay keep what is known of them, and one that
    /// moved is known again as soon as it is reached. Answers whether anything changed.
    pub fn found(&mut self, addresses: &[String]) -> bool {
        let wanted: BTreeSet<&str> =
            addresses.iter().map(String::as_str).filter(|address| *address != self.address).collect();
        let before = self.peers.len();
        self.peers.retain(|address, _| wanted.contains(address.as_str()));
        let mut changed = self.peers.len() != before;
        for address in wanted {
            if !self.peers.contains_key(address) {
                changed = true;
                let new = Peer { state: MemberState::Up, failures: 0, id: None };
                self.peers.insert(address.to_owned(), new);
            }
        }
        changed
    }

    /// This node serves from now on: reports begin.
    pub fn ready(&mut self, now: Millis) {
        self.report_at = Some(now + FIRST_REPORT);
        self.recheck_at = Some(now + RECHECK_EVERY);
    }

    /// When [`Members::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.report_at.into_iter().chain(self.recheck_at).min()
    }

    /// To whom this node has to report now.
    pub fn tick(&mut self, now: Millis) -> BTreeSet<String> {
        let mut due = BTreeSet::new();
        if self.report_at.is_some_and(|at| at <= now) {
            self.report_at = Some(now + REPORT_EVERY);
            let next = self.peers.range(self.turn.clone()..).find(|(address, _)| **address != self.turn);
            if let Some((address, _)) = next.or_else(|| self.peers.iter().next()) {
                self.turn.clone_from(address);
                due.insert(address.clone());
            }
        }
        if self.recheck_at.is_some_and(|at| at <= now) {
            self.recheck_at = Some(now + RECHECK_EVERY);
            let unwell = self.peers.iter().filter(|(_, peer)| peer.state != MemberState::Up);
            due.extend(unwell.map(|(address, _)| address.clone()));
        }
        due
    }

    /// `id` at `address` was reached, or reported to us. Answers whether anything changed.
    pub fn reached(&mut self, address: &str, id: NodeId, starting: bool) -> bool {
        let Some(peer) = self.peers.get_mut(address).filter(|_| id != self.this) else { return false };
        let state = if starting { MemberState::Starting } else { MemberState::Up };
        let new = Peer { state, failures: 0, id: Some(id) };
        let changed = *peer != new;
        *peer = new;
        changed
    }

    /// A report to `address` failed, for a reason that is `Connection refused` or another. Answers whether its
    /// state changed.
    pub fn failed(&mut self, address: &str, reason: &str) -> bool {
        let Some(peer) = self.peers.get_mut(address) else { return false };
        peer.failures = peer.failures.saturating_add(1);
        let refused = reason.to_ascii_lowercase().contains("connection refused");
        let state = match peer.state {
            MemberState::Isolation => return false,
            _ if refused || peer.failures > FAILURES_MOST => MemberState::Down,
            MemberState::Down => MemberState::Down,
            _ => MemberState::Suspicious,
        };
        std::mem::replace(&mut peer.state, state) != state
    }

    /// All others, by address.
    pub fn peers(&self) -> &BTreeMap<String, Peer> {
        &self.peers
    }

    /// The members as the rules of naming see them. One that is in the list under two addresses serves when it
    /// does so under either.
    pub fn view(&self) -> View {
        let mut view = View::default();
        for peer in self.peers.values() {
            if let Some(id) = peer.id {
                *view.others.entry(id).or_default() |= peer.state.serves();
            }
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "10.0.0.1:8848";
    const B: &str = "10.0.0.2:8848";
    const C: &str = "10.0.0.3:8848";

    fn members() -> Members {
        let mut members = Members::new(NodeId(1), A);
        assert!(members.found(&[A, B, C].map(str::to_owned)));
        members
    }

    fn state(members: &Members, address: &str) -> MemberState {
        members.peers()[address].state
    }

    #[test]
    fn n311_reports_go_to_one_member_every_two_seconds_in_turn() {
        let mut members = members();
        assert_eq!(members.next_deadline(), None);
        members.ready(Millis(0));
        let mut told = Vec::new();
        for second in 0..=12 {
            told.extend(members.tick(Millis::from_secs(second)).into_iter().map(|to| (second, to)));
        }
        let expected = [(5, B), (7, C), (9, B), (11, C)].map(|(second, to)| (second, to.to_owned()));
        assert_eq!(told, expected);
    }

    #[test]
    fn members_that_are_not_up_are_asked_every_five_seconds() {
        let mut members = members();
        members.ready(Millis(0));
        members.failed(C, "timeout");
        members.tick(Millis::from_secs(4));
        assert_eq!(members.tick(Millis::from_secs(5)), BTreeSet::from([B.to_owned(), C.to_owned()]));
        members.reached(C, NodeId(3), false);
        members.tick(Millis::from_secs(9));
        assert_eq!(members.tick(Millis::from_secs(10)), BTreeSet::new());
    }

    #[test]
    fn n315_n316_n318_failures_lead_over_suspicious_to_down_and_a_success_back() {
        let mut members = members();
        assert_eq!(state(&members, B), MemberState::Up);
        let states: Vec<_> = (0..5)
            .map(|_| {
                members.failed(B, "deadline");
                state(&members, B)
            })
            .collect();
        use MemberState::{Down, Suspicious};
        assert_eq!(states, [Suspicious, Suspicious, Suspicious, Down, Down]);
        assert!(members.reached(B, NodeId(2), false));
        assert_eq!(members.peers()[B], Peer { state: MemberState::Up, failures: 0, id: Some(NodeId(2)) });
    }

    #[test]
    fn n317_a_refused_connection_is_down_at_once() {
        let mut members = members();
        assert!(members.failed(B, "tcp connect: CONNECTION REFUSED (os error 111)"));
        assert_eq!(state(&members, B), MemberState::Down);
        assert!(!members.failed(B, "deadline"));
        assert_eq!(state(&members, B), MemberState::Down);
    }

    #[test]
    fn n314_a_received_report_makes_the_sender_up_and_unknown_ones_are_ignored() {
        let mut members = members();
        members.failed(B, "x");
        assert!(members.reached(B, NodeId(2), false));
        assert_eq!((state(&members, B), members.peers()[B].failures), (MemberState::Up, 0));
        assert!(!members.reached("10.0.0.9:8848", NodeId(9), false));
        assert_eq!(members.peers().len(), 2);
    }

    #[test]
    fn n324_suspicious_members_serve_those_that_are_down_or_starting_do_not() {
        let mut members = members();
        members.reached(B, NodeId(2), false);
        members.reached(C, NodeId(3), true);
        members.failed(B, "x");
        assert_eq!(members.view().ring(NodeId(1)), [1, 2].map(NodeId).into());
        members.failed(B, "connection refused");
        members.reached(C, NodeId(3), false);
        assert_eq!(members.view().ring(NodeId(1)), [1, 3].map(NodeId).into());
    }

    #[test]
    fn a_node_that_changes_its_address_stays_the_same_member() {
        let mut members = members();
        members.reached(B, NodeId(2), false);
        let moved = "10.0.0.22:8848";
        assert!(members.found(&[A, moved, C].map(str::to_owned)));
        assert_eq!(members.view().ring(NodeId(1)), [NodeId(1)].into());
        members.reached(moved, NodeId(2), false);
        assert!(members.view().serves(NodeId(2)));
    }

    #[test]
    fn n307_this_node_is_never_one_of_the_others() {
        let mut members = members();
        assert!(!members.peers().contains_key(A));
        assert!(!members.reached(B, NodeId(1), false), "an answer of ourselves under another address");
        assert!(!members.found(&[A, B, C].map(str::to_owned)));
    }
}
