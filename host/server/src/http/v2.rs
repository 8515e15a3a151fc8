//! `/v2/ns`: bare names with a separate group, results in an envelope. Three calls answer bare, as in Nacos.

use super::call::Call;
use super::error::{ApiError, Dialect};
use super::forms;
use super::ops::instance::{self, BatchEdit, ListParams};
use super::ops::{client, health, operator, service};
use super::reply;
use super::router::{ANY, DELETE, Family, GET, Gate, Outcome, PATCH, POST, PUT, Run, Table, Version};
use super::v1::beat_reply;
use super::views::InstanceDetail;
use crate::wire::Hosts;
use muster_core::ids::ClientId;
use muster_core::naming::{PublisherView, Subscription};
use serde_json::{Map, Value, json};

/// What SDKs call.
const CLIENT: Family = Family {
    version: Version::V2,
    dialect: Dialect::Envelope,
    gate: Gate::Client,
    instead: "/v3/client/ns/instance",
};
/// What operators call.
const ADMIN: Family = CLIENT.behind(Gate::Admin, "/v3/admin/ns");

const LIST: ListParams = ListParams { clusters: "clusterName", port: "port", ip: "ip" };

/// Path of `instance/statuses/{key}` up to the key.
pub(crate) const STATUSES: &str = "/v2/ns/instance/statuses/";

/// Adds all routes of `/v2/ns`.
pub(crate) fn routes(table: &mut Table) {
    instance_routes(table);
    let path = "/v2/ns/service";
    table.add(ADMIN, POST, path, Run::Later(|call| Box::pin(create_service(call))));
    table.add(ADMIN, PUT, path, Run::Later(|call| Box::pin(update_service(call))));
    table.add(ADMIN, DELETE, path, Run::Later(|call| Box::pin(delete_service(call))));
    table.add(ADMIN, GET, path, Run::Now(service_detail));
    table.add(ADMIN, GET, "/v2/ns/service/list", Run::Now(service_list));
    table.add(ADMIN, PUT, "/v2/ns/health", Run::Later(|call| Box::pin(set_health(call))));
    table.add(ADMIN, PUT, "/v2/ns/health/instance", Run::Later(|call| Box::pin(set_health(call))));
    for base in ["/v2/ns/ops", "/v2/ns/operator"] {
        let path = |end: &str| format!("{base}/{end}");
        table.add(ADMIN, GET, path("switches"), Run::Now(|call| reply::data(&*operator::switches(call))));
        table.add(ADMIN, PUT, path("switches"), Run::Later(|call| Box::pin(set_switch(call))));
        table.add(CLIENT, GET, path("metrics"), Run::Later(|call| Box::pin(metrics(call))));
    }
    table.add(ADMIN, ANY, "/v2/ns/catalog/instances", Run::Now(catalog_instances));
    client_routes(table);
}

fn instance_routes(table: &mut Table) {
    let path = "/v2/ns/instance";
    table.add(CLIENT, POST, path, Run::Later(|call| Box::pin(register(call))));
    table.add(CLIENT, DELETE, path, Run::Later(|call| Box::pin(deregister(call))));
    table.add(CLIENT, PUT, path, Run::Later(|call| Box::pin(update(call))));
    table.add(CLIENT, PATCH, path, Run::Later(|call| Box::pin(patch(call))));
    table.add(CLIENT, GET, path, Run::Now(detail));
    table.add(CLIENT, GET, "/v2/ns/instance/list", Run::Later(|call| Box::pin(list(call))));
    table.add(CLIENT, PUT, "/v2/ns/instance/beat", Run::Later(|call| Box::pin(beat(call))));
    let batch = "/v2/ns/instance/metadata/batch";
    table.add(ADMIN, PUT, batch, Run::Later(|call| Box::pin(batch_metadata(call, BatchEdit::Put))));
    table.add(ADMIN, DELETE, batch, Run::Later(|call| Box::pin(batch_metadata(call, BatchEdit::Remove))));
    // The table knows no slash at the end; `find` looks for this one by its beginning.
    table.add(ADMIN, ANY, STATUSES.trim_end_matches('/'), Run::Now(statuses));
}

