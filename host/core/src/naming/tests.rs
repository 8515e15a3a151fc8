//! The rules of the naming state, by given inputs and times.

use super::*;
use crate::cluster::{NodeId, View};
use crate::health::{Layer, Rule, Rules};
use crate::instance::{KEY_BEAT_TIMEOUT, KEY_DELETE_TIMEOUT, Metadata};
use crate::persist::{Command, MemoryRows};
use crate::plugin::{Outcome, Verdict};
use crate::service::ServiceMetadata;

mod flapping;
mod remembered;

/// A naming state with its rows and what came out of it.
struct Node {
    naming: Naming,
    rows: MemoryRows,
    now: Millis,
    pushes: Vec<(Millis, Vec<u16>, usize)>,
    probes: Vec<(Millis, ProbeJob)>,
    asked: Vec<(TargetId, Vec<NodeId>)>,
    published: BTreeMap<ServiceKey, Arc<ServiceSnapshot>>,
}

impl Node {
    fn new(options: Options) -> Self {
        Self {
            naming: Naming::new(options),
            rows: MemoryRows::default(),
            now: Millis(0),
            pushes: vec![],
            probes: vec![],
            asked: vec![],
            published: BTreeMap::new(),
        }
    }

    /// One step, then everything it leads to; proposals commit at once.
    fn step<T>(&mut self, step: impl FnOnce(&mut Naming, Millis) -> T) -> T {
        let answer = step(&mut self.naming, self.now);
        loop {
            let effects = self.naming.effects(self.now);
            if effects.is_empty() {
                return answer;
            }
            effects.into_iter().for_each(|effect| self.carry_out(effect));
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Publish(snapshot) => {
                self.published.insert(snapshot.key.clone(), snapshot);
            }
            Effect::Unpublish(key) => {
                self.published.remove(&key);
            }
            Effect::Push { snapshot, to } => {
                let ports = snapshot.instances.iter().map(|i| i.port).collect();
                self.pushes.push((self.now, ports, to.len()));
            }
            Effect::Probe(job) => self.probes.push((self.now, *job)),
            Effect::Ask { job, members } => self.asked.push((job.id, members)),
            Effect::Propose(command) => self.commit(&command),
            Effect::Switches(_) | Effect::Plugin(..) | Effect::Send { .. } | Effect::Loaded => {}
        }
    }

    fn commit(&mut self, command: &Command) {
        for change in self.rows.run(command).1 {
            self.naming.committed(self.now, change);
        }
    }

    fn propose(&mut self, command: Command) {
        self.commit(&command);
        self.step(|_, _| ());
    }

    /// Lets time pass, stopping at every deadline.
    fn run_to(&mut self, end: u64) {
        while let Some(due) = self.naming.next_deadline().filter(|due| due.0 <= end) {
            self.now = due.max(self.now);
            self.step(Naming::tick);
        }
        self.now = Millis(end);
        self.step(Naming::tick);
    }

    fn register(&mut self, instance: Instance) {
        let client = ClientId::address(&instance.ip, instance.port, true);
        self.step(|naming, now| naming.register(now, &client, &web(), instance)).unwrap();
    }

    fn register_persistent(&mut self, instance: Instance) {
        let instance = self.step(|naming, now| naming.prepare_persistent(now, &web(), instance)).unwrap();
        self.propose(Command::RegisterInstance { service: web(), instance });
    }

    fn beat(&mut self, port: u16, full: Option<Instance>) -> BeatReply {
        self.step(|naming, now| naming.beat(now, &web(), Beat { ip: IP.into(), port, full })).unwrap()
    }

    fn subscribe(&mut self, clusters: &str) {
        let subscription = Subscription {
            client: ClientId::address("10.9.9.9", 5000, true),
            service: web(),
            ip: "10.9.9.9".into(),
            port: 5000,
            clusters: clusters.into(),
            agent: "Nacos-Java-Client:v1.4.3".into(),
            app: "".into(),
        };
        self.step(|naming, now| naming.subscribe(now, subscription));
    }

    fn shown(&self) -> Vec<(u16, bool)> {
        let snapshot = self.published.get(&web());
        snapshot.map(|s| s.instances.iter().map(|i| (i.port, i.healthy)).collect()).unwrap_or_default()
    }

    fn report(&mut self, outcome: Outcome) {
        let (_, job) = self.probes.pop().expect("a check was started");
        let verdict = Verdict::of_host(outcome, "test", "");
        self.step(|naming, now| naming.probed(now, job.id, Report { verdict, took: Millis(1) }));
    }
}

