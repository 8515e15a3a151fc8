//! `/v1/core`, `/v2/core` and `/v3/admin/core`: the member list and the state of this node. Connections: `loader`.

use super::call::Call;
use super::codes;
use super::error::{ApiError, Dialect};
use super::members::{Member, MemberState};
use super::reply;
use super::router::{DELETE, Family, GET, Gate, Outcome, POST, Run, Table, Version};
use super::status::Status;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const V1: Family = Family {
    version: Version::V1,
    dialect: Dialect::Rest,
    gate: Gate::Admin,
    instead: "/v3/admin/core/cluster",
};
const V2: Family = Family { version: Version::V2, dialect: Dialect::Envelope, ..V1 };
const V3: Family = Family { version: Version::V3, gate: Gate::Open, ..V2 };

/// Adds the routes.
pub(crate) fn routes(table: &mut Table) {
    let path = |end: &str| format!("/v1/core/cluster/{end}");
    table.add(V1, GET, path("self"), Run::Now(|call| reply::rest(&own(call)?)));
    table.add(V1, GET, path("nodes"), Run::Now(nodes));
    table.add(V1, GET, path("simple/nodes"), Run::Now(simple_nodes));
    table.add(V1, GET, path("health"), Run::Now(|call| reply::rest(own(call)?.state.word())));
    table.add(V1, POST, path("report"), Run::Now(report));
    table.add(V1, POST, path("server/leave"), Run::Now(leave));
    let path = |end: &str| format!("/v2/core/cluster/{end}");
    table.add(V2, GET, path("node/self"), Run::Now(|call| reply::data(&own(call)?)));
    table.add(V2, GET, path("node/self/health"), Run::Now(|call| reply::data(own(call)?.state.word())));
    table.add(V2, GET, path("node/list"), Run::Now(node_list));
    table.add(V2, DELETE, path("nodes"), Run::Now(remove_nodes));
    let path = |end: &str| format!("/v3/admin/core/{end}");
    table.add(V3, GET, path("cluster/node/self"), Run::Now(|call| reply::data(&own(call)?)));
    table.add(
        V3,
        GET,
        path("cluster/node/self/health"),
        Run::Now(|call| reply::data(own(call)?.state.word())),
    );
    table.add(V3, GET, path("cluster/node/list"), Run::Now(node_list));
    table.add(V3, GET, path("state"), Run::Now(|call| reply::data(&state(call))));
    table.add(V3, GET, path("state/liveness"), Run::Now(|_| Ok(reply::data_ok())));
    table.add(V3, GET, path("state/readiness"), Run::Now(readiness));
    super::loader::routes(table, V2, V3);
    super::lookup::routes(table, V1, V2, V3);
    super::raft::routes(table, V1, V2, V3);
}

/// This node, in the state it computed of itself.
fn own(call: &Call<'_>) -> Result<Member, ApiError> {
    let members = call.app.members.load();
    let first = members.first().cloned();
    first.map(|member| refreshed(call, member)).ok_or_else(|| ApiError::fault(&"the member list is empty"))
}

fn refreshed(call: &Call<'_>, mut member: Member) -> Member {
    member.state = match call.app.status.computed() {
        Status::Starting => MemberState::Starting,
        Status::Up | Status::WriteOnly | Status::ReadOnly => MemberState::Up,
        Status::Down | Status::Paused => MemberState::Down,
    };
    member.extend_info.insert("lastRefreshTime".into(), call.app.clock.now().0.into());
    member
}

/// The members that `wanted` keeps; the first of the list is this node.
pub(crate) fn members(call: &Call<'_>, wanted: impl Fn(&Member) -> bool) -> Vec<Member> {
    let members = call.app.members.load();
    let fresh = members.iter().enumerate().map(|(at, member)| match at {
        0 => refreshed(call, member.clone()),
        _ => member.clone(),
    });
    fresh.filter(wanted).collect()
}

/// Whether a member may be asked.
pub(crate) fn is_up(member: &Member) -> bool {
    matches!(member.state, MemberState::Up)
}

fn nodes(call: &Call<'_>) -> Outcome {
    let keyword = call.params.or("keyword", "");
    reply::rest(&members(call, |member| member.address.contains(keyword)))
}

fn simple_nodes(call: &Call<'_>) -> Outcome {
    let up: Vec<String> = members(call, is_up).into_iter().map(|member| member.address).collect();
    reply::rest(&up)
}

/// What a report must say of its sender.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Report {
    ip: Option<String>,
    port: Option<i64>,
    address: Option<String>,
}

/// A member reports itself. A node on its own has nobody on its list to update; it answers with itself, as text.
fn report(call: &Call<'_>) -> Outcome {
    let report: Report = serde_json::from_slice(call.body).unwrap_or_default();
    let blank = |text: &Option<String>| text.as_deref().is_none_or(|text| text.trim().is_empty());
    let port = report.port.filter(|port| u16::try_from(*port).is_ok());
    if blank(&report.ip) || blank(&report.address) || port.is_none() {
        return reply::rest_failed(400, "Node information is illegal");
    }
    let own = serde_json::to_string(&own(call)?).map_err(|error| ApiError::fault(&error))?;
    reply::rest(&own)
}

fn leave(call: &Call<'_>) -> Outcome {
    reply::rest_failed(405, &format!("{} API not allow to use temporarily.", call.path))
}

fn remove_nodes(call: &Call<'_>) -> Outcome {
    let text = format!("{} API not allow to use temporarily.", call.path);
    Err(ApiError::coded(StatusCode::METHOD_NOT_ALLOWED, codes::SERVER_ERROR, text))
}

fn node_list(call: &Call<'_>) -> Outcome {
    let address = call.params.or("address", "");
    let state = call.params.get("state").map(|word| {
        let unknown = || ApiError::refused(codes::ILLEGAL_STATE, format!("Illegal state: {word}"));
        MemberState::of_word(word).ok_or_else(unknown)
    });
    let state = state.transpose()?;
    let wanted = |member: &Member| {
        member.address.starts_with(address) && state.is_none_or(|state| state == member.state)
    };
    reply::data(&members(call, wanted))
}

/// What this node is, in the words of Nacos's module states.
pub(crate) fn state(call: &Call<'_>) -> BTreeMap<&'static str, Value> {
    let standalone = call.app.members.load().len() <= 1;
    BTreeMap::from([
        ("version", json!(concat!("muster-", env!("CARGO_PKG_VERSION")))),
        ("standalone_mode", json!(if standalone { "standalone" } else { "cluster" })),
        ("startup_mode", json!(if standalone { "standalone" } else { "cluster" })),
        ("function_mode", json!("naming")),
        ("server_port", json!(call.app.settings.port.to_string())),
        ("auth_enabled", json!("false")),
        ("config_retention_days", Value::Null),
    ])
}

/// Why this node does not serve; none when it does.
pub(crate) fn unready(call: &Call<'_>) -> Option<&'static str> {
    (call.app.status.computed() != Status::Up).then_some("naming not in readiness")
}

fn readiness(call: &Call<'_>) -> Outcome {
    match unready(call) {
        None => Ok(reply::data_ok()),
        Some(why) => reply::result(StatusCode::OK, codes::SERVER_ERROR, why, why),
    }
}
