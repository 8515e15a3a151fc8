//! A bare tonic server in a process of its own: what Muster's gRPC front end is compared with.
//!
//! It is tonic's own server with its defaults and its protobuf codec. It decodes what it gets, answers a constant, and
//! sends the same constant to all streams when it is told to; there is no router, no JSON, no state, no limit.

use super::payload::Payload;
use super::wire::{STREAM, UNARY};
use crate::baseline::until_input_ends;
use crate::report::say;
use bytes::Bytes;
use futures_util::Stream;
use http::{Request, Response};
use prost::Message;
use std::convert::Infallible;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::transport::server::TcpIncoming;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// The request that makes it send to all.
pub(crate) const BROADCAST: &str = "BroadcastRequest";
/// Messages that wait for one stream.
const WAITING: usize = 16;

/// Serves until the input of this process ends. `file` holds the payload that it answers and sends.
///
/// # Errors
/// No port, no threads, no such file.
pub(crate) fn serve(file: Option<PathBuf>) -> anyhow::Result<()> {
    let answer = match file {
        Some(file) => Payload::decode(&std::fs::read(file)?[..])?,
        None => done(),
    };
    let bare = Bare { answer, streams: Arc::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let incoming =
            TcpIncoming::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?.with_nodelay(Some(true));
        let address = incoming.local_addr()?;
        say(&format!("bare server ready http={address} grpc={address}"));
        tokio::select! {
            result = tonic::transport::Server::builder().serve_with_incoming(bare, incoming) => Ok(result?),
            () = until_input_ends() => Ok(()),
        }
    })
}

fn done() -> Payload {
    Payload::new("HealthCheckResponse", Bytes::from_static(br#"{"resultCode":200,"success":true}"#))
}

#[derive(Clone)]
struct Bare {
    answer: Payload,
    streams: Arc<Mutex<Vec<mpsc::Sender<Payload>>>>,
}

type Reply<T> = Pin<Box<dyn Future<Output = Result<T, Infallible>> + Send>>;
type Answer<T> = Pin<Box<dyn Future<Output = Result<tonic::Response<T>, Status>> + Send>>;
type Down = Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>;

/// As generated code does it.
impl Service<Request<Body>> for Bare {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Reply<Response<Body>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let bare = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Payload, Payload>::default());
            Ok(match request.uri().path() {
                UNARY => grpc.unary(Unary(bare), request).await,
                STREAM => grpc.streaming(Bidirectional(bare), request).await,
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

struct Unary(Bare);

impl UnaryService<Payload> for Unary {
    type Response = Payload;
    type Future = Answer<Payload>;

    fn call(&mut self, request: tonic::Request<Payload>) -> Self::Future {
        let bare = self.0.clone();
        Box::pin(async move {
            if request.get_ref().kind() == BROADCAST {
                for stream in bare.streams().iter() {
                    stream.try_send(bare.answer.clone()).map_err(|_| Status::internal("a stream is full"))?;
                }
                return Ok(tonic::Response::new(done()));
            }
            Ok(tonic::Response::new(bare.answer))
        })
    }
}

impl Bare {
    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<mpsc::Sender<Payload>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Bidirectional(Bare);

impl StreamingService<Payload> for Bidirectional {
    type Response = Payload;
    type ResponseStream = Down;
    type Future = Answer<Down>;

    fn call(&mut self, request: tonic::Request<Streaming<Payload>>) -> Self::Future {
        let bare = self.0.clone();
        Box::pin(async move {
            let (down, mut waiting) = mpsc::channel(WAITING);
            let mut up = request.into_inner();
            #[allow(clippy::disallowed_methods, reason = "a bare server has no tasks to look after")]
            tokio::spawn(async move {
                // The first message is answered, as Muster does with a setup; the others are read.
                while let Ok(Some(payload)) = up.message().await {
                    if payload.kind() == "ConnectionSetupRequest" {
                        let ready = Payload::new("SetupAckRequest", &b"{}"[..]);
                        // The client has gone: nobody waits for it.
                        let _ = down.send(ready).await;
                        bare.streams().push(down.clone());
                    }
                }
            });
            let down = futures_util::stream::poll_fn(move |context| {
                waiting.poll_recv(context).map(|next| next.map(Ok))
            });
            Ok(tonic::Response::new(Box::pin(down) as Down))
        })
    }
}
