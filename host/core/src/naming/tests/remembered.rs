//! What an earlier run of the node knew.

use super::*;

const WORD: Overlay = Overlay { enabled: None, weight: Some(7.0), metadata: Metadata::new() };

/// A node that remembers these instances of `web`, and nothing else.
fn remembering(instances: Vec<Instance>) -> Node {
    let mut node = node();
    node.step(|naming, now| naming.remember(now, [(web(), instances)]));
    node
}

fn remembered(node: &Node) -> usize {
    node.naming.counters().remembered
}

fn pushed(node: &Node) -> Vec<Vec<u16>> {
    node.pushes.iter().map(|push| push.1.clone()).collect()
}

#[test]
fn readers_and_subscribers_are_shown_what_was_there_before() {
    let mut node = remembering(vec![at(80), Instance { healthy: false, ..at(81) }]);
    assert_eq!(node.shown(), [(80, true), (81, false)]);
    assert!(node.published[&web()].ephemeral);
    node.subscribe("");
    node.run_to(1_000);
    assert_eq!(pushed(&node), [vec![80, 81]]);
    assert_eq!(node.naming.counters().held_services, 0);
}

#[test]
fn they_belong_to_nobody_and_are_not_counted_as_registered() {
    let node = remembering(vec![at(80)]);
    let counters = node.naming.counters();
    assert_eq!((counters.instances, counters.services, counters.clients, counters.targets), (0, 0, 0, 0));
    assert_eq!(counters.remembered, 1);
    assert!(node.naming.publishers(&web()).is_empty());
    assert!(node.naming.explain(Millis(0), &web(), IP, 80).is_none());
    assert!(node.naming.published_by(&ClientId::address(IP, 80, true)).is_none());
}

#[test]
fn a_beat_does_not_keep_one_so_that_its_client_registers_again() {
    let mut node = remembering(vec![at(80)]);
    assert!(!node.beat(80, None).known);
    assert!(node.beat(80, Some(at(80))).known);
    assert_eq!((remembered(&node), node.naming.counters().instances), (0, 1));
}

#[test]
fn who_registers_takes_the_place_of_the_twin_and_the_others_stay() {
    let mut node = remembering(vec![at(80), at(81)]);
    node.register(with(80, &[("run", "2")]));
    assert_eq!(node.shown(), [(80, true), (81, true)]);
    assert_eq!(node.published[&web()].instances[0].metadata["run"], "2");
    assert_eq!(remembered(&node), 1);
    // it is an instance like any other now
    node.step(|naming, now| naming.disconnect(now, &ClientId::address(IP, 80, true)));
    assert_eq!(node.shown(), [(81, true)]);
}

#[test]
fn a_connection_replaces_the_twin_of_its_cluster_and_an_address_the_one_in_any() {
    let elsewhere = || Instance { cluster: "B".into(), ..at(80) };
    let mut node = remembering(vec![at(80), elsewhere()]);
    let client: ClientId = "1_10.0.0.5_999".parse().unwrap();
    node.step(|naming, now| naming.register(now, &client, &web(), elsewhere())).unwrap();
    assert_eq!((remembered(&node), node.shown().len()), (1, 2));
    let mut node = remembering(vec![elsewhere()]);
    node.register(at(80));
    assert_eq!((remembered(&node), node.published[&web()].clusters().len()), (0, 1));
}

#[test]
fn who_does_not_come_back_goes_when_the_hold_is_over_and_subscribers_are_told_once() {
    let mut node = remembering(vec![at(80), at(81)]);
    let connection: ClientId = "1_10.0.0.9_999".parse().unwrap();
    let subscription = Subscription {
        client: connection,
        service: web(),
        ip: "10.0.0.9".into(),
        port: 0,
        clusters: "".into(),
        agent: "".into(),
        app: "".into(),
    };
    node.step(|naming, now| naming.subscribe(now, subscription));
    node.run_to(50_000);
    node.register(at(81));
    node.run_to(59_999);
    assert_eq!(node.shown(), [(80, true), (81, true)]);
    node.pushes.clear();
    node.run_to(62_000);
    assert_eq!(node.shown(), [(81, true)]);
    assert_eq!(pushed(&node), [vec![81]]);
    assert_eq!(remembered(&node), 0);
}

#[test]
fn a_service_that_nobody_came_back_to_is_gone_after_the_hold() {
    let mut node = remembering(vec![at(80)]);
    node.run_to(40_000);
    node.subscribe("");
    node.run_to(59_000);
    assert!(node.published.contains_key(&web()));
    node.run_to(61_000);
    assert!(!node.published.contains_key(&web()));
    assert_eq!(pushed(&node), [vec![80], vec![]]);
}

#[test]
fn a_deregistration_takes_a_remembered_instance_out_and_an_empty_list_is_news_then() {
    let mut node = remembering(vec![at(80), at(81)]);
    node.subscribe("");
    node.step(|naming, now| naming.deregister(now, &ClientId::address(IP, 80, true), &web()));
    assert_eq!(node.shown(), [(81, true)]);
    node.run_to(1_000);
    node.step(|naming, now| naming.forget(now, &web(), IP, 81));
    node.step(|naming, now| naming.forget(now, &web(), IP, 99));
    assert_eq!((node.shown(), remembered(&node)), (vec![], 0));
    node.run_to(2_000);
    assert_eq!(pushed(&node), [vec![81], vec![]]);
}

#[test]
fn overlays_are_on_them_and_are_not_cleaned_away_while_they_are_shown() {
    let mut node = remembering(vec![at(80)]);
    node.register(at(81));
    node.propose(Command::SetOverlay {
        service: web(),
        metadata_id: at(80).metadata_id(),
        overlay: Some(WORD),
    });
    assert_eq!(node.published[&web()].instances[0].weight, 7.0);
    node.run_to(59_000);
    assert_eq!(node.rows.0.len(), 1);
}

#[test]
fn a_service_that_shows_remembered_instances_is_not_empty_to_an_operator() {
    let mut node = remembering(vec![at(80)]);
    let refused = node.step(|naming, _| naming.delete_service(&web()));
    assert!(matches!(refused, Err(DeleteServiceError::NotEmpty(_))), "{refused:?}");
    node.propose(Command::CreateService {
        service: web(),
        metadata: ServiceMetadata { ephemeral: true, ..ServiceMetadata::default() },
    });
    node.propose(Command::DeleteService { service: web() });
    assert_eq!(node.shown(), [(80, true)]);
}

#[test]
fn a_service_that_is_persistent_now_shows_nothing_that_is_remembered() {
    let mut node = remembering(vec![at(80)]);
    node.register_persistent(persistent(81));
    assert_eq!((node.shown(), remembered(&node)), (vec![(81, true)], 0));
    let mut node = Node::new(Options::default());
    node.register_persistent(persistent(81));
    node.step(|naming, now| naming.remember(now, [(web(), vec![at(80)])]));
    assert_eq!((node.shown(), remembered(&node)), (vec![(81, true)], 0));
}

#[test]
fn without_a_hold_nothing_is_remembered() {
    let mut node = Node::new(Options { restart_hold: Millis(0), ..Options::default() });
    node.step(|naming, now| naming.remember(now, [(web(), vec![at(80)])]));
    assert_eq!((node.shown(), remembered(&node)), (vec![], 0));
}
