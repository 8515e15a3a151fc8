//! A gRPC client of the 2.x protocol over one HTTP/2 transport: what a test writes is the JSON that goes over the
//! wire, and it decides when to read, when to answer and when to fall silent.

mod message;
mod wire;

pub use message::{Any, Message, Metadata, Payload};
pub use wire::{Refused, frame};

use crate::wait::{Clock, eventually, hold};
use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, SendRequest};
use prost::Message as _;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use wire::{check, read_all, read_messages, request};

/// How long a call may take on a busy machine.
const CALL_DEADLINE: Duration = Duration::from_secs(20);
/// Bytes that the server may send ahead on all streams together; on one it is 65,535.
const CONNECTION_WINDOW: u32 = 16 << 20;
/// The setup of a client that registers and subscribes; Go's, which has no ability table.
pub const SETUP: &str = r#"{"headers":{},"clientVersion":"Nacos-Go-Client:v2.3.5","tenant":"","labels":{"source":"sdk","module":"naming","AppName":"orders-app"},"clientAbilities":{},"module":"internal"}"#;

/// The runtime of all clients of this process.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).enable_all().build().expect("a runtime")
    })
}

/// Runs a future with the deadline of a call.
#[track_caller]
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    let timed = async { tokio::time::timeout(CALL_DEADLINE, future).await };
    runtime().block_on(timed).expect("answered in time")
}

#[derive(Debug, Default)]
struct Shared {
    received: Mutex<Vec<Message>>,
    answers: AtomicBool,
    up: Mutex<Option<SendStream<Bytes>>>,
    freeze: Notify,
    ended: AtomicBool,
    stream_ended: AtomicBool,
}

impl Shared {
    fn say(&self, kind: &str, body: &str) {
        let mut up = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that has closed the stream hears no more; tests look at `is_closed`.
        let _ = up.as_mut().map(|up| up.send_data(frame(&Payload::new(kind, body).encode_to_vec()), false));
    }

    fn take(&self, message: Message) {
        let id = message.json["requestId"].as_str().map(str::to_owned);
        let answer = message.kind.strip_suffix("Request").map(|stem| format!("{stem}Response"));
        if let Ok(mut received) = self.received.lock() {
            received.push(message);
        }
        if let (Some(id), Some(kind), true) = (id, answer, self.answers.load(Ordering::Relaxed)) {
            self.say(
                &kind,
                &format!(r#"{{"resultCode":200,"errorCode":0,"requestId":"{id}","success":true}}"#),
            );
        }
    }
}

/// One transport. Dropping it closes the connection.
#[derive(Debug)]
pub struct Grpc {
    sender: SendRequest<Bytes>,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
    pings: Mutex<Option<h2::PingPong>>,
    /// this end of the transport
    pub local: SocketAddr,
}

impl Drop for Grpc {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Grpc {
    /// Opens a transport without TLS.
    ///
    /// # Panics
    /// When nobody is there.
    #[track_caller]
    pub fn connect(to: SocketAddr) -> Self {
        Self::try_connect(to).expect("a transport")
    }

    /// As [`Grpc::connect`].
    ///
    /// # Errors
    /// Nobody is there, or it does not speak HTTP/2.
    pub fn try_connect(to: SocketAddr) -> io::Result<Self> {
        wait(async {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            let local = stream.local_addr()?;
            Self::over(stream, local).await
        })
    }

    /// Speaks HTTP/2 over a transport, such as one of TLS.
    ///
    /// # Errors
    /// The other side does not.
    pub async fn over<I>(io: I, local: SocketAddr) -> io::Result<Self>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let shared = Arc::new(Shared { answers: AtomicBool::new(true), ..Shared::default() });
        // A stream that nobody reads must not take the room of the answers to calls.
        let mut builder = Builder::new();
        builder.initial_connection_window_size(CONNECTION_WINDOW);
        let (sender, mut connection) = builder.handshake(io).await.map_err(io::Error::other)?;
        let pings = Mutex::new(connection.ping_pong());
        let watcher = shared.clone();
        let task = runtime().spawn(async move {
            let frozen = tokio::select! {
                _ = &mut connection => false,
                () = watcher.freeze.notified() => true,
            };
            if frozen {
                // The transport stays open, and nobody is there.
                std::future::pending::<()>().await;
            }
            watcher.ended.store(true, Ordering::Relaxed);
        });
        Ok(Self { sender, shared, task, pings, local })
    }

    /// Sends bytes as one message to a method; answers the message that came back.
    ///
    /// # Errors
    /// What the server refused with.
    pub fn raw(&self, path: &str, message: &[u8]) -> Result<Vec<u8>, Refused> {
        self.send_frame(path, frame(message))
    }

    /// Sends bytes as the whole body of a unary call.
    ///
    /// # Errors
    /// What the server refused with.
    pub fn send_frame(&self, path: &str, bytes: Bytes) -> Result<Vec<u8>, Refused> {
        let mut sender = self.sender.clone();
        let request = request(path);
        wait(async move {
            sender = sender.ready().await.map_err(Refused::broken)?;
            let (response, mut up) = sender.send_request(request, false).map_err(Refused::broken)?;
            // A server that refuses early answers all the same.
            let _ = up.send_data(bytes, true);
            let response = response.await.map_err(Refused::broken)?;
            check(response.headers())?;
            let mut body = response.into_body();
            let whole = read_all(&mut body).await.map_err(Refused::broken)?;
            let trailers = body.trailers().await.map_err(Refused::broken)?;
            trailers.as_ref().map_or(Ok(()), check)?;
            match whole.get(5..) {
                Some(message) => Ok(message.to_vec()),
                None => Err(Refused::broken("no message")),
            }
        })
    }

