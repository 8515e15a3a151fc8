//! `/v3/admin/muster`: what Nacos has no words for.

use super::V3;
use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::forms;
use crate::http::reply;
use crate::http::router::{GET, Outcome, Run, Table};
use muster_core::health::Origin;
use muster_core::naming::{Explanation, ProbeState};
use serde_json::{Value, json};

pub(super) fn routes(table: &mut Table) {
    table.add(V3, GET, "/v3/admin/muster/explain", Run::Later(|call| Box::pin(explain(call))));
}

/// Why an instance has the health it has: every number of its check with where it comes from, the counts so
/// far, the last verdict.
async fn explain(call: &Call<'_>) -> Outcome {
    let service = forms::service(call)?;
    let (ip, port) = forms::address(call)?;
    let address = ip.to_owned();
    let found =
        call.app.naming.step(move |naming, now| naming.explain(now, &service, &address, port)).await?;
    let missing = || ApiError::not_found(codes::INSTANCE_NOT_FOUND, "no matched ip found!");
    reply::data(&explained(&found.ok_or_else(missing)?)?)
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
        "checker": found.checker,
        "profile": numbers(found)?,
        "silentMillis": found.silent,
        "probe": found.probe.as_ref().map(probe),
    }))
}

fn probe(state: &ProbeState) -> Value {
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
                "facts": facts.collect::<serde_json::Map<String, Value>>(),
            })
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::health::Rules;
    use muster_core::switches::Switches;
    use muster_core::{Instance, Millis, ServiceKey};
    use std::sync::Arc;

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
            silent: Millis(7),
        };
        let shown = explained(&found).unwrap();
        assert_eq!(shown["profile"]["minInterval"], json!({"value": 1000, "source": "switches"}));
        assert_eq!(shown["profile"]["timeout"], json!({"value": 500, "source": "Nacos default"}));
        let numbers = shown["profile"].as_object().unwrap();
        assert_eq!(numbers.len(), 9);
        assert!(numbers.values().all(|number| number["value"].is_number()), "{numbers:?}");
    }
}
