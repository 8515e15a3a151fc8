//! Instances: register, deregister, overlay, look up, list, beat.

use crate::filters::Who;
use crate::http::agent::hears_udp;
use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::forms;
use crate::http::params::is_true;
use crate::http::reply::Body;
use crate::wire;
use bytes::Bytes;
use muster_core::ids::{ClientId, ServiceKey};
use muster_core::instance::{Instance, Metadata, Overlay};
use muster_core::naming::{Beat, BeatReply, Query, Selected, ServiceSnapshot, Subscription};
use muster_core::persist::MetadataEdit;
use muster_core::validate;
use serde::Serialize;
use std::sync::Arc;

/// Registers the instance that the parameters describe.
///
/// # Errors
/// Bad parameters, or a refusal of the registry.
pub(crate) async fn register(call: &Call<'_>) -> Result<(), ApiError> {
    let (service, instance) = forms::instance(call)?;
    validate::instance(&instance.cluster, &instance.metadata)?;
    call.app.naming.register(service, instance).await?;
    Ok(())
}

/// Removes an instance; that there is none is fine (N063).
///
/// # Errors
/// Bad parameters, or a node that cannot write.
pub(crate) async fn deregister(call: &Call<'_>) -> Result<(), ApiError> {
    let (service, instance) = forms::instance(call)?;
    call.app.naming.deregister(service, &instance.ip, instance.port, instance.ephemeral).await?;
    Ok(())
}

/// Replaces the operator's overlay of an instance as a whole.
///
/// # Errors
/// Bad parameters, or a service that nobody knows (N067).
pub(crate) async fn update(call: &Call<'_>) -> Result<(), ApiError> {
    let (service, instance) = forms::instance(call)?;
    if call.app.published().get(&service).is_none() {
        let text =
            format!("service not found, namespace: {}, service: {}", service.namespace(), service.grouped());
        return Err(ApiError::refused(codes::INSTANCE_ERROR, text));
    }
    let overlay = Overlay {
        enabled: Some(instance.enabled),
        weight: Some(instance.weight),
        metadata: Metadata::clone(&instance.metadata),
    };
    call.app.naming.set_overlay(service, instance.metadata_id(), overlay).await?;
    Ok(())
}

/// Changes what is given of the overlay of an instance that exists (N070–N073).
///
/// # Errors
/// Bad parameters, or no such instance.
pub(crate) async fn patch(call: &Call<'_>, service: ServiceKey) -> Result<(), ApiError> {
    let instance = find(call, &service)?;
    let metadata = call.params.get("metadata").map(|text| forms::metadata(Some(text))).transpose()?;
    let (enabled, weight) = (forms::enabled(call)?, forms::weight(call)?);
    call.app.naming.patch_overlay(service, instance.metadata_id(), enabled, weight, metadata).await?;
    Ok(())
}

/// The instance at `ip`, `port` in the cluster asked for.
///
/// # Errors
/// Bad parameters, or 404 with Nacos's two texts (N075, N076).
pub(crate) fn find(call: &Call<'_>, service: &ServiceKey) -> Result<Arc<Instance>, ApiError> {
    let (ip, port) = forms::address(call)?;
    let cluster = forms::cluster(call);
    let published = call.app.published().get(service);
    let Some(published) = published.filter(|published| !published.snapshot.instances.is_empty()) else {
        let text = format!("no ips found for cluster {cluster} in service {}", service.grouped());
        return Err(ApiError::not_found(codes::RESOURCE_NOT_FOUND, text));
    };
    let missing = || ApiError::not_found(codes::RESOURCE_NOT_FOUND, "no matched ip found!");
    published.snapshot.find(ip, port, cluster).cloned().ok_or_else(missing)
}

/// The names that the list parameters have in one generation.
pub(crate) struct ListParams {
    /// the clusters wanted
    pub(crate) clusters: &'static str,
    /// UDP port of a subscriber
    pub(crate) port: &'static str,
    /// its address
    pub(crate) ip: &'static str,
}

