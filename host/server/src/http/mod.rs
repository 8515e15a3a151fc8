//! The HTTP front end: the Nacos naming API, v1 to v3, and what clients and tools call beside it.
//!
//! A request passes the filters of its generation, becomes parameters, and is answered by a handler that reads
//! what is published or asks the naming loop. What all generations do alike is in `ops`; they differ in how
//! they ask (`forms`) and how they say what went wrong ([`error`]). Nothing here decides rules of naming.

mod agent;
pub mod app;
mod call;
pub mod codes;
mod console;
mod core;
pub mod error;
mod filters;
mod forms;
mod lenient;
mod loader;
mod lookup;
mod machine;
pub mod members;
mod metrics;
mod ops;
mod params;
mod raft;
pub mod reply;
mod router;
mod server;
pub mod status;
mod unavailable;
mod v1;
mod v2;
mod v3;
mod views;

pub use app::{App, Compatibility, Limits, Settings};
pub use members::{Member, MemberState};
pub use server::serve;
pub use status::{NodeStatus, Status};

use bytes::Bytes;
use call::Call;
use error::{ApiError, Dialect};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use params::Params;
use reply::Reply;
use router::{Found, Outcome, Route, Router, Run, Table, Version};
use std::net::SocketAddr;
use tokio::time::timeout;

/// All routes.
fn router() -> Router {
    let mut table = Table::default();
    v1::routes(&mut table);
    v2::routes(&mut table);
    v3::routes(&mut table);
    core::routes(&mut table);
    console::routes(&mut table);
    metrics::routes(&mut table);
    table.build()
}

/// Answers one request.
async fn answer<B>(app: &App, router: &Router, peer: SocketAddr, request: Request<B>) -> Reply
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let path = match path.strip_prefix(app.settings.context_path.as_str()) {
        Some(path) => path,
        None if path == metrics::PATH => path,
        None => return unavailable::answer(&head, path),
    };
    if path.starts_with(filters::V1_NAMING)
        && let Some(refusal) = filters::traffic(&head, &app.naming.switches(), &app.status)
    {
        return refusal;
    }
    let route = match find(router, &head, path) {
        Found::Route(route) => route,
        Found::OtherMethod(family) => return unavailable::other_method(&head, path, family.dialect),
        Found::Nothing => return unavailable::answer(&head, path),
    };
    if let Some(gone) = filters::gated(&route.family, app.settings.compatibility) {
        return gone;
    }
    let outcome = match read(&head, body, app.settings.limits).await {
        Ok(body) => run(app, route, peer, &head, path, &body).await,
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(|error| refuse(&head, route.family.dialect, &error))
}

fn find<'a>(router: &'a Router, head: &Parts, path: &str) -> Found<'a> {
    let exact = router.find(&head.method, path);
    match exact {
        Found::Nothing if path.starts_with(v2::STATUSES) => router.find(&head.method, v2::STATUSES),
        Found::Route(_) | Found::OtherMethod(_) | Found::Nothing => exact,
    }
}

async fn run(app: &App, route: &Route, peer: SocketAddr, head: &Parts, path: &str, body: &[u8]) -> Outcome {
    let (form, body): (&[u8], &[u8]) = if is_form(head) { (body, &[]) } else { (&[], body) };
    let params = Params::parse(head.uri.query(), form);
    let version = route.family.version;
    if is_naming(path) {
        filters::limits(&params, &app.settings)?;
    }
    if version == Version::V1 {
        filters::encoding(&params)?;
    }
    let call = Call { app, head, path, params, body, peer, version };
    match route.run {
        Run::Now(handler) => handler(&call),
        Run::Later(handler) => {
            let answer = timeout(app.settings.limits.request, handler(&call)).await;
            answer.unwrap_or_else(|_| Err(ApiError::unavailable(&"not answered in time, try again later")))
        }
    }
}

/// Paths whose parameters have limits.
fn is_naming(path: &str) -> bool {
    ["/v1/ns/", "/v2/ns/", "/v3/client/ns/", "/v3/admin/ns/"].iter().any(|prefix| path.starts_with(prefix))
}

/// Old clients send forms without saying so.
fn is_form(head: &Parts) -> bool {
    let kind = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_none_or(|kind| kind.starts_with("application/x-www-form-urlencoded") || kind.starts_with("text/"))
}

/// The body, whole.
async fn read<B>(head: &Parts, body: B, limits: Limits) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let too_large = || {
        let text = format!("the body has more than {} bytes", limits.body);
        ApiError::coded(StatusCode::PAYLOAD_TOO_LARGE, codes::PARAMETER_VALIDATE_ERROR, text)
    };
    let announced = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limits.body) {
        return Err(too_large());
    }
    match timeout(limits.request, Limited::new(body, limits.body).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::illegal("the body could not be read")),
        Err(_) => {
            let text = "the body did not arrive in time";
            Err(ApiError::coded(StatusCode::REQUEST_TIMEOUT, codes::SERVER_ERROR, text))
        }
    }
}

fn refuse(head: &Parts, dialect: Dialect, error: &ApiError) -> Reply {
    if error.status() == StatusCode::INTERNAL_SERVER_ERROR && error.is_fault() {
        tracing::warn!(method = %head.method, path = head.uri.path(), error = %error.text(), "not answered");
    } else {
        tracing::debug!(method = %head.method, path = head.uri.path(), error = %error.text(), "refused");
    }
    error.render(dialect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_of(path: &str) -> Option<Version> {
        let (head, ()) = Request::get(path).body(()).unwrap().into_parts();
        match find(&router(), &head, path) {
            Found::Route(route) => Some(route.family.version),
            Found::OtherMethod(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn n157_statuses_are_found_by_the_beginning_of_their_path() {
        assert_eq!(version_of("/v2/ns/instance/statuses/public%23%23G%40%40orders"), Some(Version::V2));
        assert_eq!(version_of("/v1/ns/instance/list"), Some(Version::V1));
        assert_eq!(version_of("/v2/ns/instance/list/x"), None);
    }
}
