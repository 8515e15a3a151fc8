//! The naming state of one node: who registered what, who listens, what follows.
//!
//! [`Naming`] composes the parts: `registry` holds the truth, `push` and `probe` the schedules, timers
//! sit in one wheel. Every public method is one step; what it leads to is taken out with
//! [`Naming::effects`] afterwards, and carried out before the caller is answered: a client reads its own write.

mod checks;
mod distro;
mod effect;
mod expire;
mod history;
mod hold;
mod probe;
mod push;
mod registry;
mod remembered;
mod snapshot;
#[cfg(test)]
mod tests;
mod view;

pub use distro::{CLIENT_EXPIRY, DistroCounters, FORMER_GRACE, LOAD_TIMEOUT, VERIFY_EVERY};
pub use effect::{Effect, ProbeJob, Subscription, TargetId};
pub use history::{HISTORY, History, Streak};
pub use probe::{LATENESS_BOUNDS, Lateness, ProbeLimits, ProbeState, Report};
pub use push::{PUSH_DELAY, PUSH_RETRY};
pub use snapshot::{Judged, Protection, Query, Selected, ServiceSnapshot, Step, Threshold};
pub use view::{Counters, Explanation, PublisherView};

use crate::health::{Profile, Rules};
use crate::ids::{ClientId, ServiceKey};
use crate::instance::{Instance, KEY_ID_GENERATOR, Overlay};
use crate::persist::{Change, Command, HealthFlip, Row, RowKey};
use crate::service::{CheckerSettings, ClusterSettings};
use crate::switches::Switches;
use crate::time::Millis;
use crate::wheel::Wheel;
use distro::{Distro, Word};
use probe::Probes;
use push::Pushes;
use registry::{Publication, Registry};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Time after a start for providers to come back, in milliseconds: SDKs look for a server that went away after at
/// most 5 s of silence and repeat what they had published every 3 s; 1.x clients beat every 5 s.
pub const RESTART_HOLD: Millis = Millis::from_secs(60);

/// What a node may be told about its naming rules.
#[derive(Clone, Debug)]
pub struct Options {
    /// between a change and its push
    pub push_delay: Millis,
    /// how often services without publishers are looked for. Source: Nacos `nacos.naming.clean.empty-service.interval`
    pub empty_service_interval: Millis,
    /// how long a service may be without publishers. Source: Nacos `…clean.empty-service.expired-time`
    pub empty_service_expiry: Millis,
    /// how long metadata outlives its service or instance. Source: Nacos `…clean.expired-metadata.expired-time`
    pub metadata_expiry: Millis,
    /// whether silent instances are removed at all. Source: Nacos `nacos.naming.expireInstance`
    pub expire_instance: bool,
    /// how many checks may run at once
    pub probe_limits: ProbeLimits,
    /// numbers of the checks
    pub rules: Rules,
    /// when this node started
    pub started: Millis,
    /// how long after the start a list is not pushed that is empty only because nobody has registered yet, and
    /// instances are shown that were there before
    pub restart_hold: Millis,
    /// start of the random sequence (first delays, jitter)
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            push_delay: PUSH_DELAY,
            empty_service_interval: Millis::from_secs(60),
            empty_service_expiry: Millis::from_secs(60),
            metadata_expiry: Millis::from_secs(60),
            expire_instance: true,
            probe_limits: ProbeLimits::default(),
            rules: Rules::default(),
            started: Millis(0),
            restart_hold: RESTART_HOLD,
            seed: 1,
        }
    }
}

/// Why a registration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// an ephemeral instance for a persistent service
    #[error("Current service {0} is persistent service, can't register ephemeral instance.")]
    ServiceIsPersistent(String),
    /// a persistent instance for an ephemeral service
    #[error("Current service {0} is ephemeral service, can't register persistent instance.")]
    ServiceIsEphemeral(String),
    /// `preserved.instance.id.generator` names none that exists
    #[error("no instance id generator '{0}', there are simple and snowflake")]
    UnknownIdGenerator(String),
}

/// Why a service cannot be removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteServiceError {
    /// nobody knows it
    #[error("service {0} not found!")]
    NotFound(String),
    /// it has instances
    #[error("Service {0} is not empty, can't be delete. Please unregister instance first")]
    NotEmpty(String),
}

