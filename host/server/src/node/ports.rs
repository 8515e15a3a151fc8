//! The ports of a node: taken before anything runs, listened on when all does.

use super::BACKLOG;
use super::error::StartError;
use super::parts;
use crate::cluster;
use crate::settings::Settings;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// How often another free pair of ports is tried, where `http.bind` leaves the choice.
const PORT_TRIES: usize = 50;
/// SDKs find the gRPC port by adding this to the main port. Source: Nacos `Constants.SDK_GRPC_PORT_DEFAULT_OFFSET`.
const GRPC_OFFSET: u16 = 1_000;

/// A port that is taken, and where.
pub(super) type Taken = (TcpSocket, SocketAddr);

/// The ports of gRPC: for clients, and for members where there is one.
pub(super) struct GrpcPorts {
    pub(super) clients: Taken,
    pub(super) members: Option<Taken>,
}

/// The ports of a node.
pub(super) struct Ports {
    pub(super) http: Taken,
    pub(super) grpc: Option<GrpcPorts>,
    /// for the other members
    pub(super) cluster: Option<Taken>,
}

impl Ports {
    /// Takes the ports of HTTP and, where they are on, of gRPC and the cluster, without listening yet: who connects
    /// too early is refused rather than kept waiting.
    pub(super) fn take(settings: &Settings) -> Result<Self, StartError> {
        let mut tries = if settings.http.bind.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            let http = take_port("http.bind", settings.http.bind)?;
            match take_others(settings, http.1) {
                Ok((grpc, cluster)) => return Ok(Self { http, grpc, cluster }),
                Err(error) if tries == 0 => return Err(error),
                Err(_) => {}
            }
        }
    }
}

fn take_others(
    settings: &Settings,
    http: SocketAddr,
) -> Result<(Option<GrpcPorts>, Option<Taken>), StartError> {
    let grpc = || {
        let clients = take_beside("grpc.bind", settings.grpc.bind, http, GRPC_OFFSET)?;
        let bind = settings.grpc.cluster_bind;
        let members = bind.map(|bind| take_port("grpc.cluster-bind", bind)).transpose()?;
        Ok::<_, StartError>(GrpcPorts { clients, members })
    };
    let cluster = || take_beside("cluster.bind", settings.cluster.bind, http, cluster::PORT_OFFSET);
    let grpc = settings.grpc.enabled.then(grpc).transpose()?;
    let cluster = parts::is_clustered(settings).then(cluster).transpose()?;
    Ok((grpc, cluster))
}

fn take_beside(
    key: &'static str,
    given: Option<SocketAddr>,
    http: SocketAddr,
    offset: u16,
) -> Result<Taken, StartError> {
    let beside = || http.port().checked_add(offset).map(|port| SocketAddr::new(http.ip(), port));
    let address = given.or_else(beside).ok_or_else(|| StartError::Bind {
        key,
        address: http,
        source: io::Error::other(format!("there is no port {offset} above the one of HTTP; name one")),
    })?;
    take_port(key, address)
}

fn take_port(key: &'static str, address: SocketAddr) -> Result<Taken, StartError> {
    let take = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?; // a restart need not wait for connections of the former process
        socket.bind(address)?;
        let taken = socket.local_addr()?;
        Ok((socket, taken))
    };
    take().map_err(|source| StartError::Bind { key, address, source })
}

pub(super) fn listen(
    key: &'static str,
    socket: TcpSocket,
    address: SocketAddr,
) -> Result<TcpListener, StartError> {
    socket.listen(BACKLOG).map_err(|source| StartError::Bind { key, address, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_the_way_out() {
        let first = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = first.local_addr().unwrap();
        let error = take_port("http.bind", address).unwrap_err().to_string();
        assert!(error.starts_with(&format!("http.bind {address}: ")), "{error}");
        assert!(
            error.ends_with("; another process has this port: choose another one, or stop that process"),
            "{error}"
        );
    }
}
