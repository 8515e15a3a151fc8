//! The accept loop: connections in, requests to [`super::answer`], everything bounded, drained at the end.

use super::app::App;
use super::reply::Reply;
use super::router::Router;
use crate::tasks::TaskResult;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
    // A timer for every head would cost more than parsing it: `quiet` looks at whole connections instead.
    builder.http1().header_read_timeout(None::<Duration>);
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

/// Requests of one connection.
#[derive(Default)]
struct Activity {
    began: AtomicU64,
    answered: AtomicU64,
}

/// How long a connection may be without a request.
#[derive(Clone, Copy)]
struct Patience {
    /// from the first byte to the end of the first head
    head: Duration,
    /// later, at least; at most twice that
    idle: Duration,
}

/// Ends when the node stops, or when a connection had no request for as long as `patience` allows.
async fn quiet(activity: Arc<Activity>, stop: CancellationToken, patience: Patience) {
    let (mut before, mut period) = (Some(0), patience.head);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(period) => {}
        }
        let began = activity.began.load(Ordering::Relaxed);
        let open = began != activity.answered.load(Ordering::Relaxed);
        if before == Some(began) && !open {
            return;
        }
        before = (!open).then_some(began);
        period = patience.idle;
    }
}

async fn respond(
    front: Arc<Front>,
    activity: Arc<Activity>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    activity.began.fetch_add(1, Ordering::Relaxed);
    let reply = super::answer(&front.app, &front.router, peer, request).await;
    activity.answered.fetch_add(1, Ordering::Relaxed);
    Ok(reply)
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
    let activity = Arc::new(Activity::default());
    let limits = front.app.settings.limits;
    let patience = Patience { head: limits.head, idle: limits.head.max(IDLE) };
    let (shared, seen) = (front.clone(), activity.clone());
    let service =
        service_fn(move |request: Request<Incoming>| respond(shared.clone(), seen.clone(), peer, request));
    let mut serving = std::pin::pin!(front.builder.serve_connection(TokioIo::new(stream), service));
    // In a set of its own, so that it is looked at only when it has something to say, not with every request.
    let mut ends: FuturesUnordered<_> = std::iter::once(quiet(activity, stop, patience)).collect();
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        Some(()) = ends.next() => {
            serving.as_mut().graceful_shutdown();
            // Long enough for a reply that is on its way; a head that never ends is cut off here.
            tokio::time::timeout(limits.grace, serving).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, error, "connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);
    const PATIENCE: Patience = Patience { head: SOON, idle: SOON };

    #[tokio::test]
    async fn a_connection_is_quiet_once_nothing_is_open_and_nothing_begins() {
        let activity = Arc::new(Activity::default());
        activity.began.fetch_add(1, Ordering::Relaxed);
        let open = quiet(activity.clone(), CancellationToken::new(), PATIENCE);
        assert!(tokio::time::timeout(SOON * 20, open).await.is_err(), "a request is open");
        activity.answered.fetch_add(1, Ordering::Relaxed);
        let answered = quiet(activity.clone(), CancellationToken::new(), PATIENCE);
        assert!(tokio::time::timeout(Duration::from_secs(10), answered).await.is_ok());
    }

    #[tokio::test]
    async fn a_first_head_has_less_time_than_the_pause_before_the_next() {
        let patience = Patience { head: SOON, idle: Duration::from_secs(3600) };
        let first = quiet(Arc::default(), CancellationToken::new(), patience);
        assert!(tokio::time::timeout(Duration::from_secs(10), first).await.is_ok());
        let later = Activity { began: 1.into(), answered: 1.into() };
        let later = quiet(Arc::new(later), CancellationToken::new(), patience);
        assert!(tokio::time::timeout(SOON * 20, later).await.is_err());
    }

    #[tokio::test]
    async fn a_stopping_node_does_not_wait_for_quiet() {
        let stop = CancellationToken::new();
        stop.cancel();
        let hour = Duration::from_secs(3600);
        let ended = quiet(Arc::default(), stop, Patience { head: hour, idle: hour });
        assert!(tokio::time::timeout(Duration::from_secs(10), ended).await.is_ok());
    }
}