/// A beat of an ephemeral HTTP instance.
#[derive(Clone, Debug)]
pub struct Beat {
    /// address of the instance
    pub ip: String,
    /// port of the instance
    pub port: u16,
    /// what to register when it is unknown; none in a light beat
    pub full: Option<Instance>,
}

/// The answer to a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeatReply {
    /// false: the client has to register again
    pub known: bool,
    /// when to beat next
    pub interval: Millis,
}

/// A timer of the wheel.
#[derive(Debug)]
enum Timer {
    Beat(Millis, ClientId, ServiceKey),
    Idle(ClientId),
    Probe(TargetId),
}

/// How one cluster is checked, resolved once.
#[derive(Debug)]
struct Check {
    settings: ClusterSettings,
    checker: Arc<CheckerSettings>,
    profile: Profile,
}

/// The naming state of one node. See the module.
#[derive(Debug)]
pub struct Naming {
    options: Options,
    registry: Registry,
    switches: Arc<Switches>,
    wheel: Wheel<Timer>,
    pushes: Pushes,
    probes: Probes,
    checks: HashMap<ServiceKey, BTreeMap<String, Arc<Check>>>,
    dirty: BTreeSet<ServiceKey>,
    flips: Vec<HealthFlip>,
    out: Vec<Effect>,
    /// overlays whose instance is gone, and services whose metadata is all that is left: since when
    orphans: BTreeMap<RowKey, Millis>,
    clean_at: Option<Millis>,
    sweep_at: Option<Millis>,
    revision: u64,
    random: u64,
    /// who was not told of an empty list, and will be when the hold is over and it is still empty
    held: BTreeMap<ServiceKey, BTreeSet<ClientId>>,
    held_empty_pushes: u64,
    /// none in a node that is alone
    distro: Option<Box<Distro>>,
}

impl Default for Naming {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl Naming {
    /// An empty state.
    pub fn new(options: Options) -> Self {
        Self {
            probes: Probes::new(options.probe_limits),
            random: options.seed | 1,
            options,
            registry: Registry::default(),
            switches: Arc::default(),
            wheel: Wheel::default(),
            pushes: Pushes::default(),
            checks: HashMap::new(),
            dirty: BTreeSet::new(),
            flips: Vec::new(),
            out: Vec::new(),
            orphans: BTreeMap::new(),
            clean_at: None,
            sweep_at: None,
            revision: 0,
            held: BTreeMap::new(),
            held_empty_pushes: 0,
            distro: None,
        }
    }

    /// Publishes the ephemeral `instance` for `client`, or renews it when nothing changed.
    ///
    /// # Errors
    /// [`RegisterError`]; nothing changed then.
    pub fn register(
        &mut self,
        now: Millis,
        client: &ClientId,
        service: &ServiceKey,
        instance: Instance,
    ) -> Result<(), RegisterError> {
        self.batch_register(now, client, service, vec![instance])
    }

    /// Publishes several ephemeral instances at once in place of all that `client` had in `service`.
    ///
    /// # Errors
    /// [`RegisterError`]; nothing changed then.
    pub fn batch_register(
        &mut self,
        now: Millis,
        client: &ClientId,
        service: &ServiceKey,
        instances: Vec<Instance>,
    ) -> Result<(), RegisterError> {
        self.admit(service, true)?;
        let former = self.registry.publication(client, service);
        let known: Vec<Arc<Instance>> = former.map(|p| p.instances.clone()).unwrap_or_default();
        let mut named = Vec::with_capacity(instances.len());
        for instance in instances {
            let instance = Instance { ephemeral: true, ..instance };
            let kept = known.iter().find(|k| k.ip == instance.ip && k.port == instance.port);
            named.push(Arc::new(self.with_id(now, service, instance, kept)?));
        }
        self.put_ephemeral(now, client, service, named, &known);
        Ok(())
    }

    fn put_ephemeral(
        &mut self,
        now: Millis,
        client: &ClientId,
        service: &ServiceKey,
        instances: Vec<Arc<Instance>>,
        known: &[Arc<Instance>],
    ) {
        let changed = instances != known;
        self.see(now, client);
        if changed {
            let mut publication = Publication::new(now, instances);
            let former = self.registry.publication(client, service);
            publication.beat_due = former.and_then(|former| former.beat_due);
            self.registry.publish(now, client, service, true, publication);
            self.changed(now, service);
        } else if let Some(publication) = self.registry.publication(client, service) {
            publication.hear(now);
        }
        // Also when nothing changed: a deregistration through another node may be on its way here.
        self.wrote(now, client, service, Word::Client);
        self.expect_beat(now, client, service);
    }

