//! The accept loop: connections in, requests to [`super::answer`], everything bounded, drained at the end.

use super::app::App;
use super::reply::Reply;
use super::router::Router;
use crate::tasks::TaskResult;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Pause after a failed `accept`, which is nearly always a shortage of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long a connection may be quiet between two requests, at least. Clients that poll every 10 s or beat every
/// 5 s, or back off to 60 s, must not find their connection closed as they use it.
const IDLE: Duration = Duration::from_secs(75);
/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 256;

struct Front {
    app: Arc<App>,
    router: Router,
    builder: Builder<TokioExecutor>,
}

/// Serves until `stop`; then open requests have the grace of the settings to finish.
///
/// # Errors
/// None; the type is that of a task.
pub async fn serve(listener: TcpListener, app: Arc<App>, stop: CancellationToken) -> TaskResult {
    let limits = app.settings.limits;
    let builder = builder(limits.head);
    let front = Arc::new(Front { app, router: super::router(), builder });
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = accept(&listener, &permits) => match accepted {
                Ok(accepted) => {
                    connections.spawn(connection(front.clone(), accepted, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    drain(connections, limits.grace).await;
    Ok(())
}

/// Idle connections end at once, others with their request; what is still open after `grace` is cut.
async fn drain(mut connections: JoinSet<()>, grace: Duration) {
    let ended = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(grace, ended).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests were still open when the grace was over");
        connections.shutdown().await;
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended in a fault of this node");
    }
}

fn builder(head_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    // hyper counts from the end of the former request, so that this is also how long a connection may idle.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_timeout.max(IDLE));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(head_timeout)
        .keep_alive_timeout(head_timeout);
    builder
}

struct Accepted {
    stream: TcpStream,
    peer: SocketAddr,
    _permit: OwnedSemaphorePermit,
}

/// The next connection, once there is room for one.
async fn accept(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<Accepted> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    if let Err(error) = stream.set_nodelay(true) {
        // The peer has gone already; reading will tell.
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    Ok(Accepted { stream, peer, _permit: permit })
}

async fn respond(
    front: Arc<Front>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    Ok(super::answer(&front.app, &front.router, peer, request).await)
}

async fn connection(front: Arc<Front>, accepted: Accepted, stop: CancellationToken) {
    let Accepted { stream, peer, _permit } = accepted;
    // A connection that never says anything has no head whose time could run out.
    let spoke = tokio::select! {
        readable = tokio::time::timeout(front.app.settings.limits.head, stream.readable()) => {
            matches!(readable, Ok(Ok(())))
        }
        () = stop.cancelled() => false,
    };
    if !spoke {
        return;
    }
    let shared = front.clone();
    let service = service_fn(move |request: Request<Incoming>| respond(shared.clone(), peer, request));
    let mut serving = std::pin::pin!(front.builder.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, error, "connection broke");
    }
}
