//! `/v3/admin/muster/plugins`: every plugin with its versions, and what operators do with them.

use super::V3;
use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::reply;
use crate::http::router::{GET, Outcome, POST, Run, Table};
use crate::rollout::{CandidateView, Failed, MembersView, Package, RolloutError, View, Wish};
use crate::trust;
use bytes::Bytes;
use muster_core::plugin::{PluginKind, SettingKind, SettingSpec};
use muster_core::rollout::{Digests, NotNow, Stage};
use muster_wasm::{PluginInfo, PluginState};
use serde_json::{Map, Value, json};

pub(super) fn routes(table: &mut Table) {
    let path = |end: &str| format!("/v3/admin/muster/plugins{end}");
    table.add(V3, GET, path(""), Run::Now(plugins));
    table.add(V3, GET, path("/versions"), Run::Now(versions));
    table.add(V3, POST, path("/install"), Run::Later(|call| Box::pin(install(call))));
    table.add(V3, POST, path("/rollout"), Run::Later(|call| Box::pin(promote(call))));
    table.add(V3, POST, path("/rollback"), Run::Later(|call| Box::pin(ask(call, Wish::RollBack))));
    table.add(V3, POST, path("/quarantine"), Run::Later(|call| Box::pin(quarantine(call))));
}

/// Every plugin with what it says of itself, how its calls went, and its versions.
fn plugins(call: &Call<'_>) -> Outcome {
    let views = call.app.rollouts.views();
    let infos = call.app.plugins.list();
    let shown = infos.iter().map(|info| {
        let mut shown = plugin(info);
        if let Value::Object(fields) = &mut shown {
            fields.extend(lives(Some(info), of(&views, info.kind, &info.name)));
        }
        shown
    });
    reply::data(&shown.collect::<Vec<_>>())
}

/// The versions alone, those of plugins that were never accepted among them; with `name` those of one plugin.
fn versions(call: &Call<'_>) -> Outcome {
    let (views, infos) = (call.app.rollouts.views(), call.app.plugins.list());
    let wanted = |name: &str| call.params.get("name").is_none_or(|wanted| wanted == name);
    let mut all = Vec::new();
    for info in infos.iter().filter(|info| wanted(&info.name)) {
        all.push(entry(info.kind, &info.name, lives(Some(info), of(&views, info.kind, &info.name))));
    }
    let is_loaded = |view: &&View| infos.iter().any(|info| info.kind == view.kind && info.name == view.name);
    for view in views.iter().filter(|view| wanted(&view.name) && !is_loaded(view)) {
        all.push(entry(view.kind, &view.name, lives(None, Some(view))));
    }
    reply::data(&all)
}

fn entry(kind: PluginKind, name: &str, mut fields: Map<String, Value>) -> Value {
    fields.insert("kind".into(), kind.world().into());
    fields.insert("name".into(), name.into());
    fields.into()
}

fn of<'a>(views: &'a [View], kind: PluginKind, name: &str) -> Option<&'a View> {
    views.iter().find(|view| view.kind == kind && view.name == name)
}

/// `versions`, `rollout`, `failed` and `hasPrevious`.
fn lives(info: Option<&PluginInfo>, view: Option<&View>) -> Map<String, Value> {
    let candidate = view.and_then(|view| view.candidate.as_ref());
    let mut versions: Vec<Value> = info
        .map(|info| {
            let state = if info.state == PluginState::Ready { "active" } else { "quarantined" };
            version(state, view.and_then(|view| view.active.as_ref()), Some(info))
        })
        .into_iter()
        .collect();
    if let Some(candidate) = candidate.filter(|one| one.rollout.stage() != Stage::Probation) {
        let state = match candidate.rollout.stage() {
            Stage::Shadow => "shadow",
            Stage::Canary { .. } => "canary",
            _ => "ready",
        };
        versions.push(version(state, Some(&candidate.digests), candidate.info().as_ref()));
    }
    if let Some(failed) = view.and_then(|view| view.failed.as_ref()) {
        versions.push(version("failed", Some(&failed.digests), None));
    }
    let name = view.map(|view| view.name.as_str()).unwrap_or_default();
    let fields = json!({
        "versions": versions,
        "rollout": candidate.map(|candidate| rollout(name, candidate, view.and_then(|view| view.members.as_ref()))),
        "failed": view.and_then(|view| view.failed.as_ref()).map(failed),
        "hasPrevious": view.is_some_and(|view| view.has_previous),
        "previous": view.and_then(|view| view.previous.as_ref()).map(|one| &one.component),
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// `state`: ready, shadow, canary, active, quarantined or failed.
fn version(state: &str, digests: Option<&Digests>, info: Option<&PluginInfo>) -> Value {
    let counters = info.map(|info| &info.counters);
    json!({
        "state": state,
        "version": info.map(|info| &info.version),
        "sha256": digests.map(|one| &one.component).or(info.map(|info| &info.inspection.sha256)),
        "manifestSha256": digests.map(|one| &one.manifest),
        "retryInSeconds": info.and_then(retry_in),
        "calls": counters.map(|counters| counters.calls),
        "verdicts": counters.map(|counters| &counters.verdicts),
        "faults": counters.map(|counters| &counters.faults),
        "p50Micros": counters.map(|counters| counters.p50_us),
        "p99Micros": counters.map(|counters| counters.p99_us),
        "cpuMillis": counters.map(|counters| counters.cpu_ms),
        "memoryBytes": counters.map(|counters| counters.memory),
    })
}

fn rollout(name: &str, candidate: &CandidateView, members: Option<&MembersView>) -> Value {
    let (stage, seen) = (candidate.rollout.stage(), candidate.seen_now());
    let share = match stage {
        Stage::Shadow => Some(candidate.rollout.limits().shadow_share),
        Stage::Canary { share } => Some(share),
        _ => None,
    };
    json!({
        "stage": stage.word(),
        "since": candidate.rollout.entered(),
        "sha256": candidate.digests.component,
        "share": share.map(|share| f64::from(share) / 1000.0),
        "answers": seen.answers,
        "agreed": seen.agreed,
        "disagreed": seen.disagreed,
        "traps": seen.traps,
        "deadlines": seen.deadlines,
        "faults": seen.faults,
        "p99Micros": seen.p99_us,
        "activeP99Micros": seen.active_p99_us,
        "quiet": candidate.rollout.is_quiet(),
        "waitsFor": candidate.waits_for(name, members),
        "members": members.map(|members| json!({ "ready": members.ready, "waiting": members.waiting })),
    })
}

fn failed(failed: &Failed) -> Value {
    json!({
        "sha256": failed.digests.component,
        "manifestSha256": failed.digests.manifest,
        "version": failed.version,
        "stage": failed.stage.word(),
        "reason": failed.reason.word(),
        "message": failed.reason.to_string(),
        "example": failed.example,
        "time": failed.at,
    })
}

fn retry_in(info: &PluginInfo) -> Option<f64> {
    match info.state {
        PluginState::Ready | PluginState::CalledOff => None,
        PluginState::Quarantined { retry_in } => Some(retry_in.as_secs_f64()),
    }
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
