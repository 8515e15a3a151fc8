//! How instances are checked: the numbers, where each comes from, and what follows from a verdict.

use crate::damping::{self, FLAP_REUSE, FLAP_SUPPRESS};
use crate::ids::ServiceKey;
use crate::plugin::Outcome;
use crate::switches::{HealthParams, Switches};
use crate::time::Millis;
use serde::{Deserialize, Serialize};

/// How long one check may take unless a rule says otherwise, in milliseconds.
/// Source: Nacos `TcpHealthCheckProcessor.CONNECT_TIMEOUT_MS`.
pub const CHECK_TIMEOUT: Millis = Millis(500);
/// The first check of a new instance comes no sooner, in milliseconds. Source: Nacos `HealthCheckTaskV2`.
pub const FIRST_DELAY: Millis = Millis(2_000);
/// … and at most this much later, biased to the low end, in milliseconds. Source: Nacos `HealthCheckTaskV2`.
pub const FIRST_SPREAD: Millis = Millis(5_000);

/// Numbers that one rule sets; what it leaves out comes from a wider rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// consecutive passes that make an instance healthy
    pub rise: Option<u32>,
    /// consecutive failures that make it unhealthy
    pub fall: Option<u32>,
    /// shortest interval
    pub min_interval: Option<Millis>,
    /// longest interval
    pub max_interval: Option<Millis>,
    /// weight of the former interval in the next one, 0 to 1
    pub factor: Option<f64>,
    /// longest time for one check
    pub timeout: Option<Millis>,
    /// earliest first check
    pub first_delay: Option<Millis>,
    /// random addition to the first delay
    pub first_spread: Option<Millis>,
    /// random addition to every interval, as a share of it, 0 to 1
    pub jitter: Option<f64>,
    /// other members that are asked before an instance is called unhealthy
    pub second_opinions: Option<u32>,
    /// half-life of the penalty for turns, see [`crate::damping`]; 0 is off
    pub flap_half_life: Option<Millis>,
    /// penalty that holds an instance unhealthy
    pub flap_suppress: Option<f64>,
    /// penalty below which it is let go
    pub flap_reuse: Option<f64>,
}

/// Where a rule applies; what it leaves out matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// namespace id
    pub namespace: Option<String>,
    /// group
    pub group: Option<String>,
    /// bare service name
    pub service: Option<String>,
    /// cluster of the service
    pub cluster: Option<String>,
}

impl Scope {
    fn matches(&self, service: &ServiceKey, cluster: &str) -> bool {
        let fits = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        fits(&self.namespace, service.namespace())
            && fits(&self.group, service.group())
            && fits(&self.service, service.name())
            && fits(&self.cluster, cluster)
    }

    /// Narrower scopes count more: cluster over service over group over namespace over everywhere.
    fn weight(&self) -> u8 {
        let bit = |named: bool, bit: u8| u8::from(named) << bit;
        bit(self.cluster.is_some(), 3)
            | bit(self.service.is_some(), 2)
            | bit(self.group.is_some(), 1)
            | bit(self.namespace.is_some(), 0)
    }

    /// For people: `settings: group=G service=s`, or `settings: everywhere`.
    pub fn describe(&self) -> String {
        let named = [
            ("namespace", &self.namespace),
            ("group", &self.group),
            ("service", &self.service),
            ("cluster", &self.cluster),
        ];
        let parts: Vec<String> = named
            .iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={value}")))
            .collect();
        if parts.is_empty() {
            "settings: everywhere".into()
        } else {
            format!("settings: {}", parts.join(" "))
        }
    }
}

/// One rule of the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// where
    pub scope: Scope,
    /// what
    pub layer: Layer,
}

/// The rules of the settings, ready to resolve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules(Vec<Rule>);

