//! What clients and tools ask of the console and of authentication: enough for them to go on.

use super::call::Call;
use super::core;
use super::error::Dialect;
use super::reply;
use super::router::{Family, GET, Gate, Outcome, POST, Run, Table, Version};
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;

const V1: Family =
    Family { version: Version::V1, dialect: Dialect::Rest, gate: Gate::Console, instead: "/v3/admin/core" };
const LOGIN: Family = Family { gate: Gate::Open, ..V1 };
const V2: Family = Family { version: Version::V2, dialect: Dialect::Envelope, ..V1 };
const V3: Family = Family { version: Version::V3, gate: Gate::Open, ..V2 };

/// Adds the routes.
pub(crate) fn routes(table: &mut Table) {
    let text = V1.saying(Dialect::Text);
    table.add(text, GET, "/v1/console/health/liveness", Run::Now(|_| Ok(reply::text(StatusCode::OK, "OK"))));
    table.add(text, GET, "/v1/console/health/readiness", Run::Now(readiness));
    table.add(V1, GET, "/v1/console/namespaces", Run::Now(|call| reply::rest(&namespaces(call))));
    table.add(V1, GET, "/v1/console/server/state", Run::Now(|call| reply::json(&core::state(call))));
    table.add(V2, GET, "/v2/console/namespace/list", Run::Now(|call| reply::data(&namespaces(call))));
    for path in ["/v3/console/core/namespace/list", "/v3/admin/core/namespace/list"] {
        table.add(V3, GET, path, Run::Now(|call| reply::data(&namespaces(call))));
    }
    for path in ["/v1/auth/login", "/v1/auth/users/login", "/v3/auth/user/login"] {
        table.add(LOGIN, POST, path, Run::Now(login));
    }
}

fn readiness(call: &Call<'_>) -> Outcome {
    Ok(match core::unready(call) {
        None => reply::text(StatusCode::OK, "OK"),
        Some(why) => reply::text(StatusCode::INTERNAL_SERVER_ERROR, why),
    })
}

/// A namespace as consoles list it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Namespace {
    namespace: String,
    namespace_show_name: String,
    namespace_desc: Option<String>,
    quota: u32,
    config_count: u32,
    #[serde(rename = "type")]
    kind: u8,
}

impl Namespace {
    fn new(id: &str, name: &str, kind: u8) -> Self {
        Self {
            namespace: id.to_owned(),
            namespace_show_name: name.to_owned(),
            namespace_desc: None,
            quota: 200,
            config_count: 0,
            kind,
        }
    }
}

/// `public` (whose id reads as blank), then every namespace that has a service.
fn namespaces(call: &Call<'_>) -> Vec<Namespace> {
    let services = call.app.published().all();
    let used: BTreeSet<&str> = services.iter().map(|service| service.snapshot.key.namespace()).collect();
    let others = used.into_iter().filter(|id| *id != muster_core::ids::PUBLIC);
    let public = Namespace::new("", muster_core::ids::PUBLIC, 0);
    std::iter::once(public).chain(others.map(|id| Namespace::new(id, id, 2))).collect()
}

/// Seconds a token is said to last. Source: Nacos `nacos.core.auth.plugin.nacos.token.expire.seconds`.
const TOKEN_TTL: u32 = 18_000;

/// This node asks nobody who they are; clients with a user name log in all the same and need a token.
fn login(call: &Call<'_>) -> Outcome {
    let token: u128 = rand::random();
    reply::json(&json!({
        "accessToken": format!("{token:032x}"),
        "tokenTtl": TOKEN_TTL,
        "globalAdmin": false,
        "username": call.params.or("username", "nacos"),
    }))
}
