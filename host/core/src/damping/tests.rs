use super::*;
use crate::health::{Counts, Profile, Rules};
use crate::ids::ServiceKey;
use crate::switches::Switches;
use Outcome::{Failed, FailedNow, Inconclusive, Passed, Warning};
use proptest::prelude::*;

const MINUTE: Millis = Millis::from_secs(60);
const ON: Numbers = Numbers { half_life: MINUTE, suppress: FLAP_SUPPRESS, reuse: FLAP_REUSE };
const OFF: Numbers = Numbers { half_life: Millis(0), ..ON };

fn profile() -> Profile {
    Rules::default().resolve(&Switches::default(), &ServiceKey::new("", "", "s"), "DEFAULT", "TCP")
}

/// An instance under check, as the schedule sees it.
struct Checked {
    counts: Counts,
    damping: Damping,
    numbers: Numbers,
    healthy: bool,
    now: Millis,
}

impl Checked {
    fn new(numbers: Numbers) -> Self {
        let (counts, damping) = (Counts::default(), Damping::default());
        Self { counts, damping, numbers, healthy: true, now: Millis(0) }
    }

    /// One verdict a second.
    fn hears(&mut self, outcome: Outcome) -> bool {
        self.now = self.now + Millis::from_secs(1);
        let turned = self.counts.count(self.damping.believed(self.healthy), outcome, &profile());
        if let Some(turned) = self.damping.turn(self.now, self.healthy, outcome, turned, &self.numbers) {
            self.healthy = turned;
        }
        self.healthy
    }

    fn flaps(&mut self) -> bool {
        self.hears(FailedNow);
        for _ in 0..3 {
            self.hears(Passed);
        }
        self.healthy
    }
}

#[test]
fn the_third_turn_in_a_short_time_holds_and_steadiness_lets_go() {
    let mut one = Checked::new(ON);
    assert!(one.flaps() && one.flaps(), "two turns are not flapping");
    assert!(!one.flaps(), "the third holds, though its checks pass");
    assert!(one.damping.held());
    let left = one.damping.held_for(one.now, &ON).unwrap();
    assert!(left > MINUTE && left < Millis::from_secs(120), "{left:?}");
    let mut steady = 0;
    while !one.hears(Passed) {
        steady += 1;
        assert!(steady < 300, "never let go");
    }
    assert!(Millis::from_secs(steady + 1) >= left, "let go after {steady} s, {left:?} were said");
    assert_eq!((one.damping.held(), one.damping.held_for(one.now, &ON)), (false, None));
}

#[test]
fn turns_while_held_hold_for_longer_but_not_for_ever() {
    let mut one = Checked::new(ON);
    for _ in 0..200 {
        one.flaps();
    }
    let left = one.damping.held_for(one.now, &ON).unwrap();
    assert!(
        left > Millis::from_secs(120) && left < Millis::from_secs(140),
        "2.3 half-lives at most: {left:?}"
    );
}

#[test]
fn rare_turns_are_never_held() {
    let mut one = Checked::new(ON);
    for _ in 0..20 {
        assert!(one.flaps());
        one.now = one.now + Millis::from_secs(120);
    }
}

#[test]
fn what_cannot_tell_lets_nothing_go() {
    let mut one = Checked::new(ON);
    for _ in 0..3 {
        one.flaps();
    }
    for _ in 0..600 {
        assert!(!one.hears(Inconclusive));
    }
    assert!(one.hears(Passed), "the first check that can tell does");
}

#[test]
fn an_instance_that_is_down_when_it_is_let_go_has_to_rise_as_ever() {
    let mut one = Checked::new(ON);
    for _ in 0..3 {
        one.flaps();
    }
    one.hears(FailedNow);
    one.now = one.now + Millis::from_secs(600);
    assert_eq!([Failed, Passed, Passed].map(|outcome| one.hears(outcome)), [false; 3]);
    assert!(one.hears(Passed));
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Passed), 1 => Just(Warning), 3 => Just(Failed), 2 => Just(FailedNow), 1 => Just(Inconclusive)
    ]
}

proptest! {
    #[test]
    fn off_is_exactly_as_without(outcomes in prop::collection::vec(outcome(), 0..300)) {
        let mut damped = Checked::new(OFF);
        let (mut counts, mut healthy) = (Counts::default(), true);
        for outcome in outcomes {
            healthy = counts.count(healthy, outcome, &profile()).unwrap_or(healthy);
            prop_assert_eq!(damped.hears(outcome), healthy);
            prop_assert!(!damped.damping.held());
        }
    }

    #[test]
    fn damping_never_calls_unhealthy_what_checks_call_healthy_and_ends(
        outcomes in prop::collection::vec(outcome(), 0..300),
    ) {
        let mut damped = Checked::new(ON);
        let (mut counts, mut healthy) = (Counts::default(), true);
        let mut was = true;
        for outcome in outcomes {
            healthy = counts.count(healthy, outcome, &profile()).unwrap_or(healthy);
            let shown = damped.hears(outcome);
            prop_assert!(healthy || !shown, "shown as healthy, and the checks say it is not");
            prop_assert!(shown || !was || !healthy, "turned to unhealthy by damping alone");
            was = shown;
        }
        for _ in 0..150 {
            damped.hears(Passed);
        }
        prop_assert!(damped.healthy, "still held after 2.5 half-lives of passes");
    }
}
