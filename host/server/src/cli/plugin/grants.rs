//! `muster plugin grant|revoke|grants`: what health checks may have and reach beyond their targets, on all members.

use super::super::node_api::Server;
use super::super::{Failure, exit, print_line, runtime};
use super::versions::{PATH, encode};
use super::{failed, pretty};
use http::Method;
use hyper::body::Bytes;
use serde_json::Value;
use std::fmt::Write;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Change {
    /// Name of the health check
    #[arg(value_name = "NAME")]
    name: String,
    /// Places beyond its targets: a name, an address or a network, with a port, ports (8000-8100) or "*"
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Names of secrets that the settings of services may refer to for it
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    secrets: Vec<String>,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Grant {
    #[command(flatten)]
    change: Change,
    /// Take back all that the cluster granted it before
    #[arg(long)]
    clear: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Revoke {
    #[command(flatten)]
    change: Change,
    /// Everything that the cluster granted it
    #[arg(long, conflicts_with_all = ["hosts", "secrets"])]
    all: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// Name of the health check; left out: all
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

impl Change {
    fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.secrets.is_empty()
    }

    async fn ask(&self, what: &str, more: &str) -> Result<Value, Failure> {
        let (name, hosts) = (encode(&self.name), encode(&self.hosts.join(",")));
        let secrets = encode(&self.secrets.join(","));
        let path = format!("{PATH}/{what}?name={name}&hosts={hosts}&secrets={secrets}{more}");
        self.server.ask(Method::POST, &path, Bytes::new()).await.map_err(failed)
    }
}

pub(super) fn grant(grant: &Grant) -> Result<u8, Failure> {
    let change = &grant.change;
    let shown = runtime()?.block_on(async {
        match (grant.clear, change.is_empty()) {
            (true, true) => change.ask("revoke", "&all=true").await,
            (true, false) => {
                Err(Failure::new(exit::USAGE, "--clear takes everything back: without --hosts and --secrets"))
            }
            (false, _) => change.ask("grant", "").await,
        }
    })?;
    print_line(&as_text(&shown));
    Ok(exit::OK)
}

pub(super) fn revoke(revoke: &Revoke) -> Result<u8, Failure> {
    let more = if revoke.all { "&all=true" } else { "" };
    let shown = runtime()?.block_on(revoke.change.ask("revoke", more))?;
    print_line(&as_text(&shown));
    Ok(exit::OK)
}

pub(super) fn show(show: &Show) -> Result<u8, Failure> {
    let name = show.name.as_deref().map(|name| format!("?name={}", encode(name))).unwrap_or_default();
    let path = format!("{PATH}/grants{name}");
    let data = runtime()?.block_on(show.server.ask(Method::GET, &path, Bytes::new())).map_err(failed)?;
    if show.json {
        print_line(&pretty(&data));
        return Ok(exit::OK);
    }
    let all: Vec<String> = data.as_array().into_iter().flatten().map(as_text).collect();
    print_line(&all.join("\n"));
    Ok(exit::OK)
}

/// Writing to a `String` does not fail.
fn as_text(one: &Value) -> String {
    let name = one["name"].as_str().unwrap_or("-");
    let mut text = name.to_owned();
    if one["loaded"] == false {
        text.push_str("  (not loaded)");
    }
    let requested = &one["requested"];
    let sealed = list(&requested["sealedSecrets"]);
    let mut asks = format!(
        "hosts {}; secrets in the settings {}",
        list(&requested["hosts"]),
        list(&requested["secretSettings"])
    );
    if sealed != "-" {
        let _ = write!(asks, " (sealed: {sealed})");
    }
    let _ = write!(text, "\n  asks for        {asks}");
    for (words, key) in [("by the file", "byFile"), ("by the cluster", "byCluster"), ("in force", "inForce")]
    {
        let (hosts, secrets) = (list(&one[key]["hosts"]), list(&one[key]["secrets"]));
        let _ = write!(text, "\n  {words:<15} hosts {hosts}; secrets {secrets}");
        if one[key]["taken"] == false {
            text.push_str(" (not taken by this node: plugins.cluster-grants = false)");
        }
        let limits = one[key]["limits"].as_object().into_iter().flatten().filter(|(_, most)| !most.is_null());
        let limits: Vec<String> = limits.map(|(limit, most)| format!("{limit} {most}")).collect();
        if !limits.is_empty() {
            let _ = write!(text, "; at most {}", limits.join(", "));
        }
    }
    text
}

fn list(value: &Value) -> String {
    let texts: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if texts.is_empty() { "-".into() } else { texts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_sides_and_what_they_come_to_are_seen_at_a_glance() {
        let one = json!({
            "name": "PING", "loaded": true,
            "requested": {"hosts": ["auth.example:443"], "secretSettings": ["token"], "sealedSecrets": ["token"]},
            "byFile": {"hosts": [], "secrets": ["one"], "limits": {"connections": 4, "cpuMillis": null}},
            "byCluster": {"hosts": ["10.0.0.0/8:443"], "secrets": ["two"], "taken": true},
            "inForce": {"hosts": ["auth.example:443 within 10.0.0.0/8"], "secrets": ["one", "two"]},
        });
        let wanted = "PING\n  \
            asks for        hosts auth.example:443; secrets in the settings token (sealed: token)\n  \
            by the file     hosts -; secrets one; at most connections 4\n  \
            by the cluster  hosts 10.0.0.0/8:443; secrets two\n  \
            in force        hosts auth.example:443 within 10.0.0.0/8; secrets one, two";
        assert_eq!(as_text(&one), wanted);
    }
}
