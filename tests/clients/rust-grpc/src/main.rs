//! Drives the unmodified nacos-sdk 0.8 for Rust (gRPC). Protocol: ../README.md.

use nacos_sdk::api::constants::DEFAULT_GROUP;
use nacos_sdk::api::error::Error;
use nacos_sdk::api::naming::{
    NamingChangeEvent, NamingEventListener, NamingService, NamingServiceBuilder, ServiceInstance,
};
use nacos_sdk::api::props::ClientProps;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

fn say(message: Value) {
    println!("@@ {message}");
}

fn texts(hosts: &[ServiceInstance]) -> Vec<String> {
    let mut all: Vec<_> = hosts.iter().map(|h| format!("{}={}", h.ip_and_port(), h.healthy)).collect();
    all.sort();
    all
}

fn instance(of: &Value) -> ServiceInstance {
    let text = |key: &str| of[key].as_str().map(str::to_owned);
    let metadata = of["metadata"].as_object().into_iter().flatten();
    let mut instance = ServiceInstance {
        ip: text("ip").unwrap_or_default(),
        port: of["port"].as_i64().and_then(|port| port.try_into().ok()).unwrap_or_default(),
        weight: of["weight"].as_f64().unwrap_or(1.0),
        ephemeral: of["ephemeral"].as_bool().unwrap_or(true),
        metadata: metadata.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned())).collect(),
        ..ServiceInstance::default()
    };
    instance.cluster_name = text("cluster").or(instance.cluster_name);
    instance
}

struct Teller(String);

impl NamingEventListener for Teller {
    fn event(&self, event: Arc<NamingChangeEvent>) {
        let hosts = event.instances.as_deref().unwrap_or_default();
        let metadata: HashMap<_, _> = hosts.iter().map(|h| (h.ip_and_port(), &h.metadata)).collect();
        say(json!({"event": "change", "service": self.0, "hosts": texts(hosts), "metadata": metadata}));
    }
}

struct Driver {
    naming: NamingService,
    listeners: HashMap<(String, String), Arc<Teller>>,
}

impl Driver {
    async fn act(&mut self, command: &Value) -> Result<Value, Error> {
        let service = command["service"].as_str().unwrap_or_default().to_owned();
        let group = command["group"].as_str().unwrap_or(DEFAULT_GROUP).to_owned();
        let key = (group.clone(), service.clone());
        let group = Some(group);
        let clusters = command["clusters"].as_array().into_iter().flatten();
        let clusters: Vec<_> = clusters.filter_map(Value::as_str).map(str::to_owned).collect();
        let naming = &self.naming;
        match command["do"].as_str().unwrap_or_default() {
            "register" | "update" => naming.register_instance(service, group, instance(command)).await?,
            "deregister" => naming.deregister_instance(service, group, instance(command)).await?,
            "batch" => {
                let instances = command["instances"].as_array().into_iter().flatten().map(instance).collect();
                naming.batch_register_instance(service, group, instances).await?;
            }
            "list" => {
                let hosts = match command["healthy"].as_bool() {
                    None => naming.get_all_instances(service, group, clusters, false).await?,
                    Some(healthy) => naming.select_instances(service, group, clusters, false, healthy).await?,
                };
                return Ok(json!(texts(&hosts)));
            }
            "services" => {
                let number = |key: &str| command[key].as_i64().and_then(|n| n.try_into().ok()).unwrap_or(1);
                let (names, count) = naming.get_service_list(number("page"), number("size"), group).await?;
                return Ok(json!({"count": count, "names": names}));
            }
            "subscribe" => {
                let listener = Arc::new(Teller(service.clone()));
                self.listeners.insert(key, listener.clone());
                naming.subscribe(service, group, clusters, listener).await?;
            }
            "unsubscribe" => {
                let listener = self.listeners.remove(&key).expect("subscribed before");
                naming.unsubscribe(service, group, clusters, listener).await?;
            }
            other => unreachable!("unknown: {other}"),
        }
        Ok(Value::Bool(true))
    }
}

/// The version in the lock file that this program was built with.
fn version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split("[[package]]").find(|entry| entry.contains("name = \"nacos-sdk\""));
    entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next()).unwrap_or("?")
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (server, namespace) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let props = ClientProps::new().server_addr(server).namespace(namespace).app_name("muster-tests");
    let naming = NamingServiceBuilder::new(props).build().await?;
    let mut driver = Driver { naming, listeners: HashMap::new() };
    say(json!({"event": "started", "version": version()}));
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command: Value = serde_json::from_str(&line)?;
        match driver.act(&command).await {
            Ok(ok) => say(json!({"id": command["id"], "ok": ok})),
            Err(error) => say(json!({"id": command["id"], "error": error.to_string()})),
        }
    }
    Ok(())
}
