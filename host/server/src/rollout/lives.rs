//! How the versions of plugins are doing, in the words of the HTTP API and of what members tell each other.

use super::Rollouts;
use super::view::{CandidateView, Failed, MembersView, View};
use crate::http::Member;
use arc_swap::ArcSwap;
use muster_core::plugin::PluginKind;
use muster_core::rollout::{Digests, Stage};
use muster_wasm::{PluginHost, PluginInfo, PluginState};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Looks at the plugins of this node. Cheap to clone.
#[derive(Clone)]
pub struct Lives {
    plugins: PluginHost,
    rollouts: Rollouts,
    /// who is called what; this node is the first
    members: Arc<ArcSwap<Vec<Member>>>,
}

impl std::fmt::Debug for Lives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lives").finish_non_exhaustive()
    }
}

impl Lives {
    /// Of these plugins, with these versions on their way.
    pub fn new(plugins: PluginHost, rollouts: Rollouts, members: Arc<ArcSwap<Vec<Member>>>) -> Self {
        Self { plugins, rollouts, members }
    }

    /// `versions`, `rollout`, `failed`, `hasPrevious` and `previous` of one plugin.
    pub(crate) fn of(&self, info: &PluginInfo) -> Map<String, Value> {
        self.shown(Some(info), view_of(&self.rollouts.views(), info.kind, &info.name))
    }

    /// The same of every plugin, those that were never accepted among them; with `name` of those that are called so.
    pub(crate) fn versions(&self, name: Option<&str>) -> Vec<Value> {
        let (views, infos) = (self.rollouts.views(), self.plugins.list());
        let is_wanted = |one: &str| name.is_none_or(|wanted| wanted == one);
        let mut all = Vec::new();
        for info in infos.iter().filter(|info| is_wanted(&info.name)) {
            let view = view_of(&views, info.kind, &info.name);
            all.push(entry(info.kind, &info.name, self.shown(Some(info), view)));
        }
        let is_loaded =
            |view: &&View| infos.iter().any(|info| info.kind == view.kind && info.name == view.name);
        for view in views.iter().filter(|view| is_wanted(&view.name) && !is_loaded(view)) {
            all.push(entry(view.kind, &view.name, self.shown(None, Some(view))));
        }
        all
    }

    fn shown(&self, info: Option<&PluginInfo>, view: Option<&View>) -> Map<String, Value> {
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
        let members = view.and_then(|view| view.members.as_ref()).map(|members| self.named(members));
        let fields = json!({
            "versions": versions,
            "rollout": candidate.map(|candidate| rollout(name, candidate, members.as_ref())),
            "failed": view.and_then(|view| view.failed.as_ref()).map(failed),
            "hasPrevious": view.is_some_and(|view| view.has_previous),
            "previous": view.and_then(|view| view.previous.as_ref()).map(|one| &one.component),
        });
        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    /// The members by their addresses, those that were not reached yet by their Raft ids.
    fn named(&self, members: &MembersView) -> Named {
        let list = self.members.load();
        let name = |id: &u64| {
            let known = list.iter().find(|member| member.id.is_some_and(|known| known.0 == *id));
            known.map_or_else(|| id.to_string(), |member| member.address.clone())
        };
        let names = |ids: &[u64]| ids.iter().map(name).collect();
        Named { ready: names(&members.ready), waiting: names(&members.waiting) }
    }
}

/// How far the members are with a version.
struct Named {
    ready: Vec<String>,
    waiting: Vec<String>,
}

fn entry(kind: PluginKind, name: &str, mut fields: Map<String, Value>) -> Value {
    fields.insert("kind".into(), kind.world().into());
    fields.insert("name".into(), name.into());
    fields.into()
}

fn view_of<'a>(views: &'a [View], kind: PluginKind, name: &str) -> Option<&'a View> {
    views.iter().find(|view| view.kind == kind && view.name == name)
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

fn rollout(name: &str, candidate: &CandidateView, members: Option<&Named>) -> Value {
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
        "waitsFor": candidate.waits_for(name, members.map(|members| &*members.waiting)),
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

/// Seconds until a plugin in quarantine is tried again.
pub(crate) fn retry_in(info: &PluginInfo) -> Option<f64> {
    match info.state {
        PluginState::Ready | PluginState::CalledOff => None,
        PluginState::Quarantined { retry_in } => Some(retry_in.as_secs_f64()),
    }
}
