//! `/v3/admin/muster/plugins/grants`: what health checks may have and reach, and what operators grant them on all members.

use super::V3;
use crate::grants::{GrantError, Grants};
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::reply;
use crate::http::router::{GET, Outcome, POST, Run, Table};
use crate::rollout::RolloutError;
use muster_core::persist::Command;
use muster_core::plugin::{PluginKind, SettingKind};
use muster_core::rollout::{Act, Granted};
use muster_wasm::{Bounds, Limits, in_force};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const CHECK: PluginKind = PluginKind::HealthCheck;

pub(super) fn routes(table: &mut Table) {
    let path = |end: &str| format!("/v3/admin/muster/plugins/{end}");
    table.add(V3, GET, path("grants"), Run::Now(grants));
    table.add(V3, POST, path("grant"), Run::Later(|call| Box::pin(grant(call))));
    table.add(V3, POST, path("revoke"), Run::Later(|call| Box::pin(revoke(call))));
}

/// Every health check, and every name that something is granted to; with `name` that one.
fn grants(call: &Call<'_>) -> Outcome {
    let mut names = call.app.grants.names();
    names.extend(call.app.plugins.names(CHECK));
    if let Some(wanted) = call.params.get("name") {
        is_known(call, wanted)?;
        names.retain(|name| name == wanted);
        names.insert(wanted.to_owned());
    }
    reply::data(&names.iter().map(|name| shown(call, name)).collect::<Vec<_>>())
}

/// Names of secrets alone: nothing here has ever seen what they stand for.
fn shown(call: &Call<'_>, name: &str) -> Value {
    let grants = &call.app.grants;
    let active = call.app.plugins.active(CHECK, name);
    let manifest = active.as_ref().map(muster_wasm::PluginVersion::manifest);
    let requested = manifest.as_ref().map(|manifest| manifest.grants.hosts.clone()).unwrap_or_default();
    let descriptor = active.as_ref().map(muster_wasm::PluginVersion::descriptor);
    let settings = descriptor.iter().flat_map(|descriptor| &descriptor.settings);
    let of_secrets: Vec<&str> =
        settings.filter(|spec| spec.kind == SettingKind::Secret).map(|spec| spec.key.as_str()).collect();
    let (by_file, by_cluster, here) = (grants.by_file(name), grants.by_cluster(name), grants.here(name));
    let secrets = if of_secrets.is_empty() { BTreeSet::new() } else { here.secrets };
    json!({
        "name": name,
        "loaded": active.is_some(),
        "requested": {
            "hosts": requested,
            "secretSettings": of_secrets,
            "sealedSecrets": manifest.as_ref().map(|manifest| &manifest.grants.sealed_secrets),
            "limits": manifest.as_ref().map(|manifest| limits(asked(&manifest.limits))),
        },
        "byFile": { "hosts": by_file.hosts, "secrets": by_file.secrets, "limits": limits(by_file.bounds) },
        "byCluster": {
            "hosts": by_cluster.hosts, "secrets": by_cluster.secrets, "taken": grants.follows(),
        },
        "inForce": { "hosts": in_force(&requested, &here.hosts), "secrets": secrets },
    })
}

/// Null is what nobody says: of CPU time, the default of the kind of plugin.
fn limits(bounds: Bounds) -> Value {
    json!({
        "memoryBytes": bounds.memory,
        "cpuMillis": bounds.cpu.map(|time| time.as_secs_f64() * 1000.0),
        "connections": bounds.connections,
        "trafficBytes": bounds.traffic,
    })
}

fn asked(limits: &Limits) -> Bounds {
    Bounds {
        memory: Some(limits.memory),
        cpu: limits.cpu,
        connections: Some(limits.connections),
        traffic: Some(limits.traffic),
    }
}

async fn grant(call: &Call<'_>) -> Outcome {
    let name = call.params.required("name")?;
    is_known(call, name)?;
    let wanted = listed(call);
    if wanted.is_empty() {
        return Err(nothing());
    }
    let granted = call.app.grants.admit(name, &wanted)?;
    say(call, name, Act::Grant(granted)).await
}

async fn revoke(call: &Call<'_>) -> Outcome {
    let name = call.params.required("name")?;
    is_known(call, name)?;
    let wanted = listed(call);
    let all = call.params.flag("all", call.spelling())?.unwrap_or(false);
    let act = match (all, wanted.is_empty()) {
        (true, true) => Act::RevokeAll,
        (false, false) => Act::Revoke(Grants::spelled(&wanted)),
        (true, false) => {
            return Err(ApiError::illegal("all=true takes everything back: without hosts and secrets"));
        }
        (false, true) => return Err(nothing()),
    };
    say(call, name, act).await
}

/// Answered when it is in the log of a majority and in force here; the other members follow with the log.
async fn say(call: &Call<'_>, name: &str, act: Act) -> Outcome {
    tracing::info!(plugin = name, ?act, "an operator changes what a plugin is granted");
    let command = Command::Plugin { kind: CHECK, name: name.to_owned(), act };
    call.app.naming.carry_out(command).await.map_err(RolloutError::from)?;
    // What it changed is in force when the loop has answered; while the node stops it does not matter.
    let _ = call.app.naming.step(|_, _| ()).await;
    reply::data(&shown(call, name))
}

/// A health check that is loaded or on its way, or a name that something is granted to: a grant for a name that is
/// mistyped would wait there for whoever has it one day.
fn is_known(call: &Call<'_>, name: &str) -> Result<(), ApiError> {
    let is_loaded = || call.app.plugins.active(CHECK, name).is_some();
    let is_coming = || call.app.rollouts.views().iter().any(|view| view.kind == CHECK && view.name == name);
    if is_loaded() || is_coming() || call.app.grants.names().contains(name) {
        return Ok(());
    }
    Err(RolloutError::Unknown { name: name.to_owned(), kind: Some(CHECK) }.into())
}

/// `hosts` and `secrets`, with commas between them.
fn listed(call: &Call<'_>) -> Granted {
    let list = |key: &str| -> BTreeSet<String> {
        let parts = call.params.get(key).unwrap_or_default().split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    Granted { hosts: list("hosts"), secrets: list("secrets") }
}

fn nothing() -> ApiError {
    ApiError::illegal("hosts or secrets: at least one of them is needed, such as hosts=auth.example:443")
}

impl From<GrantError> for ApiError {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Host(_)
            | GrantError::UnknownSecret { .. }
            | GrantError::OwnSecret { .. }
            | GrantError::OfTheFile { .. }
            | GrantError::TooMany { .. } => Self::illegal(error.to_string()),
        }
    }
}
