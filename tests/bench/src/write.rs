//! `write`: registrations and beats over HTTP, against a bare server that reads the same request and answers `ok`.

use crate::Context;
use crate::load::{self, Client};
use crate::node::{self, Site};
use crate::process::Server;
use crate::report::Goal;
use bytes::Bytes;
use std::ffi::OsStr;
use std::sync::Arc;

/// As `--only` names it.
pub(crate) const NAME: &str = "write";
/// Different instances.
const INSTANCES: usize = 10_000;
/// Instances of one service.
const PER_SERVICE: usize = 10;
/// What clients say of themselves.
const METADATA: &str = r#"{"version":"1.4.2","zone":"az-1"}"#;

/// Runs it.
///
/// # Errors
/// A server does not start, or answers what it should not.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let runtime = load::runtime()?;
    let site = Site::new(&context.binary)?;
    let node = site.start()?;
    let bare = Server::ourselves(&[OsStr::new("serve-baseline")])?;
    for (name, requests) in [("register", registrations()), ("beat", beats())] {
        let connections = context.shape.connections;
        let connect = |server: &Server| {
            runtime.block_on(Client::connect(server.id(), server.address, requests.clone(), connections))
        };
        let paired = load::paired(&runtime, context.shape, &mut connect(&bare)?, &mut connect(&node)?)?;
        context.report.add_rate(
            NAME,
            format!("{name} / bare hyper that parses it"),
            &paired,
            Goal::AtLeast(0.6),
        )?;
    }
    Ok(())
}

/// Every instance twice, with another weight: no registration is a repetition, each one makes a new list.
fn registrations() -> Arc<[Bytes]> {
    let of = |weight| (0..INSTANCES).map(move |i| node::register(&service(i), i, weight, METADATA));
    of(1).chain(of(2)).collect()
}

fn beats() -> Arc<[Bytes]> {
    (0..INSTANCES).map(|i| node::beat(&service(i), i)).collect()
}

fn service(index: usize) -> String {
    node::service(index / PER_SERVICE)
}