const IP: &str = "10.0.0.5";

fn web() -> ServiceKey {
    ServiceKey::new("", "", "web")
}

fn at(port: u16) -> Instance {
    Instance::new(IP, port)
}

fn with(port: u16, pairs: &[(&str, &str)]) -> Instance {
    let metadata: Metadata = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Instance { metadata: Arc::new(metadata), ..at(port) }
}

fn node() -> Node {
    Node::new(Options::default())
}

fn persistent(port: u16) -> Instance {
    Instance { ephemeral: false, ..at(port) }
}

#[test]
fn n061_registering_twice_leaves_the_later_data_once() {
    let mut node = node();
    node.register(at(80));
    node.register(Instance { weight: 2.0, ..at(80) });
    assert_eq!(node.published[&web()].instances.len(), 1);
    assert_eq!(node.published[&web()].instances[0].weight, 2.0);
}

#[test]
fn n062_another_cluster_moves_the_instance() {
    let mut node = node();
    node.register(at(80));
    node.register(Instance { cluster: "B".into(), ..at(80) });
    assert_eq!(node.published[&web()].clusters(), BTreeMap::from([("B", 1)]));
}

#[test]
fn a_renewal_that_changes_nothing_publishes_nothing() {
    let mut node = node();
    node.register(at(80));
    let revision = node.published[&web()].revision;
    node.register(at(80));
    assert_eq!(node.published[&web()].revision, revision);
}

#[test]
fn n096_n097_silence_makes_unhealthy_after_15_s_and_removes_after_30() {
    let mut node = node();
    node.register(at(80));
    node.run_to(15_000);
    assert_eq!(node.shown(), [(80, true)]);
    node.run_to(15_011);
    assert_eq!(node.shown(), [(80, false)]);
    node.run_to(30_000);
    assert_eq!(node.shown(), [(80, false)]);
    node.run_to(30_011);
    assert_eq!(node.shown(), []);
}

#[test]
fn n100_a_beat_heals_at_once_and_pushes() {
    let mut node = node();
    node.register(at(80));
    node.subscribe("");
    node.run_to(16_000);
    assert_eq!(node.shown(), [(80, false)]);
    node.pushes.clear();
    assert!(node.beat(80, None).known);
    assert_eq!(node.shown(), [(80, true)]);
    node.run_to(16_500);
    assert_eq!(node.pushes, [(Millis(16_500), vec![80], 1)]);
}

#[test]
fn beats_keep_an_instance_for_ever() {
    let mut node = node();
    node.register(at(80));
    for beat in 1..100 {
        node.run_to(beat * 5_000);
        assert!(node.beat(80, None).known);
        assert_eq!(node.shown(), [(80, true)]);
    }
}

#[test]
fn n098_timing_keys_change_the_times_of_one_instance() {
    let mut node = node();
    node.register(with(80, &[(KEY_BEAT_TIMEOUT, "1000"), (KEY_DELETE_TIMEOUT, "2000")]));
    node.register(at(81));
    node.run_to(1_011);
    assert_eq!(node.shown(), [(80, false), (81, true)]);
    node.run_to(2_011);
    assert_eq!(node.shown(), [(81, true)]);
}

#[test]
fn n099_timing_keys_of_the_overlay_come_first() {
    let mut node = node();
    node.register(with(80, &[(KEY_BEAT_TIMEOUT, "20000")]));
    let metadata = Metadata::from([(KEY_BEAT_TIMEOUT.into(), "1000".into())]);
    let overlay = Some(Overlay { metadata, ..Overlay::default() });
    node.propose(Command::SetOverlay { service: web(), metadata_id: at(80).metadata_id(), overlay });
    node.run_to(1_011);
    assert_eq!(node.shown(), [(80, false)]);
}

#[test]
fn n101_instances_stay_when_expiry_is_off() {
    let mut node = Node::new(Options { expire_instance: false, ..Options::default() });
    node.register(at(80));
    node.run_to(100_000);
    assert_eq!(node.shown(), [(80, false)]);
    node.beat(80, None);
    node.run_to(110_000);
    assert_eq!(node.shown(), [(80, true)]);
    node.run_to(120_000);
    assert_eq!(node.shown(), [(80, false)]);
}