fn client_routes(table: &mut Table) {
    let path = |end: &str| format!("/v2/ns/client{end}");
    table.add(ADMIN, GET, path("/list"), Run::Later(|call| Box::pin(client_list(call))));
    table.add(ADMIN, GET, path(""), Run::Later(|call| Box::pin(client_detail(call))));
    table.add(ADMIN, GET, path("/publish/list"), Run::Later(|call| Box::pin(client_published(call))));
    table.add(ADMIN, GET, path("/subscribe/list"), Run::Later(|call| Box::pin(client_subscribed(call))));
    let publishers = path("/service/publisher/list");
    table.add(ADMIN, GET, publishers, Run::Later(|call| Box::pin(publishers_of(call))));
    let subscribers = path("/service/subscriber/list");
    table.add(ADMIN, GET, subscribers, Run::Later(|call| Box::pin(subscribers_of(call))));
}

/// v2 and v3 register, deregister and update alike.
pub(super) async fn register(call: &Call<'_>) -> Outcome {
    instance::register(call).await?;
    Ok(reply::data_ok())
}

pub(super) async fn deregister(call: &Call<'_>) -> Outcome {
    instance::deregister(call).await?;
    Ok(reply::data_ok())
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    instance::update(call).await?;
    Ok(reply::data_ok())
}

/// Not enveloped, and all of what it changes is required.
async fn patch(call: &Call<'_>) -> Outcome {
    let service = forms::service_grouped(call)?;
    for name in ["weight", "enabled", "metadata"] {
        call.params.required(name)?;
    }
    instance::patch(call, service).await?;
    Ok(reply::ok())
}

fn detail(call: &Call<'_>) -> Outcome {
    let service = forms::service(call)?;
    let found = instance::find(call, &service)?;
    let detail = InstanceDetail::new(&found, &service);
    reply::data(&InstanceDetail { service_name: Some(service.grouped()), ..detail })
}

async fn list(call: &Call<'_>) -> Outcome {
    let list = instance::list(call, &LIST).await?;
    Ok(reply::json_body(list.body(call, reply::DATA, b"}")))
}

/// Not enveloped (N157).
async fn beat(call: &Call<'_>) -> Outcome {
    let answer = instance::beat(call, forms::service_grouped(call)?).await?;
    beat_reply(call, answer)
}

pub(super) async fn batch_metadata(call: &Call<'_>, edit: BatchEdit) -> Outcome {
    reply::data(&instance::batch_metadata(call, edit).await?)
}

/// Not enveloped; the key is the rest of the path.
fn statuses(call: &Call<'_>) -> Outcome {
    let key = call.path.strip_prefix(STATUSES).unwrap_or_default();
    let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy();
    reply::json(&instance::statuses(call, &key))
}

pub(super) async fn create_service(call: &Call<'_>) -> Outcome {
    service::create(call, forms::service_form(call, forms::service(call)?)?).await?;
    Ok(reply::data_ok())
}

pub(super) async fn update_service(call: &Call<'_>) -> Outcome {
    service::update(call, forms::service_form(call, forms::service(call)?)?).await?;
    Ok(reply::data_ok())
}

pub(super) async fn delete_service(call: &Call<'_>) -> Outcome {
    service::delete(call, forms::service(call)?).await?;
    Ok(reply::data_ok())
}

/// Both names of the namespace field, of 2.x and 3.x. Hosts are not part of it.
pub(super) fn service_detail(call: &Call<'_>) -> Outcome {
    let key = forms::service(call)?;
    let detail = service::detail(call, service::known(call, &key)?);
    let clusters = detail.clusters.into_iter().map(|cluster| {
        let view = json!({
            "clusterName": cluster.name,
            "healthChecker": cluster.checker,
            "healthyCheckPort": cluster.settings.check_port,
            "useInstancePortForCheck": cluster.settings.use_instance_port,
            "metadata": cluster.settings.metadata,
            "hosts": null,
        });
        (cluster.name, view)
    });
    reply::data(&json!({
        "namespace": key.namespace(),
        "namespaceId": key.namespace(),
        "serviceName": key.name(),
        "groupName": key.group(),
        "clusterMap": clusters.collect::<Map<_, _>>(),
        "metadata": detail.metadata,
        "protectThreshold": detail.protect_threshold,
        "selector": detail.selector,
        "ephemeral": detail.snapshot.ephemeral,
    }))
}