/// The numbers for one cluster of one service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// consecutive passes that make an instance healthy
    pub rise: u32,
    /// consecutive failures that make it unhealthy
    pub fall: u32,
    /// shortest interval
    pub min_interval: Millis,
    /// longest interval
    pub max_interval: Millis,
    /// weight of the former interval in the next one
    pub factor: f64,
    /// longest time for one check
    pub timeout: Millis,
    /// earliest first check
    pub first_delay: Millis,
    /// random addition to the first delay
    pub first_spread: Millis,
    /// random addition to every interval, as a share of it
    pub jitter: f64,
    /// other members that are asked before an instance is called unhealthy
    pub second_opinions: u32,
    /// half-life of the penalty for turns, see [`crate::damping`]; 0 is off
    pub flap_half_life: Millis,
    /// penalty that holds an instance unhealthy
    pub flap_suppress: f64,
    /// penalty below which it is let go
    pub flap_reuse: f64,
}

impl Profile {
    /// The numbers of flap damping.
    pub fn damping(&self) -> damping::Numbers {
        let Self { flap_half_life: half_life, flap_suppress: suppress, flap_reuse: reuse, .. } = *self;
        // two rules may each have set one of them
        damping::Numbers { half_life, suppress, reuse: reuse.min(suppress) }
    }
}

/// Where one number of a profile comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// field of [`Profile`]
    pub field: &'static str,
    /// its value
    pub value: String,
    /// `switches`, `Nacos default`, `Muster default` for what Nacos has not, or the rule
    pub source: String,
}

impl Rules {
    /// Orders `rules` from wide to narrow; of two equally narrow ones the later wins.
    pub fn new(mut rules: Vec<Rule>) -> Self {
        rules.sort_by_key(|rule| rule.scope.weight());
        Self(rules)
    }

    /// The numbers for `cluster` of `service` whose checker is `kind`.
    pub fn resolve(&self, switches: &Switches, service: &ServiceKey, cluster: &str, kind: &str) -> Profile {
        self.explain(switches, service, cluster, kind).0
    }

    /// The numbers, and for each where it comes from.
    pub fn explain(
        &self,
        switches: &Switches,
        service: &ServiceKey,
        cluster: &str,
        kind: &str,
    ) -> (Profile, Vec<Origin>) {
        let layers: Vec<&Rule> =
            self.0.iter().rev().filter(|rule| rule.scope.matches(service, cluster)).collect();
        let mut origins = Vec::new();
        let params = params_of(switches, kind);
        let on = "switches";
        let (nacos, muster) = ("Nacos default", "Muster default");
        let mut pick = Picker { layers: &layers, origins: &mut origins };
        let profile = Profile {
            rise: pick.take("rise", |l| l.rise, switches.check_times, on),
            fall: pick.take("fall", |l| l.fall, switches.check_times, on),
            min_interval: pick.take("minInterval", |l| l.min_interval, Millis(params.min), on),
            max_interval: pick.take("maxInterval", |l| l.max_interval, Millis(params.max), on),
            factor: pick.take("factor", |l| l.factor, params.factor, on),
            timeout: pick.take("timeout", |l| l.timeout, CHECK_TIMEOUT, nacos),
            first_delay: pick.take("firstDelay", |l| l.first_delay, FIRST_DELAY, nacos),
            first_spread: pick.take("firstSpread", |l| l.first_spread, FIRST_SPREAD, nacos),
            jitter: pick.take("jitter", |l| l.jitter, 0.0, nacos),
            second_opinions: pick.take("secondOpinions", |l| l.second_opinions, 0, muster),
            flap_half_life: pick.take("flapHalfLife", |l| l.flap_half_life, Millis(0), muster),
            flap_suppress: pick.take("flapSuppress", |l| l.flap_suppress, FLAP_SUPPRESS, muster),
            flap_reuse: pick.take("flapReuse", |l| l.flap_reuse, FLAP_REUSE, muster),
        };
        (profile, origins)
    }
}

struct Picker<'a> {
    layers: &'a [&'a Rule],
    origins: &'a mut Vec<Origin>,
}

