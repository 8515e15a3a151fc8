//! `/v3/client/ns/instance`.

use super::V3;
use crate::http::call::Call;
use crate::http::codes;
use crate::http::forms;
use crate::http::ops::instance::{self as ops, consistent};
use crate::http::reply;
use crate::http::router::{DELETE, GET, Outcome, POST, Run, Table};
use crate::http::v2;
use crate::wire::Hosts;
use http::StatusCode;
use muster_core::naming::Query;
use serde_json::Value;

pub(super) fn routes(table: &mut Table) {
    let path = "/v3/client/ns/instance";
    table.add(V3, POST, path, Run::Later(|call| Box::pin(register_or_beat(call))));
    table.add(V3, DELETE, path, Run::Later(|call| Box::pin(v2::deregister(call))));
    table.add(V3, GET, "/v3/client/ns/instance/list", Run::Later(|call| Box::pin(list(call))));
}

async fn register_or_beat(call: &Call<'_>) -> Outcome {
    if !call.params.flag("heartBeat", call.spelling())?.unwrap_or(false) {
        return v2::register(call).await;
    }
    if ops::light_beat(call, forms::service(call)?).await?.known {
        return Ok(reply::data_ok());
    }
    // HTTP 200: the client reads the code and registers again (N163).
    let code = codes::INSTANCE_NOT_FOUND;
    reply::result(StatusCode::OK, code, code.message, &Value::Null)
}

/// Bare instances of one cluster, `DEFAULT` when none is named (N161). `healthyOnly` is accepted and ignored.
async fn list(call: &Call<'_>) -> Outcome {
    consistent(call).await?;
    let service = forms::service(call)?;
    let Some(published) = call.app.published().get(&service) else { return reply::data(&[(); 0]) };
    let query = Query {
        clusters: forms::cluster(call),
        healthy_only: false,
        enabled_only: true,
        protection: call.app.settings.protection,
    };
    let selected = ops::select(call, &published.snapshot, &query, None).await;
    reply::data(&Hosts { service: &service, instances: &selected.instances, all_healthy: selected.protected })
}
