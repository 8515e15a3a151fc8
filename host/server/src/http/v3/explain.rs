//! `/v3/admin/muster/explain`: why an instance has the health it has, and why a subscriber sees the list it sees.
//!
//! What is on a list is decided in one place, `muster_core::naming::ServiceSnapshot` and the filters behind
//! [`crate::lists::Lists`]; here it is only told.

use crate::filters::{FilterExplained, How, Who};
use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::forms;
use crate::http::params::is_true;
use crate::http::reply;
use crate::http::router::Outcome;
use crate::lists::ListExplained;
use muster_core::Instance;
use muster_core::health::Origin;
use muster_core::naming::{
    Explanation, ProbeState, Protection, Query, ServiceSnapshot, Step, Streak, Threshold,
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Why an instance has the health it has: every number of its check with where it comes from, the counts so far, the
/// last verdicts, damping, the protection of its service, and what a list says of it in the end.
pub(super) async fn instance(call: &Call<'_>) -> Outcome {
    let service = forms::service(call)?;
    let (ip, port) = forms::address(call)?;
    let (key, address) = (service.clone(), ip.to_owned());
    let found = call.app.naming.step(move |naming, now| naming.explain(now, &key, &address, port)).await?;
    let missing = || ApiError::not_found(codes::INSTANCE_NOT_FOUND, "no matched ip found!");
    let found = found.ok_or_else(missing)?;
    let mut shown = explained(&found)?;
    if let Some(published) = call.app.published().get(&service) {
        let query = call.app.lists.query("", false);
        on_lists(&mut shown, &published.snapshot, &query, &found.instance);
    }
    reply::data(&shown)
}

/// Why a subscriber sees what it sees, step by step.
pub(super) async fn subscriber(call: &Call<'_>) -> Outcome {
    let service = forms::service(call)?;
    let ip = call.params.required("ip")?;
    let missing =
        || ApiError::not_found(codes::SERVICE_NOT_EXIST, format!("service {} not found!", service.grouped()));
    let published = call.app.published().get(&service).ok_or_else(missing)?;
    let key = service.clone();
    let mut known = call.app.naming.step(move |naming, _| naming.subscribers(&key)).await?;
    known.retain(|subscription| &*subscription.ip == ip);
    let first = known.first();
    let or = |name: &str, known: Option<&str>| call.params.or(name, known.unwrap_or_default()).to_owned();
    let (app, agent) = (or("app", first.map(|s| &*s.app)), or("agent", first.map(|s| &*s.agent)));
    let clusters = or("clusters", first.map(|s| &*s.clusters));
    let healthy_only = call.params.get("healthyOnly").is_some_and(is_true);
    let query = call.app.lists.query(&clusters, healthy_only);
    let who = Who { ip, app: &app, agent: &agent };
    let explained = call.app.lists.explain(&published.snapshot, &query, &who).await;
    let mut shown = as_seen(&published.snapshot, &query, &explained);
    shown["namespaceId"] = service.namespace().into();
    shown["groupName"] = service.group().into();
    shown["serviceName"] = service.name().into();
    shown["subscriber"] = json!({ "ip": ip, "app": app, "agent": agent, "subscriptions": known.len() });
    shown["query"] = json!({ "clusters": clusters, "healthyOnly": healthy_only });
    reply::data(&shown)
}

/// Each number of a profile with where it comes from; lengths of time in milliseconds.
fn numbers(found: &Explanation) -> Result<Value, ApiError> {
    let values = serde_json::to_value(found.profile).map_err(|error| ApiError::fault(&error))?;
    let with_source = |origin: &Origin| {
        (origin.field.to_owned(), json!({ "value": values[origin.field], "source": origin.source }))
    };
    Ok(Value::Object(found.origins.iter().map(with_source).collect()))
}

fn explained(found: &Explanation) -> Result<Value, ApiError> {
    Ok(json!({
        "ip": found.instance.ip,
        "port": found.instance.port,
        "clusterName": found.instance.cluster,
        "healthy": found.instance.healthy,
        "enabled": found.instance.enabled,
        "ephemeral": found.instance.ephemeral,
        "time": found.at,
        "judgedHere": found.judged_here,
        "checker": found.checker,
        "profile": numbers(found)?,
        "silentMillis": found.silent,
        "probe": found.probe.as_ref().map(|state| probe(state, found)),
    }))
}

fn probe(state: &ProbeState, found: &Explanation) -> Value {
    let damping = found.profile.damping();
    json!({
        "passes": state.counts.passes(),
        "failures": state.counts.failures(),
        "intervalMillis": state.interval,
        "runs": state.runs,
        "inconclusive": state.inconclusive,
        "latenessMillis": state.lateness,
        "contested": state.contested,
        "last": state.last.as_ref().map(|(at, verdict)| {
            let facts = verdict.facts.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
            json!({
                "time": at,
                "outcome": verdict.outcome.word(),
                "code": verdict.code,
                "message": verdict.message,
                "facts": facts.collect::<Map<String, Value>>(),
            })
        }),
        "history": state.history.newest_first().map(streak).collect::<Vec<_>>(),
        "damping": {
            "held": state.damping.held(),
            "penalty": state.damping.penalty(found.at, &damping),
            "heldForMillis": state.damping.held_for(found.at, &damping),
        },
    })
}

fn streak(streak: &Streak) -> Value {
    json!({
        "outcome": streak.outcome.word(),
        "code": streak.code,
        "count": streak.count,
        "since": streak.since,
        "until": streak.until,
    })
}

/// What the ordinary list of the service says of the instance, before a filter looks at who asks.
fn on_lists(shown: &mut Value, snapshot: &ServiceSnapshot, query: &Query<'_>, instance: &Instance) {
    let judged = snapshot.judge(query);
    let here = |other: &Arc<Instance>| {
        other.ip == instance.ip && other.port == instance.port && other.cluster == instance.cluster
    };
    let Some(place) = snapshot.instances.iter().position(here) else { return };
    let left_out = judged.left_out[place];
    let protected = judged.threshold.is_some_and(|threshold| threshold.reached);
    shown["protection"] = protection(query.protection, judged.threshold);
    shown["effectiveHealthy"] = (snapshot.instances[place].healthy || protected).into();
    shown["list"] = json!({ "shown": left_out.is_none(), "leftOutBy": left_out.map(word) });
}

fn as_seen(snapshot: &ServiceSnapshot, query: &Query<'_>, explained: &ListExplained) -> Value {
    let judged = &explained.judged;
    let mut left = snapshot.instances.len();
    let mut steps = Vec::new();
    for step in [Step::Clusters, Step::Disabled, Step::Unhealthy] {
        let out = judged.left_out.iter().filter(|at| **at == Some(step)).count();
        left -= out;
        steps.push(json!({ "step": word(step), "leftOut": out, "left": left }));
    }
    let mut protection = protection(query.protection, judged.threshold);
    protection["step"] = "protection".into();
    protection["left"] = left.into();
    steps.push(protection);
    if let Some(explained_filter) = &explained.filter {
        let mut step = filter(explained_filter);
        step["leftOut"] = (left - explained.shown.instances.len()).into();
        step["left"] = explained.shown.instances.len().into();
        steps.push(step);
    }
    json!({
        "known": snapshot.instances.len(),
        "shown": explained.shown.instances.len(),
        "steps": steps,
        "instances": instances(snapshot, explained),
    })
}

/// Each instance with the step at which it was left out.
fn instances(snapshot: &ServiceSnapshot, explained: &ListExplained) -> Vec<Value> {
    let which = explained.filter.as_ref().and_then(|filter| filter.narrowed.which.as_deref());
    let protected = explained.shown.protected;
    let mut place = 0_u32; // among those that the query finds
    let one = |(instance, left_out): (&Arc<Instance>, &Option<Step>)| {
        let mut left_out = left_out.map(word);
        if left_out.is_none() {
            let kept = which.is_none_or(|which| which.binary_search(&place).is_ok());
            left_out = (!kept).then_some("filter");
            place += 1;
        }
        json!({
            "ip": instance.ip,
            "port": instance.port,
            "clusterName": instance.cluster,
            "healthy": instance.healthy,
            "enabled": instance.enabled,
            "shown": left_out.is_none(),
            "shownHealthy": left_out.is_none().then_some(instance.healthy || protected),
            "leftOutBy": left_out,
        })
    };
    snapshot.instances.iter().zip(&explained.judged.left_out).map(one).collect()
}

fn protection(mode: Protection, threshold: Option<Threshold>) -> Value {
    let mode = match mode {
        Protection::Nacos => "nacos",
        Protection::Strict => "strict",
        Protection::Off => "off",
    };
    let mut shown = json!({ "mode": mode, "reached": false });
    if let Some(Threshold { threshold, healthy, of, reached }) = threshold {
        shown["threshold"] = threshold.into();
        shown["healthy"] = healthy.into();
        shown["of"] = of.into();
        shown["reached"] = reached.into();
    }
    shown
}

fn filter(filter: &FilterExplained) -> Value {
    let mut step = json!({
        "step": "filter",
        "plugin": filter.plugin,
        "version": filter.version,
        "scope": filter.scope,
        "settings": filter.settings,
        "onFault": filter.policy.word(),
        "timeoutMillis": u64::try_from(filter.timeout.as_millis()).unwrap_or(u64::MAX),
        "network": filter.network.map(|network| network.to_string()),
        "labels": filter.labels,
        "all": filter.narrowed.which.is_none(),
    });
    match &filter.narrowed.how {
        How::Answered { asked } => {
            step["asked"] = json!({
                "address": asked.address, "app": asked.app, "agent": asked.agent, "labels": asked.labels,
            });
        }
        How::Fault { code, policy, remembered } => {
            step["fault"] = json!({ "code": code, "policy": policy.word(), "lastAnswerKnown": remembered });
        }
    }
    step
}

/// The words of the steps are part of the API.
const fn word(step: Step) -> &'static str {
    match step {
        Step::Clusters => "clusters",
        Step::Disabled => "disabled",
        Step::Unhealthy => "unhealthy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::Narrowed;
    use crate::settings::FilterPolicy;
    use muster_core::health::Rules;
    use muster_core::naming::Selected;
    use muster_core::service::ServiceMetadata;
    use muster_core::switches::Switches;
    use muster_core::{Millis, ServiceKey};
    use std::time::Duration;

    #[test]
    fn every_number_of_a_profile_is_shown_with_its_source() {
        let service = ServiceKey::new("", "", "db");
        let (profile, origins) = Rules::default().explain(&Switches::default(), &service, "DEFAULT", "TCP");
        let found = Explanation {
            instance: Arc::new(Instance::new("10.0.0.5", 3306)),
            checker: Some("TCP".into()),
            profile,
            origins,
            probe: None,
            judged_here: true,
            silent: Millis(7),
            at: Millis(9),
        };
        let shown = explained(&found).unwrap();
        assert_eq!(shown["profile"]["minInterval"], json!({"value": 1000, "source": "switches"}));
        assert_eq!(shown["profile"]["timeout"], json!({"value": 500, "source": "Nacos default"}));
        assert_eq!(shown["profile"]["flapHalfLife"], json!({"value": 0, "source": "Muster default"}));
        let numbers = shown["profile"].as_object().unwrap();
        assert_eq!(numbers.len(), 13);
        assert!(numbers.values().all(|number| number["value"].is_number()), "{numbers:?}");
    }

    fn snapshot() -> ServiceSnapshot {
        let instance = |(port, cluster, healthy, enabled): (u16, &str, bool, bool)| {
            Arc::new(Instance {
                cluster: cluster.into(),
                healthy,
                enabled,
                ..Instance::new("10.0.0.5", port)
            })
        };
        let instances = [
            (1, "A", true, true),
            (2, "B", true, true),
            (3, "A", false, true),
            (4, "A", true, false),
            (5, "A", true, true),
        ];
        let metadata = ServiceMetadata { protect_threshold: 0.7, ..ServiceMetadata::default() };
        ServiceSnapshot {
            key: ServiceKey::new("", "", "orders"),
            ephemeral: true,
            revision: 1,
            metadata: Some(Arc::new(metadata)),
            instances: instances.map(instance).to_vec(),
        }
    }

    const QUERY: Query<'static> =
        Query { clusters: "A", healthy_only: false, enabled_only: true, protection: Protection::Nacos };

    #[test]
    fn each_step_says_what_it_leaves_and_each_instance_where_it_went() {
        let snapshot = snapshot();
        let selected = snapshot.select(&QUERY);
        let shown = Selected { instances: vec![selected.instances[2].clone()], ..selected };
        let filter = FilterExplained {
            plugin: "nearest".into(),
            version: "1".into(),
            scope: "settings: everywhere".into(),
            settings: [("k".to_owned(), "v".to_owned())].into(),
            policy: FilterPolicy::Last,
            timeout: Duration::from_millis(200),
            network: "10.0.0.0/8".parse().ok(),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            narrowed: Narrowed {
                which: Some([2].into()),
                how: How::Fault { code: "plugin.trap", policy: FilterPolicy::Last, remembered: true },
            },
        };
        let explained = ListExplained { judged: snapshot.judge(&QUERY), shown, filter: Some(filter) };
        let seen = as_seen(&snapshot, &QUERY, &explained);
        let steps: Vec<_> = seen["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["step"].as_str().unwrap(), s["left"].as_u64().unwrap()))
            .collect();
        assert_eq!(
            steps,
            [("clusters", 4), ("disabled", 3), ("unhealthy", 3), ("protection", 3), ("filter", 1)]
        );
        assert_eq!(seen["steps"][3]["reached"], true, "2 of 3 are healthy, 0.7 is the threshold");
        assert_eq!(seen["steps"][4]["fault"]["policy"], "last");
        let out: Vec<_> =
            seen["instances"].as_array().unwrap().iter().map(|i| i["leftOutBy"].as_str()).collect();
        assert_eq!(out, [Some("filter"), Some("clusters"), Some("filter"), Some("disabled"), None]);
        assert_eq!((&seen["known"], &seen["shown"]), (&json!(5), &json!(1)));
    }

    #[test]
    fn an_instance_that_is_sick_may_be_shown_as_healthy() {
        let snapshot = snapshot();
        let mut shown = json!({});
        on_lists(&mut shown, &snapshot, &QUERY, &snapshot.instances[2]);
        assert_eq!(shown["effectiveHealthy"], true);
        assert_eq!(shown["list"], json!({ "shown": true, "leftOutBy": null }));
        on_lists(&mut shown, &snapshot, &QUERY, &snapshot.instances[3]);
        assert_eq!(shown["list"], json!({ "shown": false, "leftOutBy": "disabled" }));
        assert_eq!(shown["protection"]["of"], 3);
    }
}
