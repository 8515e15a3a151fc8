//! Who belongs to the Raft group: founding it, letting members in, and what is shown of it.
//!
//! A group is founded once, by the member with the lowest id, when all members of the list have been reached,
//! none belongs to a group, and all see the same members. Afterwards its leader lets members of the list in, one
//! after the other. Nobody is taken out but by an operator: a member that is gone today may be back tomorrow, and
//! a group that shrinks by itself ends as two.

use super::frame::Report;
use super::hub::Hub;
use muster_core::cluster::{MemberState, NodeId};
use muster_raft::{Group, RaftStatus, Role};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often it is looked for something to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// From a main port down to the one that Nacos shows for Raft. Source: Nacos `MemberUtil`.
const RAFT_OFFSET: u16 = 1_000;
/// Nacos's names for what one log holds here; operators' pages show them.
/// Source: Nacos naming `Constants`.
const NACOS_GROUPS: [&str; 4] = [
    "naming_persistent_service_v2",
    "naming_service_metadata",
    "naming_instance_metadata",
    "naming_persistent_service",
];

/// What is shown as the address of a node's Raft: the main port less 1000.
pub(crate) fn raft_address(host: &str, port: u16) -> String {
    let port = port.checked_sub(RAFT_OFFSET).filter(|port| *port > 0).unwrap_or(port);
    format!("{host}:{port}")
}

/// `extendInfo.raftMetaData` of this node (N319, N353).
pub(crate) fn raft_info(status: &RaftStatus) -> serde_json::Value {
    let members: Vec<&str> = status.members.iter().map(|member| member.address.as_str()).collect();
    let mut group = serde_json::json!({"raftGroupMember": members, "term": status.term});
    if let Some(leader) = &status.leader {
        group["leader"] = leader.address.as_str().into();
    }
    let groups: BTreeMap<&str, serde_json::Value> =
        NACOS_GROUPS.into_iter().map(|name| (name, group.clone())).collect();
    serde_json::json!({"metaDataMap": groups})
}

/// What is to be done about the group.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// with these members, by id, at these addresses
    Found(BTreeMap<u64, String>),
    Admit(NodeId, String),
    /// a member of the list belongs to another group
    Stranger(NodeId, Group),
}

/// What a node knows of another member.
#[derive(Debug)]
struct Seen {
    id: NodeId,
    linked: bool,
    up: bool,
    report: Report,
}

/// How the group looks from this node.
struct Outlook<'a> {
    this: NodeId,
    address: String,
    group: Option<Group>,
    sees: BTreeSet<NodeId>,
    /// one for each other member of the list; none where it never reported
    others: Vec<Option<Seen>>,
    expect: Option<usize>,
    status: &'a RaftStatus,
}

impl Outlook<'_> {
    fn step(&self) -> Step {
        match self.group {
            None => self.founding(),
            Some(group) if self.status.role == Role::Leader => self.admission(group),
            Some(group) => self.stranger(group).unwrap_or(Step::Nothing),
        }
    }

    fn founding(&self) -> Step {
        let enough = self.others.len() + 1 >= self.expect.unwrap_or(2).max(1);
        let agrees =
            |seen: &Seen| seen.linked && seen.report.group.is_none() && seen.report.sees == self.sees;
        let mut members = BTreeMap::from([(self.this.0, self.address.clone())]);
        for other in &self.others {
            let Some(seen) = other.as_ref().filter(|seen| agrees(seen)) else { return Step::Nothing };
            members.insert(seen.id.0, shown(&seen.report.address));
        }
        let all = self.sees.iter().map(|id| id.0).eq(members.keys().copied());
        let lowest = members.keys().next() == Some(&self.this.0);
        if enough && all && lowest { Step::Found(members) } else { Step::Nothing }
    }

    fn admission(&self, group: Group) -> Step {
        for seen in self.others.iter().flatten() {
            let address = shown(&seen.report.address);
            let known = self.status.members.iter().find(|member| member.id == seen.id.0);
            let settled = known.is_some_and(|member| member.voter && member.address == address);
            let fits = seen.report.group.is_none_or(|theirs| theirs == group);
            if seen.linked && seen.up && fits && !settled {
                return Step::Admit(seen.id, address);
            }
        }
        self.stranger(group).unwrap_or(Step::Nothing)
    }

    fn stranger(&self, group: Group) -> Option<Step> {
        let mut others = self.others.iter().flatten();
        others.find_map(|seen| {
            let theirs = seen.report.group.filter(|theirs| *theirs != group)?;
            Some(Step::Stranger(seen.id, theirs))
        })
    }
}

/// The address of a member's Raft, of its main address.
fn shown(address: &str) -> String {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    parts.map_or_else(|| address.to_owned(), |(host, port)| raft_address(host, port))
}

impl Hub {
    /// Until the node goes down.
    pub(super) async fn keep_group(self: &Arc<Self>) {
        let mut last = Step::Nothing;
        loop {
            let status = self.store().status();
            self.options().members.tell("raftMetaData", raft_info(&status));
            let step = self.outlook(&status).step();
            match &step {
                Step::Nothing => {}
                Step::Found(members) => match self.store().found(members.clone()).await {
                    Ok(group) => tracing::info!(%group, ?members, "a raft group was founded"),
                    Err(error) => tracing::error!(%error, "no raft group could be founded"),
                },
                Step::Admit(id, address) => match self.store().admit(id.0, address).await {
                    Ok(()) => tracing::info!(member = id.0, address, "a member has a vote in the raft group"),
                    Err(error) => {
                        tracing::warn!(member = id.0, %error, "a member has no vote yet; trying again")
                    }
                },
                Step::Stranger(id, group) if step != last => {
                    tracing::error!(
                        member = id.0, theirs = %group, ours = ?self.store().group(),
                        "a member of the list belongs to another raft group: it holds other persistent data. Take it \
                         out of the list, or start it with an empty data directory"
                    );
                }
                Step::Stranger(..) => {}
            }
            last = step;
            sleep(LOOK_EVERY).await;
        }
    }

