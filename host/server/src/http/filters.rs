//! What stands before a handler: the v1 filter chain, the gates of old APIs, the limits of parameters.

use super::agent::SERVER_PREFIX;
use super::app::{Compatibility, Settings};
use super::call;
use super::codes;
use super::error::ApiError;
use super::forms;
use super::params::Params;
use super::reply::{self, Reply};
use super::router::{Family, Gate};
use super::status::{NodeStatus, Status};
use http::request::Parts;
use http::{Method, StatusCode};
use muster_core::ids::split_grouped;
use muster_core::switches::Switches;
use muster_core::validate::{self, ParamProblem};

/// Paths that the v1 filter chain covers.
pub(crate) const V1_NAMING: &str = "/v1/ns/";

/// The traffic gate of v1: limited addresses first, then the status of the node.
///
/// Source: Nacos `TrafficReviseFilter`. The routing of ephemeral writes to the member that owns the client
/// (Nacos `DistroFilter`) comes after this and the name gate; a node on its own owns every client.
pub(crate) fn traffic(head: &Parts, switches: &Switches, status: &NodeStatus) -> Option<Reply> {
    if let Some(limited) = limited(head, switches) {
        return Some(reply::empty(limited));
    }
    let now = status.effective(switches);
    let reading = matches!(head.method, Method::GET | Method::HEAD);
    let passes = match now {
        Status::Up => true,
        Status::WriteOnly => !reading,
        Status::ReadOnly => reading,
        Status::Starting | Status::Down | Status::Paused => false,
    };
    if passes || call::agent(&head.headers).starts_with(SERVER_PREFIX) {
        return None;
    }
    let detail = match status.reason() {
        Some(reason) => format!("detailed error message: {reason}"),
        None => "please try again later!".into(),
    };
    Some(reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("server is {}now, {detail}", now.word())))
}

/// Whether address and query start with an entry of the switch `limitedUrlMap`.
fn limited(head: &Parts, switches: &Switches) -> Option<StatusCode> {
    if switches.limited_url_map.is_empty() {
        return None;
    }
    let address = format!("{}?{}", head.uri.path(), head.uri.query().unwrap_or_default());
    let entry = switches.limited_url_map.iter().find(|(prefix, _)| address.starts_with(prefix.as_str()))?;
    StatusCode::from_u16(*entry.1).ok()
}

/// The answer of an old API that the settings switch off (N190).
pub(crate) fn gated(family: &Family, compatibility: Compatibility) -> Option<Reply> {
    let (open, key) = match family.gate {
        Gate::Open => return None,
        Gate::Client => (compatibility.client, "client"),
        Gate::Admin => (compatibility.admin, "admin"),
        Gate::Console => (compatibility.console, "console"),
    };
    if open {
        return None;
    }
    let text = format!(
        "Current API will be deprecated: it is switched off by the setting compat.{key}, please use {} instead.",
        family.instead
    );
    let error = ApiError::coded(StatusCode::GONE, codes::API_DEPRECATED, text);
    Some(error.render(super::error::Dialect::Envelope))
}

/// The limits of every naming parameter, in every generation. Source: Nacos `ParamCheckerFilter`.
///
/// # Errors
/// [`ParamProblem`], the first one found.
pub(crate) fn limits(params: &Params<'_>, settings: &Settings) -> Result<(), ParamProblem> {
    if !settings.check_params {
        return Ok(());
    }
    params.pairs().try_for_each(|(name, value)| match name {
        "namespaceId" => validate::namespace(value),
        "serviceName" => service_name(value),
        "groupName" => validate::group(value),
        "clusterName" | "cluster" | "clusters" => validate::clusters(value),
        "ip" => validate::ip(value),
        "port" => validate::port(value),
        "metadata" => metadata(value, settings.metadata_length),
        _ => Ok(()),
    })
}

