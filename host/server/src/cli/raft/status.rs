//! `muster raft status`.

use super::super::node_api::Server;
use super::super::plugin::pretty;
use super::super::{Failure, exit, print_line, runtime};
use http::Method;
use hyper::body::Bytes;
use serde_json::Value;
use std::fmt::Write;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Status {
    #[command(flatten)]
    server: Server,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(status: &Status) -> Result<u8, Failure> {
    let asked = status.server.ask(Method::GET, "/v3/admin/core/ops/raft", Bytes::new());
    let data = runtime()?.block_on(asked).map_err(|why| Failure::new(exit::FAILED, why))?;
    print_line(&if status.json { pretty(&data) } else { as_text(&data) });
    Ok(exit::OK)
}

/// Writing to a `String` does not fail.
fn as_text(data: &Value) -> String {
    let plain = |key: &str| shown(&data[key]);
    let leader = match &data["leader"] {
        Value::Null => "nobody".into(),
        leader => format!("{} ({})", shown(&leader["address"]), leader["id"]),
    };
    let log = format!(
        "last entry {}, applied {}, snapshot {}, dropped up to {}",
        plain("lastLog"),
        plain("lastApplied"),
        plain("snapshot"),
        plain("purged")
    );
    let mut text = String::new();
    let lines = [
        ("node", format!("{}, {}", plain("id"), plain("role"))),
        ("group", plain("group")),
        ("leader", format!("{leader}, term {}", plain("term"))),
        ("log", log),
        ("quarantine", format!("{} commands", plain("quarantined"))),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "{name:<11} {value}");
    }
    for member in data["members"].as_array().into_iter().flatten() {
        let role = if member["voter"] == true { "votes" } else { "learns" };
        let leads = if member["id"] == data["leader"]["id"] { ", leads" } else { "" };
        let own = if member["id"] == data["id"] { ", this node" } else { "" };
        let address = shown(&member["address"]);
        let _ = writeln!(text, "{:<11} {} at {address}, {role}{leads}{own}", "member", member["id"]);
    }
    for one in data["quarantine"].as_array().into_iter().flatten() {
        let (index, number) = (&one["index"], &one["number"]);
        let reason = shown(&one["reason"]);
        let _ = writeln!(text, "{:<11} command {number} of log entry {index}: {reason}", "quarantined");
    }
    text.trim_end().to_owned()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_leads_and_what_is_in_quarantine_is_seen_at_a_glance() {
        let member =
            |id: u64, voter: bool| json!({"id": id, "address": format!("10.0.0.{id}:7848"), "voter": voter});
        let data = json!({
            "id": 2, "group": "00ab", "role": "follower", "term": 7, "leader": member(1, true), "lastLog": 12,
            "lastApplied": 11, "snapshot": null, "purged": null, "quarantined": 1,
            "members": [member(1, true), member(2, true), member(3, false)],
            "quarantine": [{"index": 9, "number": 0, "bytes": 30, "reason": "unknown variant"}],
        });
        let text = as_text(&data);
        for line in [
            "node        2, follower",
            "leader      10.0.0.1:7848 (1), term 7",
            "log         last entry 12, applied 11, snapshot none, dropped up to none",
            "member      1 at 10.0.0.1:7848, votes, leads",
            "member      2 at 10.0.0.2:7848, votes, this node",
            "member      3 at 10.0.0.3:7848, learns",
            "quarantined command 0 of log entry 9: unknown variant",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
        }
    }
}
