//! `muster plugin`: what plugins there are, and what one is.

use super::{Failure, exit, print_line, runtime};
use crate::plugins::{self, Component};
use crate::settings::Settings;
use muster_core::plugin::{Descriptor, PluginKind, SettingKind, SettingSpec};
use muster_wasm::{HostOptions, Manifest, PluginHost, PluginInfo};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show what a plugin is: world, interface version, imports, size, digest, settings
    Inspect {
        /// Name of a bundled plugin, or a component file; its manifest is the file of that name that ends in .toml
        #[arg(value_name = "FILE|NAME")]
        plugin: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the bundled plugins, and with --config those of the settings
    List {
        /// The settings whose plugins.directory is listed too
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Inspect { plugin, json } => {
            let (_, info) = runtime()?.block_on(load(&plugin))?;
            print_line(&if json { pretty(&describe_json(&info)) } else { describe(&info) });
        }
        Command::List { config, json } => {
            let settings = match config {
                Some(file) => Settings::load(&file).map_err(|error| Failure::new(exit::USAGE, error))?,
                None => Settings::default(),
            };
            let components = plugins::components(&settings).map_err(failed)?;
            let infos =
                runtime()?.block_on(async { plugins::load(&host()?, components).await.map_err(failed) })?;
            print_line(&if json {
                pretty(&infos.iter().map(describe_json).collect())
            } else {
                table(&infos)
            });
        }
    }
    Ok(exit::OK)
}

/// Loads the plugin that the command line names: a bundled one, else a file.
pub(super) async fn load(plugin: &str) -> Result<(PluginHost, PluginInfo), Failure> {
    let mut component = find(plugin)?;
    let host = host()?;
    let mut info = load_one(&host, component.clone()).await?;
    if component.manifest.plugin.name.is_empty() {
        // Without a manifest only the component itself knows its name.
        component.manifest.plugin.name.clone_from(&info.descriptor.name);
        info = load_one(&host, component).await?;
    }
    Ok((host, info))
}

async fn load_one(host: &PluginHost, component: Component) -> Result<PluginInfo, Failure> {
    let mut infos = plugins::load(host, vec![component]).await.map_err(failed)?;
    infos.pop().ok_or_else(|| Failure::new(exit::FAILED, "nothing was loaded"))
}

fn host() -> Result<PluginHost, Failure> {
    PluginHost::new(HostOptions { pool: 64, max_in_flight: 32, ..HostOptions::default() })
        .map_err(|error| Failure::new(exit::FAILED, error))
}

fn failed(error: plugins::PluginsError) -> Failure {
    Failure::new(exit::FAILED, error)
}

fn find(plugin: &str) -> Result<Component, Failure> {
    let mut bundled = plugins::bundled().map_err(failed)?;
    if let Some(at) = bundled.iter().position(|one| one.manifest.plugin.name == plugin) {
        return Ok(bundled.swap_remove(at));
    }
    let path = Path::new(plugin);
    if !path.is_file() {
        let names: Vec<_> = bundled.iter().map(|one| one.manifest.plugin.name.as_str()).collect();
        let text =
            format!("{plugin:?} is neither a file nor a bundled plugin; those are: {}", names.join(", "));
        return Err(Failure::new(exit::USAGE, text));
    }
    if path.with_extension("toml").is_file() {
        return plugins::of_file(path).map_err(failed);
    }
    without_manifest(path)
}

/// A component that nobody wrote a manifest for yet: it gets what its kind may have, and its own name.
fn without_manifest(path: &Path) -> Result<Component, Failure> {
    let wasm = plugins::read_component(path).map_err(failed)?;
    let refused = |error| Failure::new(exit::FAILED, format!("{}: {error}", path.display()));
    let inspection = muster_wasm::inspect(&wasm).map_err(refused)?;
    let mut manifest = Manifest::bundled("", inspection.kind);
    if inspection.kind == PluginKind::MemberLookup {
        manifest.grants.fetch = vec!["url".into()];
        manifest.grants.files = vec!["cluster.conf".into()];
    }
    Ok(Component { origin: path.to_owned(), wasm, manifest })
}

fn describe(info: &PluginInfo) -> String {
    let seen = &info.inspection;
    let Descriptor { name, version, summary, settings } = &*info.descriptor;
    let mut text = format!("{name} {version}: {summary}\n\n");
    let mut line = |key: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key:<9} {value}");
    };
    line("world", &seen.world);
    line("api", &seen.api);
    line("size", &format!("{} bytes", seen.size));
    line("sha256", &seen.sha256);
    line("imports", &seen.imports.join("\n          "));
    line("exports", &seen.exports.join("\n          "));
    if settings.is_empty() {
        line("settings", "none");
    }
    for (nth, spec) in settings.iter().enumerate() {
        line(if nth == 0 { "settings" } else { "" }, &setting(spec));
    }
    text.trim_end().to_owned()
}

fn setting(spec: &SettingSpec) -> String {
    let default = match (&spec.default, spec.required) {
        (Some(default), _) => format!(", default {default:?}"),
        (None, true) => ", required".into(),
        (None, false) => String::new(),
    };
    format!("{} ({}{default}): {}", spec.key, kind(&spec.kind), spec.summary)
}

fn kind(kind: &SettingKind) -> String {
    match kind {
        SettingKind::Text => "text".into(),
        SettingKind::Integer(low, high) => format!("number {low} to {high}"),
        SettingKind::Boolean => "true or false".into(),
        SettingKind::Choice(words) => words.join(" | "),
        SettingKind::Secret => "secret".into(),
    }
}

fn describe_json(info: &PluginInfo) -> Value {
    let settings: Vec<Value> = info
        .descriptor
        .settings
        .iter()
        .map(|spec| {
            json!({
                "key": spec.key, "kind": kind(&spec.kind), "required": spec.required,
                "default": spec.default, "summary": spec.summary,
            })
        })
        .collect();
    json!({
        "name": info.descriptor.name, "version": info.version, "summary": info.descriptor.summary,
        "kind": info.kind.world(), "world": info.inspection.world, "api": info.inspection.api,
        "imports": info.inspection.imports, "exports": info.inspection.exports,
        "size": info.inspection.size, "sha256": info.inspection.sha256, "settings": settings,
    })
}

fn table(infos: &[PluginInfo]) -> String {
    let rows = infos.iter().map(|info| {
        let Descriptor { name, version, summary, .. } = &*info.descriptor;
        format!("{name:<20} {:<14} {version:<8} {summary}", info.kind.world())
    });
    rows.collect::<Vec<_>>().join("\n")
}

pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}")
}
