use super::*;
use std::net::Ipv4Addr;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

fn settings(data_dir: &Path) -> Settings {
    let mut settings = Settings::default();
    settings.node.data_dir = data_dir.to_owned();
    settings.http.bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    settings.http.grace = Duration::from_secs(5);
    settings
}

async fn ask(node: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(node).await.unwrap();
    let request = format!(
        "{method} /nacos{path} HTTP/1.1\r\nhost: n\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

async fn stop(node: Node) -> Result<(), RunError> {
    node.run(std::future::ready(())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_serves_stops_and_remembers() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&settings(folder.path())).await.unwrap();
    let ready = std::fs::read_to_string(folder.path().join("muster.ready")).unwrap();
    assert_eq!(ready.trim_end(), node.ready_line());
    assert!(
        ready.starts_with(&format!("muster ready http={} udp={} grpc=", node.http(), node.udp())),
        "{ready}"
    );
    let register = "/v1/ns/instance?serviceName=db&ip=127.0.0.1&port=1&ephemeral=false";
    let reply = ask(node.http(), "POST", register).await;
    assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("ok"), "{reply}");
    stop(node).await.unwrap();
    assert!(!folder.path().join("muster.ready").exists());

    let again = Node::start(&settings(folder.path())).await.unwrap();
    let reply = ask(again.http(), "GET", "/v1/ns/instance/list?serviceName=db").await;
    assert!(reply.contains("\"ip\":\"127.0.0.1\""), "{reply}");
    stop(again).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_same_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&settings(folder.path())).await.unwrap();
    let error = Node::start(&settings(folder.path())).await.unwrap_err();
    assert!(matches!(error, StartError::DataDir(DataDirError::Taken { .. })), "{error}");
    stop(node).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_does_not_exist_is_refused_with_those_that_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    settings.lookup.kind = "standalon".into();
    let error = Node::start(&settings).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "lookup.type: there is no member lookup \"standalon\", did you mean \"standalone\"?; there are: address-server, dns, file, standalone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_are_answered_when_the_node_is_told_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&settings(folder.path())).await.unwrap();
    let address = node.http();
    let (told, running) = (CancellationToken::new(), CancellationToken::new());
    let (tell, stopping) = (told.clone(), running.clone());
    #[allow(clippy::disallowed_methods, reason = "a test may run beside its node")]
    let node = tokio::spawn(async move { node.run(async move { tell.cancelled().await }).await });
    let clients = (0..8_u16).map(|client| {
        let stop = stopping.clone();
        #[allow(clippy::disallowed_methods, reason = "a test may run beside its node")]
        tokio::spawn(async move { register_until(address, client, &stop).await })
    });
    let clients: Vec<_> = clients.collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    told.cancel();
    node.await.unwrap().unwrap();
    running.cancel();
    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }
    assert!(answered > 100, "{answered}");
}

/// Registers over one connection until it is closed. A request that was sent whole on an open connection is
/// answered with ok; the connection may close only between an answer and the next request.
async fn register_until(node: SocketAddr, client: u16, stop: &CancellationToken) -> u32 {
    let mut answered = 0;
    let mut stream = TcpStream::connect(node).await.unwrap();
    while !stop.is_cancelled() {
        let path =
            format!("/nacos/v1/ns/instance?serviceName=s&ip=10.0.0.{client}&port={}", answered % 60_000);
        let request = format!("POST {path} HTTP/1.1\r\nhost: n\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(request.as_bytes()).await.is_err() {
            return answered;
        }
        let mut reply = vec![0; 4_096];
        match stream.read(&mut reply).await {
            Ok(0) | Err(_) => return answered,
            Ok(length) => {
                let reply = String::from_utf8_lossy(&reply[..length]);
                assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("ok"), "{reply}");
                answered += 1;
                if reply.to_lowercase().contains("connection: close") {
                    return answered;
                }
            }
        }
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_leaves_the_data_free_for_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = settings(folder.path());
    wrong.lookup.kind = "nobody".into();
    assert!(matches!(Node::start(&wrong).await.unwrap_err(), StartError::Lookup(_)));
    wrong.lookup.kind = "standalone".into();
    wrong.plugins.directory = Some(folder.path().join("none"));
    assert!(matches!(Node::start(&wrong).await.unwrap_err(), StartError::Plugins(_)));
    stop(Node::start(&settings(folder.path())).await.unwrap()).await.unwrap();
}
