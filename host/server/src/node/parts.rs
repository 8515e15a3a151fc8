//! The parts of a node, each made from the settings.

use super::data_dir::DataDir;
use super::error::StartError;
use super::{REQUESTS_SHARE, Stages};
use crate::clock::{ADJUST_EVERY, Clock};
use crate::cluster::{self, Psk};
use crate::grpc;
use crate::http::{self, Compatibility, Limits};
use crate::lookup::{self, Lookup, LookupHandle, LookupOptions, Members, Pace, PluginMaker, PluginSource};
use crate::naming::{self, Executors, Inbox};
use crate::plugins::{self, Component};
use crate::remembered;
use crate::rollout::Kept;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::tasks::Tasks;
use crate::udp::{UdpOptions, UdpPush};
use muster_core::cluster::NodeId;
use muster_core::naming::{Naming, Options};
use muster_core::persist::Change;
use muster_raft::{RaftOptions, Store};
use muster_wasm::PluginHost;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Whether this node may have other members beside it.
pub(super) fn is_clustered(settings: &Settings) -> bool {
    settings.is_clustered()
}

/// The key to the other members; none for a node that is alone.
pub(super) fn member_key(settings: &Settings, secrets: &Secrets) -> Result<Option<Psk>, StartError> {
    let secret = settings.cluster.secret.as_ref().filter(|_| is_clustered(settings));
    secret.map(|secret| Ok(Psk::new(&secrets.follow(secret)?)?)).transpose()
}

pub(super) fn grpc_options(settings: &Settings) -> grpc::Options {
    grpc::Options {
        connections: settings.grpc.max_connections.get(),
        connections_per_client: settings.grpc.max_connections_per_client.get(),
        message: settings.grpc.max_message.len(),
        held: settings.grpc.max_held.len(),
        push_delay: settings.naming.options().push_delay,
        restart_hold: settings.naming.options().restart_hold,
        check_params: settings.naming.param_check,
        metadata_length: settings.naming.metadata_limit,
    }
}

pub(super) async fn bind_udp(settings: &Settings, options: UdpOptions) -> Result<UdpPush, StartError> {
    let address = settings.udp.bind.unwrap_or_else(|| SocketAddr::new(settings.http.bind.ip(), 0));
    let bound = UdpPush::bind(address, options).await;
    bound.map_err(|source| StartError::Bind { key: "udp.bind", address, source })
}

/// The address by which others reach a node that listens on `bind`.
pub(super) fn own_address(bind: IpAddr) -> IpAddr {
    if bind.is_unspecified() { outward().unwrap_or(Ipv4Addr::LOCALHOST.into()) } else { bind }
}

/// The address of the interface that leads outside. Nothing is sent: connecting a UDP socket only picks a route
/// (to an address that is reserved for documentation).
fn outward() -> io::Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
    Ok(socket.local_addr()?.ip())
}

pub(super) fn raft_options(settings: &Settings, data_dir: &DataDir, host: &str, port: u16) -> RaftOptions {
    let clustered = is_clustered(settings);
    RaftOptions {
        path: data_dir.file("muster.redb"),
        // A member's id is drawn once, or is the one it had when it was alone.
        node_id: (!clustered).then_some(settings.node.id.get()),
        // Who founds a group of members is for them to agree on.
        bootstrap: !clustered,
        address: cluster::raft_address(host, port),
        snapshot_after: settings.raft.snapshot_after.get(),
        ..RaftOptions::default()
    }
}

/// Starts the plugin host and loads all plugins: the bundled ones, those of the folder, those that were installed.
pub(super) async fn load_plugins(settings: &Settings) -> Result<LoadedPlugins, StartError> {
    let host = plugins::host(settings).map_err(plugins::PluginsError::from)?;
    let mut kept = Kept::load(&settings.node.data_dir).map_err(plugins::PluginsError::from)?;
    let components = kept.components(settings)?;
    kept.save().map_err(plugins::PluginsError::from)?;
    plugins::load(&host, components.clone()).await?;
    Ok(LoadedPlugins { host, lookups: plugins::lookups(components), kept })
}

/// The plugins of a start.
pub(super) struct LoadedPlugins {
    pub(super) host: PluginHost,
    /// those that can be the source of the members
    pub(super) lookups: Vec<Component>,
    /// which versions are wanted
    pub(super) kept: Kept,
}

