//! Every bundled component in the real host, under its own manifest, against small servers on loopback.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of a test")]

#[path = "../../mysql-check/src/tests/server.rs"]
#[allow(dead_code, reason = "written for more conversations than this one")]
mod server;

use bytes::Bytes;
use muster_core::ServiceKey;
use muster_plugins_bundle::plugins;
use muster_wasm::*;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(5);

async fn host() -> PluginHost {
    let host =
        PluginHost::new(HostOptions { pool: 32, max_in_flight: 16, ..HostOptions::default() }).unwrap();
    for plugin in plugins() {
        let manifest = Manifest::parse(plugin.manifest).unwrap();
        let info = host.load(Bytes::from_static(plugin.wasm), manifest).await.unwrap();
        assert_eq!((info.name.as_str(), info.kind.world()), (plugin.name, plugin.kind));
    }
    host
}

fn settings(pairs: &[(&str, &str)]) -> Arc<Settings> {
    Arc::new(pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// A server that takes one connection.
fn serve<T: Send + 'static>(
    talk: impl FnOnce(&mut TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        talk(&mut stream)
    });
    (address, thread)
}

/// What arrives in one go.
fn hear(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![0; 16 << 10];
    let length = stream.read(&mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

async fn check(host: &PluginHost, name: &str, reach: SocketAddr, pairs: &[(&str, &str)]) -> Verdict {
    let check = host.health_check(name).unwrap();
    let settings = settings(pairs);
    assert_eq!(check.validate(&settings).await.unwrap(), []);
    let target = Target {
        address: reach.ip().to_string(),
        port: reach.port(),
        namespace: "public".to_owned(),
        group: "DEFAULT_GROUP".to_owned(),
        service: "web".to_owned(),
        cluster: "DEFAULT".to_owned(),
        metadata: Vec::new(),
    };
    check.check(CheckCall { target, reach, settings, deadline: DEADLINE, trace: false }).await.result.unwrap()
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tcp() {
    let host = host().await;
    let (address, server) = serve(|_| ());
    assert_eq!(check(&host, "TCP", address, &[]).await.outcome, Outcome::Passed);
    server.join().unwrap();
    let verdict = check(&host, "TCP", nobody(), &[]).await;
    assert_eq!((verdict.outcome, verdict.code.as_str()), (Outcome::FailedNow, "tcp.refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_n288_n290_n294() {
    let host = host().await;
    for (status, outcome) in [("200 OK", Outcome::Passed), ("204 No Content", Outcome::FailedNow)] {
        let (address, server) = serve(move |stream| {
            let request = hear(stream);
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8(request).unwrap()
        });
        let verdict =
            check(&host, "HTTP", address, &[("path", "health"), ("headers", "X-Key:abc|bad")]).await;
        assert_eq!(verdict.outcome, outcome);
        let request = server.join().unwrap().to_ascii_lowercase();
        assert!(request.starts_with("get /health http/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("\r\nhost: {address}\r\n")), "{request}");
        assert!(request.contains("\r\nx-key: abc\r\n") && !request.contains("bad"), "{request}");
    }
    assert_eq!(check(&host, "HTTP", nobody(), &[]).await.code, "http.refused");
}

/// The longest way in: a full `caching_sha2_password` login under the server's key, then the question.
fn mysql(stream: &mut TcpStream, read_only: &str) -> Vec<u8> {
    use server::*;
    let mut turn = |say: &[u8]| {
        stream.write_all(say).unwrap();
        hear(stream)
    };
    let login = turn(&greeting("8.4.0", "caching_sha2_password", CAPABILITIES));
    assert_eq!(Login::parse(&login, 1).proof, SHA2_PROOF);
    assert_eq!(turn(&packet(2, &[1, 4])), packet(3, &[2]));
    let pem = include_bytes!("../../mysql-check/tests/server.pub");
    let sealed = turn(&packet(4, &[&[1], pem.as_slice()].concat()));
    assert_eq!(sealed.len(), 260);
    assert_eq!(turn(&ok(6))[4], 3, "a query");
    turn(&result(&[["innodb_read_only", "OFF"], ["read_only", read_only]]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_n295_n296() {
    let host = host().await;
    let login = [("user", "probe"), ("pwd", server::PASSWORD), ("public-key-retrieval", "true")];
    for (read_only, outcome, role) in
        [("OFF", Outcome::Passed, "primary"), ("ON", Outcome::Failed, "replica")]
    {
        let (address, server) = serve(move |stream| mysql(stream, read_only));
        let verdict = check(&host, "MYSQL", address, &login).await;
        assert_eq!(verdict.outcome, outcome, "{verdict:?}");
        assert_eq!(verdict.facts[0], ("role".to_owned(), role.to_owned()));
        assert_eq!(server.join().unwrap(), server::QUIT);
    }
    let full = [0xff, 0x10, 0x04, b'n', b'o'];
    for (cmd, outcome) in [("", Outcome::Inconclusive), ("select 1", Outcome::FailedNow)] {
        let (address, server) = serve(move |stream| stream.write_all(&server::packet(0, &full)).unwrap());
        let verdict = check(&host, "MYSQL", address, &[("user", "probe"), ("cmd", cmd)]).await;
        assert_eq!((verdict.outcome, verdict.code.as_str()), (outcome, "mysql.too-many-connections"));
        server.join().unwrap();
    }
}

fn lookup(pairs: &[(&str, &str)], cookie: Option<Vec<u8>>) -> LookupCall {
    LookupCall {
        node: ThisNode { address: "10.0.0.1".to_owned(), port: 8848, standalone: false },
        settings: settings(pairs),
        cookie,
        files: LookupFiles::default(),
        endpoints: vec!["url".to_owned()],
        names: LookupNames::default(),
        deadline: DEADLINE,
    }
}

fn list(answer: LookupAnswer) -> (Vec<(String, Option<u16>)>, Vec<u8>) {
    let LookupAnswer::Changed { members, cookie, .. } = answer else { panic!("{answer:?}") };
    (members.into_iter().map(|member| (member.address, member.port)).collect(), cookie)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standalone_and_file_n304_n306() {
    let host = host().await;
    let standalone = host.member_lookup("standalone").unwrap();
    let (members, _) = list(standalone.find(lookup(&[], None)).await.unwrap());
    assert_eq!(members, [("10.0.0.1".to_owned(), Some(8848))]);

    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("cluster.conf");
    std::fs::write(&conf, "# us\n10.0.0.1\n10.0.0.2:8850\n").unwrap();
    let file = host.member_lookup("file").unwrap();
    let ask = |cookie| {
        let names = vec!["cluster.conf".to_owned()];
        let files = LookupFiles { folder: folder.path().to_owned(), names };
        file.find(LookupCall { files, ..lookup(&[], cookie) })
    };
    let (members, cookie) = list(ask(None).await.unwrap());
    assert_eq!(members, [("10.0.0.1".to_owned(), None), ("10.0.0.2".to_owned(), Some(8850))]);
    assert!(matches!(ask(Some(cookie.clone())).await, Ok(LookupAnswer::Unchanged(_))));
    std::fs::write(&conf, "10.0.0.1\n10.0.0.2:8850\n10.0.0.3\n").unwrap();
    assert_eq!(list(ask(Some(cookie.clone())).await.unwrap()).0.len(), 3);
    std::fs::remove_file(&conf).unwrap();
    assert!(ask(Some(cookie)).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn address_server_n309() {
    let host = host().await;
    let (address, server) = serve(|stream| {
        let request = hear(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 18\r\n\r\n10.0.0.1\n10.0.0.2\n").unwrap();
        String::from_utf8(request).unwrap()
    });
    let url = format!("http://{address}/nacos/serverlist?v=1");
    let lookup_plugin = host.member_lookup("address-server").unwrap();
    assert_eq!(lookup_plugin.validate(&settings(&[("url", &url)])).await.unwrap(), []);
    let (members, _) = list(lookup_plugin.find(lookup(&[("url", &url)], None)).await.unwrap());
    assert_eq!(members.len(), 2);
    assert!(server.join().unwrap().starts_with("GET /nacos/serverlist?v=1 HTTP/1.1\r\n"));
}

struct Two;

impl Candidates for Two {
    fn count(&self) -> u32 {
        2
    }
    fn metadata(&self, key: &str) -> Arc<Column> {
        let (values, codes) = match key {
            "canary" => (vec!["true"], vec![0, 1]),
            "version" => (vec!["1.0.0", "2.0.1"], vec![1, 2]),
            _ => (Vec::new(), vec![0, 0]),
        };
        Arc::new(Column { values: values.into_iter().map(str::to_owned).collect(), codes })
    }
    fn clusters(&self) -> Arc<Column> {
        Arc::new(Column { values: vec!["BJ".to_owned(), "SH".to_owned()], codes: vec![1, 2] })
    }
    fn addresses(&self) -> Arc<[String]> {
        Arc::from(["10.0.0.1".to_owned(), "10.0.0.2".to_owned()])
    }
    fn ports(&self) -> Arc<[u16]> {
        Arc::from([80, 80])
    }
    fn weights(&self) -> Arc<[f64]> {
        Arc::from([1.0, 1.0])
    }
    fn states(&self) -> Arc<[u8]> {
        Arc::from([7, 7])
    }
    fn instance(&self, _: u32) -> Option<Candidate> {
        None
    }
}

/// What the filter makes of the two, for a subscriber at this address with this label.
async fn select(
    host: &PluginHost,
    filter: &str,
    address: &str,
    label: (&str, &str),
    pairs: &[(&str, &str)],
) -> Selection {
    let call = FilterCall {
        service: ServiceKey::new("public", "DEFAULT_GROUP", "web"),
        subscriber: FilterSubscriber {
            address: address.to_owned(),
            labels: BTreeMap::from([(label.0.to_owned(), label.1.to_owned())]),
            ..FilterSubscriber::default()
        },
        candidates: Arc::new(Two),
        settings: settings(pairs),
        deadline: DEADLINE,
    };
    host.push_filter(filter).unwrap().select(call).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_cluster_first() {
    let host = host().await;
    for (cluster, pairs, expected) in [
        ("SH", &[][..], Selection::Only(vec![1])),
        ("GZ", &[], Selection::All),
        ("SH", &[("min-healthy", "2")], Selection::All),
    ] {
        let selection = select(&host, "same-cluster-first", "", ("cluster", cluster), pairs).await;
        assert_eq!(selection, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canary() {
    let host = host().await;
    for (label, expected) in [("always", 1), ("never", 0)] {
        let selection = select(&host, "canary", "10.1.0.1", ("canary", label), &[]).await;
        assert_eq!(selection, Selection::Only(vec![expected]), "{label}");
    }
    let mut share = 0;
    for n in 0..100 {
        let pairs = [("percent", "30")];
        let selection = select(&host, "canary", &format!("10.1.0.{n}"), ("", ""), &pairs).await;
        share += u32::from(selection == Selection::Only(vec![1]));
    }
    assert!((15..45).contains(&share), "{share} of 100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn version_match() {
    let host = host().await;
    for (version, pairs, expected) in [
        ("2.0.1", &[][..], Selection::Only(vec![1])),
        ("2.0.9", &[("match", "minor")], Selection::Only(vec![1])),
        ("2.0.9", &[], Selection::All),
        ("2.0.9", &[("otherwise", "none")], Selection::Only(vec![])),
    ] {
        assert_eq!(
            select(&host, "version-match", "", ("version", version), pairs).await,
            expected,
            "{version}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subset() {
    let host = host().await;
    let mut load = [0; 2];
    for n in 0..100 {
        match select(&host, "subset", &format!("10.1.0.{n}"), ("", ""), &[("size", "1")]).await {
            Selection::Only(one) => load[one[0] as usize] += one.len(),
            Selection::All => panic!("one of two was asked for"),
        }
    }
    assert!(load[0] + load[1] == 100 && load[0] > 25 && load[1] > 25, "{load:?}");
    assert_eq!(select(&host, "subset", "", ("", ""), &[("size", "2")]).await, Selection::All);
}
