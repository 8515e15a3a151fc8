use super::*;
use crate::plugin::{Outcome, Target};

const LIMITS: fn() -> Limits = || Limits {
    shadow_runs: 10,
    shadow_time: Millis(1_000),
    canary_runs: 10,
    canary_time: Millis(1_000),
    patience: Millis(5_000),
    probation: Millis(10_000),
    mismatches: 100,
    ..Limits::default()
};

fn in_shadow() -> Rollout {
    let mut rollout = Rollout::new(Millis(0), LIMITS(), Company::Alone);
    rollout.prepared(Millis(0), Stage::Verified);
    rollout.prepared(Millis(0), Stage::Compiled);
    assert_eq!(rollout.validated(Millis(0), Trial::OnTargets), Decision::Enter(Stage::Shadow));
    rollout
}

fn in_canary() -> Rollout {
    let mut rollout = in_shadow();
    let entered = rollout.observe(Millis(1_000), &good(10));
    assert_eq!(entered, Decision::Enter(Stage::Canary { share: 100 }));
    rollout
}

fn good(answers: u64) -> Seen {
    Seen { answers, agreed: answers, p99_us: 900, active_p99_us: 900, ..Seen::default() }
}

#[test]
fn a_good_candidate_goes_through_all_stages() {
    let mut rollout = in_shadow();
    assert_eq!(rollout.observe(Millis(999), &good(50)), Decision::Stay, "shadow has its least length");
    assert_eq!(rollout.observe(Millis(1_000), &good(9)), Decision::Stay, "and its least runs");
    let share = LIMITS().canary_share;
    assert_eq!(rollout.observe(Millis(1_100), &good(10)), Decision::Enter(Stage::Canary { share }));
    assert_eq!(rollout.observe(Millis(1_200), &good(99)), Decision::Stay);
    assert_eq!(rollout.observe(Millis(2_100), &good(10)), Decision::Activate);
    assert_eq!(rollout.stage(), Stage::Probation);
    assert_eq!(rollout.observe(Millis(12_099), &good(500)), Decision::Stay);
    assert_eq!(rollout.observe(Millis(12_100), &good(500)), Decision::Settle);
    assert_eq!(rollout.stage(), Stage::Active);
}

#[test]
fn a_candidate_that_breaks_is_rolled_back_at_the_first_fault_in_every_stage() {
    let seen = |traps, deadlines, faults| Seen { traps, deadlines, faults, ..good(5) };
    let cases = [
        (seen(1, 0, 0), Reason::Traps { traps: 1, runs: 6 }),
        (seen(0, 1, 0), Reason::Deadlines { deadlines: 1, runs: 6 }),
        (seen(0, 0, 1), Reason::Faults { faults: 1, runs: 6 }),
        (seen(1, 1, 1), Reason::Traps { traps: 1, runs: 8 }),
    ];
    for (seen, reason) in cases {
        let probation = || {
            let mut rollout = in_canary();
            assert_eq!(rollout.promote(Millis(1_001), true), Ok(Decision::Activate));
            rollout
        };
        for mut rollout in [in_shadow(), in_canary(), probation()] {
            let stage = rollout.stage();
            assert_eq!(rollout.observe(Millis(1_100), &seen), Decision::RollBack(reason.clone()));
            assert_eq!((rollout.stage(), rollout.reason()), (Stage::RolledBack, Some(&reason)));
            assert_eq!(rollout.left(), stage);
            assert_eq!(rollout.observe(Millis(9_000), &good(100)), Decision::Stay, "over is over");
        }
    }
}

#[test]
fn some_faults_may_be_allowed() {
    let limits = Limits { faults: 100, ..LIMITS() };
    let faulty = |faults, answers| Seen { faults, ..good(answers) };
    assert_eq!(limits.broken(Stage::Shadow, &faulty(1, 0)), None, "one of at least ten");
    assert_eq!(limits.broken(Stage::Shadow, &faulty(2, 8)), Some(Reason::Faults { faults: 2, runs: 10 }));
}

#[test]
fn verdicts_that_differ_beyond_the_limit_end_it_and_a_few_do_not() {
    let differ =
        |disagreed, agreed| Seen { answers: disagreed + agreed, disagreed, agreed, ..Seen::default() };
    let mut rollout = in_shadow();
    assert_eq!(rollout.observe(Millis(10), &differ(1, 0)), Decision::Stay, "a target may have changed");
    assert_eq!(
        rollout.observe(Millis(20), &differ(2, 3)),
        Decision::RollBack(Reason::Mismatch { disagreed: 2, compared: 5 })
    );
    let mut rollout = in_shadow();
    assert_eq!(
        rollout.observe(Millis(1_000), &differ(10, 90)),
        Decision::Enter(Stage::Canary { share: 100 })
    );
    let mut rollout = in_canary();
    assert!(matches!(rollout.observe(Millis(1_010), &differ(2, 0)), Decision::RollBack(_)));
}

