//! Pushes that wait to be sent: the newest state once per service, and who gets it.

use muster_core::naming::{ServiceSnapshot, Subscription};
use muster_core::{ClientId, Millis, ServiceKey};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

struct Service {
    since: Millis,
    snapshot: Arc<ServiceSnapshot>,
    to: HashMap<ClientId, Arc<Subscription>>,
}

/// A service whose turn it is.
pub(crate) struct Turn {
    /// when the first change happened that subscribers have not heard of
    pub(crate) since: Millis,
    /// its newest state
    pub(crate) snapshot: Arc<ServiceSnapshot>,
    /// who gets it
    pub(crate) to: Vec<Arc<Subscription>>,
}

/// See the module.
pub(crate) struct Waiting {
    most: usize,
    services: HashMap<ServiceKey, Service>,
    order: VecDeque<ServiceKey>,
    subscribers: usize,
}

impl Waiting {
    /// Room for `most` subscribers at a time, over all services.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, services: HashMap::new(), order: VecDeque::new(), subscribers: 0 }
    }

    /// Takes a push of what changed at `since` in; answers how many subscribers were turned away because too many wait already.
    pub(crate) fn put(
        &mut self,
        since: Millis,
        snapshot: Arc<ServiceSnapshot>,
        to: impl IntoIterator<Item = Arc<Subscription>>,
    ) -> u64 {
        let mut to = to.into_iter().peekable();
        if to.peek().is_none() {
            return 0;
        }
        let key = snapshot.key.clone();
        let service = self.services.entry(key.clone()).or_insert_with(|| {
            self.order.push_back(key);
            Service { since, snapshot: snapshot.clone(), to: HashMap::new() }
        });
        service.snapshot = snapshot;
        let mut turned_away = 0;
        for to in to {
            if self.subscribers >= self.most && !service.to.contains_key(&to.client) {
                turned_away += 1;
            } else if service.to.insert(to.client.clone(), to).is_none() {
                self.subscribers += 1;
            }
        }
        turned_away
    }

    /// The service that has waited longest.
    pub(crate) fn take(&mut self) -> Option<Turn> {
        let Service { since, snapshot, to } = self.services.remove(&self.order.pop_front()?)?;
        self.subscribers -= to.len();
        Some(Turn { since, snapshot, to: to.into_values().collect() })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{snapshot, subscription};
    use super::*;

    #[test]
    fn the_newest_state_waits_once_for_every_subscriber() {
        let mut waiting = Waiting::new(65_536);
        waiting.put(Millis(7), snapshot("a", 1), [subscription("a", 1), subscription("a", 2)]);
        waiting.put(Millis(7), snapshot("b", 2), [subscription("b", 1)]);
        waiting.put(Millis(7), snapshot("a", 3), [subscription("a", 2), subscription("a", 3)]);
        waiting.put(Millis(7), snapshot("c", 3), []);
        let Turn { since, snapshot: first, to } = waiting.take().unwrap();
        assert_eq!(since, Millis(7));
        assert_eq!((first.revision, to.len()), (3, 3));
        assert_eq!(waiting.take().unwrap().snapshot.revision, 2);
        assert!(waiting.take().is_none() && waiting.is_empty() && waiting.subscribers == 0);
    }

    #[test]
    fn too_many_subscribers_are_turned_away_and_known_ones_are_not() {
        let mut waiting = Waiting::new(65_536);
        let all = |range: std::ops::Range<u32>| {
            range.map(|n| {
                let mut one = Subscription::clone(&subscription("a", 1));
                one.client = ClientId::Connection(n.to_string().into());
                Arc::new(one)
            })
        };
        let most = 65_536_u32;
        assert_eq!(waiting.put(Millis(7), snapshot("a", 1), all(0..most)), 0);
        assert_eq!(waiting.put(Millis(7), snapshot("a", 2), all(most - 1..most + 2)), 2);
        assert_eq!(waiting.take().unwrap().to.len(), 65_536);
    }
}
