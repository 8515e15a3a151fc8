//! What is probed: a process that listens on many addresses and serves each connection in one way.

use super::check_of;
use crate::baseline::until_input_ends;
use crate::report::say;
use anyhow::Context as _;
use muster_wasm::CheckCall;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Time for one probe; far more than it takes, also on a machine that does other things.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// Addresses that are probed. A closed connection occupies its pair of ports for a while: one address alone has
/// too few.
const ADDRESSES: u8 = 16;

/// A check of each address of the process that listens on `port`.
pub(super) fn calls(port: u16) -> Vec<CheckCall> {
    let addresses = (1..=ADDRESSES).map(|last| SocketAddr::from(([127, 0, 0, last], port)));
    addresses.map(|address| check_of(address, DEADLINE)).collect()
}

/// Serves connections until the input of this process ends.
///
/// # Errors
/// No port.
pub(super) fn listen<S, F>(serve: S) -> anyhow::Result<()>
where
    S: Fn(TcpStream) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let first = bind(1, 0).await?;
        let address = first.local_addr()?;
        let mut running = JoinSet::new();
        running.spawn(accept_all(first, serve));
        for last in 2..=ADDRESSES {
            running.spawn(accept_all(bind(last, address.port()).await?, serve));
        }
        say(&format!("listener ready http={address}"));
        tokio::select! {
            ended = running.join_next() => ended.context("nothing runs")??,
            () = until_input_ends() => Ok(()),
        }
    })
}

async fn bind(last: u8, port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, last], port))).await
}

async fn accept_all<S, F>(listener: TcpListener, serve: S) -> anyhow::Result<()>
where
    S: Fn(TcpStream) -> F + Sync,
    F: Future<Output = ()> + Send + 'static,
{
    let mut running = JoinSet::new();
    loop {
        running.spawn(serve(listener.accept().await?.0));
        while running.try_join_next().is_some() {}
    }
}
