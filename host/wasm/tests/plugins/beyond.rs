//! What is beyond the target: places that manifest and operator both allow, and secrets that a guest uses unseen.

use crate::support::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_wasm::{
    CheckCall, CheckRun, End, HealthCheck, HostOptions, HostRule, LiveCall, LoadError, Manifest, PluginState,
    Settings, Trace, Trial,
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UdpSocket,
};

const SECRET: &str = "correct horse battery";

fn rules(texts: &[&str]) -> Vec<HostRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A stage whose operator grants `hosts` to the guest.
async fn granting(hosts: &[&str], name_server: Option<SocketAddr>) -> Stage {
    let hosts = [("guest".to_owned(), rules(hosts))].into();
    Stage::with(HostOptions { hosts, name_server, ..options() }).await
}

fn asking(hosts: &[&str]) -> impl FnOnce(&mut Manifest) {
    let hosts = rules(hosts);
    |manifest| {
        manifest.grants.fetch = vec!["url".into()];
        manifest.grants.hosts = hosts;
    }
}

fn question(stage: &Stage, settings: &[(&str, &str)]) -> CheckCall {
    let settings: Settings =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    CheckCall {
        settings: Arc::new(settings),
        trace: true,
        deadline: Duration::from_secs(5),
        ..call(stage.silent, "")
    }
}

async fn beyond(stage: &Stage, check: &HealthCheck, url: &str) -> CheckRun {
    check.check(question(stage, &[("what", "beyond url"), ("url", url)])).await
}

/// The line that would have allowed what was refused.
fn refused(run: &CheckRun) -> String {
    let found = run.trace.iter().find(|call| call.call == "refused");
    found.unwrap_or_else(|| panic!("nothing was refused: {run:?}")).detail.clone()
}

async fn hello() -> SocketAddr {
    answering(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()).await
}

pub async fn both_sides() {
    let server = hello().await;
    let (url, exact) = (format!("http://{server}/"), server.to_string());
    let port = server.port();
    let wide = format!("0.0.0.0/0:{port}");
    let within = format!("127.0.0.0/8:{port}");
    let other_port = format!("127.0.0.1:{}", port.wrapping_add(1).max(1));
    let manifest = |hosts: &str| format!("add to [grants] in the manifest: hosts = [{hosts}]");
    let settings =
        |hosts: &str| format!("add to [plugins.grants.guest] in the node's settings: hosts = [{hosts}]");
    let line = |rule: &str| format!("\"{rule}\"");
    let after = |rule: &str| format!("\"{}\", \"{}\"", rule.min(&exact), rule.max(&exact));
    for (requested, granted, expected) in [
        (vec![], vec![exact.as_str()], Err(manifest(&line(&exact)))),
        (vec![exact.as_str()], vec![], Err(settings(&line(&exact)))),
        (vec![exact.as_str()], vec![exact.as_str()], Ok(())),
        (vec![within.as_str()], vec![exact.as_str()], Ok(())),
        (vec![exact.as_str()], vec![wide.as_str()], Err(settings(&after(&wide)))),
        (vec![wide.as_str()], vec![wide.as_str()], Err(manifest(&after(&wide)))),
        (vec![exact.as_str()], vec![other_port.as_str()], Err(settings(&after(&other_port)))),
    ] {
        let stage = granting(&granted, None).await;
        let check = stage.check_with("reaches_beyond", asking(&requested)).await;
        let run = beyond(&stage, &check, &url).await;
        match expected {
            Ok(()) => assert_eq!(said(run.result), "200 hello"),
            Err(line) => {
                assert_eq!(refused(&run), line);
                assert!(said(run.result).contains("Denied"));
            }
        }
    }
    let stage = granting(&[&exact], None).await;
    let check = stage.check_with("reaches_beyond", asking(&[&exact])).await;
    let mapped = format!("http://[::ffff:127.0.0.1]:{port}/");
    assert_eq!(said(beyond(&stage, &check, &mapped).await.result), "200 hello", "the same place");
    for url in ["http://127.0.0.1:0/", "ftp://127.0.0.1/", "http://user@127.0.0.1/", ""] {
        assert!(!said(beyond(&stage, &check, url).await.result).contains("hello"), "{url}");
    }
    let unnamed = question(&stage, &[("what", "beyond unnamed"), ("unnamed", &url)]);
    let run = check.check(unnamed).await;
    assert_eq!(refused(&run), "add to [grants] in the manifest: fetch = [\"url\", \"unnamed\"]");
    stage.still_serves().await;
}

