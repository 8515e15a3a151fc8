//! The two steps of a start: what can be opened before anything runs, and everything that runs.

use super::data_dir::DataDir;
use super::error::StartError;
use super::parts;
use super::ports::{self, GrpcPorts, Ports, Taken};
use super::ready::{self, ReadyFile};
use super::{Node, Stages};
use crate::clock::Clock;
use crate::cluster::{self, Hub, HubOptions, Links, Psk};
use crate::filters::Filters;
use crate::grants::Grants;
use crate::grpc::{self, Tls};
use crate::http::{self, App, NodeStatus, Status};
use crate::lists::Lists;
use crate::lookup::Members;
use crate::naming::{self, Executors, Inbox, NamingHandle, Published, Requests};
use crate::opinions::{self, Observer};
use crate::probe;
use crate::rollout::{self, Agreed, Lives, Rollouts};
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::udp::{UdpOptions, UdpPush};
use arc_swap::ArcSwap;
use muster_core::cluster::NodeId;
use muster_core::persist::Change;
use muster_core::switches::Switches;
use muster_raft::{Store, Transport};
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Durable writes of the rules that may wait. Past it the rules ask again.
const PROPOSALS: usize = 1_024;

/// What is open before anything runs.
pub(super) struct Opened {
    began: Instant,
    data_dir: DataDir,
    ready: ReadyFile,
    secrets: Secrets,
    http: Taken,
    grpc: Option<GrpcPorts>,
    tls: Option<Tls>,
    /// where other members connect to, the key, and the connections; none for a node that is alone
    cluster: Option<(Taken, Psk, Links)>,
    /// how others reach this node
    host: String,
    plugins: parts::LoadedPlugins,
    pub(super) store: Store,
    requests: Requests,
    inbox: Inbox,
}

impl Opened {
    /// Takes the data directory and the ports, then opens plugins and store side by side. Answers the rows, too.
    pub(super) async fn open(settings: &Settings) -> Result<(Self, Vec<Change>), StartError> {
        let began = Instant::now();
        let data_dir = DataDir::open(&settings.node.data_dir)?;
        let ready = ReadyFile::new(data_dir.file("muster.ready"))?;
        let secrets = Secrets::load(&settings.secrets)?.granting(settings.plugins.granted_secrets());
        let tls = Tls::load(&settings.grpc.tls)?;
        let key = parts::member_key(settings, &secrets)?;
        let Ports { http, grpc, cluster } = Ports::take(settings)?;
        let cluster = cluster.zip(key).map(|(taken, key)| (taken, key, Links::default()));
        let own = || parts::own_address(http.1.ip()).to_string();
        let host = settings.node.address.clone().unwrap_or_else(own);
        let (requests, committed, inbox) = naming::queues();
        let options = parts::raft_options(settings, &data_dir, &host, http.1.port());
        let transport = cluster.as_ref().map(|(_, _, links)| Arc::new(links.clone()) as Arc<dyn Transport>);
        let (plugins, opened) =
            tokio::join!(parts::load_plugins(settings), Store::open_on(transport, options, committed));
        let (store, rows) = opened?;
        let plugins = match plugins {
            Ok(loaded) => loaded,
            Err(error) => {
                // The first error is the one that counts.
                let _ = store.shutdown().await;
                return Err(error);
            }
        };
        tracing::debug!(after = ?began.elapsed(), rows = rows.len(), "plugins and store are open");
        let opened = Self {
            began,
            data_dir,
            ready,
            secrets,
            http,
            grpc,
            tls,
            cluster,
            host,
            plugins,
            store,
            requests,
            inbox,
        };
        Ok((opened, rows))
    }

