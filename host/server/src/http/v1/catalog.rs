//! `/v1/ns/catalog`: what the old console shows.

use super::ADMIN;
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::forms;
use crate::http::ops::{catalog as ops, service};
use crate::http::params::is_true;
use crate::http::reply;
use crate::http::router::{ANY, GET, Outcome, Run, Table};
use crate::http::views::ClusterView;
use crate::wire::Hosts;
use serde_json::json;

pub(super) fn routes(table: &mut Table) {
    table.add(ADMIN, GET, "/v1/ns/catalog/service", Run::Now(detail));
    table.add(ADMIN, ANY, "/v1/ns/catalog/instances", Run::Now(instances));
    table.add(ADMIN, ANY, "/v1/ns/catalog/services", Run::Now(services));
}

fn detail(call: &Call<'_>) -> Outcome {
    let key = forms::service_in_framework(call)?;
    let detail = service::detail(call, service::known(call, &key)?);
    let view = |cluster: service::ClusterDetail| {
        ClusterView::new(&key, &cluster.name, &cluster.settings, cluster.checker)
    };
    reply::json(&json!({
        "service": {
            "name": key.name(),
            "groupName": key.group(),
            "protectThreshold": detail.protect_threshold,
            "selector": detail.selector,
            "metadata": detail.metadata,
        },
        "clusters": detail.clusters.into_iter().map(view).collect::<Vec<_>>(),
    }))
}

fn instances(call: &Call<'_>) -> Outcome {
    let key = forms::service_in_framework(call)?;
    let missing = || ApiError::missing_in_framework("clusterName");
    let cluster = call.params.get("clusterName").ok_or_else(missing)?;
    let page = forms::required_page(call)?;
    let found = ops::instances_of_cluster(call, &key, cluster)?;
    let hosts = Hosts { service: &key, instances: page.of(&found), all_healthy: false };
    reply::json(&json!({ "list": hosts, "count": found.len() }))
}

fn services(call: &Call<'_>) -> Outcome {
    let flag = |name| call.params.get(name).is_some_and(is_true);
    let found = ops::services(call, flag("hasIpCount"))?;
    let page = forms::page(call, 1, 20)?;
    let shown = page.of(&found).iter();
    if flag("withInstances") {
        let services: Vec<_> = shown.map(|one| ops::with_hosts(call, &one.snapshot)).collect();
        return reply::json(&services);
    }
    let lines: Vec<_> = shown.map(|one| ops::ServiceLine::from(&*one.snapshot)).collect();
    reply::json(&json!({ "count": found.len(), "serviceList": lines }))
}