    /// Takes what `client` has in `service` out; nothing happens when there is nothing.
    pub fn deregister(&mut self, now: Millis, client: &ClientId, service: &ServiceKey) {
        if let Some(former) = self.registry.unpublish(now, client, service) {
            self.see(now, client);
            self.forget_target(&former);
            self.changed(now, service);
        }
        if let ClientId::Address { address, ephemeral: true } = client
            && let Some((ip, port)) = address.rsplit_once(':')
            && let Ok(port) = port.parse()
        {
            self.forget(now, service, ip, port);
        }
        // Also when there was nothing: a registration through another node may be on its way here.
        self.wrote(now, client, service, Word::Client);
    }

    /// Renews an instance, turns it healthy again, or registers it from a full beat.
    ///
    /// # Errors
    /// [`RegisterError`] when a full beat of an unknown instance cannot be registered.
    pub fn beat(
        &mut self,
        now: Millis,
        service: &ServiceKey,
        beat: Beat,
    ) -> Result<BeatReply, RegisterError> {
        let client = ClientId::address(&beat.ip, beat.port, true);
        let default = Millis(self.switches.client_beat_interval);
        let Some(publication) = self.registry.publication(&client, service) else {
            let Some(instance) = beat.full else {
                return Ok(BeatReply { known: false, interval: default });
            };
            let interval = own_interval(&instance).unwrap_or(default);
            self.register(now, &client, service, instance)?;
            return Ok(BeatReply { known: true, interval });
        };
        publication.hear(now);
        let interval = publication.instances.first().and_then(|i| own_interval(i)).unwrap_or(default);
        if publication.set_healthy(true) {
            self.changed(now, service);
            self.wrote(now, &client, service, Word::Node);
        } else {
            self.heard(now, &client, service);
        }
        self.see(now, &client);
        self.expect_beat(now, &client, service);
        Ok(BeatReply { known: true, interval })
    }

    /// Remembers who wants to hear of a service. The first subscription, and one for other clusters, is
    /// answered with a push to that subscriber alone.
    pub fn subscribe(&mut self, now: Millis, subscription: Subscription) {
        let (id, service) = (subscription.client.clone(), subscription.service.clone());
        self.see(now, &id);
        let (client, _) = self.registry.client(now, &id);
        let known = client.subscriptions.get(&service).is_some_and(|old| **old == subscription);
        if known {
            return;
        }
        let subscription = Arc::new(subscription);
        client.subscriptions.insert(service.clone(), subscription.clone());
        self.registry.subscribers.entry(service.clone()).or_default().insert(id.clone(), subscription);
        self.pushes.one(now + self.options.push_delay, &service, &id);
    }

    /// Forgets a subscription.
    pub fn unsubscribe(&mut self, client: &ClientId, service: &ServiceKey) {
        if let Some(known) = self.registry.clients.get_mut(client) {
            known.subscriptions.remove(service);
        }
        if let Some(all) = self.registry.subscribers.get_mut(service) {
            all.remove(client);
            if all.is_empty() {
                self.registry.subscribers.remove(service);
            }
        }
    }

    /// A connection is there: it may publish and subscribe from now on.
    pub fn connect(&mut self, now: Millis, client: &ClientId) {
        self.see(now, client);
    }

    /// Removes a client with everything it published and subscribed to.
    pub fn disconnect(&mut self, now: Millis, id: &ClientId) {
        let word = if matches!(id, ClientId::Connection(_)) { Word::Client } else { Word::Node };
        let Some(client) = self.registry.clients.get(id) else { return };
        let services: Vec<ServiceKey> = client.services.iter().cloned().collect();
        let subscriptions: Vec<ServiceKey> = client.subscriptions.keys().cloned().collect();
        for service in services {
            if let Some(former) = self.registry.unpublish(now, id, &service) {
                self.forget_target(&former);
                self.changed(now, &service);
                self.wrote(now, id, &service, word);
            }
        }
        for service in subscriptions {
            self.unsubscribe(id, &service);
        }
        self.registry.clients.remove(id);
    }

