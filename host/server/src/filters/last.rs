//! The last good answers of filters whose policy is `last`: who was on the list that a kind of subscriber got.
//!
//! Kept by address, not by place in a list, since by the time the filter fails the list is another one.

use super::{ListKey, Which};
use muster_core::Instance;
use muster_wasm::{Asked, FilterSubscriber};
use std::collections::HashMap;
use std::sync::Arc;

/// Kinds of subscribers that are remembered for one list; past it the oldest goes.
const KINDS: usize = 64;
/// Addresses that are remembered in all, some 40 bytes each; past it all are forgotten, and learnt again.
const ADDRESSES: usize = 200_000;

/// See the module.
#[derive(Default)]
pub(super) struct Lasts {
    kept: HashMap<ListKey, Vec<(Asked, Last)>>,
    addresses: usize,
}

enum Last {
    All,
    /// sorted
    Only(Vec<Address>),
}

/// ip, port, cluster
type Address = (Arc<str>, u16, Arc<str>);

impl Lasts {
    /// Remembers that subscribers who are alike in `asked` got `which` of `instances`.
    pub(super) fn remember(
        &mut self,
        key: &ListKey,
        asked: &Asked,
        which: &Which,
        instances: &[Arc<Instance>],
    ) {
        let last = match which {
            None => Last::All,
            Some(which) => {
                let chosen = which.iter().filter_map(|index| instances.get(*index as usize));
                let mut addresses: Vec<_> = chosen.map(|instance| address(instance)).collect();
                addresses.sort_unstable();
                Last::Only(addresses)
            }
        };
        if self.addresses + last.len() > ADDRESSES {
            *self = Self::default();
        }
        let kinds = self.kept.entry(key.clone()).or_default();
        let former = kinds.iter().position(|(known, _)| known == asked);
        let gone = former.or_else(|| (kinds.len() >= KINDS).then_some(0)).map(|place| kinds.remove(place));
        self.addresses = self.addresses + last.len() - gone.map_or(0, |(_, gone)| gone.len());
        kinds.push((asked.clone(), last));
    }

    /// Which of `instances` a subscriber like this got when the filter last answered. None when that is not known, or
    /// none of them is there any more: then there is no last answer to go by.
    pub(super) fn find(
        &self,
        key: &ListKey,
        subscriber: &FilterSubscriber,
        instances: &[Arc<Instance>],
    ) -> Option<Which> {
        let kinds = self.kept.get(key)?;
        match &kinds.iter().rev().find(|(asked, _)| asked.same_for(subscriber))?.1 {
            Last::All => Some(None),
            Last::Only(addresses) => {
                let there = |instance: &Instance| addresses.binary_search(&address(instance)).is_ok();
                let left = (0_u32..).zip(instances).filter(|(_, instance)| there(instance));
                let left: Arc<[u32]> = left.map(|(index, _)| index).collect();
                (!left.is_empty() || addresses.is_empty()).then_some(Some(left))
            }
        }
    }
}

impl Last {
    fn len(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Only(addresses) => addresses.len(),
        }
    }
}

fn address(instance: &Instance) -> Address {
    (instance.ip.clone(), instance.port, instance.cluster.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::ServiceKey;

    fn list(ports: std::ops::Range<u16>) -> Vec<Arc<Instance>> {
        ports.map(|port| Arc::new(Instance::new("10.0.0.5", port))).collect()
    }

    fn key(name: &str) -> ListKey {
        (ServiceKey::new("", "", name), String::new(), false)
    }

    fn from(address: &str) -> (Asked, FilterSubscriber) {
        let asked = Asked { address: Some(address.into()), ..Asked::default() };
        (asked, FilterSubscriber { address: address.into(), ..FilterSubscriber::default() })
    }

    #[test]
    fn the_last_answer_holds_for_those_of_it_that_are_still_listed() {
        let mut lasts = Lasts::default();
        let (asked, who) = from("10.9.0.1");
        lasts.remember(&key("s"), &asked, &Some([1, 2].into()), &list(10..14)); // 11 and 12
        assert_eq!(lasts.find(&key("s"), &who, &list(12..20)), Some(Some([0].into())), "12 alone is left");
        assert_eq!(lasts.find(&key("s"), &who, &list(9..14)), Some(Some([2, 3].into())));
        assert_eq!(lasts.find(&key("s"), &who, &list(20..30)), None, "nothing of it is left");
        assert_eq!(lasts.find(&key("s"), &from("10.9.0.2").1, &list(10..14)), None, "another subscriber");
        assert_eq!(lasts.find(&key("t"), &who, &list(10..14)), None, "another service");
        lasts.remember(&key("s"), &asked, &None, &list(10..14));
        assert_eq!(lasts.find(&key("s"), &who, &list(20..30)), Some(None), "the newest answer counts");
        lasts.remember(&key("s"), &asked, &Some([].into()), &list(10..14));
        assert_eq!(lasts.find(&key("s"), &who, &list(10..14)), Some(Some([].into())), "nobody is an answer");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut lasts = Lasts::default();
        let all: Vec<u32> = (0..100).collect();
        for service in 0..40 {
            for who in 0..100 {
                let which: Which = Some(all.clone().into());
                lasts.remember(
                    &key(&format!("s{service}")),
                    &from(&format!("{who}")).0,
                    &which,
                    &list(0..100),
                );
            }
        }
        let counted: usize = lasts.kept.values().flatten().map(|(_, last)| last.len()).sum();
        assert_eq!(lasts.addresses, counted);
        assert!(counted > 0 && counted <= ADDRESSES, "{counted}");
        assert!(lasts.kept.values().all(|kinds| kinds.len() <= KINDS));
        assert!(lasts.find(&key("s39"), &from("99").1, &list(0..100)).is_some(), "the newest is there");
    }
}