    /// Starts the loop and its executors, looks the members up, and opens the ports.
    pub(super) async fn serve(
        self,
        settings: &Settings,
        stages: Stages,
        rows: Vec<Change>,
    ) -> Result<Node, StartError> {
        let Self { data_dir, ready, secrets, host, store, .. } = self;
        let parts::LoadedPlugins { host: plugins, lookups, kept } = self.plugins;
        let clock = Clock::system();
        let filters = Filters::load(&plugins, &secrets, &settings.filters, &settings.subscribers).await?;
        let published = Arc::new(Published::default());
        let switches = Arc::<ArcSwap<Switches>>::default();
        let naming =
            NamingHandle::new(self.requests, store.clone(), Arc::clone(&published), Arc::clone(&switches));
        let lists = Lists::new(Arc::clone(&published), filters.clone(), settings.naming.protection);
        let push = bind_push(settings, &lists, &switches, &clock).await?;
        let status = Arc::new(NodeStatus::default());
        let grpc = grpc::Node::new(
            naming.clone(),
            lists.clone(),
            Arc::clone(&status),
            Arc::clone(&switches),
            clock.clone(),
            parts::grpc_options(settings),
            self.tls,
        );
        let (probes, probe_jobs) = mpsc::channel(settings.health.max_in_flight.get());
        let (proposals, commands) = mpsc::channel(PROPOSALS);
        let (asks, asked) = mpsc::channel(opinions::QUEUE);
        let pushers: Vec<Arc<dyn naming::Pusher>> = vec![Arc::new(push.clone()), grpc.clone()];
        let links = self.cluster.as_ref().map(|(_, _, links)| links.clone());
        let (rollouts, inbox) = Rollouts::new();
        let versions = rollout::Parts {
            plugins: plugins.clone(),
            secrets: secrets.clone(),
            naming: naming.clone(),
            agreed: Agreed::default(),
            store: store.clone(),
            links: links.clone(),
            published: Arc::clone(&published),
            filters,
            clock: clock.clone(),
        };
        let (agreed, files) = (versions.agreed.clone(), kept.files());
        let grants = Grants::new(settings, plugins.clone(), secrets.clone());
        let executors = Executors {
            published,
            switches,
            agreed,
            grants: Some(grants.clone()),
            pushers,
            probes,
            links: links.clone(),
            asks,
            proposals,
        };
        let id = NodeId(store.node_id());
        let member = self.cluster.is_some().then_some(id);
        let loop_of = parts::NamingLoop { rows, inbox: self.inbox, executors, member };
        parts::start_naming(settings, &stages, &data_dir, &clock, loop_of).await;
        push.start(&stages.push);
        let prober = probe::Prober {
            plugins: plugins.clone(),
            secrets: secrets.clone(),
            trials: rollouts.trials().clone(),
        };
        probe::start(&stages.work, prober, naming.clone(), probe_jobs);
        rollouts.start(&stages.work, inbox, versions, kept, settings);
        if let Some(links) = &links {
            opinions::start(&stages.work, links.clone(), naming.clone(), asked);
        }
        probe::start_proposals(&stages.work, naming.clone(), commands);
        parts::keep_time(&stages.work, clock.clone());
        parts::watch_store(&stages.work, store.clone());

        let (http_socket, http) = self.http;
        let members = Members::new(&host, http.port());
        let lookup_of = parts::LookupOf {
            plugins: plugins.clone(),
            secrets: secrets.clone(),
            lookups,
            host: host.clone(),
            port: http.port(),
            clustered: self.cluster.is_some(),
        };
        let lookup = parts::start_lookup(settings, &stages, &data_dir, lookup_of, members.clone()).await?;
        let lives = Lives::new(plugins.clone(), rollouts.clone(), members.list());
        members.identify(id);
        members.tell("raftMetaData", cluster::raft_info(&store.status()));
        let hub = match self.cluster {
            None => None,
            Some(((socket, address), psk, links)) => {
                let own = format!("{host}:{}", http.port());
                let (members, store) = (members.clone(), store.clone());
                let expect = settings.cluster.expect.map(NonZeroUsize::get);
                let observer = Observer::new(plugins.clone(), secrets.clone());
                let lives = lives.clone();
                let options = HubOptions {
                    id,
                    address: own,
                    psk,
                    links,
                    members,
                    store,
                    expect,
                    observer,
                    files,
                    lives,
                };
                let hub = Hub::new(options, naming.clone(), clock.clone(), stages.work.clone());
                hub.start(ports::listen("cluster.bind", socket, address)?)
                    .await
                    .map_err(StartError::Cluster)?;
                Some(hub)
            }
        };

        let app = Arc::new(App {
            naming,
            lists,
            pushes: push.clone(),
            grpc: grpc.clone(),
            store: store.clone(),
            links,
            plugins,
            grants,
            rollouts,
            lives,
            members: members.list(),
            lookup,
            status,
            clock,
            settings: parts::http_settings(settings, http.port()),
        });
        let udp = push.local_addr().map_err(|source| StartError::bind("udp.bind", http, source))?;
        let listener = ports::listen("http.bind", http_socket, http)?;
        members.ready();
        hub.iter().for_each(Hub::ready);
        app.status.set(Status::Up, None);
        stages.front.spawn("http", |stop| http::serve(listener, app, stop));
        let mut grpc_address = None;
        if let Some(GrpcPorts { clients: (socket, address), members }) = self.grpc {
            let clients = ports::listen("grpc.bind", socket, address)?;
            let listen = |(socket, address)| ports::listen("grpc.cluster-bind", socket, address);
            grpc.start(&stages.front, &stages.push, clients, members.map(listen).transpose()?);
            grpc_address = Some(address);
        }
        let line = ready::line(http, udp, grpc_address);
        ready.write(&line)?;
        tracing::info!(%http, %udp, grpc = ?grpc_address, after = ?self.began.elapsed(), "ready");
        let grace = settings.http.grace;
        Ok(Node { stages, store, ready, line, grace, http, udp, data_dir })
    }
}

async fn bind_push(
    settings: &Settings,
    lists: &Lists,
    switches: &Arc<ArcSwap<Switches>>,
    clock: &Clock,
) -> Result<UdpPush, StartError> {
    let options = UdpOptions {
        ack_timeout: settings.udp.ack_timeout,
        max_pending: settings.udp.max_pending,
        lists: lists.clone(),
        switches: Arc::clone(switches),
        clock: clock.clone(),
    };
    parts::bind_udp(settings, options).await
}
