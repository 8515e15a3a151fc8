//! `/v3/admin/muster/plugins`: every plugin with its versions, and what operators do with them.

use super::V3;
use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::reply;
use crate::http::router::{GET, Outcome, POST, Run, Table};
use crate::rollout::{Package, RolloutError, Wish, retry_in};
use crate::trust;
use bytes::Bytes;
use muster_core::plugin::{PluginKind, SettingKind, SettingSpec};
use muster_core::rollout::NotNow;
use muster_wasm::{PluginInfo, PluginState};
use serde_json::{Value, json};
use std::time::Duration;

/// Time for the answer of another member.
const MEMBER_MOST: Duration = Duration::from_secs(3);

pub(super) fn routes(table: &mut Table) {
    let path = |end: &str| format!("/v3/admin/muster/plugins{end}");
    table.add(V3, GET, path(""), Run::Now(plugins));
    table.add(V3, GET, path("/versions"), Run::Later(|call| Box::pin(versions(call))));
    table.add(V3, POST, path("/install"), Run::Later(|call| Box::pin(install(call))));
    table.add(V3, POST, path("/rollout"), Run::Later(|call| Box::pin(promote(call))));
    table.add(V3, POST, path("/rollback"), Run::Later(|call| Box::pin(ask(call, Wish::RollBack))));
    table.add(V3, POST, path("/quarantine"), Run::Later(|call| Box::pin(quarantine(call))));
}

/// Every plugin with what it says of itself, how its calls went, and its versions.
fn plugins(call: &Call<'_>) -> Outcome {
    let infos = call.app.plugins.list();
    let shown = infos.iter().map(|info| {
        let mut shown = plugin(info);
        if let Value::Object(fields) = &mut shown {
            fields.extend(call.app.lives.of(info));
        }
        shown
    });
    reply::data(&shown.collect::<Vec<_>>())
}

/// The versions alone, those of plugins that were never accepted among them; with `name` those of one plugin, with
/// `scope=cluster` those of every member.
async fn versions(call: &Call<'_>) -> Outcome {
    let name = call.params.get("name");
    let here = call.app.lives.versions(name);
    match call.params.or("scope", "node") {
        "node" => reply::data(&here),
        "cluster" => reply::data(&on_members(call, name, here).await),
        other => Err(ApiError::illegal(format!("scope: must be node or cluster, is {other:?}"))),
    }
}

/// Every member of the list with what it answers, this node first.
async fn on_members(call: &Call<'_>, name: Option<&str>, here: Vec<Value>) -> Vec<Value> {
    let members = call.app.members.load_full();
    let asked = members.iter().skip(1).map(async |member| {
        let links = call.app.links.as_ref().zip(member.id);
        let answer = match links {
            Some((links, id)) => links.versions(id, name, MEMBER_MOST).await,
            None => None,
        };
        json!({
            "member": member.address,
            "state": member.state,
            "plugins": answer,
            "error": answer.is_none().then_some("it is not reached, or does not answer"),
        })
    });
    let others = futures_util::future::join_all(asked).await;
    let this = json!({
        "member": call.app.address(),
        "state": members.first().map(|member| member.state),
        "plugins": here,
        "error": null,
    });
    std::iter::once(this).chain(others).collect()
}

fn plugin(info: &PluginInfo) -> Value {
    json!({
        "name": info.name,
        "kind": info.kind.world(),
        "version": info.version,
        "summary": info.descriptor.summary,
        "settings": info.descriptor.settings.iter().map(setting).collect::<Vec<_>>(),
        "inspection": info.inspection,
        "state": if info.state == PluginState::Ready { "ready" } else { "quarantined" },
        "calledOff": info.state == PluginState::CalledOff,
        "retryInSeconds": retry_in(info),
        "calls": info.counters.calls,
        "faults": info.counters.faults,
        "p50Micros": info.counters.p50_us,
        "p99Micros": info.counters.p99_us,
    })
}

fn setting(spec: &SettingSpec) -> Value {
    let kind = match &spec.kind {
        SettingKind::Text => json!("text"),
        SettingKind::Integer(low, high) => json!({ "integer": { "from": low, "to": high } }),
        SettingKind::Boolean => json!("boolean"),
        SettingKind::Choice(words) => json!({ "choice": words }),
        SettingKind::Secret => json!("secret"),
    };
    json!({
        "key": spec.key,
        "kind": kind,
        "required": spec.required,
        "default": spec.default,
        "summary": spec.summary,
    })
}