#[test]
fn a_slow_candidate_is_rolled_back_when_there_is_enough_to_tell() {
    let slow = |answers, p99_us, active_p99_us| Seen { p99_us, active_p99_us, ..good(answers) };
    let limits = LIMITS();
    let broken = |seen: &Seen| limits.broken(Stage::Shadow, seen);
    assert_eq!(broken(&slow(99, 900_000, 1_000)), None, "too few calls");
    assert_eq!(broken(&slow(100, 100_000, 1_000)), None, "within the slack");
    assert_eq!(broken(&slow(100, 300_000, 100_000)), None, "three times is allowed");
    assert_eq!(
        broken(&slow(100, 300_001, 100_000)),
        Some(Reason::Latency { p99_us: 300_001, active_p99_us: 100_000 })
    );
}

#[test]
fn a_quiet_candidate_is_not_promoted_by_time_and_says_that_it_waits() {
    let mut rollout = in_shadow();
    assert_eq!(rollout.observe(Millis(4_999), &Seen::default()), Decision::Stay);
    assert!(!rollout.is_quiet());
    assert_eq!(rollout.observe(Millis(5_000), &Seen::default()), Decision::Stay);
    assert!(rollout.is_quiet());
    assert_eq!(rollout.observe(Millis(86_400_000), &Seen::default()), Decision::Stay);
    assert_eq!(rollout.stage(), Stage::Shadow);
    assert_eq!(rollout.observe(Millis(86_400_001), &good(1)), Decision::Stay);
    assert!(!rollout.is_quiet(), "a run ends the quiet");
    assert_eq!(rollout.observe(Millis(86_406_000), &good(1)), Decision::Stay);
    assert!(rollout.is_quiet(), "until the next one");
}

#[test]
fn a_canary_without_targets_gets_a_larger_share_and_never_the_rest_by_time() {
    let mut rollout = in_canary();
    let mut shares = Vec::new();
    for now in (2_000..100_000).step_by(500) {
        match rollout.observe(Millis(now), &Seen::default()) {
            Decision::Enter(Stage::Canary { share }) => shares.push(share),
            decision => assert_eq!(decision, Decision::Stay),
        }
    }
    assert_eq!(shares, [300, 900, 1000]);
    assert!(rollout.is_quiet() && rollout.stage() == Stage::Canary { share: 1000 });
}

#[test]
fn an_operator_may_hurry_and_may_withdraw() {
    let mut rollout = in_shadow();
    let canary = Stage::Canary { share: 100 };
    assert_eq!(rollout.promote(Millis(5), false), Ok(Decision::Enter(canary)));
    assert_eq!(rollout.promote(Millis(6), false), Ok(Decision::Activate));
    assert_eq!(rollout.promote(Millis(7), true), Err(NotNow::IsActive));
    assert_eq!(rollout.withdraw(Millis(8)), Decision::RollBack(Reason::Operator));
    assert_eq!(rollout.promote(Millis(9), true), Err(NotNow::IsOver));
    assert_eq!(in_shadow().promote(Millis(5), true), Ok(Decision::Activate));
    assert_eq!(
        Rollout::new(Millis(0), LIMITS(), Company::Alone).promote(Millis(1), true),
        Err(NotNow::NotValidated)
    );
}

#[test]
fn what_nothing_uses_is_switched_at_once_and_still_on_probation() {
    let mut rollout = Rollout::new(Millis(0), LIMITS(), Company::Alone);
    assert_eq!(rollout.validated(Millis(3), Trial::None), Decision::Activate);
    let trapped = Seen { traps: 1, ..Seen::default() };
    assert!(matches!(rollout.observe(Millis(9), &trapped), Decision::RollBack(Reason::Traps { .. })));
}

#[test]
fn a_candidate_that_is_not_accepted_says_why() {
    let mut rollout = Rollout::new(Millis(0), LIMITS(), Company::Alone);
    let reason = Reason::Refused("no such import".into());
    assert_eq!(rollout.refused(Millis(1), "no such import".into()), Decision::RollBack(reason.clone()));
    assert_eq!((reason.word(), reason.to_string().as_str()), ("refused", "no such import"));
}

const ALL: [Option<Outcome>; 6] = [
    None,
    Some(Outcome::Passed),
    Some(Outcome::Warning),
    Some(Outcome::Failed),
    Some(Outcome::FailedNow),
    Some(Outcome::Inconclusive),
];

#[test]
fn nothing_that_a_canary_says_against_a_target_counts_without_the_active_version() {
    for candidate in ALL {
        let up = matches!(candidate, Some(Outcome::Passed | Outcome::Warning));
        assert_eq!(worth(candidate) == Worth::Counts, up, "{candidate:?}");
    }
}

