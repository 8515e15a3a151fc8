//! What this node does not have: the answer of a node that lacks it, instead of a "not found" that clients take
//! for a bug of theirs.

use super::codes;
use super::error::{ApiError, Dialect};
use super::filters::V1_NAMING;
use super::reply::{self, Reply};
use http::request::Parts;
use http::{Method, StatusCode};

/// Paths of Nacos, and what is behind them.
const LACKING: &[(&str, &str)] = &[
    ("/v1/cs/", "configuration management"),
    ("/v2/cs/", "configuration management"),
    ("/v3/client/cs/", "configuration management"),
    ("/v3/admin/cs/", "configuration management"),
    ("/v3/console/cs/", "configuration management"),
    ("/v1/auth/", "user management"),
    ("/v3/auth/", "user management"),
    ("/v1/console/", "the console"),
    ("/v2/console/", "the console"),
    ("/v3/console/", "the console"),
    ("/v1/core/", "cluster management"),
    ("/v2/core/", "cluster management"),
    ("/v3/admin/core/", "cluster management"),
    ("/v3/admin/ai/", "the MCP registry"),
    ("/v3/client/ai/", "the MCP registry"),
    ("/v1/ns/raft/", "the old raft protocol"),
    ("/v1/ns/distro/", "the old distro protocol"),
    ("/v1/ns/operator/log", "changing log levels over HTTP"),
    ("/v1/ns/ops/log", "changing log levels over HTTP"),
    ("/v3/admin/ns/ops/log", "changing log levels over HTTP"),
];

/// The answer to a path that no route has.
pub(crate) fn answer(head: &Parts, path: &str) -> Reply {
    let lacking = LACKING.iter().find(|(prefix, _)| path.starts_with(prefix));
    match lacking {
        Some((_, what)) => lacks(path, what),
        None if path.starts_with(V1_NAMING) => no_such_api(head),
        None => nothing(head, path),
    }
}

/// The answer to a path that has routes for other methods only.
pub(crate) fn other_method(head: &Parts, path: &str, dialect: Dialect) -> Reply {
    if path.starts_with(V1_NAMING) {
        return no_such_api(head);
    }
    let text = format!("Request method '{}' is not supported", head.method);
    ApiError::coded(StatusCode::METHOD_NOT_ALLOWED, codes::SERVER_ERROR, text).render(dialect)
}

fn dialect_of(path: &str) -> Dialect {
    if path.starts_with("/v2/") || path.starts_with("/v3/") { Dialect::Envelope } else { Dialect::Text }
}

fn lacks(path: &str, what: &str) -> Reply {
    let text = format!("{what} is not available on this node");
    ApiError::coded(StatusCode::NOT_IMPLEMENTED, codes::API_FUNCTION_DISABLED, text).render(dialect_of(path))
}

/// Source: Nacos `DistroFilter`.
fn no_such_api(head: &Parts) -> Reply {
    reply::text(StatusCode::NOT_IMPLEMENTED, format!("no such api:{}:{}", head.method, head.uri.path()))
}

fn nothing(head: &Parts, path: &str) -> Reply {
    let method: &Method = &head.method;
    let text = format!("no such api:{method}:{}", head.uri.path());
    ApiError::not_found(codes::RESOURCE_NOT_FOUND, text).render(dialect_of(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn status(path: &str) -> StatusCode {
        let (head, ()) = Request::get(format!("/nacos{path}")).body(()).unwrap().into_parts();
        answer(&head, path).status()
    }

    #[test]
    fn what_a_node_lacks_is_not_implemented_and_what_nobody_has_is_not_found() {
        for path in ["/v1/cs/configs", "/v3/admin/cs/config", "/v1/auth/users", "/v1/ns/nonsense"] {
            assert_eq!(status(path), StatusCode::NOT_IMPLEMENTED, "{path}");
        }
        for path in ["/v9/x", "/index.html", "/v3/client/x"] {
            assert_eq!(status(path), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
