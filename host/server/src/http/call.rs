//! One request as a handler sees it.

use super::app::App;
use super::params::{Params, Spelling};
use super::router::Version;
use http::HeaderMap;
use http::request::Parts;
use std::net::SocketAddr;

/// One request, read whole.
pub(crate) struct Call<'a> {
    /// what the node offers
    pub(crate) app: &'a App,
    /// method, address and headers
    pub(crate) head: &'a Parts,
    /// the path behind the context path
    pub(crate) path: &'a str,
    /// query and form
    pub(crate) params: Params<'a>,
    /// the body, when it is not a form
    pub(crate) body: &'a [u8],
    /// who asks
    pub(crate) peer: SocketAddr,
    /// generation of the API that was called
    pub(crate) version: Version,
}

impl Call<'_> {
    /// What the caller says it is: `User-Agent`, or `Client-Version` without one.
    pub(crate) fn agent(&self) -> &str {
        agent(&self.head.headers)
    }

    /// How this generation writes truth values.
    pub(crate) fn spelling(&self) -> Spelling {
        match self.version {
            Version::V1 => Spelling::Loose,
            Version::V2 | Version::V3 => Spelling::Strict,
        }
    }
}

/// See [`Call::agent`].
pub(crate) fn agent(headers: &HeaderMap) -> &str {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    text("user-agent")
        .filter(|agent| !agent.is_empty())
        .or_else(|| text("client-version"))
        .unwrap_or_default()
}