impl Picker<'_> {
    fn take<T: Copy + std::fmt::Display>(
        &mut self,
        field: &'static str,
        read: impl Fn(&Layer) -> Option<T>,
        default: T,
        source: &str,
    ) -> T {
        let found =
            self.layers.iter().find_map(|rule| read(&rule.layer).map(|value| (value, rule.scope.describe())));
        let (value, source) = found.unwrap_or_else(|| (default, source.to_owned()));
        self.origins.push(Origin { field, value: value.to_string(), source });
        value
    }
}

/// A plugin without switches of its own is paced like TCP.
fn params_of(switches: &Switches, kind: &str) -> HealthParams {
    match kind {
        "HTTP" => switches.http_health_params,
        "MYSQL" => switches.mysql_health_params,
        _ => switches.tcp_health_params,
    }
}

/// How a check went, with what the interval adapts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Result {
    /// what the checker concluded
    pub outcome: Outcome,
    /// how long it took
    pub took: Millis,
}

/// Counts of one instance: what it takes to turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    passes: u32,
    failures: u32,
}

impl Counts {
    /// Consecutive passes so far, while unhealthy.
    pub fn passes(&self) -> u32 {
        self.passes
    }

    /// Consecutive failures so far, while healthy.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts `outcome` of an instance that is `healthy` now; answers its new health when that changes.
    ///
    /// Source: Nacos `HealthCheckCommonV2` (checkOk, checkFail, checkFailNow).
    pub fn count(&mut self, healthy: bool, outcome: Outcome, profile: &Profile) -> Option<bool> {
        match outcome {
            Outcome::Inconclusive => None,
            Outcome::Passed | Outcome::Warning => {
                self.failures = 0;
                self.passes = if healthy { 0 } else { self.passes.saturating_add(1) };
                (!healthy && self.passes >= profile.rise).then(|| self.turn(true))
            }
            Outcome::Failed => {
                self.passes = 0;
                self.failures = if healthy { self.failures.saturating_add(1) } else { 0 };
                (healthy && self.failures >= profile.fall).then(|| self.turn(false))
            }
            Outcome::FailedNow => {
                self.passes = 0;
                healthy.then(|| self.turn(false))
            }
        }
    }

    fn turn(&mut self, healthy: bool) -> bool {
        *self = Self::default();
        healthy
    }
}

/// Whether an instance that failed here is unhealthy, by what other members say who looked at it. Those who could not
/// tell do not count. A tie is no: to be called dead for nothing is worse than to be found dead a little later.
pub fn confirmed(others: &[Outcome]) -> bool {
    let count = |of: &[Outcome]| others.iter().filter(|outcome| of.contains(outcome)).count();
    let failed = 1 + count(&[Outcome::Failed, Outcome::FailedNow]);
    failed > count(&[Outcome::Passed, Outcome::Warning])
}