/// The same instance, before and after.
pub async fn changed_while_loaded() {
    let server = hello().await;
    let (url, exact) = (format!("http://{server}/"), server.to_string());
    let stage = granting(&[], None).await;
    let check = stage.check_with("reaches_beyond", asking(&[&exact])).await;
    for granted in [&[][..], &[exact.as_str()], &["10.0.0.0/8:443"], &[exact.as_str()]] {
        stage.host.grant_hosts("guest", rules(granted));
        let run = beyond(&stage, &check, &url).await;
        if granted.contains(&exact.as_str()) {
            assert_eq!(said(run.result), "200 hello");
        } else {
            assert!(
                refused(&run).starts_with("add to [plugins.grants.guest] in the node's settings: hosts = [")
            );
        }
    }
    stage.still_serves().await;
}

/// Answers questions for A records with one address after the other, and counts them.
async fn name_server(addresses: Vec<Ipv4Addr>) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let question = &packet[..length];
            let is_a = question[length - 4..] == [0, 1, 0, 1];
            let mut answer = question.to_vec();
            (answer[2], answer[3]) = (0x81, 0x80);
            if is_a {
                let nth = count.fetch_add(1, Ordering::SeqCst);
                answer[7] = 1;
                answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                answer.extend(addresses[nth.min(addresses.len() - 1)].octets());
            }
            // the asker may have gone
            let _ = socket.send_to(&answer, from).await;
        }
    });
    (address, asked)
}

pub async fn names() {
    let server = hello().await;
    let (exact, port) = (server.to_string(), server.port());
    let url = format!("http://auth.example:{port}/");
    let named = format!("Auth.Example.:{port}");
    // a name that leads to the loopback leads nowhere
    let (dns, _) = name_server(vec![Ipv4Addr::LOCALHOST]).await;
    let stage = granting(&[&named], Some(dns)).await;
    let check = stage.check_with("reaches_beyond", asking(&[&named])).await;
    let run = beyond(&stage, &check, &url).await;
    assert_eq!(
        refused(&run),
        format!("add to [grants] in the manifest: hosts = [\"127.0.0.1:{port}\", \"auth.example:{port}\"]")
    );
    assert!(said(run.result).contains("Denied"));
    // unless the address is granted as well; and then what was judged is what is dialled
    let (dns, asked) = name_server(vec![Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)]).await;
    let stage = granting(&[&exact], Some(dns)).await;
    let check = stage.check_with("reaches_beyond", asking(&[&exact])).await;
    assert_eq!(said(beyond(&stage, &check, &url).await.result), "200 hello");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "looked up once for one exchange");
    let run = beyond(&stage, &check, &url).await;
    assert_eq!(
        refused(&run),
        format!("add to [grants] in the manifest: hosts = [\"127.0.0.1:{port}\", \"127.0.0.2:{port}\"]"),
        "the name leads elsewhere now"
    );
    stage.still_serves().await;
}

