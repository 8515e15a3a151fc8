//! Keeps one connection to every member, reports over them, and tells the rules of naming who is there.

use super::frame::{Answer, Call, Frame, Report};
use super::links::{Link, Links};
use super::secure::{Hello, Psk};
use crate::clock::Clock;
use crate::lookup;
use crate::naming::{NamingError, NamingHandle};
use crate::opinions::Observer;
use crate::rollout::{Files, Lives};
use crate::tasks::Tasks;
use muster_core::cluster::{Members, NodeId, View};
use muster_raft::Store;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// From a member's main port to the one that other members use. Source: Nacos `Constants.CLUSTER_GRPC_PORT_DEFAULT_OFFSET`.
pub(crate) const PORT_OFFSET: u16 = 1_001;
/// Time to connect and to agree on a session.
pub(super) const CONNECT_MOST: Duration = Duration::from_secs(3);
/// Time for a report. Source: Nacos's default request timeout.
const REPORT_MOST: Duration = Duration::from_secs(3);
/// How often the member list is looked at for new members.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Longest wait for the data of the other members at the start.
const LOAD_MOST: Duration = Duration::from_secs(300);

/// What a hub is given.
#[derive(Debug)]
pub struct HubOptions {
    /// who this node is
    pub id: NodeId,
    /// `ip:port` of this node in the member list
    pub address: String,
    /// key of the sessions
    pub psk: Psk,
    /// the connections
    pub links: Links,
    /// the published member list
    pub members: lookup::Members,
    /// the durable rows
    pub store: Store,
    /// how many members found the Raft group; none: all of the list, when there are two or more
    pub expect: Option<usize>,
    /// looks at targets for other members
    pub observer: Observer,
    /// the versions of plugins that are here
    pub(crate) files: Files,
    /// how they are doing
    pub(crate) lives: Lives,
}

/// How trying to reach one address goes.
#[derive(Default)]
pub(super) struct Attempt {
    /// who was found there
    pub(super) id: Option<NodeId>,
    /// why nobody was, the last time
    pub(super) error: Option<String>,
    pub(super) failures: u32,
    pub(super) not_before: Option<Instant>,
}

/// See the module.
pub struct Hub {
    options: HubOptions,
    life: u64,
    naming: NamingHandle,
    clock: Clock,
    tasks: Tasks,
    state: Mutex<State>,
    changed: Notify,
    ready: AtomicBool,
    /// Held from looking at the members until the rules were told. Else of two looks the older one could be told last,
    /// and the rules would not know of a member to whom everything has to be sent.
    following: tokio::sync::Mutex<()>,
}

pub(super) struct State {
    pub(super) members: Members,
    pub(super) attempts: BTreeMap<String, Attempt>,
    pub(super) dialing: HashSet<String>,
    /// what each member said of itself, the last time
    pub(super) reports: BTreeMap<String, Report>,
    /// as the rules were told last
    view: Option<View>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("id", &self.options.id).finish_non_exhaustive()
    }
}

impl Hub {
    /// Nothing happens before [`Hub::start`].
    pub fn new(options: HubOptions, naming: NamingHandle, clock: Clock, tasks: Tasks) -> Arc<Self> {
        let state = State {
            members: Members::new(options.id, &options.address),
            attempts: BTreeMap::new(),
            dialing: HashSet::new(),
            reports: BTreeMap::new(),
            view: None,
        };
        Arc::new(Self {
            life: rand::random(),
            options,
            naming,
            clock,
            tasks,
            state: Mutex::new(state),
            changed: Notify::new(),
            ready: AtomicBool::new(false),
            following: tokio::sync::Mutex::new(()),
        })
    }

