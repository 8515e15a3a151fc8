//! `/v2/core/loader` and `/v3/admin/core/loader`: how many gRPC connections there are, and moving them.
//! Source: Nacos `ServerLoaderController`, `ServerLoaderControllerV3`.

use super::call::Call;
use super::codes;
use super::error::ApiError;
use super::machine;
use super::reply;
use super::router::{Family, GET, Outcome, POST, Run, Table, Version};
use crate::grpc::Loaded;
use http::StatusCode;
use serde_json::{Value, json};

/// A node is overloaded when it has this much more than the average.
const THRESHOLD: f64 = 1.1;

/// Adds the routes.
pub(super) fn routes(table: &mut Table, v2: Family, v3: Family) {
    for (family, change, base) in [(v2, GET, "/v2/core/loader"), (v3, POST, "/v3/admin/core/loader")] {
        let path = |end: &str| format!("{base}/{end}");
        table.add(family, GET, path("current"), Run::Now(current));
        table.add(family, GET, path("cluster"), Run::Now(cluster));
        table.add(family, change, path("reloadCurrent"), Run::Now(reload_current));
        table.add(family, change, path("reloadClient"), Run::Now(reload_client));
        table.add(family, change, path("smartReloadCluster"), Run::Now(smart_reload));
    }
}

/// v2 answers bare, v3 in its envelope.
fn object(call: &Call<'_>, value: &impl serde::Serialize) -> Outcome {
    if call.version == Version::V2 { reply::json(value) } else { reply::data(value) }
}

fn done(call: &Call<'_>, word: &'static str) -> Outcome {
    if call.version == Version::V2 {
        return Ok(reply::text(StatusCode::OK, word));
    }
    reply::data(&Value::Null)
}

fn current(call: &Call<'_>) -> Outcome {
    object(call, &call.app.grpc.loaded_connections())
}

fn redirect<'a>(call: &'a Call<'_>) -> Option<&'a str> {
    call.params.get("redirectAddress")
}

fn reload_current(call: &Call<'_>) -> Outcome {
    let keep: usize = call.params.required("count")?.trim().parse().map_err(|_| {
        ApiError::refused(codes::PARAMETER_VALIDATE_ERROR, "'count' must be a whole number, from 0")
    })?;
    let moved = call.app.grpc.reload(keep, redirect(call));
    tracing::info!(keep, moved, "connections asked to go elsewhere");
    done(call, "success")
}

fn reload_client(call: &Call<'_>) -> Outcome {
    let id = call.params.required("connectionId")?;
    let found = call.app.grpc.reload_client(id, redirect(call));
    tracing::info!(connection = id, found, "connection asked to go elsewhere");
    done(call, "success")
}

/// Evens out over all members. A node on its own is even; the loads of others are not known yet.
fn smart_reload(call: &Call<'_>) -> Outcome {
    let factor: Option<f64> = call.params.get("loaderFactor").unwrap_or("0.1").trim().parse().ok();
    if !factor.is_some_and(|factor| (0.0..1.0).contains(&factor)) {
        let text = "'loaderFactor' must be a number from 0 to 1";
        return Err(ApiError::refused(codes::PARAMETER_VALIDATE_ERROR, text));
    }
    if call.app.members.load().len() <= 1 {
        return done(call, "Ok");
    }
    if call.version == Version::V2 {
        return Ok(reply::text(StatusCode::OK, "Fail"));
    }
    let text = "Smart reload failed, please try again later.";
    reply::result(StatusCode::OK, codes::SERVER_ERROR, text, &Value::Null)
}

/// Loads of all members whose loads are known, which is this one.
fn cluster(call: &Call<'_>) -> Outcome {
    let Loaded { clients, all } = call.app.grpc.loaded();
    let busy = machine::read();
    let (load, cpu) = (busy.load.to_string(), busy.cpu.to_string());
    let members = call.app.members.load().len().max(1);
    let address = call.app.address();
    #[allow(clippy::cast_precision_loss, reason = "a node has fewer than 2^52 connections")]
    let threshold = clients as f64 * THRESHOLD;
    let v2 = call.version == Version::V2;
    let own = if v2 {
        let metric = json!({
            "sdkConCount": clients.to_string(), "conCount": all.to_string(), "load": load, "cpu": cpu,
        });
        json!({ "address": address, "metric": metric })
    } else {
        json!({ "address": address, "sdkConCount": clients, "conCount": all, "load": load, "cpu": cpu })
    };
    let answer = json!({
        "detail": [own],
        "memberCount": members,
        "metricsCount": 1,
        "completed": members == 1,
        "max": clients,
        "min": clients,
        "avg": clients,
        "threshold": if v2 { json!(threshold) } else { json!(threshold.to_string()) },
        "total": clients,
    });
    object(call, &answer)
}
