//! What the operator grants, which may change while plugins are called.

use super::HostRule;
use arc_swap::ArcSwap;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// The places that one plugin is granted now. All its versions and instances look here at every dial.
#[derive(Clone, Debug, Default)]
pub(crate) struct Granted(Arc<ArcSwap<Vec<HostRule>>>);

impl Granted {
    pub(crate) fn now(&self) -> Arc<Vec<HostRule>> {
        self.0.load_full()
    }
}

impl From<Vec<HostRule>> for Granted {
    fn from(hosts: Vec<HostRule>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(hosts)))
    }
}

/// What all plugins are granted, by their names.
#[derive(Debug, Default)]
pub(crate) struct Operator(Mutex<BTreeMap<String, Granted>>);

impl Operator {
    pub(crate) fn new(hosts: BTreeMap<String, Vec<HostRule>>) -> Self {
        Self(Mutex::new(hosts.into_iter().map(|(name, hosts)| (name, hosts.into())).collect()))
    }

    /// What this plugin is granted, now and later.
    pub(crate) fn of(&self, plugin: &str) -> Granted {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(plugin.to_owned()).or_default().clone()
    }

    /// From now on this plugin is granted these, and no others.
    pub(crate) fn grant(&self, plugin: &str, hosts: Vec<HostRule>) {
        self.of(plugin).0.store(Arc::new(hosts));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Beyond, *};

    #[test]
    fn a_plugin_that_is_loaded_sees_what_is_granted_and_taken_back_later() {
        let rules = |text: &str| vec![text.parse().unwrap()];
        let operator = Operator::new(BTreeMap::from([("other".into(), rules("10.0.0.0/8:443"))]));
        let beyond = Beyond { requested: rules("10.0.0.0/8:443"), granted: operator.of("ping") };
        let reaches = || beyond.allows(None, "10.1.2.3".parse().unwrap(), 443).is_ok();
        assert!(!reaches(), "that is granted to another one");
        operator.grant("ping", rules("10.1.0.0/16:443"));
        assert!(reaches());
        operator.grant("ping", Vec::new());
        assert!(!reaches());
    }
}