#[test]
fn n102_nothing_happens_while_checks_are_switched_off() {
    let mut node = node();
    let switches = Switches { health_check_enabled: false, ..Switches::default() };
    node.step(|naming, _| naming.override_switches(switches));
    node.register(at(80));
    node.run_to(60_000);
    assert_eq!(node.shown(), [(80, true)]);
    node.step(|naming, _| naming.override_switches(Switches::default()));
    node.run_to(66_000);
    assert_eq!(node.shown(), []);
}

#[test]
fn n089_n090_an_unknown_instance_is_registered_by_a_full_beat_only() {
    let mut node = node();
    assert_eq!(node.beat(80, None), BeatReply { known: false, interval: Millis(5_000) });
    assert_eq!(node.shown(), []);
    assert!(node.beat(80, Some(at(80))).known);
    assert_eq!(node.shown(), [(80, true)]);
}

#[test]
fn n093_n094_the_interval_is_the_instances_own_or_the_switch() {
    let mut node = node();
    node.register(with(80, &[(crate::instance::KEY_BEAT_INTERVAL, "700")]));
    node.register(at(81));
    assert_eq!(node.beat(80, None).interval, Millis(700));
    let switches = Switches { client_beat_interval: 9_000, ..Switches::default() };
    node.step(|naming, _| naming.override_switches(switches));
    assert_eq!(node.beat(81, None).interval, Millis(9_000));
}

#[test]
fn n104_a_beat_changes_neither_weight_nor_metadata() {
    let mut node = node();
    node.register(Instance { weight: 3.0, ..at(80) });
    node.beat(80, Some(Instance { weight: 9.0, ..with(80, &[("a", "b")]) }));
    let shown = &node.published[&web()].instances[0];
    assert_eq!((shown.weight, shown.metadata.len()), (3.0, 0));
}

#[test]
fn n065_n066_a_service_holds_one_kind_of_instance() {
    let mut node = node();
    node.register(at(80));
    let error = node.naming.prepare_persistent(Millis(0), &web(), persistent(81)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Current service DEFAULT_GROUP@@web is ephemeral service, can't register persistent instance."
    );
    let db = ServiceKey::new("", "", "db");
    node.propose(Command::CreateService { service: db.clone(), metadata: ServiceMetadata::default() });
    let error = node.naming.register(Millis(0), &ClientId::address(IP, 80, true), &db, at(80)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Current service DEFAULT_GROUP@@db is persistent service, can't register ephemeral instance."
    );
}

#[test]
fn n010_a_snowflake_id_is_made_once_and_kept() {
    let mut node = node();
    node.register(with(80, &[(KEY_ID_GENERATOR, "snowflake")]));
    let id = node.published[&web()].instances[0].instance_id(&web());
    let (digits, rest) = id.split_once('#').unwrap();
    assert!(digits.bytes().all(|b| b.is_ascii_digit()) && rest == "DEFAULT#DEFAULT_GROUP@@web", "{id}");
    node.register(with(80, &[(KEY_ID_GENERATOR, "snowflake")]));
    assert_eq!(node.published[&web()].instances[0].instance_id(&web()), id);
    let bad = with(81, &[(KEY_ID_GENERATOR, "uuid")]);
    let error = node.naming.register(Millis(0), &ClientId::address(IP, 81, true), &web(), bad).unwrap_err();
    assert_eq!(error, RegisterError::UnknownIdGenerator("uuid".into()));
}

#[test]
fn n259_two_changes_inside_the_delay_make_one_push() {
    let mut node = node();
    node.register(at(80));
    node.subscribe("");
    node.run_to(1_000);
    node.pushes.clear();
    node.register(at(81));
    node.run_to(1_200);
    node.register(at(82));
    node.run_to(3_000);
    assert_eq!(node.pushes, [(Millis(1_500), vec![80, 81, 82], 1)]);
}

#[test]
fn n261_a_steady_stream_of_changes_cannot_postpone_pushes() {
    let mut node = node();
    node.register(at(80));
    node.subscribe("");
    for change in 0..50 {
        node.run_to(1_000 + change * 100);
        node.register(Instance { weight: f64::from(u32::try_from(change).unwrap()), ..at(80) });
    }
    assert!(node.pushes.len() >= 8, "{:?}", node.pushes);
}

#[test]
fn a_first_subscription_is_answered_with_a_push_to_that_subscriber() {
    let mut node = node();
    node.register(at(80));
    node.run_to(5_000);
    node.subscribe("");
    node.subscribe("");
    node.run_to(6_000);
    assert_eq!(node.pushes, [(Millis(5_500), vec![80], 1)]);
}

