//! Unary requests of SDKs: the exact order of checks, then one handler per type.
//! Source: Nacos `GrpcRequestAcceptor`, `…naming.remote.rpc.handler`.

use super::Node;
use super::connection::{Connection, Source};
use super::messages::{
    Empty, Failure, InstanceBody, InstanceRequest, ListRequest, QueryRequest, Reply, ServiceRef,
    SubscribeRequest, codes,
};
use super::payload::Payload;
use super::refusal::Refusal;
use super::watch::watch;
use crate::http::Status;
use muster_core::naming::Subscription;
use muster_core::{Instance, ServiceKey, validate};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

/// Types that only members may send. Source: Nacos `InvokeSource`.
const CLUSTER_ONLY: [&str; 5] = [
    "DistroDataRequest",
    "MemberReportRequest",
    "ServerLoaderInfoRequest",
    "ServerReloadRequest",
    "ConfigChangeClusterSyncRequest",
];

/// Types that are handled here.
const HANDLED: [&str; 8] = [
    "HealthCheckRequest",
    "InstanceRequest",
    "PersistentInstanceRequest",
    "BatchInstanceRequest",
    "SubscribeServiceRequest",
    "ServiceQueryRequest",
    "ServiceListRequest",
    "NamingFuzzyWatchRequest",
];

/// How long a request waits for a setup that is on its way. Source: SDKs wait 100 ms after a setup.
const SETUP_PATIENCE: Duration = Duration::from_millis(500);
const NO_INSTANCE: &str = "Param 'instance' is required.";

/// Registering and removing. Source: Nacos `NamingRemoteConstants`.
const REGISTER: &str = "registerInstance";
const DEREGISTER: &str = "deregisterInstance";
const BATCH_REGISTER: &str = "batchRegisterInstance";

/// Longest page of service names. Source: Nacos `ServiceListRequestHandler` has no limit; the v2 HTTP list has this.
const LONGEST_PAGE: usize = 500;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServerCheck<'a> {
    connection_id: &'a str,
    support_ability_negotiation: bool,
}

#[derive(Serialize)]
struct Echo<'a> {
    r#type: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Names {
    count: usize,
    service_names: Vec<String>,
}

/// Answers one unary call that came over `connection`.
pub(super) async fn answer(node: &Node, connection: &Arc<Connection>, request: &Payload) -> Payload {
    let kind = request.kind();
    if HANDLED.contains(&kind) && connection.setup().is_none() && connection.has_stream() {
        // The setup was sent before this, on the stream; it only has not been read yet.
        let _ = tokio::time::timeout(SETUP_PATIENCE, connection.set_up()).await;
    }
    let registered = connection.setup().is_some();
    if let Some(failure) = refused(node.status.computed(), connection.source, registered, kind) {
        return failure.payload("ErrorResponse");
    }
    if kind == "ServerCheckRequest" {
        let check = ServerCheck { connection_id: &connection.id, support_ability_negotiation: true };
        return Reply::payload("ServerCheckResponse", check);
    }
    connection.seen(node.clock.now());
    match handle(node, connection, request).await {
        Ok(response) => response,
        Err(Refusal::Error(failure)) => failure.payload("ErrorResponse"),
        Err(Refusal::Own(failure)) => failure.payload(response_kind(kind)),
    }
}

/// The checks before a handler, in their order.
fn refused(status: Status, source: Source, registered: bool, kind: &str) -> Option<Failure> {
    if source == Source::Sdk && CLUSTER_ONLY.contains(&kind) {
        let text = format!(" invoke {kind} from {} is forbidden", source.word());
        return Some(Failure::fixed(codes::BAD_GATEWAY, text));
    }
    if status != Status::Up {
        return Some(Failure::fixed(codes::STARTING, "Server is starting,please try later."));
    }
    if kind == "ServerCheckRequest" {
        return None;
    }
    if !HANDLED.contains(&kind) {
        return Some(Failure::fixed(codes::NO_HANDLER, "RequestHandler Not Found"));
    }
    (!registered).then(|| Failure::fixed(codes::UNREGISTERED, "Connection is unregistered."))
}

fn response_kind(kind: &str) -> &'static str {
    match kind {
        "InstanceRequest" | "PersistentInstanceRequest" => "InstanceResponse",
        "BatchInstanceRequest" => "BatchInstanceResponse",
        "SubscribeServiceRequest" => "SubscribeServiceResponse",
        "ServiceQueryRequest" => "QueryServiceResponse",
        "ServiceListRequest" => "ServiceListResponse",
        "NamingFuzzyWatchRequest" => "NamingFuzzyWatchResponse",
        _ => "HealthCheckResponse",
    }
}