/// An answered list query.
pub(crate) struct List<'a> {
    service: ServiceKey,
    clusters: &'a str,
    cache_millis: u64,
    hosts: Bytes,
    protected: bool,
}

/// Makes what follows miss nothing where the caller asked for that: `consistency=strong`. Without it a node answers
/// what it has, as Nacos does.
///
/// # Errors
/// Another value, or no majority of the members within the deadline.
pub(crate) async fn consistent(call: &Call<'_>) -> Result<(), ApiError> {
    match call.params.or("consistency", "local") {
        "local" => Ok(()),
        "strong" => Ok(call.app.naming.read_barrier().await?),
        other => Err(ApiError::illegal(format!(
            "Param 'consistency' is illegal, the value should be local or strong, not {other}"
        ))),
    }
}

/// Answers a list query from what is published, and remembers a subscriber that can hear UDP.
///
/// # Errors
/// Bad parameters.
pub(crate) async fn list<'a>(call: &'a Call<'_>, names: &ListParams) -> Result<List<'a>, ApiError> {
    consistent(call).await?;
    let service = forms::service(call)?;
    let clusters = call.params.or(names.clusters, "");
    let healthy_only = call.params.get("healthyOnly").is_some_and(is_true);
    let port: u16 = call.params.number(names.port)?.unwrap_or(0);
    let (cache_millis, hears) = {
        let switches = call.app.naming.switches();
        (switches.default_push_cache_millis, port > 0 && hears_udp(call.agent(), &switches))
    };
    let ip = call.params.get(names.ip);
    if hears {
        subscribe(call, &service, ip, port, clusters).await;
    }
    let peer = if ip.is_some() { String::new() } else { call.peer.ip().to_string() };
    let (hosts, protected) =
        call.app.lists.hosts(&service, clusters, healthy_only, &who(call, ip, &peer)).await;
    Ok(List { service, clusters, cache_millis, hosts, protected })
}

fn who<'a>(call: &'a Call<'_>, ip: Option<&'a str>, peer: &'a str) -> Who<'a> {
    Who { ip: ip.unwrap_or(peer), app: call.params.or("app", "unknown"), agent: call.agent() }
}

/// What `query` finds, narrowed by the filter that is bound to the service for whoever asks from `ip`.
pub(crate) async fn select(
    call: &Call<'_>,
    snapshot: &Arc<ServiceSnapshot>,
    query: &Query<'_>,
    ip: Option<&str>,
) -> Selected {
    let peer = if ip.is_some() { String::new() } else { call.peer.ip().to_string() };
    call.app.lists.select(snapshot, query, &who(call, ip, &peer)).await
}

/// A subscriber that does not say where it listens is taken to listen where it asks from. One that cannot be
/// remembered now gets its list all the same: it asks again before long.
async fn subscribe(call: &Call<'_>, service: &ServiceKey, ip: Option<&str>, port: u16, clusters: &str) {
    let ip = ip.map_or_else(|| call.peer.ip().to_string(), str::to_owned);
    let subscription = Subscription {
        client: ClientId::address(&ip, port, true),
        service: service.clone(),
        ip: ip.into(),
        port,
        clusters: clusters.into(),
        agent: call.agent().into(),
        app: call.params.or("app", "unknown").into(),
    };
    if let Err(error) = call.app.naming.subscribe(subscription).await {
        tracing::warn!(%service, %error, "a subscriber was not remembered");
    }
}

impl List<'_> {
    /// The list as ServiceInfo between `before` and `after`.
    pub(crate) fn body(self, call: &Call<'_>, before: &[u8], after: &'static [u8]) -> Body {
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(before);
        let head = wire::Head {
            service: &self.service,
            clusters: self.clusters,
            cache_millis: self.cache_millis,
            last_ref_time: call.app.clock.now(),
            protected: self.protected,
        };
        head.write(true, &mut text);
        Body::parts(text, self.hosts, after)
    }
}

