//! `/v3/admin/ns`.

use super::V3;
use crate::http::call::Call;
use crate::http::forms;
use crate::http::ops::instance::BatchEdit;
use crate::http::ops::{catalog, checker, client, instance, operator, service};
use crate::http::reply;
use crate::http::router::{DELETE, GET, Outcome, POST, PUT, Run, Table};
use crate::http::v2::{self, each};
use crate::http::views::{PageView, SubscriberViewV3, address_of};
use crate::wire::Hosts;
use muster_core::ids::ClientId;
use muster_core::naming::{PublisherView, Subscription};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn routes(table: &mut Table) {
    instance_routes(table);
    service_routes(table);
    client_routes(table);
    let path = |end: &str| format!("/v3/admin/ns/{end}");
    table.add(V3, PUT, path("health/instance"), Run::Later(|call| Box::pin(v2::set_health(call))));
    table.add(V3, GET, path("health/checkers"), Run::Now(|call| reply::data(&checker::all(call.app))));
    table.add(V3, GET, path("ops/switches"), Run::Now(|call| reply::data(&operator::switches_v3(call)?)));
    table.add(V3, PUT, path("ops/switches"), Run::Later(|call| Box::pin(v2::set_switch(call))));
    table.add(V3, GET, path("ops/metrics"), Run::Later(|call| Box::pin(v2::metrics(call))));
}

fn instance_routes(table: &mut Table) {
    let path = |end: &str| format!("/v3/admin/ns/instance{end}");
    table.add(V3, POST, path(""), Run::Later(|call| Box::pin(v2::register(call))));
    table.add(V3, DELETE, path(""), Run::Later(|call| Box::pin(v2::deregister(call))));
    table.add(V3, PUT, path(""), Run::Later(|call| Box::pin(v2::update(call))));
    table.add(V3, GET, path(""), Run::Now(detail));
    table.add(V3, PUT, path("/partial"), Run::Later(|call| Box::pin(patch(call))));
    table.add(V3, GET, path("/list"), Run::Now(list));
    let batch = path("/metadata/batch");
    table.add(V3, PUT, batch.as_str(), Run::Later(|call| Box::pin(v2::batch_metadata(call, BatchEdit::Put))));
    table.add(V3, DELETE, batch, Run::Later(|call| Box::pin(v2::batch_metadata(call, BatchEdit::Remove))));
}

fn service_routes(table: &mut Table) {
    let path = |end: &str| format!("/v3/admin/ns/service{end}");
    table.add(V3, POST, path(""), Run::Later(|call| Box::pin(v2::create_service(call))));
    table.add(V3, PUT, path(""), Run::Later(|call| Box::pin(v2::update_service(call))));
    table.add(V3, DELETE, path(""), Run::Later(|call| Box::pin(v2::delete_service(call))));
    table.add(V3, GET, path(""), Run::Now(v2::service_detail));
    table.add(V3, GET, path("/list"), Run::Now(service_list));
    table.add(V3, GET, path("/subscribers"), Run::Later(|call| Box::pin(subscribers(call))));
    table.add(V3, GET, path("/selector/types"), Run::Now(|_| reply::data(&["none", "label"])));
    table.add(V3, PUT, "/v3/admin/ns/cluster", Run::Later(|call| Box::pin(update_cluster(call))));
}

fn client_routes(table: &mut Table) {
    let path = |end: &str| format!("/v3/admin/ns/client{end}");
    table.add(V3, GET, path("/list"), Run::Later(|call| Box::pin(v2::client_list(call))));
    table.add(V3, GET, path(""), Run::Later(|call| Box::pin(client_detail(call))));
    table.add(V3, GET, path("/publish/list"), Run::Later(|call| Box::pin(client_published(call))));
    table.add(V3, GET, path("/subscribe/list"), Run::Later(|call| Box::pin(client_subscribed(call))));
    let publishers = path("/service/publisher/list");
    table.add(V3, GET, publishers, Run::Later(|call| Box::pin(publishers_of(call))));
    let subscribers = path("/service/subscriber/list");
    table.add(V3, GET, subscribers, Run::Later(|call| Box::pin(subscribers_of(call))));
    table.add(V3, GET, path("/distro"), Run::Now(responsible));
}