#[test]
fn an_empty_list_is_not_pushed_before_anybody_has_registered() {
    let mut node = node();
    node.propose(Command::CreateService { service: web(), metadata: ServiceMetadata::default() });
    node.subscribe("");
    node.run_to(2_000);
    assert_eq!(node.pushes, []);
    assert_eq!(node.naming.counters().held_empty_pushes, 1);
    node.register_persistent(persistent(80));
    node.propose(Command::DeregisterInstance { service: web(), address: at(80).address() });
    node.run_to(4_000);
    assert_eq!(node.pushes, [(Millis(2_500), vec![], 1)], "a list that became empty is pushed");
}

#[test]
fn after_the_hold_subscribers_of_a_service_without_providers_are_told_once() {
    let mut node = node();
    node.subscribe("");
    node.run_to(59_900);
    assert_eq!(node.pushes, []);
    assert_eq!(node.naming.counters().held_services, 1);
    // an ip:port client would be forgotten by now: it subscribes again, as one that polls does
    node.subscribe("");
    node.run_to(61_000);
    assert_eq!(node.pushes.iter().map(|push| push.1.len()).collect::<Vec<_>>(), [0]);
    assert_eq!((node.naming.counters().held_services, node.naming.counters().held_empty_pushes), (0, 1));
}

#[test]
fn a_provider_that_comes_back_during_the_hold_is_pushed_at_once() {
    let mut node = node();
    node.subscribe("");
    node.run_to(5_000);
    node.register(at(80));
    node.run_to(6_000);
    assert_eq!(node.pushes, [(Millis(5_500), vec![80], 1)]);
    assert_eq!(node.naming.counters().held_services, 0);
}

#[test]
fn n202_nothing_is_pushed_while_pushes_are_off() {
    let mut node = node();
    node.register(at(80));
    node.step(|naming, _| naming.override_switches(Switches { push_enabled: false, ..Switches::default() }));
    node.subscribe("");
    node.run_to(2_000);
    assert_eq!(node.pushes, []);
}

#[test]
fn n201_n106_a_subscriber_that_is_silent_for_30_s_is_forgotten() {
    let mut node = node();
    node.subscribe("");
    node.run_to(20_000);
    node.subscribe("");
    node.run_to(49_000);
    assert_eq!(node.naming.counters().subscriptions, 1);
    node.run_to(50_020);
    assert_eq!((node.naming.counters().subscriptions, node.naming.counters().clients), (0, 0));
}

#[test]
fn n107_a_client_silent_for_180_s_goes_with_its_publications() {
    let mut node = node();
    node.register(with(80, &[(KEY_DELETE_TIMEOUT, "1000000")]));
    node.run_to(179_000);
    assert_eq!(node.shown(), [(80, false)]);
    node.run_to(180_020);
    assert_eq!(node.shown(), []);
    assert_eq!(node.naming.counters().clients, 0);
}

#[test]
fn n068_n069_an_overlay_survives_registration_and_deregistration() {
    let mut node = node();
    node.register(at(80));
    let overlay = Some(Overlay { weight: Some(5.0), enabled: Some(false), ..Overlay::default() });
    node.propose(Command::SetOverlay { service: web(), metadata_id: at(80).metadata_id(), overlay });
    node.step(|naming, now| naming.deregister(now, &ClientId::address(IP, 80, true), &web()));
    node.run_to(30_000);
    node.register(at(80));
    let shown = node.published[&web()].instances[0].clone();
    assert_eq!((shown.weight, shown.enabled), (5.0, false));
}

#[test]
fn n086_n087_an_overlay_goes_60_s_after_its_instance_and_not_before() {
    let mut node = node();
    node.register(at(80));
    let overlay = Some(Overlay { weight: Some(5.0), ..Overlay::default() });
    node.propose(Command::SetOverlay { service: web(), metadata_id: at(80).metadata_id(), overlay });
    node.step(|naming, now| naming.deregister(now, &ClientId::address(IP, 80, true), &web()));
    node.run_to(59_000);
    assert_eq!(node.rows.0.len(), 1);
    node.run_to(66_000);
    assert_eq!(node.rows.0.len(), 0);
}

