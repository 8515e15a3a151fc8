//! `/v1/ns/health`.

use super::ADMIN;
use crate::http::call::Call;
use crate::http::ops::{checker, health as ops};
use crate::http::reply;
use crate::http::router::{ANY, GET, Outcome, PUT, Run, Table};
use serde_json::json;

pub(super) fn routes(table: &mut Table) {
    table.add(ADMIN, ANY, "/v1/ns/health/server", Run::Now(server));
    table.add(ADMIN, PUT, "/v1/ns/health", Run::Later(|call| Box::pin(set(call))));
    table.add(ADMIN, PUT, "/v1/ns/health/instance", Run::Later(|call| Box::pin(set(call))));
    table.add(ADMIN, GET, "/v1/ns/health/checkers", Run::Now(|call| reply::json(&checker::all(call.app))));
}

fn server(call: &Call<'_>) -> Outcome {
    let (services, port) = (call.app.published().len(), call.app.settings.port);
    let msg = format!("Hello! I am Nacos-Naming and healthy! total services: {services}, local port:{port}");
    reply::json(&json!({ "msg": msg }))
}

async fn set(call: &Call<'_>) -> Outcome {
    ops::set(call).await?;
    Ok(reply::ok())
}