fn detail(call: &Call<'_>) -> Outcome {
    let key = forms::service(call)?;
    let found = instance::find(call, &key)?;
    let hosts = Hosts { service: &key, instances: &[found], all_healthy: false };
    let hosts = serde_json::to_value(&hosts).map_err(|error| crate::http::error::ApiError::fault(&error))?;
    reply::data(&hosts[0])
}

/// What is not given stays as it is; Nacos sets it to its default.
async fn patch(call: &Call<'_>) -> Outcome {
    instance::patch(call, forms::service(call)?).await?;
    Ok(reply::data_ok())
}

/// Real health, disabled instances included (N117, N166).
fn list(call: &Call<'_>) -> Outcome {
    let key = forms::service(call)?;
    let mut found = catalog::instances_of_cluster(call, &key, forms::cluster(call))?;
    if call.params.flag("healthyOnly", call.spelling())?.unwrap_or(false) {
        found.retain(|instance| instance.healthy);
    }
    reply::data(&Hosts { service: &key, instances: &found, all_healthy: false })
}

fn service_list(call: &Call<'_>) -> Outcome {
    let flag = |name| call.params.flag(name, call.spelling()).map(|given| given.unwrap_or(false));
    let page = forms::page(call, 1, 100)?;
    let found = catalog::services(call, flag("ignoreEmptyService")?)?;
    let shown = page.of(&found).iter();
    let page_items: Vec<Value> = if flag("withInstances")? {
        shown.map(|one| json!(catalog::with_hosts(call, &one.snapshot))).collect()
    } else {
        shown.map(|one| json!(catalog::ServiceLine::from(&*one.snapshot))).collect()
    };
    reply::data(&PageView {
        total_count: found.len(),
        page_number: page.number,
        pages_available: page.pages(found.len()),
        page_items,
    })
}

async fn subscribers(call: &Call<'_>) -> Outcome {
    let page = forms::page(call, 1, 100)?;
    let found = service::subscribers(call).await?;
    reply::data(&PageView {
        total_count: found.len(),
        page_number: page.number,
        pages_available: page.pages(found.len()),
        page_items: page.of(&found).iter().map(|one| SubscriberViewV3::from(&**one)).collect(),
    })
}

async fn update_cluster(call: &Call<'_>) -> Outcome {
    service::update_cluster(call).await?;
    Ok(reply::data_ok())
}

async fn client_detail(call: &Call<'_>) -> Outcome {
    let (id, seen) = client::seen(call).await?;
    let (ip, port) = id.ip_and_port();
    let (kind, transport) = match &id {
        ClientId::Address { .. } => ("ipPort", None),
        ClientId::Connection(_) => ("connection", Some("GRPC")),
    };
    reply::data(&json!({
        "clientId": id.to_string(),
        "ephemeral": id.is_ephemeral(),
        "lastUpdatedTime": seen,
        "clientType": kind,
        "connectType": transport,
        "appName": null,
        "version": null,
        "clientIp": ip,
        "clientPort": port.parse::<u16>().unwrap_or(0),
    }))
}

fn publisher(one: &PublisherView) -> Value {
    json!({
        "clientId": one.client.to_string(),
        "ip": one.instance.ip,
        "port": one.instance.port,
        "clusterName": one.instance.cluster,
    })
}

fn subscriber(one: &Subscription) -> Value {
    json!({
        "clientId": one.client.to_string(),
        "appName": one.app,
        "agent": one.agent,
        "address": address_of(one),
    })
}

async fn client_published(call: &Call<'_>) -> Outcome {
    let view = |one: &PublisherView| {
        json!({
            "namespaceId": one.service.namespace(),
            "groupName": one.service.group(),
            "serviceName": one.service.name(),
            "publisherInfo": publisher(one),
        })
    };
    each(client::published(call).await?, view)
}

async fn client_subscribed(call: &Call<'_>) -> Outcome {
    let view = |one: &Arc<Subscription>| {
        json!({
            "namespaceId": one.service.namespace(),
            "groupName": one.service.group(),
            "serviceName": one.service.name(),
            "subscriberInfo": subscriber(one),
        })
    };
    each(client::subscribed(call).await?, view)
}

async fn publishers_of(call: &Call<'_>) -> Outcome {
    each(client::publishers(call).await?, publisher)
}

async fn subscribers_of(call: &Call<'_>) -> Outcome {
    each(client::subscribers(call).await?, |one| subscriber(one))
}

fn responsible(call: &Call<'_>) -> Outcome {
    forms::address(call)?;
    reply::data(&operator::responsible(call))
}