async fn handle(node: &Node, connection: &Arc<Connection>, request: &Payload) -> Result<Payload, Refusal> {
    let kind = response_kind(request.kind());
    Ok(match request.kind() {
        "InstanceRequest" => {
            let done = instance(node, connection, &request.decode()?, false).await?;
            Reply::payload(kind, Echo { r#type: done })
        }
        "PersistentInstanceRequest" => {
            let done = instance(node, connection, &request.decode()?, true).await?;
            Reply::payload(kind, Echo { r#type: done })
        }
        "BatchInstanceRequest" => {
            let done = batch(node, connection, &request.decode()?).await?;
            Reply::payload(kind, Echo { r#type: done })
        }
        "SubscribeServiceRequest" => {
            let json = subscribe(node, connection, &request.decode()?, app(request, connection)).await?;
            Payload::new(kind, json)
        }
        "ServiceQueryRequest" => Payload::new(kind, query(node, connection, &request.decode()?).await?),
        "ServiceListRequest" => Reply::payload(kind, list(node, &request.decode()?)?),
        "NamingFuzzyWatchRequest" => return watch(node, connection, &request.decode()?),
        _ => Reply::payload(kind, Empty {}),
    })
}

fn app(request: &Payload, connection: &Connection) -> Arc<str> {
    let header = request.header("app").filter(|app| !app.is_empty());
    header.map_or_else(|| connection.setup().map(|s| s.app.clone()).unwrap_or_default(), Into::into)
}

fn checked(node: &Node, service: &ServiceRef) -> Result<ServiceKey, Refusal> {
    let key = service.key();
    if node.options.check_params {
        validate::namespace(key.namespace())?;
        validate::group(key.group())?;
        validate::service(key.name())?;
    }
    Ok(key)
}

fn checked_instance(node: &Node, body: &InstanceBody) -> Result<Instance, Refusal> {
    let instance = body.instance().ok_or(validate::ParamProblem::Port)?;
    if node.options.check_params {
        validate::ip(&instance.ip)?;
        validate::clusters(&instance.cluster)?;
        validate::metadata(&instance.metadata, node.options.metadata_length)?;
    }
    Ok(instance)
}

async fn instance(
    node: &Node,
    connection: &Arc<Connection>,
    request: &InstanceRequest,
    persistent: bool,
) -> Result<&'static str, Refusal> {
    let key = checked(node, &request.service)?;
    let instance = request.instance.as_ref().map(|body| checked_instance(node, body)).transpose()?;
    let needed =
        |instance: Option<Instance>| instance.ok_or_else(|| Failure::coded(codes::INVALID, NO_INSTANCE));
    match request.kind.as_str() {
        REGISTER => {
            let instance = needed(instance)?;
            validate::instance(&instance.cluster, &instance.metadata)?;
            if persistent {
                node.naming.register(key, Instance { ephemeral: false, ..instance }).await?;
            } else {
                publish(node, connection, key, vec![instance]).await?;
            }
            Ok(REGISTER)
        }
        DEREGISTER => {
            if persistent {
                let instance = needed(instance)?;
                node.naming.deregister(key, &instance.ip, instance.port, false).await?;
            } else {
                withdraw(node, connection, key, instance).await?;
            }
            Ok(DEREGISTER)
        }
        other => Err(unsupported(other)),
    }
}

fn unsupported(kind: &str) -> Refusal {
    Failure::coded(codes::INVALID, format!("Unsupported request type {kind}")).into()
}

async fn batch(
    node: &Node,
    connection: &Arc<Connection>,
    request: &InstanceRequest,
) -> Result<&'static str, Refusal> {
    let key = checked(node, &request.service)?;
    if request.kind != BATCH_REGISTER {
        return Err(unsupported(&request.kind));
    }
    let instances = request.instances.as_deref().unwrap_or_default();
    if instances.iter().any(|body| !body.ephemeral) {
        return Err(Failure::coded(codes::INVALID, "a batch holds ephemeral instances only").into());
    }
    let instances = instances.iter().map(|body| checked_instance(node, body));
    publish(node, connection, key, instances.collect::<Result<_, _>>()?).await?;
    Ok(BATCH_REGISTER)
}

/// Publishes for a connection, unless it has gone meanwhile or is not one of a naming client.
async fn publish(
    node: &Node,
    connection: &Arc<Connection>,
    key: ServiceKey,
    instances: Vec<Instance>,
) -> Result<(), Refusal> {
    let client = connection.client();
    let result = node.naming.step(move |naming, now| {
        naming.last_seen(&client).map(|_| naming.batch_register(now, &client, &key, instances))
    });
    match result.await? {
        Some(result) => Ok(result?),
        None => Err(disconnected(connection, "register ephemeral instance").into()),
    }
}

/// Takes out what a connection has in a service, whatever address it names (N238), and what is remembered at that
/// address: after a restart a client may give up what it never registered with this run of the node.
async fn withdraw(
    node: &Node,
    connection: &Connection,
    key: ServiceKey,
    named: Option<Instance>,
) -> Result<(), Refusal> {
    let client = connection.client();
    let step = node.naming.step(move |naming, now| {
        naming.deregister(now, &client, &key);
        if let Some(named) = named {
            naming.forget(now, &key, &named.ip, named.port);
        }
    });
    Ok(step.await?)
}

fn disconnected(connection: &Connection, what: &str) -> Failure {
    let text = format!("Client [{}] connection already disconnect, can't {what}.", connection.id);
    Failure::unchecked(codes::DISCONNECTED, &text)
}

async fn subscribe(
    node: &Node,
    connection: &Arc<Connection>,
    request: &SubscribeRequest,
    app: Arc<str>,
) -> Result<Vec<u8>, Refusal> {
    let key = checked(node, &request.service)?;
    if node.options.check_params {
        validate::clusters(&request.clusters)?;
    }
    let client = connection.client();
    let agent = connection.setup().map(|setup| setup.agent.clone()).unwrap_or_default();
    let subscription = Subscription {
        client: client.clone(),
        service: key.clone(),
        ip: connection.ip.clone(),
        port: 0,
        clusters: request.clusters.as_str().into(),
        agent,
        app,
    };
    let service = key.clone();
    let wanted = request.subscribe;
    let known = node.naming.step(move |naming, now| {
        let known = naming.last_seen(&client).is_some();
        match (known, wanted) {
            (true, true) => naming.subscribe(now, subscription),
            (_, false) => naming.unsubscribe(&client, &service),
            (false, true) => {}
        }
        known
    });
    if !known.await? && wanted {
        return Err(disconnected(connection, "subscribe service").into());
    }
    service_info(node, connection, &key, &request.clusters, false).await
}

async fn query(
    node: &Node,
    connection: &Arc<Connection>,
    request: &QueryRequest,
) -> Result<Vec<u8>, Refusal> {
    let key = checked(node, &request.service)?;
    if node.options.check_params {
        validate::clusters(&request.cluster)?;
    }
    service_info(node, connection, &key, &request.cluster, request.healthy_only || request.health_only).await
}

/// A successful response with the list of a service, whose hosts are encoded already.
async fn service_info(
    node: &Node,
    connection: &Connection,
    key: &ServiceKey,
    clusters: &str,
    healthy_only: bool,
) -> Result<Vec<u8>, Refusal> {
    let (hosts, protected) = node.lists.hosts(key, clusters, healthy_only, &node.who(connection)).await;
    let mut json = Vec::with_capacity(hosts.len() + 512);
    json.extend_from_slice(br#"{"resultCode":200,"errorCode":0,"message":"success","serviceInfo":"#);
    node.head(key, clusters, protected, &mut json);
    json.extend_from_slice(&hosts);
    json.extend_from_slice(br#","success":true}"#);
    Ok(json)
}

fn list(node: &Node, request: &ListRequest) -> Result<Names, Refusal> {
    let scope = ServiceKey::new(&request.namespace, &request.group_name, "");
    if node.options.check_params {
        validate::namespace(scope.namespace())?;
        validate::group(scope.group())?;
    }
    let all = node.naming.published().of_namespace(scope.namespace());
    let names: Vec<&str> = all
        .iter()
        .map(|s| &s.snapshot.key)
        .filter(|k| k.group() == scope.group())
        .map(ServiceKey::name)
        .collect();
    let size = usize::try_from(request.page_size).unwrap_or(0).min(LONGEST_PAGE);
    let skip = usize::try_from(request.page_no.max(1) - 1).unwrap_or(0).saturating_mul(size);
    let page = names.iter().skip(skip).take(size).map(|name| (*name).to_owned());
    Ok(Names { count: names.len(), service_names: page.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(status: Status, source: Source, registered: bool, kind: &str) -> i32 {
        refused(status, source, registered, kind).map_or(0, |failure| failure.error_code)
    }

    #[test]
    fn n214_a_node_that_starts_answers_300_whatever_is_asked() {
        for kind in ["ServerCheckRequest", "InstanceRequest", "NoSuchRequest"] {
            let failure = refused(Status::Starting, Source::Sdk, true, kind).unwrap();
            assert_eq!((failure.result_code, failure.error_code), (500, 300));
            assert_eq!(failure.message, "Server is starting,please try later.");
        }
    }

    #[test]
    fn n210_n212_checks_have_their_order() {
        let up = |source, registered, kind| code(Status::Up, source, registered, kind);
        assert_eq!(code(Status::Starting, Source::Sdk, false, "DistroDataRequest"), 502);
        assert_eq!(up(Source::Sdk, false, "ServerCheckRequest"), 0);
        assert_eq!(up(Source::Sdk, false, "ConfigQueryRequest"), 302);
        assert_eq!(up(Source::Sdk, false, "HealthCheckRequest"), 301);
        assert_eq!(up(Source::Sdk, true, "HealthCheckRequest"), 0);
    }

    #[test]
    fn the_port_of_members_answers_checks_and_lets_nobody_in() {
        let up = |kind| code(Status::Up, Source::Cluster, false, kind);
        assert_eq!(up("ServerCheckRequest"), 0);
        for kind in CLUSTER_ONLY {
            assert_eq!(up(kind), 302, "{kind}");
        }
        assert!(HANDLED.iter().all(|kind| up(kind) == 301));
    }
}
