//! `muster plugin install|rollout|rollback|quarantine|status`: versions of plugins on a node that runs.

use super::super::node_api::Server;
use super::super::{Failure, exit, print_line, runtime};
use super::{failed, pretty};
use crate::rollout::Package;
use http::Method;
use hyper::body::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode, utf8_percent_encode};
use serde_json::Value;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

pub(super) const PATH: &str = "/v3/admin/muster/plugins";
/// Between two looks at a version on its way.
const LOOK: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Install {
    /// The component, with its manifest (same name, .toml) and its signatures (.sig) beside it
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// What it may ask for more than the active version: the `package` digest that `muster plugin diff` prints
    #[arg(long, value_name = "DIGEST")]
    approve: Option<String>,
    /// Show its way, and answer when it is active (exit code 0) or rolled back (1)
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Named {
    /// Name of the plugin
    #[arg(value_name = "NAME")]
    name: String,
    /// health-check, member-lookup or push-filter, where the name does not say it
    #[arg(long)]
    kind: Option<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Promote {
    #[command(flatten)]
    plugin: Named,
    /// "next": shadow becomes canary, canary becomes active. "active": at once
    #[arg(long, value_name = "STAGE", default_value = "next", value_parser = ["next", "active"])]
    to: String,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Quarantine {
    #[command(flatten)]
    plugin: Named,
    /// Let it be called again
    #[arg(long)]
    release: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Status {
    /// Name of the plugin; left out: all
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Of every member, not only of the one that is asked
    #[arg(long)]
    cluster: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

pub(super) fn install(install: &Install) -> Result<u8, Failure> {
    let package = Package::of_file(&install.file).map_err(|error| failed(error.to_string()))?;
    let encode = |bytes: &[u8]| percent_encode(bytes, NON_ALPHANUMERIC).to_string();
    let signature = package.files.signature.as_deref();
    let signature = signature.map(|bytes| format!("&signature={}", encode(bytes))).unwrap_or_default();
    let approve = install.approve.as_ref();
    let approve = approve.map(|digest| format!("&approve={}", encode(digest.as_bytes()))).unwrap_or_default();
    let path = format!("{PATH}/install?manifest={}{signature}{approve}", encode(&package.files.manifest));
    let (_, name) = package.component.identity();
    let (server, wasm) = (&install.server, package.component.wasm);
    runtime()?.block_on(async {
        let data = server.ask(Method::POST, &path, wasm).await.map_err(failed)?;
        let sha256 = shown(&data["sha256"]);
        print_line(&format!("{name}: stored, sha256 {sha256}"));
        if install.wait {
            return follow(server, &name, &data).await;
        }
        print_line(&format!("`muster plugin status {name} --server {}` shows its way", server.url));
        Ok(exit::OK)
    })
}

/// Prints what changes until the version is active or rolled back.
async fn follow(server: &Server, name: &str, stored: &Value) -> Result<u8, Failure> {
    // other grants are another version
    let is_it = |one: &Value| ["sha256", "manifestSha256"].iter().all(|key| one[*key] == stored[*key]);
    let mut last = String::new();
    loop {
        let one = one(server, name).await?;
        let now = progress(&one);
        if now != last {
            print_line(&now);
            last = now;
        }
        if is_it(&one["failed"]) && one["rollout"].is_null() {
            return Ok(exit::FAILED);
        }
        let is_active = one["versions"][0]["state"] == "active" && is_it(&one["versions"][0]);
        if is_active {
            return Ok(exit::OK);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn one(server: &Server, name: &str) -> Result<Value, Failure> {
    let path = format!("{PATH}/versions?name={}", encode(name));
    let data = server.ask(Method::GET, &path, Bytes::new()).await.map_err(failed)?;
    let nothing = || failed(format!("the node has no plugin {name:?}"));
    data.get(0).cloned().ok_or_else(nothing)
}

pub(super) fn promote(promote: &Promote) -> Result<u8, Failure> {
    command(&promote.plugin, "rollout", &format!("&to={}", promote.to))
}

pub(super) fn rollback(plugin: &Named) -> Result<u8, Failure> {
    command(plugin, "rollback", "")
}

pub(super) fn quarantine(quarantine: &Quarantine) -> Result<u8, Failure> {
    command(&quarantine.plugin, "quarantine", &format!("&on={}", !quarantine.release))
}

/// Does it and shows what follows.
fn command(plugin: &Named, what: &str, more: &str) -> Result<u8, Failure> {
    let kind = plugin.kind.as_deref().map(|kind| format!("&kind={}", encode(kind))).unwrap_or_default();
    let path = format!("{PATH}/{what}?name={}{kind}{more}", encode(&plugin.name));
    runtime()?.block_on(async {
        plugin.server.ask(Method::POST, &path, Bytes::new()).await.map_err(failed)?;
        print_line(&as_text(&one(&plugin.server, &plugin.name).await?));
        Ok(exit::OK)
    })
}

pub(super) fn status(status: &Status) -> Result<u8, Failure> {
    let name = status.name.as_deref().map(|name| format!("&name={}", encode(name))).unwrap_or_default();
    let scope = if status.cluster { "cluster" } else { "node" };
    let path = format!("{PATH}/versions?scope={scope}{name}");
    let data = runtime()?.block_on(status.server.ask(Method::GET, &path, Bytes::new())).map_err(failed)?;
    if status.json {
        print_line(&pretty(&data));
        return Ok(exit::OK);
    }
    let text = if status.cluster { of_members(&data) } else { all_as_text(&data) };
    if text.is_empty() {
        let name = status.name.as_deref().unwrap_or_default();
        return Err(failed(format!("the node has no plugin {name:?}")));
    }
    print_line(&text);
    Ok(exit::OK)
}

fn all_as_text(plugins: &Value) -> String {
    plugins.as_array().into_iter().flatten().map(as_text).collect::<Vec<_>>().join("\n")
}

/// Every member with its plugins, or with why they are not known.
fn of_members(members: &Value) -> String {
    let member = |one: &Value| {
        let head = format!("member {} ({})", shown(&one["member"]), shown(&one["state"]));
        let plugins = match one["error"].as_str() {
            Some(error) => format!("{error}\n"),
            None => all_as_text(&one["plugins"]) + "\n",
        };
        plugins.lines().fold(head, |text, line| text + "\n  " + line)
    };
    members.as_array().into_iter().flatten().map(member).collect::<Vec<_>>().join("\n")
}

fn progress(one: &Value) -> String {
    let (rollout, failed) = (&one["rollout"], &one["failed"]);
    let name = shown(&one["name"]);
    match (rollout["stage"].as_str(), failed.is_null()) {
        (Some(stage), _) => {
            let waits = rollout["waitsFor"].as_str().map(|text| format!(": {text}")).unwrap_or_default();
            format!("{name}: {stage}{waits}")
        }
        (None, false) => format!("{name}: {}", why(failed)),
        (None, true) => format!("{name}: active"),
    }
}

fn why(failed: &Value) -> String {
    let example = failed["example"].as_str().map(|text| format!(" ({text})")).unwrap_or_default();
    format!("rolled back in {}: {}{example}", shown(&failed["stage"]), shown(&failed["message"]))
}

/// Writing to a `String` does not fail.
fn as_text(one: &Value) -> String {
    let mut text = format!("{} {}", shown(&one["kind"]), shown(&one["name"]));
    for version in one["versions"].as_array().into_iter().flatten() {
        let (state, sha256) = (shown(&version["state"]), short(&version["sha256"]));
        let _ = match state.as_str() {
            "failed" => write!(text, "\n  {state:<12} {sha256}  {}", why(&one["failed"])),
            _ => write!(text, "\n  {state:<12} {sha256}  {}", health(version)),
        };
    }
    if !one["rollout"].is_null() {
        let rollout = &one["rollout"];
        let (agreed, disagreed) = (shown(&rollout["agreed"]), shown(&rollout["disagreed"]));
        let stage = progress(one);
        let _ = write!(text, "\n  on its way   {stage}; {agreed} verdicts alike, {disagreed} not");
    }
    if one["hasPrevious"] == true {
        let previous =
            if one["previous"].is_null() { "the bundled one".into() } else { short(&one["previous"]) };
        let _ = write!(text, "\n  previous     {previous}");
    }
    text
}

fn health(version: &Value) -> String {
    if version["calls"].is_null() {
        return "not compiled yet".into();
    }
    let faults: u64 =
        version["faults"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
    format!(
        "{}, {} calls, {faults} without an answer, p50 {} us, p99 {} us, CPU {} ms, memory {} KiB",
        shown(&version["version"]),
        version["calls"],
        version["p50Micros"],
        version["p99Micros"],
        version["cpuMillis"],
        version["memoryBytes"].as_u64().unwrap_or(0) / 1024,
    )
}

fn short(sha256: &Value) -> String {
    sha256.as_str().map_or_else(|| "bundled     ".into(), |text| text.chars().take(12).collect())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_member_that_does_not_answer_is_shown_with_those_that_do() {
        let plugin = json!({"kind": "health-check", "name": "PING", "versions": []});
        let members = json!([
            {"member": "10.0.0.1:8848", "state": "UP", "plugins": [plugin], "error": null},
            {"member": "10.0.0.2:8848", "state": "DOWN", "plugins": null, "error": "it is not reached"},
        ]);
        let text = "member 10.0.0.1:8848 (UP)\n  health-check PING\nmember 10.0.0.2:8848 (DOWN)\n  it is not reached";
        assert_eq!(of_members(&members), text);
    }

    #[test]
    fn the_way_of_a_version_is_seen_at_a_glance() {
        let version = |state: &str, sha: &str| {
            json!({"state": state, "sha256": sha.repeat(16), "version": "1.2.0", "calls": 7,
                "faults": {"plugin.trap": 2}, "p50Micros": 90, "p99Micros": 900, "cpuMillis": 3, "memoryBytes": 2048})
        };
        let data = json!({
            "kind": "health-check", "name": "PING", "hasPrevious": true, "previous": null,
            "versions": [version("active", "abcd"), version("shadow", "0123"), version("failed", "9876")],
            "rollout": {"stage": "shadow", "waitsFor": "3 of 50 answers", "agreed": 3, "disagreed": 0},
            "failed": {"stage": "canary", "message": "trapped in 1 of 3 calls", "example": "PING: trapped: oh"},
        });
        let wanted = "health-check PING\n  \
            active       abcdabcdabcd  1.2.0, 7 calls, 2 without an answer, p50 90 us, p99 900 us, CPU 3 ms, memory 2 KiB\n  \
            shadow       012301230123  1.2.0, 7 calls, 2 without an answer, p50 90 us, p99 900 us, CPU 3 ms, memory 2 KiB\n  \
            failed       987698769876  rolled back in canary: trapped in 1 of 3 calls (PING: trapped: oh)\n  \
            on its way   PING: shadow: 3 of 50 answers; 3 verdicts alike, 0 not\n  \
            previous     the bundled one";
        assert_eq!(as_text(&data), wanted);
    }
}
