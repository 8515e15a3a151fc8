//! `/v1/ns/service` and `/v1/ns/cluster`.

use super::ADMIN;
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::forms;
use crate::http::ops::{catalog, service as ops};
use crate::http::reply;
use crate::http::router::{DELETE, GET, Outcome, POST, PUT, Run, Table};
use crate::http::views::{SelectorView, SubscriberView};
use muster_core::instance::Metadata;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub(super) fn routes(table: &mut Table) {
    let path = "/v1/ns/service";
    table.add(ADMIN, POST, path, Run::Later(|call| Box::pin(create(call))));
    table.add(ADMIN, DELETE, path, Run::Later(|call| Box::pin(delete(call))));
    table.add(ADMIN, PUT, path, Run::Later(|call| Box::pin(update(call))));
    table.add(ADMIN, GET, path, Run::Now(detail));
    table.add(ADMIN, GET, "/v1/ns/service/list", Run::Now(list));
    table.add(ADMIN, GET, "/v1/ns/service/names", Run::Now(names));
    table.add(ADMIN, GET, "/v1/ns/service/subscribers", Run::Later(|call| Box::pin(subscribers(call))));
    table.add(ADMIN, GET, "/v1/ns/service/selector/types", Run::Now(|_| reply::rest(&["none", "label"])));
    table.add(ADMIN, PUT, "/v1/ns/cluster", Run::Later(|call| Box::pin(update_cluster(call))));
}

async fn create(call: &Call<'_>) -> Outcome {
    ops::create(call, forms::service_form(call, forms::service_in_framework(call)?)?).await?;
    Ok(reply::ok())
}

async fn update(call: &Call<'_>) -> Outcome {
    let service = forms::service(call)?;
    call.params.required("protectThreshold")?;
    ops::update(call, forms::service_form(call, service)?).await?;
    Ok(reply::ok())
}

async fn delete(call: &Call<'_>) -> Outcome {
    ops::delete(call, forms::service_in_framework(call)?).await?;
    Ok(reply::ok())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    namespace_id: String,
    group_name: String,
    name: String,
    protect_threshold: f64,
    metadata: Metadata,
    selector: SelectorView,
    clusters: Vec<Value>,
}

fn detail(call: &Call<'_>) -> Outcome {
    let service = forms::service_in_framework(call)?;
    let detail = ops::detail(call, ops::known(call, &service)?);
    let clusters = detail.clusters.into_iter().map(|cluster| {
        json!({
            "name": cluster.name,
            "healthChecker": cluster.checker,
            "metadata": cluster.settings.metadata,
        })
    });
    reply::json(&Detail {
        namespace_id: service.namespace().to_owned(),
        group_name: service.group().to_owned(),
        name: service.name().to_owned(),
        protect_threshold: detail.protect_threshold,
        metadata: detail.metadata,
        selector: detail.selector,
        clusters: clusters.collect(),
    })
}

#[derive(Serialize)]
struct NameList<'a> {
    count: usize,
    doms: &'a [String],
}

fn list(call: &Call<'_>) -> Outcome {
    let page = forms::required_page(call)?;
    let names = ops::names_of_group(call);
    reply::json(&NameList { count: names.len(), doms: page.of(&names) })
}

/// Names by namespace, under both keys that versions of Nacos have used.
#[derive(Serialize)]
struct AllNames<'a> {
    services: &'a BTreeMap<&'a str, Vec<String>>,
    #[serde(rename = "META-INF/services")]
    services_old: &'a BTreeMap<&'a str, Vec<String>>,
    count: usize,
}

fn names(call: &Call<'_>) -> Outcome {
    let namespace = call.params.get("namespaceId");
    let pattern = catalog::pattern(call.params.get("expr"))?;
    let all = call.app.published().all();
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for key in all.iter().map(|service| &service.snapshot.key) {
        let wanted = namespace.is_none_or(|namespace| namespace == key.namespace())
            && pattern.as_ref().is_none_or(|pattern| pattern.is_match(key.name()));
        if wanted {
            found.entry(key.namespace()).or_default().push(key.grouped());
        }
    }
    found.values_mut().for_each(|names| names.sort_unstable());
    let count = found.values().map(Vec::len).sum();
    reply::json(&AllNames { services: &found, services_old: &found, count })
}

#[derive(Serialize)]
struct Subscribers<'a> {
    subscribers: &'a [SubscriberView<'a>],
    count: usize,
}

/// With `aggregation` the other members would be asked too; a node on its own knows all subscribers.
async fn subscribers(call: &Call<'_>) -> Result<reply::Reply, ApiError> {
    let page = forms::page(call, 1, 1000)?;
    let found = ops::subscribers(call).await?;
    let views: Vec<SubscriberView<'_>> = found.iter().map(|one| SubscriberView::from(&**one)).collect();
    reply::json(&Subscribers { subscribers: page.of(&views), count: views.len() })
}

async fn update_cluster(call: &Call<'_>) -> Outcome {
    ops::update_cluster(call).await?;
    Ok(reply::ok())
}