#[test]
fn n147_n148_an_empty_service_goes_after_60_s_and_its_metadata_60_s_later() {
    let mut node = node();
    node.propose(Command::CreateService { service: web(), metadata: ServiceMetadata::default() });
    node.run_to(59_000);
    assert!(node.published.contains_key(&web()));
    node.run_to(121_000);
    assert!(!node.published.contains_key(&web()));
    assert_eq!(node.rows.0.len(), 1, "metadata stays for another minute");
    node.run_to(190_000);
    assert_eq!(node.rows.0.len(), 0);
}

#[test]
fn metadata_of_a_service_that_comes_back_in_time_stays() {
    let mut node = node();
    node.propose(Command::CreateService {
        service: web(),
        metadata: ServiceMetadata { ephemeral: true, protect_threshold: 0.7, ..ServiceMetadata::default() },
    });
    node.run_to(125_000);
    node.register(with(80, &[(KEY_DELETE_TIMEOUT, "150000")]));
    node.run_to(250_000);
    assert_eq!(node.published[&web()].metadata.as_ref().map(|m| m.protect_threshold), Some(0.7));
}

#[test]
fn n126_identical_hosts_of_two_clients_appear_once() {
    let mut node = node();
    node.register(at(80));
    let connection = ClientId::Connection("1_10.0.0.9_1".into());
    node.step(|naming, now| naming.register(now, &connection, &web(), at(80))).unwrap();
    assert_eq!(node.shown(), [(80, true)]);
    node.step(|naming, now| naming.disconnect(now, &connection));
    assert_eq!(node.shown(), [(80, true)]);
}

#[test]
fn n103_an_instance_of_a_connection_needs_no_beats_and_goes_with_it() {
    let mut node = node();
    let connection = ClientId::Connection("1_10.0.0.9_1".into());
    node.step(|naming, now| naming.register(now, &connection, &web(), at(80))).unwrap();
    node.run_to(600_000);
    assert_eq!(node.shown(), [(80, true)]);
    node.step(|naming, now| naming.disconnect(now, &connection));
    assert_eq!(node.shown(), []);
}

#[test]
fn n287_the_first_check_comes_after_2_to_7_s() {
    let mut firsts = vec![];
    for seed in 0..200 {
        let mut node = Node::new(Options { seed, ..Options::default() });
        node.register_persistent(persistent(80));
        node.run_to(8_000);
        firsts.push(node.probes[0].0.0);
    }
    assert!(firsts.iter().all(|first| (2_000..=7_010).contains(first)), "{firsts:?}");
    let early = firsts.iter().filter(|first| **first < 4_500).count();
    assert!(early > 120, "biased to the low end: {early} of 200 in the first half");
}

fn until_probe(node: &mut Node) -> u64 {
    let start = node.now.0;
    for step in 1..100_000 {
        node.run_to(start + step * 10);
        if !node.probes.is_empty() {
            return node.now.0 - start;
        }
    }
    panic!("no check");
}

#[test]
fn n283_n285_n301_a_refused_target_turns_at_once_and_needs_three_passes_to_return() {
    let mut node = node();
    node.register_persistent(persistent(80));
    until_probe(&mut node);
    node.report(Outcome::FailedNow);
    assert_eq!(node.shown(), [(80, false)]);
    for passes in 1..=3 {
        until_probe(&mut node);
        node.report(Outcome::Passed);
        assert_eq!(node.shown(), [(80, passes == 3)]);
    }
    let Some(Row::Instance(row)) = node.rows.0.values().next() else { unreachable!() };
    assert!(row.healthy, "the turn was written durably");
}

#[test]
fn inconclusive_checks_never_turn_an_instance() {
    let mut node = node();
    node.register_persistent(persistent(80));
    for _ in 0..20 {
        until_probe(&mut node);
        node.report(Outcome::Inconclusive);
    }
    assert_eq!(node.shown(), [(80, true)]);
    let explained = node.naming.explain(node.now, &web(), IP, 80).unwrap();
    assert_eq!(explained.probe.unwrap().inconclusive, 20);
}

/// A member of three that checks the one instance, and asks both others before it calls it unhealthy.
fn careful() -> Node {
    careful_with(Layer::default())
}

