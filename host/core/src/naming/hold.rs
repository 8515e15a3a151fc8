//! Empty lists after a start: held back until providers had the time to come back.
//!
//! A list that is empty only because nobody has registered since this node started would tell subscribers that
//! every provider is gone. It is not pushed for [`Options::restart_hold`]; whoever is still without an instance
//! then is told so. A list that became empty under our eyes is pushed at once, hold or not. Lists that this node
//! knew before it ended are not empty to begin with (`remembered`).
//!
//! [`Options::restart_hold`]: super::Options::restart_hold

use super::{Naming, Subscription};
use crate::ids::ServiceKey;
use crate::time::Millis;
use std::sync::Arc;

impl Naming {
    /// Until when such lists are held back.
    pub(super) fn hold_until(&self) -> Millis {
        self.options.started + self.options.restart_hold
    }

    /// When held lists and remembered instances have to be looked at; none while there are none.
    pub(super) fn release_at(&self) -> Option<Millis> {
        (!self.held.is_empty() || !self.registry.remembered.is_empty()).then(|| self.hold_until())
    }

    pub(super) fn hold(&mut self, service: &ServiceKey, to: &[Arc<Subscription>]) {
        self.held_empty_pushes += 1;
        tracing::debug!(%service, subscribers = to.len(), "empty list held: nobody has registered since the start");
        let waiting = self.held.entry(service.clone()).or_default();
        waiting.extend(to.iter().map(|to| to.client.clone()));
    }

    /// After the hold, forgets who did not come back, and pushes what was held and is still empty.
    pub(super) fn release(&mut self, now: Millis) {
        if now < self.hold_until() {
            return;
        }
        self.forget_all(now);
        if self.held.is_empty() {
            return;
        }
        let held = std::mem::take(&mut self.held);
        tracing::info!(
            services = held.len(),
            "nobody came back to these services: their subscribers are told"
        );
        for (service, clients) in held {
            for client in clients {
                self.pushes.one(now, &service, &client);
            }
        }
    }
}
