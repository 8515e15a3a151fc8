//! `muster plugin`: writing, building, looking at, trying and testing plugins, and their versions on a running node.

mod ask;
mod bench;
mod build;
mod check;
mod diff;
mod embedded;
mod fuzz;
mod grants;
mod inspect;
mod languages;
mod list;
mod new;
mod project;
mod run;
mod ship;
mod sign;
mod versions;

use super::{Failure, exit};
use crate::plugins::{self, Component};
use crate::settings;
use muster_core::plugin::PluginKind;
use muster_wasm::{HostOptions, Manifest, PluginHost, PluginInfo};
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Make a project that builds and passes its own tests
    ///
    /// In Rust it needs nothing but cargo: the SDK comes with this program and has no dependencies. In another language
    /// it is a health check; its README says what it needs.
    New(new::New),
    /// Build a project into dist/NAME.wasm and its manifest dist/NAME.toml
    ///
    /// With Cargo.toml by cargo, else by its script `build`, which leaves target/component.wasm. Projects of `new` with
    /// the same MUSTER_TOOLCHAINS=FOLDER share what their scripts install.
    Build(build::Build),
    /// Show what a plugin is: world, interface version, imports, grants, size, digest, signatures, settings
    Inspect {
        /// Name of a bundled plugin, a project, or a component file with its manifest beside it (same name, .toml)
        #[arg(value_name = "FILE|NAME")]
        plugin: String,
        /// The settings whose plugins.trust-keys say who is trusted
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a key to sign with
    ///
    /// Prints the public key as it goes into the settings of the nodes that are to trust it.
    Keygen(sign::Keygen),
    /// Sign a plugin: NAME.sig, over the component and its manifest as they are
    ///
    /// A signature by another key stays, as long as it is of the same files.
    Sign(sign::Sign),
    /// Check the signatures of a plugin; without a key, whoever's they are
    ///
    /// Exit code 1 when it is not signed, by none of the keys, or when anything was changed since.
    Verify(sign::Verify),
    /// Show what a version asks for that another does not: grants, imports, limits, settings
    ///
    /// `+` is more, `-` is less, `~` is neither. Exit code 1 when it asks for more.
    Diff(diff::Diff),
    /// Put plugins with their manifests and signatures into one file, for where there is no network
    ///
    /// The file is an OCI image layout, so registry tools read it, too. The same plugins make the same file.
    Pack(ship::Pack),
    /// Take plugins out of such a file
    ///
    /// What was changed after it was signed is refused; with --key or --config, what nobody signed who is trusted.
    Unpack(ship::Unpack),
    /// Send a plugin to an OCI registry, and print the reference that pull takes
    Push(ship::Push),
    /// Fetch a plugin from an OCI registry, by its digest; refused as by unpack
    Pull(ship::Pull),
    /// List the bundled plugins, and with --config those of the settings
    List {
        /// The settings whose plugins.directory is listed too
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Call a plugin once and show every host call, time and cost
    Run(run::Run),
    /// The same, and keep all that happened as a trace
    Record(run::Record),
    /// Check that a plugin keeps to the rules: deadlines, memory, settings, secrets; for its author's CI
    ///
    /// Each check has a name. Exit code 0 when all are kept, 1 when one is not.
    Check(check::Check),
    /// Change a trace in many ways: the plugin must neither break nor find a dead target healthy
    Fuzz(fuzz::Fuzz),
    /// Measure loading and calling
    Bench(bench::Bench),
    /// Bring a new version to a running node: it is stored, tried beside the active one, and then takes its place
    Install(versions::Install),
    /// Move the version on its way on: to its next stage, or at once to the last
    Rollout(versions::Promote),
    /// Give up the version on its way, or go back to the version before the active one
    Rollback(versions::Named),
    /// Have a plugin not called: what it checks keeps its health, until --release
    Quarantine(versions::Quarantine),
    /// Let a health check reach places and have secrets beyond its targets, on all members and at once
    ///
    /// In force is what its manifest asks for, too. Prints both sides and what they come to.
    Grant(grants::Grant),
    /// Take such grants back; those of [plugins.grants.NAME] in the settings of a node stay
    Revoke(grants::Revoke),
    /// Show what health checks ask for, what is granted by the file and by the cluster, and what is in force
    Grants(grants::Show),
    /// Show the versions of the plugins of a running node, and how they are doing
    Status(versions::Status),
    /// Make the calls of traces again; fails at the first thing that the plugin does otherwise
    Replay(run::Replay),
}

pub(super) fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::New(new) => new::run(&new),
        Command::Build(build) => build::run(&build),
        Command::Inspect { plugin, config, json } => inspect::inspect(&plugin, config, json),
        Command::Pack(pack) => ship::pack(&pack),
        Command::Unpack(unpack) => ship::unpack(&unpack),
        Command::Push(push) => ship::push(&push),
        Command::Pull(pull) => ship::pull(&pull),
        Command::Diff(diff) => diff::run(&diff),
        Command::Keygen(keygen) => sign::keygen(&keygen),
        Command::Sign(sign) => sign::sign(&sign),
        Command::Verify(verify) => sign::verify(&verify),
        Command::List { config, json } => inspect::list(config, json),
        Command::Run(run) => run::run(&run),
        Command::Record(record) => run::record(&record),
        Command::Replay(replay) => run::replay(&replay),
        Command::Check(check) => check::run(&check),
        Command::Fuzz(fuzz) => fuzz::run(&fuzz),
        Command::Bench(bench) => bench::run(&bench),
        Command::Install(install) => versions::install(&install),
        Command::Rollout(promote) => versions::promote(&promote),
        Command::Rollback(plugin) => versions::rollback(&plugin),
        Command::Quarantine(quarantine) => versions::quarantine(&quarantine),
        Command::Grant(grant) => grants::grant(&grant),
        Command::Revoke(revoke) => grants::revoke(&revoke),
        Command::Grants(show) => grants::show(&show),
        Command::Status(status) => versions::status(&status),
    }
}