fn careful_with(layer: Layer) -> Node {
    let layer = Layer { fall: Some(2), second_opinions: Some(2), ..layer };
    let rules = Rules::new(vec![Rule { layer, ..Rule::default() }]);
    let mut node = Node::new(Options { rules, ..Options::default() });
    node.naming.join(NodeId(1));
    let others = [NodeId(2), NodeId(3)].map(|id| (id, true)).into();
    node.step(|naming, now| naming.set_view(now, View { others }));
    let own = |port: &u16| node.naming.judges(&ClientId::address(IP, *port, false));
    let port = (80..).find(own).unwrap();
    node.register_persistent(persistent(port));
    node
}

fn fails_twice(node: &mut Node) {
    for _ in 0..2 {
        until_probe(node);
        node.report(Outcome::Failed);
    }
}

#[test]
fn others_are_asked_before_an_instance_is_unhealthy_and_can_save_it() {
    let mut node = careful();
    fails_twice(&mut node);
    assert!(node.shown()[0].1, "nobody has confirmed it yet");
    let (id, members) = node.asked.pop().unwrap();
    assert_eq!(members.iter().copied().collect::<BTreeSet<_>>(), [NodeId(2), NodeId(3)].into());
    fails_twice(&mut node);
    assert!(node.asked.is_empty(), "they are asked once at a time");
    node.step(|naming, _| naming.opinions(id, &[Outcome::Passed, Outcome::Inconclusive]));
    assert!(node.shown()[0].1);
    let port = node.shown()[0].0;
    assert_eq!(node.naming.explain(node.now, &web(), IP, port).unwrap().probe.unwrap().contested, 1);

    fails_twice(&mut node);
    let (id, _) = node.asked.pop().unwrap();
    node.step(|naming, _| naming.opinions(id, &[Outcome::Passed, Outcome::Failed]));
    assert!(!node.shown()[0].1, "two of three see it fail");
    node.step(|naming, _| naming.opinions(id, &[Outcome::Failed]));
    (0..3).for_each(|_| {
        until_probe(&mut node);
        node.report(Outcome::Passed);
    });
    assert!(node.shown()[0].1, "to be healthy again needs nobody else");
}

#[test]
fn a_question_that_gets_lost_is_asked_again_and_a_node_without_others_decides_alone() {
    let mut node = careful();
    fails_twice(&mut node);
    let (lost, _) = node.asked.pop().unwrap();
    node.run_to(node.now.0 + 11_000);
    node.probes.truncate(1);
    node.report(Outcome::Failed);
    fails_twice(&mut node);
    assert_eq!(node.asked.len(), 1);
    assert_eq!(node.asked[0].0, lost);

    let mut alone = careful();
    let others = [NodeId(2), NodeId(3)].map(|id| (id, false)).into();
    alone.step(|naming, now| naming.set_view(now, View { others }));
    fails_twice(&mut alone);
    assert!(alone.asked.is_empty());
    assert!(!alone.shown()[0].1);
}

#[test]
fn n299_n298_switched_off_checks_and_none_checkers_start_nothing() {
    let mut node = node();
    node.register_persistent(persistent(80));
    node.step(|naming, _| {
        naming.override_switches(Switches { health_check_enabled: false, ..Switches::default() })
    });
    node.run_to(30_000);
    assert_eq!(node.probes.len(), 0);
    node.step(|naming, _| naming.override_switches(Switches::default()));
    let checker = CheckerSettings { kind: "NONE".into(), settings: BTreeMap::new() };
    let settings = ClusterSettings { checker, ..ClusterSettings::default() };
    let cluster = "DEFAULT".to_owned();
    node.propose(Command::UpdateCluster { service: web(), ephemeral: false, cluster, settings });
    assert!(node.naming.health_is_manual(&web(), "DEFAULT"));
    node.run_to(60_000);
    assert_eq!(node.probes.len(), 0);
}

#[test]
fn n150_n297_the_checked_port_is_the_clusters_but_mysql_uses_the_instances() {
    for (kind, port) in [("TCP", 9000), ("MYSQL", 80)] {
        let mut node = node();
        node.register_persistent(persistent(80));
        let checker = CheckerSettings { kind: kind.into(), settings: BTreeMap::new() };
        let settings = ClusterSettings {
            check_port: 9000,
            use_instance_port: false,
            checker,
            ..ClusterSettings::default()
        };
        let cluster = "DEFAULT".to_owned();
        node.propose(Command::UpdateCluster { service: web(), ephemeral: false, cluster, settings });
        until_probe(&mut node);
        assert_eq!(node.probes[0].1.target.port, port, "{kind}");
    }
}