    /// Schedules another push to one subscriber after a failed one, unless it has gone meanwhile.
    pub fn push_failed(&mut self, now: Millis, client: &ClientId, service: &ServiceKey) {
        if self.registry.subscribers.get(service).is_some_and(|all| all.contains_key(client)) {
            self.pushes.one(now + PUSH_RETRY, service, client);
        }
    }

    /// Whether `service` may take an instance of this kind, before it is proposed or published.
    ///
    /// # Errors
    /// [`RegisterError`] when it holds the other kind.
    pub fn admit(&self, service: &ServiceKey, ephemeral: bool) -> Result<(), RegisterError> {
        match self.registry.services.get(service) {
            Some(known) if known.ephemeral && !ephemeral => {
                Err(RegisterError::ServiceIsEphemeral(service.grouped()))
            }
            Some(known) if !known.ephemeral && ephemeral => {
                Err(RegisterError::ServiceIsPersistent(service.grouped()))
            }
            _ => Ok(()),
        }
    }

    /// A persistent `instance` ready to be proposed: admitted, its id made.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn prepare_persistent(
        &mut self,
        now: Millis,
        service: &ServiceKey,
        instance: Instance,
    ) -> Result<Instance, RegisterError> {
        self.admit(service, false)?;
        let client = ClientId::address(&instance.ip, instance.port, false);
        let known = self.registry.publication(&client, service).and_then(|p| p.instances.first().cloned());
        self.with_id(now, service, Instance { ephemeral: false, ..instance }, known.as_ref())
    }

    /// Whether a service exists, with or without instances.
    pub fn service_exists(&self, service: &ServiceKey) -> bool {
        self.registry.services.contains_key(service)
    }

    /// Whether a service exists and holds ephemeral instances.
    pub fn is_ephemeral(&self, service: &ServiceKey) -> Option<bool> {
        self.registry.services.get(service).map(|known| known.ephemeral)
    }

    /// Removes a service that has no instances; its stored metadata is the caller's to remove durably.
    ///
    /// # Errors
    /// [`DeleteServiceError`].
    pub fn delete_service(&mut self, service: &ServiceKey) -> Result<(), DeleteServiceError> {
        let remembered = self.registry.remembered.has(service);
        match self.registry.services.get(service) {
            _ if remembered => Err(DeleteServiceError::NotEmpty(service.grouped())),
            None => Err(DeleteServiceError::NotFound(service.grouped())),
            Some(known) if !known.publications.is_empty() => {
                Err(DeleteServiceError::NotEmpty(service.grouped()))
            }
            Some(_) => {
                self.drop_service(service);
                Ok(())
            }
        }
    }

    /// Sets switches on this node alone (`debug=true`).
    pub fn override_switches(&mut self, switches: Switches) {
        self.switches = Arc::new(switches);
        self.checks.clear();
        self.out.push(Effect::Switches(self.switches.clone()));
    }

    /// The switches in force.
    pub fn switches(&self) -> &Arc<Switches> {
        &self.switches
    }

    /// Follows a durable write.
    pub fn committed(&mut self, now: Millis, change: Change) {
        match (change.key, change.row) {
            (RowKey::Switches, Some(Row::Switches(switches))) => self.override_switches(*switches),
            (RowKey::Switches, _) => self.override_switches(Switches::default()),
            (RowKey::Service(service), Some(Row::Service(metadata))) => {
                self.registry.service(now, &service, metadata.ephemeral);
                self.registry.metadata.insert(service.clone(), Arc::new(metadata));
                self.orphans.remove(&RowKey::Service(service.clone()));
                self.checks.remove(&service);
                self.changed(now, &service);
            }
            (RowKey::Service(service), _) => self.metadata_removed(now, &service),
            (RowKey::Instance(service, address), Some(Row::Instance(instance))) => {
                self.put_persistent(now, &service, &address, instance);
            }
            (RowKey::Instance(service, address), _) => {
                let client = persistent_client(&address);
                self.deregister(now, &client, &service);
                self.drop_empty_client(&client);
            }
            (RowKey::Overlay(service, id), row) => self.put_overlay(now, &service, id, row),
            (RowKey::Plugin(kind, name), Some(Row::Plugin(wanted))) => {
                self.out.push(Effect::Plugin(kind, name, wanted));
            }
            // Such rows are never removed.
            (RowKey::Plugin(..), _) => {}
        }
    }

