//! The rules of a push filter.

use super::{Found, Report, health};
use crate::cli::plugin::ask::{Loaded, selected};
use crate::cli::plugin::list::List;
use crate::cli::plugin::{Failure, failed};
use muster_core::plugin::Settings;
use muster_wasm::{End, LiveCall, Trial};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_millis(500);

pub(super) async fn check(loaded: &Loaded, told: &Settings, report: &mut Report) -> Result<(), Failure> {
    let settings = Arc::new(told.clone());
    let ask = async |list: List, labels: &[(&str, &str)]| {
        let labels: BTreeMap<_, _> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let call = LiveCall::Select(selected(list, labels, Arc::clone(&settings), DEADLINE));
        loaded.host.record(loaded.name(), call, false).await.map_err(failed)
    };
    let placed: &[(&str, &str)] = &[("zone", "x"), ("cluster", "a"), ("version", "1")];
    let mut leaks = false;
    for (name, rule, list, labels) in [
        ("empty-list", "an empty list is no trouble", List::made(0, true), placed),
        ("one-instance", "a list of one is no trouble", List::made(1, true), placed),
        ("unknown-subscriber", "a subscriber without labels is no trouble", List::made(30, true), &[]),
        ("unhealthy-list", "a list without healthy instances is no trouble", List::made(30, false), placed),
        ("many-instances", "1,000 instances are within its CPU and memory", List::made(1000, true), placed),
    ] {
        let trial = ask(list, labels).await?;
        leaks |= trial.shows_secret;
        report.add(name, rule, answered(&trial));
    }
    let trial = ask(List::made(100, true), placed).await?;
    report.add(
        "replays",
        "the same list and subscriber lead to the same selection",
        health::again(loaded, &trial).await?,
    );
    let twice = ask(List::made(100, true), placed).await?;
    let same = twice.trace.end == trial.trace.end;
    let found = if same { Ok(()) } else { Err("two calls with the same list and subscriber differ".into()) };
    report.add("repeats", "an answer may be given again to a subscriber that is alike", found);
    if loaded.descriptor.secrets().next().is_some() {
        let found = if leaks { Err("a secret was shown".into()) } else { Ok(()) };
        report.add("keeps-secrets", "no secret can be read in an answer, an error or the log", found);
    }
    Ok(())
}

fn answered(trial: &Trial) -> Found {
    match &trial.trace.end {
        End::Answer(_) => Ok(()),
        End::TimedOut => Err("it was not done in time".into()),
        End::Error { code, message } => Err(format!("{code}: {message}")),
    }
}