/// Largest page. Source: Nacos `ServiceControllerV2.MAX_PAGE_SIZE` (N139).
const MAX_PAGE: usize = 500;

fn service_list(call: &Call<'_>) -> Outcome {
    let mut page = forms::page(call, 1, 20)?;
    page.size = page.size.min(MAX_PAGE);
    let names = service::names_of_group(call);
    reply::data(&json!({ "count": names.len(), "services": page.of(&names) }))
}

pub(super) async fn set_health(call: &Call<'_>) -> Outcome {
    health::set(call).await?;
    Ok(reply::data_ok())
}

pub(super) async fn set_switch(call: &Call<'_>) -> Outcome {
    operator::set_switch(call).await?;
    Ok(reply::data_ok())
}

pub(super) async fn metrics(call: &Call<'_>) -> Outcome {
    reply::data(&operator::metrics(call).await?)
}

fn catalog_instances(call: &Call<'_>) -> Outcome {
    let key = forms::service(call)?;
    let page = forms::required_page(call)?;
    let healthy = call.params.flag("healthyOnly", call.spelling())?;
    let enabled = call.params.flag("enabledOnly", call.spelling())?;
    let snapshot = service::known(call, &key)?;
    let fits = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
    let mut found = snapshot.instances.clone();
    found.retain(|one| fits(healthy, one.healthy) && fits(enabled, one.enabled));
    let shown = page.of(&found);
    if shown.is_empty() {
        return reply::data(&json!({ "count": found.len() }));
    }
    let hosts = Hosts { service: &key, instances: shown, all_healthy: false };
    reply::data(&json!({ "instances": hosts, "count": found.len() }))
}

pub(super) async fn client_list(call: &Call<'_>) -> Outcome {
    reply::data(&client::ids(call).await?)
}

async fn client_detail(call: &Call<'_>) -> Outcome {
    let (id, seen) = client::seen(call).await?;
    let (ip, port) = id.ip_and_port();
    let kind = match &id {
        ClientId::Address { .. } => "ipPort",
        ClientId::Connection(_) => "connection",
    };
    reply::data(&json!({
        "clientId": id.to_string(),
        "ephemeral": id.is_ephemeral(),
        "lastUpdatedTime": seen,
        "clientType": kind,
        "clientIp": ip,
        "clientPort": port,
    }))
}

async fn client_published(call: &Call<'_>) -> Outcome {
    let view = |one: &PublisherView| {
        json!({
            "namespace": one.service.namespace(),
            "group": one.service.group(),
            "serviceName": one.service.name(),
            "registeredInstance": {
                "ip": one.instance.ip,
                "port": one.instance.port,
                "cluster": one.instance.cluster,
            },
        })
    };
    each(client::published(call).await?, view)
}

async fn client_subscribed(call: &Call<'_>) -> Outcome {
    let view = |one: &std::sync::Arc<Subscription>| {
        json!({
            "namespace": one.service.namespace(),
            "group": one.service.group(),
            "serviceName": one.service.name(),
            "subscriberInfo": {
                "app": one.app,
                "agent": one.agent,
                "addr": super::views::address_of(one),
            },
        })
    };
    each(client::subscribed(call).await?, view)
}

async fn publishers_of(call: &Call<'_>) -> Outcome {
    let view = |one: &PublisherView| {
        json!({
            "ip": one.instance.ip,
            "port": one.instance.port,
            "cluster": one.instance.cluster,
            "clientId": one.client.to_string(),
        })
    };
    each(client::publishers(call).await?, view)
}

async fn subscribers_of(call: &Call<'_>) -> Outcome {
    let view = |one: &std::sync::Arc<Subscription>| json!({ "clientId": one.client.to_string(), "ip": one.ip, "port": one.port });
    each(client::subscribers(call).await?, view)
}

/// A list of views as data.
pub(super) fn each<T>(items: Vec<T>, view: impl Fn(&T) -> Value) -> Result<reply::Reply, ApiError> {
    reply::data(&items.iter().map(view).collect::<Vec<_>>())
}
