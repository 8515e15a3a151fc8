//! Which service is due for which subscribers, and when: changes inside the delay make one push.

use crate::ids::{ClientId, ServiceKey};
use crate::time::Millis;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Between a change and its push, in milliseconds. Source: Nacos `PushConfig` (`pushTaskDelay`).
pub const PUSH_DELAY: Millis = Millis(500);
/// Between a failed push and the next try, in milliseconds. Source: Nacos `PushConfig` (`pushTaskRetryDelay`).
pub const PUSH_RETRY: Millis = Millis(1_000);

/// Who is waiting for a push of one service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum To {
    Everyone,
    These(BTreeSet<ClientId>),
}

#[derive(Debug, Default)]
pub(super) struct Pushes {
    pending: HashMap<ServiceKey, (Millis, To)>,
    by_time: BTreeMap<Millis, Vec<ServiceKey>>,
}

impl Pushes {
    pub(super) fn everyone(&mut self, due: Millis, service: &ServiceKey) {
        self.merge(due, service, To::Everyone);
    }

    pub(super) fn one(&mut self, due: Millis, service: &ServiceKey, client: &ClientId) {
        self.merge(due, service, To::These(BTreeSet::from([client.clone()])));
    }

    /// The first due time stays, so that a steady stream of changes cannot postpone a push for ever (N261).
    fn merge(&mut self, due: Millis, service: &ServiceKey, more: To) {
        let Some((_, to)) = self.pending.get_mut(service) else {
            self.pending.insert(service.clone(), (due, more));
            self.by_time.entry(due).or_default().push(service.clone());
            return;
        };
        match (to, more) {
            (To::Everyone, _) => {}
            (to, To::Everyone) => *to = To::Everyone,
            (To::These(all), To::These(more)) => all.extend(more),
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.by_time.keys().next().copied()
    }

    /// Takes out what is due.
    pub(super) fn due(&mut self, now: Millis) -> Vec<(ServiceKey, To)> {
        let mut due = Vec::new();
        while let Some(entry) = self.by_time.first_entry().filter(|entry| *entry.key() <= now) {
            for service in entry.remove() {
                if let Some((_, to)) = self.pending.remove(&service) {
                    due.push((service, to));
                }
            }
        }
        due
    }
}
