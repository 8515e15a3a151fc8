//! Switches and numbers of the node.

use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::machine;
use crate::http::params::is_true;
use crate::http::router::Version;
use crate::naming::WriteError;
use http::StatusCode;
use muster_core::naming::Counters;
use muster_core::switches::Switches;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The switches in force.
pub(crate) fn switches(call: &Call<'_>) -> Arc<Switches> {
    arc_swap::Guard::into_inner(call.app.naming.switches())
}

/// The switches as 3.x spells them.
///
/// # Errors
/// 500 when they cannot be encoded.
pub(crate) fn switches_v3(call: &Call<'_>) -> Result<Value, ApiError> {
    let renamed = [
        ("pushGoVersion", "pushVersionOfGo"),
        ("pushJavaVersion", "pushVersionOfJava"),
        ("pushPythonVersion", "pushVersionOfPython"),
        ("pushCVersion", "pushVersionOfC"),
        ("pushCSharpVersion", "pushVersionOfCsharp"),
    ];
    let mut json = serde_json::to_value(&*switches(call)).map_err(|error| ApiError::fault(&error))?;
    if let Value::Object(fields) = &mut json {
        for (old, new) in renamed {
            if let Some(value) = fields.remove(old) {
                fields.insert(new.to_owned(), value);
            }
        }
    }
    Ok(json)
}

/// Turns a switch; `debug` turns it on this node alone (N175–N181).
///
/// # Errors
/// Missing parameters, or a value that does not fit.
pub(crate) async fn set_switch(call: &Call<'_>) -> Result<(), ApiError> {
    let required = |name| call.params.get(name).ok_or_else(|| ApiError::missing_in_framework(name));
    let (entry, value) = (required("entry")?, required("value")?);
    let here_only = call.params.get("debug").is_some_and(is_true);
    let set = call.app.naming.set_switch(entry.to_owned(), value.to_owned(), here_only).await;
    set.map_err(|error| match (error, call.version) {
        // The one input error that Nacos answers as its own fault, on v2 and v3 (N171).
        (WriteError::Switch(error), Version::V2 | Version::V3) => {
            ApiError::coded(StatusCode::INTERNAL_SERVER_ERROR, codes::SERVER_ERROR, error.to_string())
        }
        (error, _) => error.into(),
    })
}

/// The status of the node, with its numbers unless only the status is asked for (N172, N173).
///
/// # Errors
/// A node that cannot answer.
pub(crate) async fn metrics(call: &Call<'_>) -> Result<Value, ApiError> {
    let status = call.app.status.effective(&call.app.naming.switches()).word();
    if is_true(call.params.or("onlyStatus", "true")) {
        return Ok(json!({ "status": status }));
    }
    let counters = call.app.naming.step(|naming, _| naming.counters()).await?;
    let mut fields = numbers(&counters);
    fields.insert("status".into(), status.into());
    if call.version != Version::V3 {
        let load = machine::read();
        fields.insert("cpu".into(), load.cpu.into());
        fields.insert("load".into(), load.load.into());
        fields.insert("mem".into(), load.memory.into());
    }
    Ok(Value::Object(fields))
}

fn numbers(counters: &Counters) -> Map<String, Value> {
    let named = [
        ("serviceCount", counters.services),
        ("instanceCount", counters.instances),
        ("subscribeCount", counters.subscriptions),
        ("clientCount", counters.clients),
        ("connectionBasedClientCount", counters.connections),
        ("ephemeralIpPortClientCount", counters.ephemeral_addresses),
        ("persistentIpPortClientCount", counters.persistent_addresses),
        ("responsibleClientCount", counters.clients),
    ];
    named.into_iter().map(|(name, number)| (name.to_owned(), number.into())).collect()
}

/// The member that owns a client; a node on its own owns all.
pub(crate) fn responsible(call: &Call<'_>) -> Value {
    json!({ "responsibleServer": call.app.address() })
}
