//! Clients: who publishes what, who subscribes to what.

use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::forms;
use muster_core::ids::{ClientId, ServiceKey};
use muster_core::naming::{PublisherView, Subscription};
use muster_core::time::Millis;
use std::sync::Arc;

/// Ids of all clients, sorted.
///
/// # Errors
/// A node that cannot answer.
pub(crate) async fn ids(call: &Call<'_>) -> Result<Vec<String>, ApiError> {
    let clients = call.app.naming.step(|naming, _| naming.clients()).await?;
    let mut ids: Vec<String> = clients.iter().map(ClientId::to_string).collect();
    ids.sort_unstable();
    Ok(ids)
}

fn unknown(id: &ClientId) -> ApiError {
    ApiError::not_found(codes::RESOURCE_NOT_FOUND, format!("clientId [ {id} ] not exist"))
}

fn asked(call: &Call<'_>) -> Result<ClientId, ApiError> {
    let Ok(id) = call.params.required("clientId")?.parse();
    Ok(id)
}

/// A client and when it last spoke.
///
/// # Errors
/// 404 for one that nobody knows (N159).
pub(crate) async fn seen(call: &Call<'_>) -> Result<(ClientId, Millis), ApiError> {
    let id = asked(call)?;
    let key = id.clone();
    let seen = call.app.naming.step(move |naming, _| naming.last_seen(&key)).await?;
    let seen = seen.ok_or_else(|| unknown(&id))?;
    Ok((id, seen))
}

/// What a client publishes.
///
/// # Errors
/// 404 for one that nobody knows.
pub(crate) async fn published(call: &Call<'_>) -> Result<Vec<PublisherView>, ApiError> {
    let id = asked(call)?;
    let key = id.clone();
    let mut found = call
        .app
        .naming
        .step(move |naming, _| naming.published_by(&key))
        .await?
        .ok_or_else(|| unknown(&id))?;
    found.sort_by(|a, b| (&a.service, &a.instance.ip).cmp(&(&b.service, &b.instance.ip)));
    Ok(found)
}

/// What a client subscribes to.
///
/// # Errors
/// 404 for one that nobody knows.
pub(crate) async fn subscribed(call: &Call<'_>) -> Result<Vec<Arc<Subscription>>, ApiError> {
    let id = asked(call)?;
    let key = id.clone();
    let found = call.app.naming.step(move |naming, _| naming.subscribed_by(&key)).await?;
    found.ok_or_else(|| unknown(&id))
}

/// Who publishes into a service, at `ip` and `port` where those are given.
///
/// # Errors
/// Bad parameters, or a node that cannot answer.
pub(crate) async fn publishers(call: &Call<'_>) -> Result<Vec<PublisherView>, ApiError> {
    let service = forms::service(call)?;
    let at = At::read(call)?;
    let key: ServiceKey = service;
    let found = call.app.naming.step(move |naming, _| naming.publishers(&key)).await?;
    Ok(found.into_iter().filter(|view| at.fits(&view.instance.ip, view.instance.port)).collect())
}

/// Who subscribes to a service, at `ip` and `port` where those are given.
///
/// # Errors
/// Bad parameters, or a node that cannot answer.
pub(crate) async fn subscribers(call: &Call<'_>) -> Result<Vec<Arc<Subscription>>, ApiError> {
    let at = At::read(call)?;
    let found = super::service::subscribers(call).await?;
    Ok(found.into_iter().filter(|one| at.fits(&one.ip, one.port)).collect())
}

/// An address to narrow a list to; what is not given fits everything.
struct At<'a> {
    ip: Option<&'a str>,
    port: Option<u16>,
}

impl<'a> At<'a> {
    fn read(call: &'a Call<'_>) -> Result<Self, ApiError> {
        Ok(Self { ip: call.params.get("ip"), port: call.params.number("port")? })
    }

    fn fits(&self, ip: &str, port: u16) -> bool {
        self.ip.is_none_or(|wanted| wanted == ip) && self.port.is_none_or(|wanted| wanted == port)
    }
}