    /// Accepts and opens connections, and loads what the other members have. Answers when this node may serve.
    ///
    /// # Errors
    /// [`NamingError`] when the node is going down meanwhile.
    pub async fn start(self: &Arc<Self>, listener: TcpListener) -> Result<(), NamingError> {
        let hub = self.clone();
        self.tasks.spawn("members, in", |stop| async move {
            tokio::select! {
                () = hub.accept(listener) => Ok(()),
                () = stop.cancelled() => Ok(()),
            }
        });
        let hub = self.clone();
        self.tasks.spawn("members", |stop| async move {
            tokio::select! {
                () = hub.keep() => Ok(()),
                () = stop.cancelled() => Ok(()),
            }
        });
        let hub = self.clone();
        self.tasks.spawn("raft group", |stop| async move {
            tokio::select! {
                () = hub.keep_group() => Ok(()),
                () = stop.cancelled() => Ok(()),
            }
        });
        self.first_contact().await;
        self.follow().await?;
        self.naming.step(|naming, now| naming.load(now)).await?;
        if timeout(LOAD_MOST, self.options.links.until_loaded()).await.is_err() {
            tracing::error!("the data of the other members did not arrive; serving without");
        }
        Ok(())
    }

    /// This node serves from now on, and the others are told.
    pub fn ready(self: &Arc<Self>) {
        self.ready.store(true, Ordering::Release);
        let now = self.clock.now();
        self.state().members.ready(now);
        self.report_to_all();
        self.changed.notify_one();
    }

    fn report_to_all(self: &Arc<Self>) {
        let all: Vec<String> = self.state().members.peers().keys().cloned().collect();
        all.into_iter().for_each(|address| self.report(address));
    }

    pub(super) fn links(&self) -> &Links {
        &self.options.links
    }

    pub(super) fn naming(&self) -> &NamingHandle {
        &self.naming
    }

    pub(super) fn store(&self) -> &Store {
        &self.options.store
    }

