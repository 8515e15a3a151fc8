//! `muster plugin inspect` and `list`: what a plugin is, without calling it.

use super::{Failure, Found, failed, host, load_component, locate, pretty};
use crate::cli::{exit, print_line, runtime};
use crate::plugins::{self, Component};
use crate::settings::Settings;
use crate::trust::{Package, PublicKey, Signatures, Trust};
use muster_core::plugin::{Descriptor, SettingKind, SettingSpec};
use muster_wasm::{Manifest, PluginInfo};
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

pub(super) fn inspect(plugin: &str, config: Option<PathBuf>, json: bool) -> Result<u8, Failure> {
    let trust = Trust::of(&settings(config)?);
    let (_, component, info) = runtime()?.block_on(load_component(plugin))?;
    let signed = Signed::of(plugin, &trust)?;
    print_line(&if json {
        let mut described = describe_json(&component, &info);
        described["package"] = signed.package.clone().into();
        described["signatures"] = signed.json();
        pretty(&described)
    } else {
        describe(&component, &info, &signed)
    });
    Ok(exit::OK)
}

pub(super) fn list(config: Option<PathBuf>, json: bool) -> Result<u8, Failure> {
    let settings = settings(config)?;
    let components = plugins::components(&settings).map_err(failed)?;
    let named: Vec<_> = components.clone();
    let infos = runtime()?.block_on(async { plugins::load(&host()?, components).await.map_err(failed) })?;
    let both = || named.iter().zip(&infos);
    print_line(&if json {
        pretty(&both().map(|(component, info)| describe_json(component, info)).collect())
    } else {
        table(&infos)
    });
    Ok(exit::OK)
}

fn settings(config: Option<PathBuf>) -> Result<Settings, Failure> {
    let load = |file: PathBuf| Settings::load(&file).map_err(|error| Failure::new(exit::USAGE, error));
    config.map_or_else(|| Ok(Settings::default()), load)
}

/// Who signed a plugin.
struct Signed {
    /// digest of component and manifest together; none without a manifest
    package: Option<String>,
    /// a key, whether its signature is of these files, and what the operator calls it when it is trusted
    by: Vec<(PublicKey, bool, Option<String>)>,
    /// said instead when there is no signature
    instead: String,
}

impl Signed {
    fn of(plugin: &str, trust: &Trust) -> Result<Self, Failure> {
        let none = |package, instead: &str| Self { package, by: Vec::new(), instead: instead.to_owned() };
        let path = match locate(plugin)? {
            Found::Bundled(_) => return Ok(none(None, "needs none: it is part of this program")),
            Found::File(path) if !path.with_extension("toml").is_file() => {
                return Ok(none(None, "none: there is no manifest that could be signed with it"));
            }
            Found::File(path) => path,
        };
        let package = Package::read(&path).map_err(failed)?;
        let statement = package.statement();
        let digest = Some(statement.digest());
        let Some(text) = &package.signature else { return Ok(none(digest, "none")) };
        let signatures = match Signatures::parse(text) {
            Ok(signatures) => signatures,
            Err(error) => return Ok(none(digest, &format!("cannot be used: {error}"))),
        };
        let by = signatures.iter();
        let by = by.map(|one| (one.key, one.is_of(&statement), trust.name(&one.key).map(str::to_owned)));
        Ok(Self { package: digest, by: by.collect(), instead: String::new() })
    }

    fn lines(&self) -> String {
        let line = |(key, good, name): &(PublicKey, bool, Option<String>)| match (good, name) {
            (false, _) => format!("WRONG, is not of these files: {key}"),
            (true, Some(name)) => format!("{key}  trusted, {name}"),
            (true, None) => format!("{key}"),
        };
        if self.by.is_empty() {
            return self.instead.clone();
        }
        self.by.iter().map(line).collect::<Vec<_>>().join("\n          ")
    }

    fn json(&self) -> Value {
        let one = |(key, good, name): &(PublicKey, bool, Option<String>)| json!({ "key": key.to_string(), "good": good, "trusted": name.is_some(), "name": name });
        self.by.iter().map(one).collect()
    }
}

fn describe(component: &Component, info: &PluginInfo, signed: &Signed) -> String {
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
    if let Some(package) = &signed.package {
        line("package", package);
    }
    line("signed by", &signed.lines());
    line("imports", &seen.imports.join("\n          "));
    line("exports", &seen.exports.join("\n          "));
    line("grants", &grants(&component.manifest).join("\n          "));
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

/// What the manifest asks for, in its own words.
fn grants(manifest: &Manifest) -> Vec<String> {
    let list = |names: &[String]| format!("{names:?}");
    let grants = &manifest.grants;
    let mut lines = Vec::new();
    if grants.dial {
        lines.push("dial = true".to_owned());
    }
    if !grants.fetch.is_empty() {
        lines.push(format!("fetch = {}", list(&grants.fetch)));
    }
    if !grants.hosts.is_empty() {
        let hosts: Vec<String> = grants.hosts.iter().map(ToString::to_string).collect();
        lines.push(format!("hosts = {}", list(&hosts)));
    }
    if !grants.files.is_empty() {
        lines.push(format!("files = {}", list(&grants.files)));
    }
    if !grants.names.is_empty() {
        lines.push(format!("names = {}", list(&grants.names)));
    }
    if grants.wasi_sockets {
        lines.push("wasi-sockets = true".to_owned());
    }
    if !grants.sealed_secrets.is_empty() {
        lines.push(format!("sealed-secrets = {}", list(&grants.sealed_secrets)));
    }
    if lines.is_empty() {
        lines.push("none".to_owned());
    }
    lines
}

fn grants_json(manifest: &Manifest) -> Value {
    let grants = &manifest.grants;
    json!({
        "dial": grants.dial, "fetch": grants.fetch, "hosts": grants.hosts, "files": grants.files, "names": grants.names,
        "wasi-sockets": grants.wasi_sockets, "sealed-secrets": grants.sealed_secrets,
    })
}

fn limits_json(manifest: &Manifest) -> Value {
    let limits = &manifest.limits;
    let millis = |time: Option<std::time::Duration>| time.map(|time| time.as_millis().to_string() + "ms");
    json!({
        "memory": limits.memory, "deadline": millis(limits.deadline), "cpu": millis(limits.cpu),
        "in-flight": limits.in_flight, "connections": limits.connections, "traffic": limits.traffic,
    })
}

fn describe_json(component: &Component, info: &PluginInfo) -> Value {
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
        "grants": grants_json(&component.manifest), "limits": limits_json(&component.manifest),
    })
}

fn table(infos: &[PluginInfo]) -> String {
    let rows = infos.iter().map(|info| {
        let Descriptor { name, version, summary, .. } = &*info.descriptor;
        format!("{name:<20} {:<14} {version:<8} {summary}", info.kind.world())
    });
    rows.collect::<Vec<_>>().join("\n")
}
