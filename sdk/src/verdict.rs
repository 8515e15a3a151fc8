//! Builders of verdicts.

use crate::bindings::checker::exports::muster::plugin::checker::{Outcome, Target, Verdict};

impl Verdict {
    fn of(outcome: Outcome, code: &str, message: impl Into<String>) -> Self {
        Self { outcome, code: code.to_owned(), message: message.into(), facts: Vec::new() }
    }

    /// Healthy.
    pub fn passed() -> Self {
        Self::of(Outcome::Passed, "", "")
    }

    /// Healthy, but worth showing. `code` is a short stable dotted word such as `disk.nearly-full`.
    pub fn warning(code: &str, message: impl Into<String>) -> Self {
        Self::of(Outcome::Warning, code, message)
    }

    /// Counts towards the number of failures that make the instance unhealthy.
    pub fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::of(Outcome::Failed, code, message)
    }

    /// Unhealthy at once.
    pub fn failed_now(code: &str, message: impl Into<String>) -> Self {
        Self::of(Outcome::FailedNow, code, message)
    }

    /// The check could not tell; the instance's health stays as it is.
    pub fn inconclusive(code: &str, message: impl Into<String>) -> Self {
        Self::of(Outcome::Inconclusive, code, message)
    }

    /// The same with something learnt about the instance, such as `role` = `primary`.
    #[must_use]
    pub fn fact(mut self, key: &str, value: impl Into<String>) -> Self {
        self.facts.push((key.to_owned(), value.into()));
        self
    }
}

impl Target {
    /// A target with only an address, for tests.
    pub fn at(address: &str, port: u16) -> Self {
        Self {
            address: address.to_owned(),
            port,
            namespace: "public".to_owned(),
            group: "DEFAULT_GROUP".to_owned(),
            service: "test".to_owned(),
            cluster: "DEFAULT".to_owned(),
            metadata: Vec::new(),
        }
    }

    /// The first metadata value of `key`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}
