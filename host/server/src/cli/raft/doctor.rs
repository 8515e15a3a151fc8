//! `muster raft doctor`.

use super::super::plugin::pretty;
use super::super::{Failure, exit, print_line};
use super::{Place, shown};
use muster_raft::OpenError;
use muster_raft::offline::{self, Examination, Facts, Finding, Kind};
use std::fmt::Write;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Doctor {
    #[command(flatten)]
    place: Place,
    /// Print JSON, with the commands in quarantine
    #[arg(long)]
    json: bool,
}

pub(super) fn run(doctor: &Doctor) -> Result<u8, Failure> {
    let held = doctor.place.hold()?;
    let seen = match offline::examine(&held.file) {
        Ok(seen) => seen,
        Err(error @ (OpenError::Corrupt { .. } | OpenError::Undecodable { .. })) => unreadable(&error),
        Err(error) => return Err(Failure::new(exit::USAGE, error)),
    };
    let text = if doctor.json {
        pretty(&serde_json::to_value(&seen).map_err(|error| Failure::new(exit::USAGE, error))?)
    } else {
        as_text(&held.file.display().to_string(), &seen)
    };
    print_line(&text);
    Ok(if seen.findings.is_empty() { exit::OK } else { exit::FAILED })
}

/// A file in which nothing can be looked at.
fn unreadable(error: &OpenError) -> Examination {
    let remedy = "Restore the file from a copy; or, where other members hold the data, take this node out (removePeer) \
                  and start it with an empty data directory: it gets everything from them.";
    let finding = Finding { kind: Kind::Damage, what: error.to_string(), remedy: remedy.into() };
    Examination { facts: Facts::default(), findings: vec![finding], quarantine: Vec::new() }
}

/// Writing to a `String` does not fail.
fn as_text(file: &str, seen: &Examination) -> String {
    let mut text = format!("{file}\n");
    if seen.facts.node != 0 {
        facts(&mut text, &seen.facts);
    }
    for (nth, finding) in seen.findings.iter().enumerate() {
        let _ = write!(text, "\n{}. {finding}\n", nth + 1);
    }
    let _ = match seen.findings.len() {
        0 => write!(text, "\ngood: nothing was found"),
        1 => write!(text, "\n1 finding"),
        all => write!(text, "\n{all} findings"),
    };
    text
}

fn facts(text: &mut String, facts: &Facts) {
    let log = match (facts.first_log, facts.last_log) {
        (Some(first), Some(last)) => format!("entries {first} to {last}"),
        _ => "empty".into(),
    };
    let lines = [
        ("node", facts.node.to_string()),
        ("group", facts.group.clone().unwrap_or_else(|| "none yet".into())),
        ("term", shown(facts.term)),
        ("log", format!("{log}, dropped up to {}", shown(facts.purged))),
        (
            "last entry",
            format!("{} of term {}", shown(facts.last_log.max(facts.purged)), shown(facts.last_log_term)),
        ),
        ("committed", format!("{} at least", shown(facts.committed.max(facts.applied)))),
        ("rows", format!("{}, with entries up to {}", facts.rows, shown(facts.applied))),
        ("snapshot", format!("of entries up to {}", shown(facts.snapshot))),
        ("quarantine", format!("{} commands", facts.quarantined)),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "  {name:<11} {value}");
    }
    for member in &facts.members {
        let role = if member.voter { "votes" } else { "learns" };
        let own = if member.id == facts.node { ", this node" } else { "" };
        let _ = writeln!(text, "  {:<11} {} at {}, {role}{own}", "member", member.id, member.address);
    }
    if facts.changing {
        let _ = writeln!(text, "  {:<11} the voters are being changed", "");
    }
}