pub async fn sockets() {
    let other = silent().await.to_string();
    let elsewhere = |stage: &Stage| question(stage, &[("what", &format!("elsewhere {other}"))]);
    let sockets = |hosts: &[&str]| {
        let hosts = rules(hosts);
        |manifest: &mut Manifest| {
            manifest.grants.wasi_sockets = true;
            manifest.grants.hosts = hosts;
        }
    };
    let stage = granting(&[&other], None).await;
    let check = stage.check_with("dials_elsewhere", sockets(&[])).await;
    let run = check.check(elsewhere(&stage)).await;
    assert_eq!(refused(&run), format!("add to [grants] in the manifest: hosts = [\"{other}\"]"));
    assert_eq!(said(run.result), "PermissionDenied");
    let check = stage.check_with("dials_elsewhere", sockets(&[&other])).await;
    assert_eq!(said(check.check(elsewhere(&stage)).await.result), "reached");
    stage.still_serves().await;
}

async fn record(stage: &Stage, call: CheckCall) -> Trial {
    stage.host.record("guest", LiveCall::Check(call), false).await.unwrap()
}

pub async fn hangs(stage: &Stage) {
    let silent = stage.silent.to_string();
    let stage = granting(&[&silent], None).await;
    let check = stage.check_with("reaches_beyond", asking(&[&silent])).await;
    let call = || {
        let url = format!("http://{silent}/");
        let call = question(&stage, &[("what", "beyond url"), ("url", &url)]);
        CheckCall { deadline: Duration::from_millis(300), ..call }
    };
    for _ in 0..6 {
        let error = check.check(call()).await.result.unwrap_err();
        assert_eq!(error.code(), "plugin.endpoint-timed-out", "{error}");
    }
    let info = stage.host.list().into_iter().find(|info| info.name == "guest").unwrap();
    assert_eq!(info.state, PluginState::Ready, "it is not the plugin's fault either");
    let trial = record(&stage, call()).await;
    let again = stage.host.replay("guest", &trial.trace).await.unwrap();
    assert_eq!(again.diverged.map(|off| off.found), None);
}

pub async fn gives_up(stage: &Stage) {
    let check = stage.check_with("reaches_beyond", asking(&[])).await;
    let call = || question(stage, &[("what", "gives-up url"), ("url", "http://10.1.2.3/")]);
    for _ in 0..30 {
        let error = check.check(call()).await.result.unwrap_err();
        assert_eq!(
            error.to_string(),
            "guest: FetchError::Denied: it asked for what it is not granted; add to [grants] in the manifest: \
             hosts = [\"10.1.2.3:80\"]"
        );
        assert_eq!(error.code(), "plugin.refused");
    }
    let info = stage.host.list().into_iter().find(|info| info.name == "guest").unwrap();
    assert_eq!(info.state, PluginState::Ready);
    assert_eq!(info.counters.faults.get("plugin.refused"), Some(&30));
    // a replay asks the host nothing, so the end is what the guest made of it; the line is told beside it
    let trial = record(stage, call()).await;
    assert!(trial.refused.as_ref().is_some_and(|line| line.contains("hosts = [")), "{:?}", trial.refused);
    assert!(matches!(&trial.trace.end, End::Error { code, .. } if code == "plugin.fault.internal"));
    assert_eq!(stage.host.replay("guest", &trial.trace).await.unwrap().diverged, None);
}

/// Answers with what it was asked, as it is and in other forms; `before` bytes come first.
async fn echo(before: usize) -> SocketAddr {
    serve(move |mut stream| async move {
        let mut asked = vec![0; 4096];
        let length = stream.read(&mut asked).await.unwrap_or(0);
        asked.truncate(length);
        let text = String::from_utf8_lossy(&asked).into_owned();
        let value = text.lines().find_map(|line| line.strip_prefix("x-auth: ")).unwrap_or("none").to_owned();
        let encoded = STANDARD.encode(&value);
        let page = format!("{}{value}, {encoded}", " ".repeat(before));
        let head = format!("HTTP/1.1 200 OK\r\nx-seen: {value}\r\ncontent-length: {}\r\n\r\n", page.len());
        // the client may have had enough
        let _ = stream.write_all(format!("{head}{page}").as_bytes()).await;
    })
    .await
}

