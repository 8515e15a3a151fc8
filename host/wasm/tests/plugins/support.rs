//! A host with a good plugin in it, a place to connect to, and short words for calls.

use bytes::Bytes;
use muster_wasm::{
    CheckCall, CheckRun, HealthCheck, HostOptions, LoadError, Manifest, PluginError, PluginHost, PluginInfo,
    PluginKind, Settings, Target, Verdict,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Wall time of a check, as in the defaults.
pub const DEADLINE: Duration = Duration::from_millis(500);

/// What a test plays with.
pub struct Stage {
    pub host: PluginHost,
    /// accepts connections and holds them
    pub silent: SocketAddr,
}

pub fn options() -> HostOptions {
    HostOptions { pool: 128, guest_threads: 2, max_in_flight: 115, ..HostOptions::default() }
}

impl Stage {
    pub async fn new() -> Self {
        Self::with(options()).await
    }

    pub async fn with(options: HostOptions) -> Self {
        let stage = Self { host: PluginHost::new(options).unwrap(), silent: silent().await };
        stage.load("well_behaved", named("good", PluginKind::HealthCheck)).await.unwrap();
        stage
    }

    pub async fn load(&self, guest: &str, manifest: Manifest) -> Result<PluginInfo, LoadError> {
        self.host.load(component(guest).await, manifest).await
    }

    /// Loads a health check as `guest` and gives a handle to it.
    pub async fn check(&self, guest: &str) -> HealthCheck {
        self.check_with(guest, |_| {}).await
    }

    pub async fn check_with(&self, guest: &str, change: impl FnOnce(&mut Manifest)) -> HealthCheck {
        let mut manifest = manifest();
        change(&mut manifest);
        self.load(guest, manifest).await.unwrap();
        self.host.health_check("guest").unwrap()
    }

    /// The good plugin still connects, and its own counters are clean.
    pub async fn still_serves(&self) {
        let good = self.host.health_check("good").unwrap();
        for _ in 0..3 {
            let run = good.check(call(self.silent, "")).await;
            assert_eq!(said(run.result), "connected");
        }
        let info = self.host.list().into_iter().find(|info| info.name == "good").unwrap();
        assert_eq!(info.counters.faults, [].into());
    }
}

pub async fn component(guest: &str) -> Bytes {
    let guest = guest.to_owned();
    // the first one builds them all
    tokio::task::spawn_blocking(move || muster_test_guests::component(&guest)).await.unwrap().into()
}

pub fn named(name: &str, kind: PluginKind) -> Manifest {
    Manifest::bundled(name, kind)
}

pub fn manifest() -> Manifest {
    named("guest", PluginKind::HealthCheck)
}

pub fn settings(what: &str) -> Arc<Settings> {
    let pair = |what: &str| ("what".to_owned(), what.to_owned());
    Arc::new(Some(what).filter(|what| !what.is_empty()).map(pair).into_iter().collect())
}

pub fn call(reach: SocketAddr, what: &str) -> CheckCall {
    let target = Target {
        address: reach.ip().to_string(),
        port: reach.port(),
        namespace: "public".into(),
        group: "DEFAULT_GROUP".into(),
        service: "web".into(),
        cluster: "DEFAULT".into(),
        metadata: vec![("zone".into(), "a".into())],
    };
    CheckCall { target, reach, settings: settings(what), deadline: DEADLINE, trace: false }
}

pub async fn run(check: &HealthCheck, reach: SocketAddr, what: &str) -> CheckRun {
    check.check(call(reach, what)).await
}

/// The verdict's message.
pub fn said(result: Result<Verdict, PluginError>) -> String {
    result.unwrap_or_else(|error| panic!("{}: {error}", error.code())).message
}

/// The stable word of the error.
pub fn code(result: &Result<Verdict, PluginError>) -> &'static str {
    match result {
        Ok(verdict) => panic!("a verdict: {verdict:?}"),
        Err(error) => error.code(),
    }
}

/// A server whose every connection is handled by `handle`, until the test's runtime ends.
pub async fn serve<F>(handle: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

/// Holds every connection until the other side closes it.
pub async fn silent() -> SocketAddr {
    serve(|mut stream| async move {
        // what is sent is of no interest
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await
}

/// Sends zeros without end.
pub async fn flood() -> SocketAddr {
    serve(|mut stream| async move { while stream.write_all(&[0; 1 << 14]).await.is_ok() {} }).await
}

/// Answers any request with these bytes and closes.
pub async fn answering(answer: Vec<u8>) -> SocketAddr {
    let answer = Arc::new(answer);
    serve(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            let mut asked = [0; 4096];
            if stream.read(&mut asked).await.is_ok() {
                // the client may have had enough before the end
                let _ = stream.write_all(&answer).await;
            }
        }
    })
    .await
}

/// A port that nobody listens on.
pub async fn closed() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Resident memory of this process, in bytes.
pub fn resident() -> u64 {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split(' ').nth(1)?.parse().ok())
        .unwrap();
    pages * 4096
}