/// The parameter `encoding` of v1 names the charset of all others. Nothing but UTF-8 is in use.
///
/// # Errors
/// 400 for another charset.
pub(crate) fn encoding(params: &Params<'_>) -> Result<(), ApiError> {
    match params.get("encoding") {
        Some(name) if !["utf-8", "utf8"].iter().any(|known| name.eq_ignore_ascii_case(known)) => {
            Err(ApiError::illegal(format!("encoding '{name}' is not supported, use UTF-8")))
        }
        _ => Ok(()),
    }
}

fn service_name(value: &str) -> Result<(), ParamProblem> {
    match split_grouped(value) {
        Some((group, name)) => validate::group(group).and_then(|()| validate::service(name)),
        None => validate::service(value),
    }
}

/// Text that is short enough as it stands cannot hold too much.
fn metadata(value: &str, max: usize) -> Result<(), ParamProblem> {
    if value.len() <= max {
        return Ok(());
    }
    forms::metadata(Some(value)).map_or(Ok(()), |metadata| validate::metadata(&metadata, max))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn passes(method: Method, agent: &str, word: &str) -> bool {
        let request =
            Request::builder().method(method).uri("/nacos/v1/ns/instance").header("user-agent", agent);
        let (head, ()) = request.body(()).unwrap().into_parts();
        let mut switches = Switches::default();
        switches.set("overriddenServerStatus", word).unwrap();
        let answer = traffic(&head, &switches, &NodeStatus::default());
        assert!(answer.as_ref().is_none_or(|answer| answer.status() == StatusCode::SERVICE_UNAVAILABLE));
        answer.is_none()
    }

    #[test]
    fn n183_n184_a_node_that_is_down_serves_only_other_nodes() {
        assert!(!passes(Method::GET, "Nacos-Java-Client:v1.4.3", "DOWN"));
        assert!(passes(Method::GET, "Nacos-Server:v3.1.0", "DOWN"));
        assert!(passes(Method::GET, "Nacos-Java-Client:v1.4.3", "UP"));
    }

    #[test]
    fn n185_n186_half_open_nodes_pass_reads_or_writes() {
        assert!(passes(Method::GET, "", "READ_ONLY") && !passes(Method::POST, "", "READ_ONLY"));
        assert!(passes(Method::DELETE, "", "WRITE_ONLY") && !passes(Method::GET, "", "WRITE_ONLY"));
    }

    #[test]
    fn n182_a_limited_address_answers_its_status_before_anything_else() {
        let (head, ()) =
            Request::get("/nacos/v1/ns/instance/list?serviceName=x").body(()).unwrap().into_parts();
        let mut switches = Switches::default();
        switches.set("limitedUrlMap", "/nacos/v1/ns/instance/list:501").unwrap();
        let answer = traffic(&head, &switches, &NodeStatus::default()).unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_IMPLEMENTED);
    }

    #[test]
    fn n049_limits_apply_unless_they_are_switched_off() {
        let params = Params::parse(Some("groupName=a%20b&serviceName=G@@s"), b"");
        let mut settings = Settings::default();
        assert_eq!(limits(&params, &settings), Err(ParamProblem::Characters { label: "group" }));
        settings.check_params = false;
        assert_eq!(limits(&params, &settings), Ok(()));
    }

    #[test]
    fn grouped_names_are_checked_part_by_part() {
        let problem = |query| limits(&Params::parse(Some(query), b""), &Settings::default());
        assert_eq!(problem("serviceName=G1@@orders"), Ok(()));
        assert_eq!(problem("serviceName=G%201@@orders"), Err(ParamProblem::Characters { label: "group" }));
        assert_eq!(problem("serviceName=G@@a@@b"), Err(ParamProblem::Characters { label: "serviceName" }));
    }

    #[test]
    fn n190_a_closed_gate_answers_gone() {
        let family = Family {
            version: super::super::router::Version::V1,
            dialect: super::super::error::Dialect::Text,
            gate: Gate::Admin,
            instead: "/v3/admin/ns",
        };
        let closed = Compatibility { admin: false, ..Compatibility::default() };
        assert_eq!(gated(&family, closed).unwrap().status(), StatusCode::GONE);
        assert!(gated(&family, Compatibility::default()).is_none());
    }
}