/// Whether a recognisable part of the secret is in `text`.
fn shows(text: &str) -> bool {
    let encoded = STANDARD.encode(SECRET);
    text.contains(&SECRET[..8]) || text.contains(&encoded[..12])
}

pub async fn sealed(stage: &Stage) {
    let seal = |manifest: &mut Manifest| manifest.grants.sealed_secrets = vec!["token".into()];
    let check = stage.check_with("reaches_beyond", seal).await;
    let call = |reach: SocketAddr, what: &str| CheckCall {
        reach,
        ..question(stage, &[("what", what), ("token", SECRET), ("other", "not sealed")])
    };
    assert_eq!(said(check.check(call(stage.silent, "told token")).await.result), "${secret.token}");
    assert_eq!(said(check.check(call(stage.silent, "told other")).await.result), "not sealed");
    let (heard, server) = hears().await;
    let run = check.check(call(server, "header Bearer ${secret.token}")).await;
    assert_eq!(said(run.result), "200 hello");
    assert_eq!(heard.lock().unwrap().as_str(), format!("Bearer {SECRET}"), "the target gets it");
    // a target that repeats what it got, at once or where the body is cut
    for before in [0, (64 << 10) - 16] {
        let run = check.check(call(echo(before).await, "logs Bearer ${secret.token}")).await;
        let all = format!("{run:?}");
        assert!(!shows(&all), "{all}");
        assert!(all.contains("200 "), "{all}");
    }
    for what in ["header Bearer ${secret.token}", "logs ${secret.token}"] {
        let trial = record(stage, call(echo(0).await, what)).await;
        let text = trial.trace.to_text();
        assert!(!trial.shows_secret && !shows(&text), "{text}");
        let trace = Trace::parse(&text).unwrap();
        assert_eq!(stage.host.replay("guest", &trace).await.unwrap().diverged, None);
    }
    let shown = format!("{:?}", stage.host.list());
    assert!(!shows(&shown), "{shown}");
    // what the settings do not have cannot be sent, and that says nothing of the target
    let without = question(stage, &[("what", "header ${secret.token}")]);
    assert!(said(check.check(without).await.result).contains("Denied"));
    let run = check.check(call(stage.silent, "header ${secret.other}")).await;
    assert_eq!(refused(&run), "add to [grants] in the manifest: sealed-secrets = [\"token\", \"other\"]");
}

/// Keeps the header `x-auth` of the last request.
async fn hears() -> (Arc<std::sync::Mutex<String>>, SocketAddr) {
    let heard = Arc::new(std::sync::Mutex::new(String::new()));
    let keep = Arc::clone(&heard);
    let address = serve(move |mut stream| {
        let keep = Arc::clone(&keep);
        async move {
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&asked[..length]).into_owned();
            let value = text.lines().find_map(|line| line.strip_prefix("x-auth: ")).unwrap_or_default();
            value.clone_into(&mut keep.lock().unwrap());
            // the client may have gone
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        }
    })
    .await;
    (heard, address)
}

pub async fn not_sealed(stage: &Stage) {
    let check = stage.check("reaches_beyond").await;
    let call = |what: &str| question(stage, &[("what", what), ("token", SECRET)]);
    assert_eq!(said(check.check(call("told token")).await.result), SECRET);
    let run = check.check(call("header ${secret.token}")).await;
    assert_eq!(refused(&run), "add to [grants] in the manifest: sealed-secrets = [\"token\"]");
    assert!(said(run.result).contains("Denied"));
    for wrong in ["url", "absent"] {
        let mut manifest = manifest();
        manifest.grants.sealed_secrets = vec![wrong.into()];
        let error = stage.load("reaches_beyond", manifest).await.unwrap_err();
        assert!(matches!(&error, LoadError::Manifest(text) if text.contains(wrong)), "{error}");
    }
}