/// The component is the body, its manifest the parameter `manifest`, its signatures `signature`. Answered when it is stored; the rest is to be
/// seen under `versions`.
async fn install(call: &Call<'_>) -> Outcome {
    // as they were written: the signatures are of the bytes
    let text = |name: &str| call.params.raw(name).map(|text| Bytes::copy_from_slice(text.as_bytes()));
    let manifest = text("manifest").ok_or_else(|| ApiError::missing("manifest"))?;
    if call.body.is_empty() {
        return Err(ApiError::illegal(
            "the body must be the component: POST it with Content-Type: application/wasm",
        ));
    }
    let files =
        trust::Package { wasm: Bytes::copy_from_slice(call.body), manifest, signature: text("signature") };
    let package = Package::new("API".into(), files).map_err(|error| ApiError::illegal(error.to_string()))?;
    let approved = call.params.get("approve").map(str::to_owned);
    let whom = package.component.identity();
    let digests = package.digests();
    call.app.rollouts.ask(whom, Wish::Install { package: Box::new(package), approved }).await?;
    reply::data(&json!({ "sha256": digests.component, "manifestSha256": digests.manifest }))
}

async fn promote(call: &Call<'_>) -> Outcome {
    let to_the_end = match call.params.or("to", "next") {
        "next" => false,
        "active" => true,
        other => return Err(ApiError::illegal(format!("to: must be next or active, is {other:?}"))),
    };
    ask(call, Wish::Promote { to_the_end }).await
}

async fn quarantine(call: &Call<'_>) -> Outcome {
    let on = call.params.flag("on", call.spelling())?.unwrap_or(true);
    ask(call, Wish::CallOff(on)).await
}

async fn ask(call: &Call<'_>, wish: Wish) -> Outcome {
    let whom = whom(call)?;
    call.app.rollouts.ask(whom, wish).await?;
    Ok(reply::data_ok())
}

/// The plugin that `name`, and `kind` where the name does not say it, mean.
fn whom(call: &Call<'_>) -> Result<(PluginKind, String), ApiError> {
    let name = call.params.required("name")?.to_owned();
    let kind = call.params.get("kind").map(|word| {
        let unknown = || ApiError::illegal("kind: must be health-check, member-lookup or push-filter");
        PluginKind::of_world(word).ok_or_else(unknown)
    });
    let kind = kind.transpose()?;
    let loaded = call.app.plugins.list().into_iter().map(|info| (info.kind, info.name));
    let views = call.app.rollouts.views();
    let on_their_way = views.iter().map(|view| (view.kind, view.name.clone()));
    let fits = |one: &(PluginKind, String)| one.1 == name && kind.is_none_or(|kind| kind == one.0);
    let mut found: Vec<_> = loaded.chain(on_their_way).filter(fits).collect();
    found.sort_unstable();
    found.dedup();
    match found.len() {
        0 => Err(RolloutError::Unknown { name, kind }.into()),
        1 => Ok(found.swap_remove(0)),
        _ => Err(RolloutError::Ambiguous { name }.into()),
    }
}

impl From<RolloutError> for ApiError {
    fn from(error: RolloutError) -> Self {
        match error {
            RolloutError::Unknown { .. } => Self::not_found(codes::RESOURCE_NOT_FOUND, error.to_string()),
            RolloutError::Ambiguous { .. }
            | RolloutError::NoCandidate { .. }
            | RolloutError::NotNow {
                source: NotNow::NotValidated | NotNow::IsActive | NotNow::IsOver, ..
            }
            | RolloutError::NoPrevious { .. }
            | RolloutError::IsActive { .. }
            | RolloutError::NotTrusted { .. }
            | RolloutError::Bundled { .. } => Self::illegal(error.to_string()),
            RolloutError::Previous { .. } => Self::fault(&error),
            // The path is of this machine.
            RolloutError::Kept(_) => {
                tracing::error!(%error, "a version could not be stored");
                Self::fault(
                    &"the version could not be stored in the data directory; the log of this node says why",
                )
            }
            RolloutError::Busy | RolloutError::Stopping | RolloutError::Agree(_) => Self::unavailable(&error),
        }
    }
}