#[test]
fn a_target_is_never_checked_twice_at_a_time() {
    let mut node = node();
    node.register_persistent(persistent(80));
    node.run_to(60_000);
    assert_eq!(node.probes.len(), 1);
    let overlapped = node.naming.counters().checks_overlapped;
    assert!(overlapped > 5, "{overlapped}");
    node.report(Outcome::Passed);
    node.run_to(70_000);
    assert_eq!(node.probes.len(), 1);
}

#[test]
fn overload_makes_checks_late_and_fails_nobody() {
    let limits = ProbeLimits { node: 2, host: 32 };
    let mut node = Node::new(Options { probe_limits: limits, ..Options::default() });
    (0..20).for_each(|port| node.register_persistent(persistent(port)));
    node.run_to(20_000);
    assert_eq!(node.probes.len(), 2);
    assert_eq!(node.naming.counters().checks_waiting, 18);
    for _ in 0..18 {
        node.report(Outcome::Passed);
    }
    let counters = node.naming.counters();
    assert_eq!((counters.checks_waiting, counters.checks_running), (0, 2));
    assert!(counters.lateness.counts[9] >= 10, "{:?}", counters.lateness);
    assert!(node.shown().iter().all(|(_, healthy)| *healthy));
}

#[test]
fn one_host_cannot_take_all_checks() {
    let limits = ProbeLimits { node: 100, host: 3 };
    let mut node = Node::new(Options { probe_limits: limits, ..Options::default() });
    (0..10).for_each(|port| node.register_persistent(persistent(port)));
    node.register_persistent(Instance { ip: "10.0.0.6".into(), ..persistent(80) });
    node.run_to(10_000);
    let hosts: Vec<&str> = node.probes.iter().map(|(_, job)| job.target.address.as_str()).collect();
    assert_eq!(hosts.iter().filter(|host| **host == IP).count(), 3);
    assert!(hosts.contains(&"10.0.0.6"));
}

#[test]
fn a_result_for_an_instance_that_is_gone_changes_nothing() {
    let mut node = node();
    node.register_persistent(persistent(80));
    until_probe(&mut node);
    node.propose(Command::DeregisterInstance { service: web(), address: at(80).address() });
    node.register_persistent(persistent(81));
    node.report(Outcome::FailedNow);
    assert_eq!(node.shown(), [(81, true)]);
    assert_eq!(node.naming.counters().checks_running, 0);
}

#[test]
fn n064_deleting_the_ephemeral_client_leaves_a_persistent_instance() {
    let mut node = node();
    node.register_persistent(persistent(80));
    node.step(|naming, now| naming.deregister(now, &ClientId::address(IP, 80, true), &web()));
    assert_eq!(node.shown(), [(80, true)]);
}

#[test]
fn n130_n131_only_an_empty_known_service_can_be_deleted() {
    let mut node = node();
    let error = node.naming.delete_service(&web()).unwrap_err();
    assert_eq!(error.to_string(), "service DEFAULT_GROUP@@web not found!");
    node.register(at(80));
    let error = node.naming.delete_service(&web()).unwrap_err();
    let text = "Service DEFAULT_GROUP@@web is not empty, can't be delete. Please unregister instance first";
    assert_eq!(error.to_string(), text);
    node.step(|naming, now| naming.deregister(now, &ClientId::address(IP, 80, true), &web()));
    node.step(|naming, _| naming.delete_service(&web())).unwrap();
    assert!(!node.published.contains_key(&web()));
}

#[test]
fn a_rebuilt_state_shows_what_the_old_one_showed() {
    let mut node = node();
    node.register_persistent(persistent(80));
    node.register_persistent(Instance { weight: 2.0, ..persistent(81) });
    let overlay = Some(Overlay { enabled: Some(false), ..Overlay::default() });
    node.propose(Command::SetOverlay { service: web(), metadata_id: at(80).metadata_id(), overlay });
    node.propose(Command::UpdateService {
        service: web(),
        ephemeral: false,
        protect_threshold: 0.3,
        metadata: Metadata::new(),
        selector: crate::service::Selector::None,
    });
    let mut again = Node::new(Options::default());
    for (key, row) in node.rows.0.clone() {
        again.step(|naming, now| naming.committed(now, Change { key, row: Some(row) }));
    }
    let (old, new) = (&node.published[&web()], &again.published[&web()]);
    assert_eq!(
        (&old.instances, &old.metadata, old.ephemeral),
        (&new.instances, &new.metadata, new.ephemeral)
    );
}
