//! `list`: the query of a service, against a bare server that returns constant bytes of the same size.

use crate::Context;
use crate::load::{self, Client};
use crate::node::{self, Site};
use crate::process::Server;
use crate::report::Goal;
use bytes::Bytes;
use std::ffi::OsStr;
use std::sync::Arc;

/// As `--only` names it.
pub(crate) const NAME: &str = "list";
/// Instances of the services that are queried.
const SIZES: [usize; 3] = [10, 100, 1_000];
/// Clients of this benchmark send no beats.
const METADATA: &str = r#"{"version":"1.4.2","zone":"az-1","preserved.heart.beat.timeout":"3600000","preserved.ip.delete.timeout":"7200000"}"#;

/// Runs it.
///
/// # Errors
/// A server does not start, or answers what it should not.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let runtime = load::runtime()?;
    let site = Site::new(&context.binary)?;
    let node = site.start()?;
    let folder = tempfile::tempdir()?;
    for size in SIZES {
        let service = node::service(size);
        let register: Arc<[Bytes]> = (0..size).map(|i| node::register(&service, i, 1, METADATA)).collect();
        let query = node::list(&service);
        let body = runtime.block_on(async {
            Client::connect(node.id(), node.address, register, 4).await?.each_once().await?;
            load::fetch(node.address, &query).await
        })?;
        let found = String::from_utf8_lossy(&body).matches("\"instanceId\"").count();
        anyhow::ensure!(found == size, "{found} of {size} instances in the list");
        let file = folder.path().join(size.to_string());
        std::fs::write(&file, &body)?;
        let bare = Server::ourselves(&[OsStr::new("serve-baseline"), file.as_os_str()])?;
        let connections = context.shape.connections;
        let requests: Arc<[Bytes]> = [query].into();
        let connect = |server: &Server| {
            runtime.block_on(Client::connect(server.id(), server.address, requests.clone(), connections))
        };
        let paired = load::paired(&runtime, context.shape, &mut connect(&bare)?, &mut connect(&node)?)?;
        let name = format!("list of {size} ({} bytes) / bare hyper", body.len());
        context.report.add_rate(NAME, name, &paired, Goal::AtLeast(0.8))?;
    }
    Ok(())
}
