//! Accepting transports and routing their two methods.

use super::connection::{Connection, Source};
use super::counters::one_more;
use super::framing::{Body, Up};
use super::metered::{Metered, Share};
use super::stream::Down;
use super::tls::Opened;
use super::{Node, requests};
use crate::naming::NamingError;
use crate::tasks::{TaskResult, Tasks};
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Method of unary requests. Source: Nacos `nacos_grpc_service.proto`.
const UNARY: &str = "/Request/request";
/// Method of the stream. Source: Nacos `nacos_grpc_service.proto`.
const STREAM: &str = "/BiRequestStream/requestBiStream";
/// Streams of one transport at a time. A client has one long one and a few calls.
const STREAMS: u32 = 256;
/// Between two pings of the server, so that a transport that was cut off is noticed.
const PING: Duration = Duration::from_secs(20);
/// Time for the answer to a ping.
const PONG: Duration = Duration::from_secs(8);
/// Time for a client to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time for a unary request from its first byte to its answer.
const REQUEST: Duration = Duration::from_secs(60);
/// Bytes of one stream that wait to be written, beyond the message that is being written.
const SEND_BUFFER: usize = 64 << 10;
/// Pause after an accept that failed, such as for want of file descriptors, and after a step that was not taken.
const PAUSE: Duration = Duration::from_millis(100);

impl Node {
    pub(super) async fn accept(
        self: Arc<Self>,
        listener: TcpListener,
        source: Source,
        tasks: Tasks,
        stop: CancellationToken,
    ) -> TaskResult {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return Ok(()),
            };
            match accepted {
                Ok((stream, remote)) => self.begin(stream, remote, source, &tasks),
                Err(error) => {
                    tracing::warn!(%error, "a gRPC connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn begin(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr, source: Source, tasks: &Tasks) {
        let connection = Arc::new(Connection::new(self.clock.now(), remote, source));
        if !self.connections.add(&connection, &self.options) {
            one_more(&self.counts.refused);
            tracing::warn!(%remote, "too many gRPC connections: one was closed");
            return;
        }
        let node = self.clone();
        let streams = tasks.clone();
        tasks.spawn("grpc-connection", |stop| async move {
            tokio::select! {
                () = node.transport(stream, &connection, &streams) => {}
                () = connection.close.cancelled() => {}
                () = stop.cancelled() => {}
            }
            node.end(&connection, stop.is_cancelled()).await;
            Ok(())
        });
    }

    /// Serves one transport until the client ends it.
    async fn transport(self: &Arc<Self>, stream: TcpStream, connection: &Arc<Connection>, tasks: &Tasks) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let Some(tls) = &self.tls else {
            return self.http2(TokioIo::new(stream), connection, tasks).await;
        };
        let opened = match tokio::time::timeout(HANDSHAKE, tls.open(stream)).await {
            Ok(opened) => opened,
            Err(late) => Err(late.into()),
        };
        match opened {
            Ok(Opened::Plain(stream)) => self.http2(TokioIo::new(stream), connection, tasks).await,
            Ok(Opened::Encrypted(stream)) => {
                connection.tls.store(true, Ordering::Relaxed);
                self.http2(TokioIo::new(stream), connection, tasks).await;
            }
            Err(error) => {
                one_more(&self.counts.handshakes_failed);
                tracing::debug!(connection = &*connection.id, %error, "no TLS");
            }
        }
    }

    async fn http2<I>(self: &Arc<Self>, io: I, connection: &Arc<Connection>, tasks: &Tasks)
    where
        I: Read + Write + Unpin,
    {
        let service = service_fn(|request| {
            let (node, connection, tasks) = (self.clone(), connection.clone(), tasks.clone());
            async move { Ok::<_, Infallible>(node.route(connection, tasks, request).await) }
        });
        let mut http2 = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        http2.timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PONG);
        http2.max_concurrent_streams(STREAMS).max_header_list_size(16 << 10).adaptive_window(false);
        http2.max_send_buf_size(SEND_BUFFER);
        if let Err(error) = http2.serve_connection(io, service).await {
            tracing::debug!(connection = &*connection.id, %error, "transport broken");
        }
    }

    /// A transport has ended: its client goes at once, with all that it published (N225). Not when this node
    /// ends: to subscribers that are still connected it would look as if every provider had gone.
    async fn end(&self, connection: &Arc<Connection>, stopping: bool) {
        connection.close.cancel();
        connection.shut();
        self.connections.remove(connection);
        self.watches().forget(&connection.id);
        if stopping || connection.setup().is_none_or(|setup| !setup.naming) {
            return;
        }
        self.forget_client(connection).await;
    }

    pub(super) async fn forget_client(&self, connection: &Connection) {
        loop {
            let client = connection.client();
            match self.naming.step(move |naming, now| naming.disconnect(now, &client)).await {
                Ok(()) => return,
                Err(NamingError::Stopped) => {
                    tracing::debug!(connection = &*connection.id, "not disconnected: the node is stopping");
                    return;
                }
                // Its instances would stay for ever: nobody else removes what a connection published.
                Err(NamingError::Overloaded) => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn route(
        self: Arc<Self>,
        connection: Arc<Connection>,
        tasks: Tasks,
        request: http::Request<Incoming>,
    ) -> http::Response<Body> {
        let share = Share::of(&self.held);
        let up = |request: http::Request<Incoming>| {
            Up::new(request.map(|body| Metered::new(body, share.clone())), self.options.message)
        };
        let answered = match request.uri().path() {
            UNARY => {
                let answer = self.unary(&connection, up(request));
                let late = |_| Err(Status::deadline_exceeded("not answered in time"));
                let answer = tokio::time::timeout(REQUEST, answer).await.unwrap_or_else(late);
                drop(share); // held until the answer is there, not only until the request was read
                answer
            }
            STREAM if connection.open_stream() => {
                let up = up(request);
                Ok(self.stream(connection, &tasks, up, share))
            }
            STREAM => Err(Status::already_exists("this connection has its stream already")),
            _ => {
                Err(Status::unimplemented("there are /Request/request and /BiRequestStream/requestBiStream"))
            }
        };
        answered.map_or_else(Status::into_http, Body::response)
    }

    async fn unary(&self, connection: &Arc<Connection>, mut up: Up<Metered>) -> Result<Body, Status> {
        let request = up.only().await?;
        Ok(Body::One(Some(requests::answer(self, connection, &request).await.framed())))
    }

    fn stream(
        self: Arc<Self>,
        connection: Arc<Connection>,
        tasks: &Tasks,
        up: Up<Metered>,
        share: Share,
    ) -> Body {
        let (reader, from) = (self.clone(), connection.clone());
        tasks.spawn("grpc-stream", |_| async move {
            reader.read(&from, up, &share).await;
            from.close.cancel();
            Ok(())
        });
        Body::Stream(Down::new(self, connection))
    }
}
