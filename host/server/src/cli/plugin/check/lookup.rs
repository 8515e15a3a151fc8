//! The rules of a member lookup.

use super::scene::{self, Manner};
use super::{Found, Report, health};
use crate::cli::plugin::ask::{Loaded, this_node};
use crate::cli::plugin::{Failure, failed};
use muster_core::plugin::Settings;
use muster_wasm::{End, LiveCall, LookupCall, LookupFiles, LookupNames, Trial};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(1);

pub(super) async fn check(loaded: &Loaded, told: &Settings, report: &mut Report) -> Result<(), Failure> {
    let mut leaks = false;
    let mut ask = async |endpoint: Option<SocketAddr>, cookie: Option<Vec<u8>>| {
        let call = question(loaded, told, endpoint, cookie);
        let trial = loaded.host.record(loaded.name(), LiveCall::Find(call), false).await.map_err(failed)?;
        leaks |= trial.shows_secret;
        Ok::<_, Failure>(trial)
    };
    let nothing = ask(None, None).await?;
    report.add(
        "without-sources",
        "when nothing can be read it says so, and never gives an empty list",
        no_empty_list(&nothing),
    );
    let closed = scene::closed().await.map_err(failed)?;
    report.add(
        "dead-endpoint",
        "an endpoint that is down is no empty list",
        no_empty_list(&ask(Some(closed), None).await?),
    );
    for (name, rule, manner) in [
        ("honours-deadline", "an endpoint that never answers: the call ends in time", Manner::Silent),
        ("noise", "noise is no list", Manner::Noise),
        ("hangs-up", "an endpoint that closes at once is no empty list", Manner::HangsUp),
    ] {
        let target = scene::open(manner).await.map_err(failed)?;
        report.add(name, rule, no_empty_list(&ask(Some(target), None).await?));
    }
    let noise = ask(None, Some(scene::noise(4096))).await?;
    report.add("strange-cookie", "a cookie of another version breaks nothing", broken(&noise));
    report.add(
        "replays",
        "the same answers of the host lead to the same list",
        health::again(loaded, &nothing).await?,
    );
    if loaded.descriptor.secrets().next().is_some() {
        let found = if leaks { Err("a secret was shown".into()) } else { Ok(()) };
        report.add("keeps-secrets", "no secret can be read in an answer, an error or the log", found);
    }
    Ok(())
}

/// Every setting that may hold a URL holds the same one, and there are no files and no names.
fn question(
    loaded: &Loaded,
    told: &Settings,
    endpoint: Option<SocketAddr>,
    cookie: Option<Vec<u8>>,
) -> LookupCall {
    let mut settings = told.clone();
    let endpoints = endpoint.map(|_| loaded.component.manifest.grants.fetch.clone()).unwrap_or_default();
    for key in &endpoints {
        settings.extend(endpoint.map(|address| (key.clone(), format!("http://{address}/members"))));
    }
    let files = LookupFiles {
        folder: PathBuf::from("/nowhere"),
        names: loaded.component.manifest.grants.files.clone(),
    };
    LookupCall {
        node: this_node(),
        settings: Arc::new(settings),
        cookie,
        files,
        endpoints,
        names: LookupNames::default(),
        deadline: DEADLINE,
    }
}

fn no_empty_list(trial: &Trial) -> Found {
    broken(trial)?;
    match &trial.trace.end {
        End::Answer(said) if said["changed"]["members"].as_array().is_some_and(Vec::is_empty) => {
            Err("it answers an empty list".into())
        }
        _ => Ok(()),
    }
}

/// A fault that it reports is what is wanted here; breaking is not.
fn broken(trial: &Trial) -> Found {
    match &trial.trace.end {
        End::Error { code, message } if !code.starts_with("plugin.fault.") => {
            Err(format!("{code}: {message}"))
        }
        _ => Ok(()),
    }
}