/// Takes a beat.
///
/// # Errors
/// Bad parameters, or a full beat of an instance that the registry refuses.
pub(crate) async fn beat(call: &Call<'_>, service: ServiceKey) -> Result<BeatReply, ApiError> {
    let beat = forms::beat(call)?;
    Ok(call.app.naming.beat(service, beat).await?)
}

/// A beat of an instance that is described by parameters alone (v3 `heartBeat=true`).
///
/// # Errors
/// Bad parameters, or a node that cannot answer.
pub(crate) async fn light_beat(call: &Call<'_>, service: ServiceKey) -> Result<BeatReply, ApiError> {
    let (ip, port) = forms::address(call)?;
    let beat = Beat { ip: ip.to_owned(), port, full: None };
    Ok(call.app.naming.beat(service, beat).await?)
}

/// The instances that a batch changed.
#[derive(Debug, Serialize)]
pub(crate) struct Updated {
    /// `ip:port:unknown:cluster:ephemeral` each
    pub(crate) updated: Vec<String>,
}

/// What a batch does with the keys of `metadata`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchEdit {
    /// puts them
    Put,
    /// removes them
    Remove,
}

/// Puts keys into, or takes keys out of, the overlays of many instances (N082–N084).
///
/// # Errors
/// Bad parameters, or a node that cannot write.
pub(crate) async fn batch_metadata(call: &Call<'_>, edit: BatchEdit) -> Result<Updated, ApiError> {
    let service = forms::service(call)?;
    let metadata = forms::metadata(Some(call.params.required("metadata")?))?;
    let published = call.app.published().get(&service);
    let instances = published.map(|published| chosen(call, &published.snapshot)).unwrap_or_default();
    let edit = match edit {
        BatchEdit::Put => MetadataEdit::Put(metadata),
        BatchEdit::Remove => MetadataEdit::Remove(metadata.into_keys().collect()),
    };
    if !instances.is_empty() {
        let ids = instances.iter().map(|instance| instance.metadata_id()).collect();
        call.app.naming.batch_metadata(service, ids, edit).await?;
    }
    Ok(Updated { updated: instances.iter().map(|instance| described(instance)).collect() })
}

/// The instances that a batch names and that exist; all of the service when it names none.
fn chosen(call: &Call<'_>, snapshot: &ServiceSnapshot) -> Vec<Arc<Instance>> {
    let kind = match call.params.or("consistencyType", "") {
        "ephemeral" => Some(true),
        "persist" => Some(false),
        _ => None,
    };
    let named = forms::batch_entries(call);
    let wanted = |instance: &Instance| match &named {
        None => true,
        Some(entries) => entries.iter().any(|entry| {
            let cluster = entry.cluster_name.as_deref().unwrap_or(muster_core::ids::DEFAULT_CLUSTER);
            *entry.ip == *instance.ip
                && f64::from(instance.port) == entry.port.0
                && *cluster == *instance.cluster
        }),
    };
    let of_kind = |instance: &Instance| kind.is_none_or(|ephemeral| instance.ephemeral == ephemeral);
    snapshot.instances.iter().filter(|i| of_kind(i) && wanted(i)).cloned().collect()
}

fn described(instance: &Instance) -> String {
    let kind = if instance.ephemeral { "ephemeral" } else { "persist" };
    format!("{}:{}:unknown:{}:{kind}", instance.ip, instance.port, instance.cluster)
}

/// The health of every instance of a service, as 1.x servers ask it of each other.
#[derive(Debug, Serialize)]
pub(crate) struct Statuses {
    ips: Vec<String>,
}

/// The statuses of the service that `key` names: `[namespace##]group@@name` (N085).
pub(crate) fn statuses(call: &Call<'_>, key: &str) -> Statuses {
    let (namespace, grouped) = key.split_once("##").unwrap_or((muster_core::ids::PUBLIC, key));
    let published = call.app.published().get(&ServiceKey::from_grouped(namespace, grouped));
    let line = |i: &Arc<Instance>| format!("{}:{}_{}", i.ip, i.port, i.healthy);
    let ips = published.map(|published| published.snapshot.instances.iter().map(line).collect());
    Statuses { ips: ips.unwrap_or_default() }
}
