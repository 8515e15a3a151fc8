//! Services and the settings of their clusters.

use super::checker;
use crate::http::call::Call;
use crate::http::codes;
use crate::http::error::ApiError;
use crate::http::forms::{self, ServiceForm};
use crate::http::views::SelectorView;
use muster_core::ids::ServiceKey;
use muster_core::instance::Metadata;
use muster_core::naming::{ServiceSnapshot, Subscription};
use muster_core::service::{ClusterSettings, ServiceMetadata};
use serde_json::Value;
use std::sync::Arc;

/// Creates a service (N127–N129).
///
/// # Errors
/// A service that exists already.
pub(crate) async fn create(call: &Call<'_>, form: ServiceForm) -> Result<(), ApiError> {
    let (service, metadata) = split(form);
    call.app.naming.create_service(service, metadata).await?;
    Ok(())
}

/// Replaces threshold, metadata and selector (N132, N133).
///
/// # Errors
/// A service that nobody knows.
pub(crate) async fn update(call: &Call<'_>, form: ServiceForm) -> Result<(), ApiError> {
    let (service, metadata) = split(form);
    call.app.naming.update_service(service, metadata).await?;
    Ok(())
}

fn split(form: ServiceForm) -> (ServiceKey, ServiceMetadata) {
    let ServiceForm { service, protect_threshold, metadata, selector, ephemeral } = form;
    (
        service,
        ServiceMetadata { ephemeral, protect_threshold, metadata, selector, ..ServiceMetadata::default() },
    )
}

/// Removes a service without instances (N130, N131).
///
/// # Errors
/// A service that nobody knows, or that has instances.
pub(crate) async fn delete(call: &Call<'_>, service: ServiceKey) -> Result<(), ApiError> {
    call.app.naming.delete_service(service).await?;
    Ok(())
}

/// A service that must exist.
///
/// # Errors
/// 400 in the words of `GET service` (N135).
pub(crate) fn known(call: &Call<'_>, service: &ServiceKey) -> Result<Arc<ServiceSnapshot>, ApiError> {
    let missing = || {
        let (namespace, grouped) = (service.namespace(), service.grouped());
        let text = format!("service not found, namespace: {namespace}, serviceName: {grouped}");
        ApiError::refused(codes::SERVICE_NOT_EXIST, text)
    };
    call.app.published().get(service).map(|published| published.snapshot.clone()).ok_or_else(missing)
}

/// What is stored of a service, with defaults where nothing is.
pub(crate) struct Detail {
    /// as published
    pub(crate) snapshot: Arc<ServiceSnapshot>,
    /// free key/value pairs
    pub(crate) metadata: Metadata,
    /// share of healthy instances at which protection begins
    pub(crate) protect_threshold: f64,
    /// who may be sent what
    pub(crate) selector: SelectorView,
    /// the clusters that have instances (N136), with their checkers
    pub(crate) clusters: Vec<ClusterDetail>,
}

/// One cluster of a service.
pub(crate) struct ClusterDetail {
    /// its name
    pub(crate) name: String,
    /// its settings, or the default ones
    pub(crate) settings: ClusterSettings,
    /// its checker as operators may see it
    pub(crate) checker: Value,
}

/// The details of a published service.
pub(crate) fn detail(call: &Call<'_>, snapshot: Arc<ServiceSnapshot>) -> Detail {
    let stored = snapshot.metadata.clone().unwrap_or_default();
    let clusters = snapshot.clusters().into_keys().map(|name| {
        let settings = stored.clusters.get(name).cloned().unwrap_or_default();
        let checker = checker::shown(call.app, &settings.checker);
        ClusterDetail { name: name.to_owned(), settings, checker }
    });
    Detail {
        clusters: clusters.collect(),
        metadata: stored.metadata.clone(),
        protect_threshold: decimal(stored.protect_threshold),
        selector: SelectorView::from(&stored.selector),
        snapshot,
    }
}

/// The number as it was written: 0.3 and not 0.30000001192092896.
fn decimal(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| number.into())
}

/// Replaces the settings of one cluster (N149, N150).
///
/// # Errors
/// Bad parameters, an unknown checker or bad settings for it, a service that nobody knows.
pub(crate) async fn update_cluster(call: &Call<'_>) -> Result<(), ApiError> {
    let service = forms::service(call)?;
    let cluster = call.params.required("clusterName")?;
    let check_port: u16 = call.params.required_number("checkPort")?;
    call.params.required("useInstancePort4Check")?;
    let use_instance_port = call.params.flag("useInstancePort4Check", call.spelling())?.unwrap_or(true);
    let checker = call.params.required("healthChecker")?;
    let metadata = forms::metadata(call.params.get("metadata"))?;
    let Some(published) = call.app.published().get(&service) else {
        let (group, name) = (service.group(), service.name());
        let text = format!("service not found groupName: {group},serviceName: {name}");
        return Err(ApiError::refused(codes::SERVER_ERROR, text));
    };
    let stored = published.snapshot.metadata.as_ref().and_then(|stored| stored.clusters.get(cluster));
    let checker = checker::parse(call.app, checker, stored.map(|stored| &stored.checker)).await?;
    let settings = ClusterSettings { check_port, use_instance_port, checker, metadata };
    call.app.naming.update_cluster(service, cluster.to_owned(), settings).await?;
    Ok(())
}

/// Bare names of the services of one group, sorted.
pub(crate) fn names_of_group(call: &Call<'_>) -> Vec<String> {
    let group = call.params.or("groupName", muster_core::ids::DEFAULT_GROUP);
    let services = call.app.published().of_namespace(forms::namespace(call));
    let keys = services.iter().map(|service| &service.snapshot.key);
    keys.filter(|key| key.group() == group).map(|key| key.name().to_owned()).collect()
}

/// Who subscribes to a service.
///
/// # Errors
/// Bad parameters, or a node that cannot answer.
pub(crate) async fn subscribers(call: &Call<'_>) -> Result<Vec<Arc<Subscription>>, ApiError> {
    let service = forms::service(call)?;
    Ok(call.app.naming.step(move |naming, _| naming.subscribers(&service)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_shown_as_they_were_written() {
        assert_eq!([0.0, 0.3, 0.75, 1.0].map(decimal), [0.0, 0.3, 0.75, 1.0]);
    }
}