#[test]
fn verdicts_are_compared_by_their_effect_and_faults_not_at_all() {
    for one in ALL {
        assert_eq!((settled(one, None), settled(None, one)), (None, None));
        assert_eq!(settled(one, one), one.map(|_| true));
    }
    assert_eq!(settled(Some(Outcome::Passed), Some(Outcome::Warning)), Some(true));
    assert_eq!(settled(Some(Outcome::Failed), Some(Outcome::FailedNow)), Some(false));
    assert_eq!(settled(Some(Outcome::Passed), Some(Outcome::Inconclusive)), Some(false));
}

fn target(nth: u16) -> Target {
    Target {
        address: format!("10.0.{}.{}", nth / 250, nth % 250),
        port: 80,
        namespace: "public".into(),
        group: "DEFAULT_GROUP".into(),
        service: "web".into(),
        cluster: "DEFAULT".into(),
        metadata: Vec::new(),
    }
}

#[test]
fn a_share_of_targets_is_as_large_as_it_says_and_grows_by_addition() {
    for share in [10_u16, 100, 300, 900] {
        let count = (0..10_000).filter(|nth| in_share(&target(*nth), share)).count();
        let wanted = usize::from(share) * 10;
        assert!(count.abs_diff(wanted) < 40 + wanted / 10, "{count} of 10000 for {share}");
    }
    assert!((0..10_000).all(|nth| !in_share(&target(nth), 100) || in_share(&target(nth), 300)));
    assert!((0..10_000).all(|nth| in_share(&target(nth), 1000) && !in_share(&target(nth), 0)));
}

/// Whatever a candidate answers, targets that the active version finds up stay up: the verdicts that reach the counts
/// are those of `worth`.
#[test]
fn no_instance_turns_whatever_a_candidate_does() {
    for candidate in ALL {
        let mut rollout = in_canary();
        let mut seen = Seen::default();
        for now in 0..1_000 {
            let active = Some(Outcome::Passed);
            let used = match worth(candidate) {
                Worth::Counts => candidate,
                Worth::AskActive => active,
            };
            assert_eq!(used.map(Effect::from), Some(Effect::Up));
            match candidate {
                None => seen.traps += 1,
                Some(_) => seen.answers += 1,
            }
            if worth(candidate) == Worth::AskActive {
                match settled(candidate, active) {
                    Some(true) => seen.agreed += 1,
                    Some(false) => seen.disagreed += 1,
                    None => {}
                }
            }
            if !matches!(rollout.observe(Millis(1_000 + now * 10), &seen), Decision::Stay) {
                break;
            }
        }
        let up = matches!(candidate, Some(Outcome::Passed | Outcome::Warning));
        assert_eq!(rollout.stage() == Stage::Probation, up, "{candidate:?}: {:?}", rollout.stage());
        assert_eq!(rollout.stage() == Stage::RolledBack, !up, "{candidate:?}");
    }
}

/// One that became good here and is one of several members.
fn of_members() -> Rollout {
    let mut rollout = Rollout::new(Millis(0), LIMITS(), Company::Members);
    rollout.prepared(Millis(0), Stage::Compiled);
    rollout.validated(Millis(0), Trial::OnTargets);
    rollout
}

#[test]
fn among_members_a_good_candidate_waits_for_the_others() {
    let mut rollout = of_members();
    assert_eq!(rollout.agreed(Millis(500)), Decision::Stay, "it is not ready here");
    rollout.observe(Millis(1_000), &good(10));
    assert_eq!(rollout.observe(Millis(2_000), &good(10)), Decision::Ready);
    assert_eq!((rollout.stage(), rollout.ready()), (Stage::Ready, Some(true)));
    assert_eq!(rollout.observe(Millis(99_000), &good(10)), Decision::Stay, "however long it takes");
    assert_eq!(rollout.agreed(Millis(99_000)), Decision::Activate);
    assert_eq!(rollout.stage(), Stage::Probation);
}

#[test]
fn among_members_a_candidate_that_breaks_while_it_waits_is_given_up() {
    let mut rollout = of_members();
    rollout.promote(Millis(1), true).unwrap();
    let broken = Seen { traps: 1, ..good(5) };
    assert!(matches!(rollout.observe(Millis(2), &broken), Decision::RollBack(Reason::Traps { .. })));
}

#[test]
fn a_member_that_checks_nobody_leaves_the_judgement_to_the_others() {
    let mut rollout = of_members();
    assert_eq!(rollout.observe(Millis(4_999), &Seen::default()), Decision::Stay);
    assert_eq!(rollout.observe(Millis(5_000), &Seen::default()), Decision::Ready);
    assert_eq!(rollout.ready(), Some(false), "it has not been tried");
    let mut busy = rollout.clone();
    assert_eq!(
        busy.observe(Millis(6_000), &good(1)),
        Decision::Enter(Stage::Shadow),
        "it checks one after all"
    );
    assert_eq!(rollout.promote(Millis(5_001), true), Ok(Decision::Ready));
    assert_eq!(rollout.ready(), Some(true), "an operator said so");
}
