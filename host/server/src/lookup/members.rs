//! The published member list: this node first, then the others as the lookup found them.

use crate::http::members::{Member, MemberState};
use arc_swap::ArcSwap;
use muster_core::cluster::NodeId;
use muster_core::cluster::members::Peer;
use muster_core::plugin::FoundMember;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The member list. Cheap to clone; readers of [`Members::list`] see every change.
#[derive(Clone, Debug)]
pub struct Members {
    list: Arc<ArcSwap<Vec<Member>>>,
    writer: Arc<Mutex<Member>>,
}

impl Members {
    /// Only this node, which is still starting.
    pub fn new(host: &str, port: u16) -> Self {
        let this = Member::new(host, port, MemberState::Starting);
        let list = Arc::new(ArcSwap::from_pointee(vec![this.clone()]));
        Self { list, writer: Arc::new(Mutex::new(this)) }
    }

    /// What readers see.
    pub fn list(&self) -> Arc<ArcSwap<Vec<Member>>> {
        self.list.clone()
    }

    /// This node serves from now on.
    pub fn ready(&self) {
        let mut this = self.this();
        this.state = MemberState::Up;
        let mut members = Vec::clone(&self.list.load());
        members[0] = this.clone();
        self.list.store(Arc::new(members));
    }

    /// What this node says of itself beside its version.
    pub fn tell(&self, key: &str, value: serde_json::Value) {
        let mut this = self.this();
        if this.extend_info.get(key) == Some(&value) {
            return;
        }
        this.extend_info.insert(key.to_owned(), value);
        let mut members = Vec::clone(&self.list.load());
        members[0] = this.clone();
        self.list.store(Arc::new(members));
    }

    /// Who this node is.
    pub fn identify(&self, id: NodeId) {
        let mut this = self.this();
        this.id = Some(id);
        let mut members = Vec::clone(&self.list.load());
        members[0] = this.clone();
        self.list.store(Arc::new(members));
    }

    /// Takes over what a lookup found. Members that stay keep what is known of them. Answers whether this node
    /// was among them; it is a member in any case.
    pub fn found(&self, found: &[FoundMember]) -> bool {
        let this = self.this();
        let known: BTreeMap<String, Member> =
            self.list.load().iter().map(|member| (member.address.clone(), member.clone())).collect();
        let mut seen = BTreeSet::from([this.address.clone()]);
        let mut members = vec![this.clone()];
        let mut named = false;
        for one in found {
            let member = member_of(one, this.port);
            named |= member.address == this.address;
            if seen.insert(member.address.clone()) {
                let known = known.get(&member.address);
                members.push(known.cloned().unwrap_or(member));
            }
        }
        members[1..].sort_by(|a, b| a.address.cmp(&b.address));
        if *self.list.load().as_slice() != members {
            self.list.store(Arc::new(members));
        }
        named
    }

    /// How many members beside this node a list names.
    pub(super) fn others_in(&self, found: &[FoundMember]) -> usize {
        let (own, port) = {
            let this = self.this();
            (this.address.clone(), this.port)
        };
        let named: BTreeSet<String> = found.iter().map(|one| member_of(one, port).address).collect();
        named.iter().filter(|address| **address != own).count()
    }

    /// Shows how the other members are doing, and what they say of themselves.
    pub fn update(
        &self,
        peers: &BTreeMap<String, Peer>,
        info: &BTreeMap<&str, &BTreeMap<String, serde_json::Value>>,
    ) {
        let _writing = self.this();
        let list = self.list.load();
        let mut members = Vec::clone(&list);
        for member in &mut members[1..] {
            let Some(peer) = peers.get(&member.address) else { continue };
            member.state = peer.state;
            member.fail_access_cnt = peer.failures;
            member.id = peer.id;
            if let Some(info) = info.get(member.address.as_str()) {
                member.extend_info.extend(info.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        if **list != members {
            self.list.store(Arc::new(members));
        }
    }

    fn this(&self) -> std::sync::MutexGuard<'_, Member> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn member_of(found: &FoundMember, main_port: u16) -> Member {
    let mut member = Member::new(&found.address, found.port.unwrap_or(main_port), MemberState::Up);
    let extra = found.metadata.iter().map(|(key, value)| (key.clone(), value.clone().into()));
    member.extend_info.extend(extra);
    member
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(address: &str, port: Option<u16>) -> FoundMember {
        FoundMember { address: address.into(), port, metadata: vec![("site".into(), "a".into())] }
    }

    fn addresses(members: &Members) -> Vec<String> {
        members.list().load().iter().map(|member| member.address.clone()).collect()
    }

    #[test]
    fn this_node_comes_first_and_is_a_member_in_any_case() {
        let members = Members::new("10.0.0.2", 8848);
        assert!(!members.found(&[one("10.0.0.3", None), one("10.0.0.1", Some(9000)), one("10.0.0.3", None)]));
        assert_eq!(addresses(&members), ["10.0.0.2:8848", "10.0.0.1:9000", "10.0.0.3:8848"]);
        assert!(members.found(&[one("10.0.0.2", None)]));
        assert_eq!(addresses(&members), ["10.0.0.2:8848"]);
    }

    #[test]
    fn only_this_node_starts_and_the_list_follows_when_it_is_ready() {
        let members = Members::new("10.0.0.2", 8848);
        members.found(&[one("10.0.0.3", None)]);
        let states = || members.list().load().iter().map(|member| member.state).collect::<Vec<_>>();
        assert_eq!(states(), [MemberState::Starting, MemberState::Up]);
        members.ready();
        assert_eq!(states(), [MemberState::Up, MemberState::Up]);
        assert_eq!(members.list().load()[1].extend_info["site"], "a");
    }
}