/// The interval after a check, from the one before it. Source: Nacos `HealthCheckCommonV2.reEvaluateCheckRT`.
pub fn next_interval(interval: Millis, result: &Result, profile: &Profile) -> Millis {
    let sample = match result.outcome {
        Outcome::Passed | Outcome::Warning => result.took.0,
        Outcome::Failed => interval.0.saturating_mul(2),
        Outcome::FailedNow => profile.max_interval.0,
        Outcome::Inconclusive => return interval,
    };
    let low = profile.min_interval.0;
    let high = profile.max_interval.0.max(low);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "intervals are far below 2^52 ms and never negative"
    )]
    let mixed = (profile.factor * interval.0 as f64 + (1.0 - profile.factor) * sample as f64) as u64;
    Millis(mixed.clamp(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Outcome::{Failed, FailedNow, Inconclusive, Passed, Warning};

    fn profile() -> Profile {
        Rules::default().resolve(&Switches::default(), &ServiceKey::new("", "", "s"), "DEFAULT", "TCP")
    }

    fn run(healthy: bool, outcomes: &[Outcome]) -> Vec<bool> {
        let mut now = healthy;
        let mut counts = Counts::default();
        let turn = |outcome: &Outcome| {
            if let Some(turned) = counts.count(now, *outcome, &profile()) {
                now = turned;
            }
            now
        };
        outcomes.iter().map(turn).collect()
    }

    #[test]
    fn n284_three_soft_failures_in_a_row_turn_an_instance() {
        assert_eq!(run(true, &[Failed, Failed, Failed]), [true, true, false]);
    }

    #[test]
    fn n285_recovery_needs_three_passes() {
        assert_eq!(run(false, &[Passed, Warning, Passed]), [false, false, true]);
    }

    #[test]
    fn n286_a_pass_between_failures_starts_the_count_again() {
        assert_eq!(run(true, &[Failed, Failed, Passed, Failed, Failed]), [true; 5]);
        assert_eq!(run(false, &[Passed, Passed, Failed, Passed, Passed]), [false; 5]);
    }

    #[test]
    fn n283_a_hard_failure_turns_at_once() {
        assert_eq!(run(true, &[FailedNow]), [false]);
    }

    #[test]
    fn an_inconclusive_check_neither_turns_nor_counts() {
        assert_eq!(run(true, &[Failed, Failed, Inconclusive, Inconclusive, Inconclusive]), [true; 5]);
        assert_eq!(run(true, &[Failed, Failed, Inconclusive, Failed]), [true, true, true, false]);
        assert_eq!(run(false, &[Inconclusive; 5]), [false; 5]);
    }

    #[test]
    fn n302_check_times_of_one_turns_at_the_first_failure() {
        let mut switches = Switches::default();
        switches.set("healthCheckTimes", "1").unwrap();
        let profile = Rules::default().resolve(&switches, &ServiceKey::new("", "", "s"), "DEFAULT", "TCP");
        assert_eq!(Counts::default().count(true, Failed, &profile), Some(false));
    }

    #[test]
    fn n303_the_interval_stays_between_the_bounds_of_its_type() {
        let profile = profile();
        let mut interval = profile.min_interval;
        for outcome in [FailedNow; 20] {
            interval = next_interval(interval, &Result { outcome, took: Millis(1) }, &profile);
        }
        assert!(interval > Millis(4_900) && interval <= Millis(5_000), "{interval:?}");
        for _ in 0..20 {
            interval = next_interval(interval, &Result { outcome: Passed, took: Millis(1) }, &profile);
        }
        assert_eq!(interval, Millis(1_000));
        assert_eq!(
            next_interval(interval, &Result { outcome: Inconclusive, took: Millis(9) }, &profile),
            interval
        );
    }

    #[test]
    fn others_who_can_tell_outvote_the_one_that_failed_and_a_tie_saves() {
        assert!(confirmed(&[]));
        assert!(confirmed(&[Inconclusive, Inconclusive]));
        assert!(confirmed(&[Failed, Passed]));
        assert!(confirmed(&[FailedNow, Warning, Inconclusive]));
        assert!(!confirmed(&[Passed]));
        assert!(!confirmed(&[Warning, Inconclusive]));
        assert!(!confirmed(&[Passed, Passed, Failed]));
    }

    #[test]
    fn the_narrowest_rule_wins_field_by_field_and_is_named() {
        let rule = |scope: Scope, layer: Layer| Rule { scope, layer };
        let some = |text: &str| Some(text.to_owned());
        let rules = Rules::new(vec![
            rule(
                Scope { service: some("s"), ..Scope::default() },
                Layer { rise: Some(1), ..Layer::default() },
            ),
            rule(Scope::default(), Layer { rise: Some(9), fall: Some(9), ..Layer::default() }),
            rule(
                Scope { namespace: some("other"), ..Scope::default() },
                Layer { fall: Some(7), ..Layer::default() },
            ),
        ]);
        let (profile, origins) =
            rules.explain(&Switches::default(), &ServiceKey::new("", "", "s"), "DEFAULT", "MYSQL");
        assert_eq!((profile.rise, profile.fall, profile.min_interval), (1, 9, Millis(2_000)));
        assert_eq!(origins[0].source, "settings: service=s");
        assert_eq!(origins[1].source, "settings: everywhere");
        assert_eq!(origins[2].source, "switches");
    }
}