    fn put_persistent(&mut self, now: Millis, service: &ServiceKey, address: &str, instance: Instance) {
        let client = persistent_client(address);
        let instance = Arc::new(instance);
        let host = instance.ip.clone();
        let former = self.registry.publication(&client, service);
        let (target, same) = former.map_or((None, false), |p| (p.target, p.instances == [instance.clone()]));
        if same {
            return;
        }
        let mut publication = Publication::new(now, vec![instance]);
        publication.target = target;
        self.registry.publish(now, &client, service, false, publication);
        if target.is_none() {
            self.add_target(now, &client, service, &host);
        }
        self.changed(now, service);
    }

    fn put_overlay(&mut self, now: Millis, service: &ServiceKey, id: String, row: Option<Row>) {
        self.orphans.remove(&RowKey::Overlay(service.clone(), id.clone()));
        match row {
            Some(Row::Overlay(overlay)) => {
                self.rearm_for(&overlay, service, &id);
                self.registry.overlays.entry(service.clone()).or_default().insert(id, overlay);
            }
            _ => {
                if let Some(all) = self.registry.overlays.get_mut(service) {
                    all.remove(&id);
                    if all.is_empty() {
                        self.registry.overlays.remove(service);
                    }
                }
            }
        }
        if self.registry.services.contains_key(service) {
            self.changed(now, service);
        } else {
            self.find_orphan_overlays(now, service);
        }
    }

    /// Shorter times in an overlay have to be noticed before the timer that the longer ones set.
    fn rearm_for(&mut self, overlay: &Overlay, service: &ServiceKey, metadata_id: &str) {
        if overlay.metadata.keys().any(|key| key.starts_with("preserved.")) {
            let Some((address, _)) = metadata_id.rsplit_once(':') else { return };
            let client = ClientId::Address { address: address.into(), ephemeral: true };
            if let Some(publication) = self.registry.publication(&client, service) {
                let at = publication.last_beat;
                publication.beat_due = Some(at);
                self.wheel.insert(at, Timer::Beat(at, client, service.clone()));
            }
        }
    }

    fn metadata_removed(&mut self, now: Millis, service: &ServiceKey) {
        self.registry.metadata.remove(service);
        self.orphans.remove(&RowKey::Service(service.clone()));
        self.checks.remove(service);
        match self.registry.services.get(service) {
            Some(known) if known.publications.is_empty() => self.drop_service(service),
            Some(_) => self.changed(now, service),
            None => {}
        }
    }

    fn drop_service(&mut self, service: &ServiceKey) {
        self.registry.services.remove(service);
        self.registry.empty.remove(service);
        self.checks.remove(service);
        if self.registry.remembered.has(service) {
            self.dirty.insert(service.clone()); // what is remembered is still shown
        } else {
            self.dirty.remove(service);
            self.out.push(Effect::Unpublish(service.clone()));
        }
    }

    /// A service looks different now: a new snapshot with this step's effects, a push after the delay.
    fn changed(&mut self, now: Millis, service: &ServiceKey) {
        self.dirty.insert(service.clone());
        if self.registry.subscribers.contains_key(service) {
            self.pushes.everyone(now + self.options.push_delay, service);
        }
    }

    /// The instance with the id its metadata asks for. An unchanged generator keeps the id it made before.
    fn with_id(
        &mut self,
        now: Millis,
        service: &ServiceKey,
        instance: Instance,
        known: Option<&Arc<Instance>>,
    ) -> Result<Instance, RegisterError> {
        if instance.id.is_some() {
            return Ok(instance);
        }
        match instance.metadata.get(KEY_ID_GENERATOR).map_or("simple", String::as_str) {
            "simple" => Ok(instance),
            "snowflake" => {
                let suffix = format!("#{}#{}", instance.cluster, service.grouped());
                let kept = known.and_then(|k| k.id.clone()).filter(|id| id.ends_with(&suffix));
                let id = kept.unwrap_or_else(|| format!("{}{suffix}", self.snowflake(now)).into());
                Ok(Instance { id: Some(id), ..instance })
            }
            other => Err(RegisterError::UnknownIdGenerator(other.to_owned())),
        }
    }

