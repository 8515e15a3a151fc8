//! `memory`: what registered instances occupy, in a node and in the rules alone.

use crate::Context;
use crate::baseline::until_input_ends;
use crate::load::{self, Client};
use crate::node::{self, Site};
use crate::process::{Server, mib, resident};
use crate::report::{Goal, say};
use anyhow::Context as _;
use bytes::Bytes;
use muster_core::naming::Naming;
use muster_core::{ClientId, Instance, Metadata, Millis, ServiceKey};
use std::ffi::OsStr;
use std::sync::Arc;

/// As `--only` names it.
pub(crate) const NAME: &str = "memory";
/// Instances of one service.
const PER_SERVICE: usize = 100;
/// What clients say of themselves.
const METADATA: &str = r#"{"version":"1.4.2","zone":"az-1"}"#;

/// Runs it.
///
/// # Errors
/// A server does not start, or answers what it should not.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let count = if context.quick { 10_000 } else { 100_000 };
    let node = in_a_node(context, count)?;
    let core = in_the_rules(count)?;
    let each = |bytes: u64| mib(bytes) * 1024.0 * 1024.0 / mib(count as u64) / 1024.0 / 1024.0;
    let services = count / PER_SERVICE;
    let name = format!("resident for {count} instances, {services} services");
    let details =
        [("bytes-each", each(node)), ("rules-alone-mib", mib(core)), ("rules-bytes-each", each(core))];
    context.report.add(NAME, name, (mib(node), "MiB"), Goal::Reported, &details)
}

fn in_a_node(context: &Context, count: usize) -> anyhow::Result<u64> {
    let runtime = load::runtime()?;
    let site = Site::new(&context.binary)?;
    let node = site.start()?;
    let warm = resident(node.id())?;
    let requests: Arc<[Bytes]> =
        (0..count).map(|i| node::register(&node::service(i / PER_SERVICE), i, 1, METADATA)).collect();
    let connections = context.shape.connections;
    runtime.block_on(async {
        Client::connect(node.id(), node.address, requests, connections).await?.each_once().await
    })?;
    Ok(resident(node.id())?.saturating_sub(warm))
}

/// The rules alone, in a process that does nothing else.
fn in_the_rules(count: usize) -> anyhow::Result<u64> {
    let mut process = Server::ourselves(&[OsStr::new("hold-instances"), OsStr::new(&count.to_string())])?;
    let line = process.line()?.context("no answer")?;
    Ok(line.parse()?)
}

/// Fills the rules with instances and says what that took.
///
/// # Errors
/// The kernel does not say it.
pub(crate) fn hold(count: usize) -> anyhow::Result<()> {
    say("rules ready http=127.0.0.1:0");
    let before = resident("self")?;
    let mut naming = Naming::default();
    for index in 0..count {
        register(&mut naming, index)?;
        drop(naming.effects(Millis(0)));
    }
    say(&resident("self")?.saturating_sub(before).to_string());
    tokio::runtime::Builder::new_current_thread().build()?.block_on(until_input_ends());
    drop(naming);
    Ok(())
}

fn register(naming: &mut Naming, index: usize) -> anyhow::Result<()> {
    let metadata: Metadata = serde_json::from_str(METADATA)?;
    let instance = Instance { metadata: Arc::new(metadata), ..Instance::new(&node::address(index), 8080) };
    let client = ClientId::address(&instance.ip, instance.port, true);
    let service = ServiceKey::new("", "", &format!("orders-{}", index / PER_SERVICE));
    naming.register(Millis(0), &client, &service, instance)?;
    Ok(())
}