    /// A unary call of the protocol.
    ///
    /// # Panics
    /// When it is not answered with a payload.
    #[track_caller]
    pub fn ask(&self, kind: &str, body: &str) -> Message {
        self.try_ask(kind, body).expect("a payload")
    }

    /// As [`Grpc::ask`].
    ///
    /// # Errors
    /// What the server refused with.
    pub fn try_ask(&self, kind: &str, body: &str) -> Result<Message, Refused> {
        let message = Payload::new(kind, body).encode_to_vec();
        self.raw("/Request/request", &message).map(|bytes| Message::read(&bytes))
    }

    /// Opens the stream and reads it.
    #[track_caller]
    pub fn open(&self) {
        let response = self.open_unread();
        self.read(response);
    }

    /// Reads a stream that was opened unread.
    pub fn read(&self, response: h2::client::ResponseFuture) {
        let shared = self.shared.clone();
        let handler = async move {
            let read = async {
                let mut body = response.await?.into_body();
                read_messages(&mut body, |bytes| shared.take(Message::read(bytes))).await
            };
            // How it ended is for the test to judge.
            let _: Result<(), h2::Error> = read.await;
            shared.stream_ended.store(true, Ordering::Relaxed);
        };
        drop(runtime().spawn(handler));
    }

    /// Opens the stream and never reads it. Its window fills up.
    #[track_caller]
    pub fn open_unread(&self) -> h2::client::ResponseFuture {
        wait(open_stream(self.sender.clone(), &self.shared))
    }

    /// Sends a message on the stream.
    pub fn say(&self, kind: &str, body: &str) {
        self.shared.say(kind, body);
    }

    /// Sends bytes on the stream.
    pub fn say_raw(&self, bytes: Bytes) {
        let mut up = self.shared.up.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = up.as_mut().map(|up| up.send_data(bytes, false));
    }

    /// Opens the stream, sends this setup and waits until it counts.
    #[track_caller]
    pub fn set_up(self, setup: &str) -> Self {
        self.open();
        self.say("ConnectionSetupRequest", setup);
        self.wait_registered();
        self
    }

    /// Waits until the server knows this client.
    #[track_caller]
    pub fn wait_registered(&self) {
        eventually(CALL_DEADLINE, || {
            let answer = self.ask("HealthCheckRequest", r#"{"headers":{},"module":"internal"}"#);
            hold(answer.kind == "HealthCheckResponse", || format!("{answer:?}"))
        });
    }

    /// Answers nothing on the stream any more; unary calls still work.
    pub fn stop_answering(&self) {
        self.shared.answers.store(false, Ordering::Relaxed);
    }

    /// Answers again.
    pub fn answer(&self) {
        self.shared.answers.store(true, Ordering::Relaxed);
    }

    /// Falls silent as a machine does that lost its power: the transport stays open, nothing is answered.
    pub fn freeze(&self) {
        self.shared.freeze.notify_one();
    }

    /// Sends an HTTP/2 ping and waits for its answer.
    ///
    /// # Errors
    /// The transport is closed.
    pub fn ping(&self) -> Result<(), String> {
        let mut pings = self.pings.lock().unwrap_or_else(PoisonError::into_inner);
        let pings = pings.as_mut().expect("taken once");
        wait(pings.ping(h2::Ping::opaque())).map(drop).map_err(|error| error.to_string())
    }

    /// Everything that came on the stream.
    pub fn received(&self) -> Vec<Message> {
        self.shared.received.lock().map(|all| all.clone()).unwrap_or_default()
    }

    /// Everything of one type that came on the stream.
    pub fn received_of(&self, kind: &str) -> Vec<Message> {
        self.received().into_iter().filter(|message| message.kind == kind).collect()
    }

    /// Forgets what came on the stream.
    pub fn forget(&self) {
        if let Ok(mut all) = self.shared.received.lock() {
            all.clear();
        }
    }

    /// Waits for a message on the stream.
    ///
    /// # Panics
    /// When there is none before the deadline.
    #[track_caller]
    pub fn wait_for(&self, deadline: Duration, wanted: impl Fn(&Message) -> bool) -> Message {
        eventually(deadline, || {
            let all = self.received();
            all.iter().find(|message| wanted(message)).cloned().ok_or_else(|| format!("only {all:#?}"))
        })
    }

    /// Waits for a push of a service with exactly these hosts, and says how long that took.
    #[track_caller]
    pub fn wait_push(&self, deadline: Duration, service: &str, hosts: &[&str]) -> (Message, Duration) {
        let clock = Clock::start();
        let push = self.wait_for(deadline, |message| {
            message.json["serviceInfo"]["name"] == service && message.hosts() == hosts
        });
        (push, clock.elapsed())
    }

    /// Whether the server has closed the transport.
    pub fn is_closed(&self) -> bool {
        self.shared.ended.load(Ordering::Relaxed)
    }

    /// Whether the server has closed the stream or the transport.
    pub fn is_stream_closed(&self) -> bool {
        self.shared.stream_ended.load(Ordering::Relaxed) || self.is_closed()
    }
}

async fn open_stream(mut sender: SendRequest<Bytes>, shared: &Shared) -> h2::client::ResponseFuture {
    sender = sender.ready().await.expect("the transport is open");
    let (response, up) =
        sender.send_request(request("/BiRequestStream/requestBiStream"), false).expect("a stream");
    *shared.up.lock().unwrap_or_else(PoisonError::into_inner) = Some(up);
    response
}