    /// 41 bits of milliseconds, 22 of a running number: unique on this node.
    fn snowflake(&mut self, now: Millis) -> u64 {
        self.revision += 1;
        ((now.0 & ((1 << 41) - 1)) << 22) | (self.revision & ((1 << 22) - 1))
    }

    /// The next number of a small generator (xorshift64*): spread, not secrecy.
    fn random(&mut self) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number from 0 to `most`.
    fn random_up_to(&mut self, most: u64) -> u64 {
        if most == 0 { 0 } else { self.random() % (most + 1) }
    }

    /// When [`Naming::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<Millis> {
        let housekeeping = self
            .clean_at
            .into_iter()
            .chain(self.sweep_at)
            .chain(self.release_at())
            .chain(self.distro_deadline());
        self.wheel.next_deadline().into_iter().chain(self.pushes.next_deadline()).chain(housekeeping).min()
    }

    /// Does everything whose time has come.
    pub fn tick(&mut self, now: Millis) {
        let mut due = Vec::new();
        self.wheel.advance(now, |timer| due.push(timer));
        for timer in due {
            match timer {
                Timer::Beat(at, client, service) => self.beat_due(now, at, &client, &service),
                Timer::Idle(client) => self.idle_due(now, &client),
                Timer::Probe(id) => self.probe_due(now, id),
            }
        }
        self.start_waiting(now);
        self.housekeeping(now);
        self.release(now);
        self.distro_due(now);
        self.push_due(now);
    }

    fn push_due(&mut self, now: Millis) {
        for (service, to) in self.pushes.due(now) {
            if !self.switches.push_enabled {
                continue;
            }
            let Some(subscribers) = self.registry.subscribers.get(&service) else { continue };
            let to: Vec<Arc<Subscription>> = match to {
                push::To::Everyone => subscribers.values().cloned().collect(),
                push::To::These(ids) => ids.iter().filter_map(|id| subscribers.get(id)).cloned().collect(),
            };
            self.push(now, &service, to);
        }
    }

    fn push(&mut self, now: Millis, service: &ServiceKey, to: Vec<Arc<Subscription>>) {
        let known = self.registry.services.get(service);
        let seen = known.is_some_and(|known| known.ever_published);
        let snapshot = match known.and_then(|known| known.snapshot.clone()) {
            Some(snapshot) if !self.dirty.contains(service) => Some(snapshot),
            _ => self.refresh(service),
        };
        let snapshot = snapshot.unwrap_or_else(|| self.nothing(service));
        if snapshot.instances.is_empty() && !seen && now < self.hold_until() {
            return self.hold(service, &to);
        }
        self.held.remove(service);
        if !to.is_empty() {
            self.out.push(Effect::Push { snapshot, to });
        }
    }

    /// What subscribers of a service that nobody knows are told.
    fn nothing(&mut self, service: &ServiceKey) -> Arc<ServiceSnapshot> {
        self.revision += 1;
        Arc::new(ServiceSnapshot::empty(service.clone(), self.revision))
    }

    /// Builds and publishes a snapshot.
    fn refresh(&mut self, service: &ServiceKey) -> Option<Arc<ServiceSnapshot>> {
        self.dirty.remove(service);
        self.revision += 1;
        let snapshot = Arc::new(self.registry.snapshot(service, self.revision)?);
        if let Some(known) = self.registry.services.get_mut(service) {
            known.snapshot = Some(snapshot.clone());
        }
        self.out.push(Effect::Publish(snapshot.clone()));
        Some(snapshot)
    }

    /// What the steps since the last call lead to, in order. Snapshots are published before replies go out.
    pub fn effects(&mut self, now: Millis) -> Vec<Effect> {
        for service in std::mem::take(&mut self.dirty) {
            self.refresh(&service);
            self.find_orphan_overlays(now, &service);
        }
        if !self.flips.is_empty() {
            let flips = std::mem::take(&mut self.flips);
            self.out.push(Effect::Propose(Command::SetHealth { flips }));
        }
        self.sync(now);
        std::mem::take(&mut self.out)
    }
}

fn own_interval(instance: &Instance) -> Option<Millis> {
    crate::instance::timing(&instance.metadata, crate::instance::KEY_BEAT_INTERVAL)
}

fn persistent_client(address: &str) -> ClientId {
    ClientId::Address { address: address.into(), ephemeral: false }
}