    fn outlook<'a>(&self, status: &'a RaftStatus) -> Outlook<'a> {
        let options = self.options();
        let sees = self.sees();
        let state = self.state();
        let peers = state.members.peers().iter();
        let others = peers.map(|(address, peer)| {
            let (id, report) = (peer.id?, state.reports.get(address)?.clone());
            let linked = options.links.get(id).is_some();
            Some(Seen { id, linked, up: peer.state == MemberState::Up, report })
        });
        Outlook {
            this: options.id,
            address: shown(&options.address),
            group: self.store().group(),
            sees,
            others: others.collect(),
            expect: options.expect,
            status,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_raft::Member;

    fn status(role: Role, voters: &[u64]) -> RaftStatus {
        let member = |id: &u64| Member { id: *id, address: format!("10.0.0.{id}:7848"), voter: true };
        RaftStatus {
            node_id: 1,
            role,
            term: 4,
            leader: voters.first().map(member),
            last_applied: None,
            last_log: None,
            snapshot_index: None,
            purged: None,
            members: voters.iter().map(member).collect(),
        }
    }

    fn seen(id: u64, group: Option<Group>, sees: &[u64]) -> Option<Seen> {
        let report = Report {
            address: format!("10.0.0.{id}:8848"),
            starting: false,
            group,
            sees: sees.iter().copied().map(NodeId).collect(),
            info: BTreeMap::new(),
        };
        Some(Seen { id: NodeId(id), linked: true, up: true, report })
    }

    fn outlook(group: Option<Group>, others: Vec<Option<Seen>>, status: &RaftStatus) -> Outlook<'_> {
        let known = others.iter().flatten().map(|seen| seen.id);
        let sees = known.chain([NodeId(1)]).collect();
        Outlook {
            this: NodeId(1),
            address: "10.0.0.1:7848".into(),
            group,
            sees,
            others,
            expect: None,
            status,
        }
    }

    #[test]
    fn the_lowest_founds_when_all_are_there_and_agree() {
        let status = status(Role::Learner, &[]);
        let three = || vec![seen(2, None, &[1, 2, 3]), seen(3, None, &[1, 2, 3])];
        let all = outlook(None, three(), &status).step();
        let Step::Found(members) = all else { panic!("{all:?}") };
        assert_eq!(members.into_keys().collect::<Vec<_>>(), [1, 2, 3]);

        let higher = Outlook { this: NodeId(9), ..outlook(None, three(), &status) };
        assert_eq!(higher.step(), Step::Nothing);
        let missing = vec![seen(2, None, &[1, 2]), None];
        assert_eq!(outlook(None, missing, &status).step(), Step::Nothing);
        let other_list = vec![seen(2, None, &[1, 2]), seen(3, None, &[1, 2, 3])];
        assert_eq!(outlook(None, other_list, &status).step(), Step::Nothing);
        let of_a_group = vec![seen(2, Group::new(7), &[1, 2])];
        assert_eq!(outlook(None, of_a_group, &status).step(), Step::Nothing);
    }

    #[test]
    fn a_node_founds_alone_only_where_that_is_said() {
        let status = status(Role::Learner, &[]);
        assert_eq!(outlook(None, vec![], &status).step(), Step::Nothing);
        let said = Outlook { expect: Some(1), ..outlook(None, vec![], &status) };
        assert!(matches!(said.step(), Step::Found(_)));
        let two_of_three = vec![seen(2, None, &[1, 2])];
        let waiting = Outlook { expect: Some(3), ..outlook(None, two_of_three, &status) };
        assert_eq!(waiting.step(), Step::Nothing);
    }

    #[test]
    fn the_leader_lets_in_who_has_no_group_or_moved_and_nobody_else_does() {
        let ours = Group::new(5);
        let led = status(Role::Leader, &[1, 2]);
        let others = || vec![seen(2, ours, &[]), seen(3, None, &[])];
        let wanted = Step::Admit(NodeId(3), "10.0.0.3:7848".into());
        assert_eq!(outlook(ours, others(), &led).step(), wanted);
        assert_eq!(outlook(ours, others(), &status(Role::Follower, &[1, 2])).step(), Step::Nothing);
        let mut moved = seen(2, ours, &[]);
        moved.as_mut().unwrap().report.address = "10.0.7.2:8848".into();
        assert_eq!(outlook(ours, vec![moved], &led).step(), Step::Admit(NodeId(2), "10.0.7.2:7848".into()));
        let stranger = vec![seen(4, Group::new(6), &[])];
        assert_eq!(outlook(ours, stranger, &led).step(), Step::Stranger(NodeId(4), Group::new(6).unwrap()));
    }

    #[test]
    fn n353_raft_metadata_has_the_names_of_nacos() {
        let info = raft_info(&status(Role::Follower, &[1, 2]));
        for name in ["naming_persistent_service_v2", "naming_service_metadata", "naming_instance_metadata"] {
            let group = &info["metaDataMap"][name];
            assert_eq!(group["leader"], "10.0.0.1:7848");
            assert_eq!(group["raftGroupMember"], serde_json::json!(["10.0.0.1:7848", "10.0.0.2:7848"]));
            assert_eq!(group["term"], 4);
        }
        assert!(
            raft_info(&status(Role::Candidate, &[]))["metaDataMap"][NACOS_GROUPS[0]].get("leader").is_none()
        );
    }
}
