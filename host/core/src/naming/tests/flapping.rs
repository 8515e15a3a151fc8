//! Flap damping where it matters: what readers see of an instance that its checks turn again and again.

use super::*;
use crate::health::{Layer, Rule, Rules, Scope};

/// Damping for this service only, with a half-life of a minute.
fn damped(service: &str) -> Node {
    let scope = Scope { service: Some(service.to_owned()), ..Scope::default() };
    let layer = Layer { flap_half_life: Some(Millis::from_secs(60)), rise: Some(1), ..Layer::default() };
    let rules = Rules::new(vec![Rule { scope, layer }]);
    Node::new(Options { rules, ..Options::default() })
}

fn says(node: &mut Node, outcome: Outcome) -> bool {
    until_probe(node);
    node.report(outcome);
    node.shown()[0].1
}

fn flap(node: &mut Node, times: usize) -> Vec<bool> {
    let flap = |_| {
        assert!(!says(node, Outcome::FailedNow));
        (0..3).map(|_| says(node, Outcome::Passed)).last().unwrap_or_default()
    };
    (0..times).map(flap).collect()
}

#[test]
fn an_instance_that_flaps_is_held_until_it_is_steady() {
    let mut node = damped("web");
    node.register_persistent(persistent(80));
    assert_eq!(flap(&mut node, 3), [true, true, false]);
    assert_eq!((node.naming.counters().damped, node.naming.counters().damped_total), (1, 1));
    let explained = node.naming.explain(node.now, &web(), IP, 80).unwrap();
    let numbers = explained.profile.damping();
    let source = explained.origins.iter().find(|origin| origin.field == "flapHalfLife").unwrap();
    assert_eq!(source.source, "settings: service=web");
    let state = explained.probe.unwrap();
    let left = state.damping.held_for(node.now, &numbers).unwrap();
    let history: Vec<_> = state.history.newest_first().map(|streak| streak.outcome).take(2).collect();
    assert_eq!(history, [Outcome::Passed, Outcome::FailedNow]);
    let free = node.now + left;
    while !says(&mut node, Outcome::Passed) {
        assert!(node.now <= free + Millis::from_secs(5), "held for longer than was said");
    }
    assert!(node.now >= free, "let go before its time");
    assert_eq!((node.naming.counters().damped, node.naming.counters().damped_total), (0, 1));
}

#[test]
fn damping_is_off_unless_a_rule_says_so() {
    let mut node = damped("another");
    node.register_persistent(persistent(80));
    for _ in 0..10 {
        assert!(!says(&mut node, Outcome::FailedNow));
        assert_eq!([(); 3].map(|()| says(&mut node, Outcome::Passed)), [false, false, true]);
    }
}

#[test]
fn one_that_is_held_when_it_goes_is_not_counted_any_more() {
    let mut node = damped("web");
    node.register_persistent(persistent(80));
    flap(&mut node, 3);
    node.propose(Command::DeregisterInstance { service: web(), address: at(80).address() });
    assert_eq!(node.naming.counters().damped, 0);
    node.register_persistent(persistent(80));
    assert_eq!(flap(&mut node, 2), [true, true], "a new registration starts anew");
}

#[test]
fn what_other_members_do_not_see_is_no_flapping() {
    let mut node = careful_with(Layer { flap_half_life: Some(Millis::from_secs(60)), ..Layer::default() });
    let port = node.shown()[0].0;
    for _ in 0..10 {
        fails_twice(&mut node);
        let (id, _) = node.asked.pop().unwrap();
        node.step(|naming, _| naming.opinions(id, &[Outcome::Passed, Outcome::Passed]));
        assert!(node.shown()[0].1);
    }
    let explained = node.naming.explain(node.now, &web(), IP, port).unwrap();
    let state = explained.probe.unwrap();
    assert!(state.damping.penalty(node.now, &explained.profile.damping()) < 0.01);
    assert_eq!((state.contested, node.naming.counters().damped), (10, 0));

    fails_twice(&mut node);
    let (id, _) = node.asked.pop().unwrap();
    node.step(|naming, _| naming.opinions(id, &[Outcome::Failed, Outcome::Failed]));
    assert!(!node.shown()[0].1);
    let state = node.naming.explain(node.now, &web(), IP, port).unwrap().probe.unwrap();
    assert!(
        state.damping.penalty(node.now, &explained.profile.damping()) > 0.5,
        "a turn that they see is one"
    );
}
