//! `[health]`: how persistent instances are checked.

use super::reader::Section;
use muster_core::Millis;
use muster_core::health::{Layer, Rule, Rules, Scope};
use muster_core::naming::ProbeLimits;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::time::Duration;

/// `[health]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Numbers for every check, and those of `[[health.rule]]` for some of them. What no rule says comes from
    /// the switches, which have Nacos's defaults.
    pub rules: Rules,
    /// Checks that run at a time on this node.
    pub max_in_flight: NonZeroUsize,
    /// Checks that run at a time against one IP address or host name.
    pub max_in_flight_per_host: NonZeroUsize,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            rules: Rules::new(vec![Rule::default()]),
            max_in_flight: NonZeroUsize::MIN.saturating_add(511),
            max_in_flight_per_host: NonZeroUsize::MIN.saturating_add(31),
        }
    }
}

impl Health {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let mut rules = vec![Rule { scope: Scope::default(), layer: layer(section) }];
        rules.extend(section.list("rule", |section| Rule { scope: scope(section), layer: layer(section) }));
        Self {
            rules: Rules::new(rules),
            max_in_flight: section.get("max-in-flight", default.max_in_flight),
            max_in_flight_per_host: section.get("max-in-flight-per-host", default.max_in_flight_per_host),
        }
    }

    /// How many checks may run at once, as the rules want it.
    pub fn limits(&self) -> ProbeLimits {
        ProbeLimits { node: self.max_in_flight.get(), host: self.max_in_flight_per_host.get() }
    }
}

/// Where a rule applies, with a problem when it names nothing: then it belongs into `[health]`.
fn scope(section: &mut Section<'_>) -> Scope {
    let scope = Scope {
        namespace: section.optional("namespace"),
        group: section.optional("group"),
        service: section.optional("service"),
        cluster: section.optional("cluster"),
    };
    if scope == Scope::default() {
        section.problem("service", "one of namespace, group, service and cluster must be set; what is meant for all belongs into [health]");
    }
    scope
}

const COUNT: RangeInclusive<u32> = 1..=1000;
const OPINIONS: RangeInclusive<u32> = 0..=6;
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const DELAY: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(3600);
const PENALTY: RangeInclusive<f64> = 0.1..=100.0;
const SHARE: RangeInclusive<f64> = 0.0..=1.0;

fn layer(section: &mut Section<'_>) -> Layer {
    let layer = Layer {
        rise: section.optional_within("rise", &COUNT),
        fall: section.optional_within("fall", &COUNT),
        min_interval: section.optional_within("min-interval", &INTERVAL).map(millis),
        max_interval: section.optional_within("max-interval", &INTERVAL).map(millis),
        factor: section.optional_within("factor", &SHARE),
        timeout: section.optional_within("timeout", &TIMEOUT).map(millis),
        first_delay: section.optional_within("first-delay", &DELAY).map(millis),
        first_spread: section.optional_within("first-spread", &DELAY).map(millis),
        jitter: section.optional_within("jitter", &SHARE),
        second_opinions: section.optional_within("second-opinions", &OPINIONS),
        flap_half_life: section.optional_within("flap-half-life", &DELAY).map(millis),
        flap_suppress: section.optional_within("flap-suppress", &PENALTY),
        flap_reuse: section.optional_within("flap-reuse", &PENALTY),
    };
    if let (Some(suppress), Some(reuse)) = (layer.flap_suppress, layer.flap_reuse)
        && reuse >= suppress
    {
        section.problem("flap-reuse", "must be lower than flap-suppress");
    }
    if let (Some(min), Some(max)) = (layer.min_interval, layer.max_interval)
        && min > max
    {
        section.problem("min-interval", "must not be longer than max-interval");
    }
    layer
}

/// A duration of the settings in the rules' unit.
pub(crate) fn millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