/// Loads the plugin that the command line names: a bundled one, a project's, else a file.
pub(super) async fn load(plugin: &str) -> Result<(PluginHost, PluginInfo), Failure> {
    let (host, _, info) = load_component(plugin).await?;
    Ok((host, info))
}

/// The same, with what was loaded.
async fn load_component(plugin: &str) -> Result<(PluginHost, Component, PluginInfo), Failure> {
    load_granted(plugin, &settings::Plugins::default()).await
}

/// The same in a host with the grants and bounds of these settings.
async fn load_granted(
    plugin: &str,
    settings: &settings::Plugins,
) -> Result<(PluginHost, Component, PluginInfo), Failure> {
    let mut component = find(plugin)?;
    let host = host_with(settings, project::compiled(&component.origin))?;
    let mut info = load_one(&host, component.clone()).await?;
    if component.manifest.plugin.name.is_empty() {
        // Without a manifest only the component itself knows its name.
        component.manifest.plugin.name.clone_from(&info.descriptor.name);
        info = load_one(&host, component.clone()).await?;
    }
    Ok((host, component, info))
}

async fn load_one(host: &PluginHost, component: Component) -> Result<PluginInfo, Failure> {
    let mut infos = plugins::load(host, vec![component]).await.map_err(failed)?;
    infos.pop().ok_or_else(|| Failure::new(exit::FAILED, "nothing was loaded"))
}

fn host() -> Result<PluginHost, Failure> {
    host_with(&settings::Plugins::default(), None)
}

fn host_with(settings: &settings::Plugins, cache_dir: Option<PathBuf>) -> Result<PluginHost, Failure> {
    let (hosts, bounds) = (settings.granted_hosts(), settings.bounds());
    let bounded = HostOptions { pool: 64, max_in_flight: 32, ..HostOptions::default() };
    PluginHost::new(HostOptions { hosts, bounds, cache_dir, ..bounded })
        .map_err(|error| Failure::new(exit::FAILED, error))
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::new(exit::FAILED, error)
}

fn usage(error: impl std::fmt::Display) -> Failure {
    Failure::new(exit::USAGE, error)
}

/// What the command line means by a plugin.
enum Found {
    /// part of this program
    Bundled(Box<Component>),
    /// a component file
    File(PathBuf),
}

/// A bundled plugin, else that of a project, else a file.
fn locate(plugin: &str) -> Result<Found, Failure> {
    let mut bundled = plugins::bundled().map_err(failed)?;
    if let Some(at) = bundled.iter().position(|one| one.manifest.plugin.name == plugin) {
        return Ok(Found::Bundled(Box::new(bundled.swap_remove(at))));
    }
    let mut path = PathBuf::from(plugin);
    if path.join(project::MANIFEST).is_file() {
        path = project::component_of(&path)?;
    }
    if !path.is_file() {
        let names: Vec<_> = bundled.iter().map(|one| one.manifest.plugin.name.as_str()).collect();
        let text =
            format!("{plugin:?} is neither a file nor a bundled plugin; those are: {}", names.join(", "));
        return Err(usage(text));
    }
    Ok(Found::File(path))
}

fn find(plugin: &str) -> Result<Component, Failure> {
    match locate(plugin)? {
        Found::Bundled(component) => Ok(*component),
        Found::File(path) if path.with_extension("toml").is_file() => plugins::of_file(&path).map_err(failed),
        Found::File(path) => without_manifest(&path),
    }
}

/// A component that nobody wrote a manifest for yet: it gets what its kind may have, and its own name.
fn without_manifest(path: &Path) -> Result<Component, Failure> {
    let wasm = plugins::read_component(path).map_err(failed)?;
    let refused = |error| failed(format!("{}: {error}", path.display()));
    let inspection = muster_wasm::inspect(&wasm).map_err(refused)?;
    let mut manifest = Manifest::bundled("", inspection.kind);
    if inspection.kind == PluginKind::MemberLookup {
        manifest.grants.fetch = vec!["url".into()];
        manifest.grants.files = vec!["cluster.conf".into()];
        manifest.grants.names = vec!["name".into()];
    }
    Ok(Component { origin: path.to_owned(), wasm, manifest })
}

pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}")
}