    pub(super) fn observer(&self) -> &Observer {
        &self.options.observer
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(super) fn options(&self) -> &HubOptions {
        &self.options
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hello(&self) -> Hello {
        Hello { id: self.options.id.0, life: self.life, address: self.options.address.clone() }
    }

    pub(super) fn own_report(&self) -> Report {
        let list = self.options.members.list().load_full();
        let info = list.first().map(|member| member.extend_info.clone()).unwrap_or_default();
        let starting = !self.ready.load(Ordering::Acquire);
        Report {
            address: self.options.address.clone(),
            starting,
            group: self.options.store.group(),
            sees: self.sees(),
            info,
        }
    }

    /// This node and the others that were reached.
    pub(super) fn sees(&self) -> BTreeSet<NodeId> {
        let others = self.state().members.view().others.into_keys();
        others.chain([self.options.id]).collect()
    }

    // Members.

    /// Follows the list and the clock until the node goes down.
    async fn keep(self: &Arc<Self>) {
        loop {
            let due = self.state().members.next_deadline();
            tokio::select! {
                () = self.changed.notified() => {}
                () = self.options.links.changed() => {}
                () = self.clock.reach(due) => {
                    let due = self.state().members.tick(self.clock.now());
                    due.into_iter().for_each(|address| self.report(address));
                }
                () = sleep(LOOK_EVERY) => {}
            }
            match self.follow().await {
                Ok(()) => {}
                Err(NamingError::Stopped) => return,
                // The rules were not told: the next look finds a difference again.
                Err(NamingError::Overloaded) => self.state().view = None,
            }
            self.dial();
        }
    }

    /// Takes the newest list over, publishes how its members are doing, and tells the rules.
    async fn follow(self: &Arc<Self>) -> Result<(), NamingError> {
        let _in_order = self.following.lock().await;
        let list = self.options.members.list().load_full();
        let addresses: Vec<String> = list.iter().map(|member| member.address.clone()).collect();
        let view = {
            let mut state = self.state();
            state.members.found(&addresses);
            state.attempts.retain(|address, _| addresses.contains(address));
            state.reports.retain(|address, _| addresses.contains(address));
            let info = state.reports.iter().map(|(address, report)| (address.as_str(), &report.info));
            self.options.members.update(state.members.peers(), &info.collect());
            let view = state.members.view();
            if state.view.as_ref() == Some(&view) {
                return Ok(());
            }
            state.view = Some(view.clone());
            view
        };
        tracing::info!(others = ?view.others, "members that this node knows, and whether they serve");
        if self.options.store.group().is_none() {
            // A group is founded when all know of each other.
            self.report_to_all();
        }
        self.naming.step(move |naming, now| naming.set_view(now, view)).await
    }

    /// Waits until every member was reached, or could not be.
    async fn first_contact(&self) {
        let all_tried = async {
            loop {
                {
                    let state = self.state();
                    let tried = |address: &String| {
                        let reached =
                            state.members.peers().get(address).is_some_and(|peer| peer.id.is_some());
                        reached || state.attempts.get(address).is_some_and(|attempt| attempt.error.is_some())
                    };
                    let list = self.options.members.list().load_full();
                    let others = list.iter().filter(|member| member.address != self.options.address);
                    if others.map(|member| &member.address).all(tried) {
                        return;
                    }
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        // Who has not answered by then is looked after like any member that fails.
        let _ = timeout(CONNECT_MOST + REPORT_MOST, all_tried).await;
    }

    /// Asks the member at `address` how it is doing.
    fn report(self: &Arc<Self>, address: String) {
        let hub = self.clone();
        self.tasks.spawn("member report", |stop| async move {
            let outcome = tokio::select! {
                outcome = hub.ask(&address) => outcome,
                () = stop.cancelled() => return Ok(()),
            };
            match outcome {
                Ok((id, report)) => hub.reached(&address, id, report),
                Err(reason) => hub.failed(&address, &reason),
            }
            Ok(())
        });
    }

    async fn ask(&self, address: &str) -> Result<(NodeId, Report), String> {
        let (id, error) = {
            let state = self.state();
            let attempt = state.attempts.get(address);
            (attempt.and_then(|attempt| attempt.id), attempt.and_then(|attempt| attempt.error.clone()))
        };
        let Some(id) = id.filter(|id| self.options.links.get(*id).is_some()) else {
            return Err(error.unwrap_or_else(|| "no connection".into()));
        };
        match self.options.links.call(id, Call::Report(self.own_report()), REPORT_MOST).await {
            Ok(Answer::Report(report)) => Ok((id, report)),
            Ok(Answer::Raft(_) | Answer::Look(_) | Answer::File(_) | Answer::Versions(_)) => {
                Err("it answers something else than it was asked".into())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Says how this node is doing, and waits for nothing.
    pub(super) fn report_to(&self, link: &Link) {
        // Nobody waits for the answer: the other end reports on its own.
        let report = Frame::Call { call: u64::MAX, body: Call::Report(self.own_report()) };
        // A full queue: the next report is soon.
        let _ = link.frames.try_send(report);
    }

    /// A member reported to us.
    pub(super) fn reported(&self, id: NodeId, report: Report) {
        let address = {
            let state = self.state();
            let here = |(_, attempt): &(&String, &Attempt)| attempt.id == Some(id);
            let known = state.attempts.iter().find(here).map(|(address, _)| address.clone());
            if state.members.peers().contains_key(&report.address) {
                report.address.clone()
            } else {
                known.unwrap_or_default()
            }
        };
        if address.is_empty() {
            tracing::warn!(
                member = id.0,
                address = report.address,
                "a report of a node that is not in the member list"
            );
            return;
        }
        self.reached(&address, id, report);
    }

    fn reached(&self, address: &str, id: NodeId, report: Report) {
        let mut state = self.state();
        let changed = state.members.reached(address, id, report.starting);
        let new = state.reports.get(address) != Some(&report);
        state.reports.insert(address.to_owned(), report);
        state.attempts.entry(address.to_owned()).or_default().id = Some(id);
        drop(state);
        if changed || new {
            self.changed.notify_one();
        }
    }

    pub(super) fn failed(&self, address: &str, reason: &str) {
        let changed = self.state().members.failed(address, reason);
        if changed {
            tracing::warn!(member = address, error = reason, "a member does not answer");
            self.changed.notify_one();
        }
    }
}