/// What the naming loop begins with.
pub(super) struct NamingLoop {
    pub(super) rows: Vec<Change>,
    pub(super) inbox: Inbox,
    pub(super) executors: Executors,
    /// who this node is in a cluster
    pub(super) member: Option<NodeId>,
}

pub(super) async fn start_naming(
    settings: &Settings,
    stages: &Stages,
    data_dir: &DataDir,
    clock: &Clock,
    loop_of: NamingLoop,
) {
    let NamingLoop { rows, inbox, executors, member } = loop_of;
    let options = Options {
        probe_limits: settings.health.limits(),
        rules: settings.health.rules.clone(),
        started: clock.now(),
        seed: rand::random(),
        ..settings.naming.options()
    };
    let now = options.started;
    let mut naming = Naming::new(options);
    if let Some(id) = member {
        naming.join(id);
    }
    if !settings.naming.restart_hold.is_zero() {
        let file = data_dir.file("remembered.jsonl");
        naming.remember(now, remembered::load(file.clone(), now).await);
        remembered::start(&stages.remember, file, executors.published.clone(), clock.clone());
    }
    naming::start(&stages.naming, clock.clone(), naming, rows, inbox, executors);
}

/// What a lookup is made of.
pub(super) struct LookupOf {
    pub(super) plugins: PluginHost,
    pub(super) secrets: Secrets,
    /// the plugins that can be the source
    pub(super) lookups: Vec<Component>,
    /// how others reach this node
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) clustered: bool,
}

/// Looks the members up for the first time, and goes on looking.
pub(super) async fn start_lookup(
    settings: &Settings,
    stages: &Stages,
    data_dir: &DataDir,
    lookup_of: LookupOf,
    members: Members,
) -> Result<LookupHandle, StartError> {
    let LookupOf { plugins, secrets, lookups, host, port, clustered } = lookup_of;
    let granted = lookup::Granted::of(&lookups, &settings.lookup.kind);
    let source = PluginSource::new(&plugins, &secrets, settings, granted, &host, port).await?;
    let maker = PluginMaker::new(plugins, settings, lookups, (&host, port), clustered);
    let (pace, kept) = (Pace::from(&settings.lookup), data_dir.file("members.json"));
    let mut lookup = Lookup::new(source, maker, LookupOptions { pace, kept, clustered }, members.clone());
    let next = lookup.first().await.map_err(lookup::LookupError::from)?;
    if !clustered && members.list().load().len() > 1 {
        return Err(StartError::NoClusterSecret { lookup: settings.lookup.kind.clone() });
    }
    Ok(lookup.start(&stages.work, next))
}

/// Follows the machine's clock.
pub(super) fn keep_time(tasks: &Tasks, clock: Clock) {
    tasks.spawn("clock", |stop| async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(ADJUST_EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let apart = clock.adjust();
            if apart.unsigned_abs() >= 1_000 {
                tracing::warn!(apart_ms = apart, "the machine's clock was set; following it slowly");
            }
        }
    });
}

/// A store that failed for good ends the node.
pub(super) fn watch_store(tasks: &Tasks, store: Store) {
    tasks.spawn("store", |stop| async move {
        tokio::select! {
            failure = store.failed() => Err(failure.into()),
            () = stop.cancelled() => Ok(()),
        }
    });
}

pub(super) fn http_settings(settings: &Settings, port: u16) -> http::Settings {
    let (front, naming, compat) = (&settings.http, &settings.naming, settings.compat);
    http::Settings {
        context_path: front.context_path.clone(),
        port,
        limits: Limits {
            body: front.max_body.len(),
            connections: front.max_connections.get(),
            head: front.header_timeout,
            request: front.request_timeout,
            grace: front.grace.mul_f64(REQUESTS_SHARE),
        },
        check_params: naming.param_check,
        metadata_length: naming.metadata_limit,
        protection: naming.protection,
        compatibility: Compatibility { client: compat.client, admin: compat.admin, console: compat.console },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_on_all_interfaces_has_an_address_of_its_own() {
        assert!(!own_address(Ipv4Addr::UNSPECIFIED.into()).is_unspecified());
        let given = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(own_address(given), given);
    }

    #[test]
    fn the_raft_port_is_a_thousand_below_the_main_port() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path()).unwrap();
        let address = |port| raft_options(&Settings::default(), &data_dir, "h", port).address;
        assert_eq!((address(8848), address(500)), ("h:7848".into(), "h:500".into()));
    }
}
