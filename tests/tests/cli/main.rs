//! The command line: settings that are refused with the key and the fix, probes and plugins from
//! the shell.

mod ship;
mod trust;

use muster_tests::node::{binary, command};
use muster_tests::process::{Process, run};
use muster_tests::target::{HttpTarget, TcpTarget, closed_port};
use muster_tests::{Config, Node};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `muster check-config` on this text: success, and what it wrote.
fn check(text: &str) -> (bool, String) {
    let folder = TempDir::with_prefix("muster-cli-").expect("a temporary folder");
    let file = folder.path().join("muster.toml");
    std::fs::write(&file, text).expect("written");
    let mut process = Process::start(Command::new(binary()).arg("check-config").arg(&file), None);
    let (status, said) = process.finish(DEADLINE);
    (status.success(), said)
}

#[test]
fn good_settings_pass_and_the_reference_is_good() {
    for text in ["", "[http]\nbind = \"127.0.0.1:0\"\n", "[naming]\npush-delay = \"250ms\"\n"] {
        let (good, said) = check(text);
        assert!(good, "{text}: {said}");
    }
    let reference = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/server/reference.toml");
    run(Command::new(binary()).arg("check-config").arg(reference), DEADLINE);
}

#[test]
fn bad_settings_are_refused_with_the_key() {
    for (text, key) in [
        ("[http]\nbnd = \"127.0.0.1:1\"\n", "bnd"),
        ("[htp]\n", "htp"),
        ("[http]\nbind = \"localhost\"\n", "bind"),
        ("[http]\nbind = \"127.0.0.1:99999\"\n", "bind"),
        ("[naming]\npush-delay = \"5 parsecs\"\n", "push-delay"),
        ("[naming]\npush-delay = 5\n", "push-delay"),
        ("[naming]\nmetadata-limit = -1\n", "metadata-limit"),
        ("[naming]\nprotection = \"maybe\"\n", "protection"),
        ("[http\n", ":1: not valid TOML"),
    ] {
        let (good, said) = check(text);
        assert!(!good, "accepted: {text}");
        assert!(said.contains(key), "{text}: {said}");
        assert!(!said.contains("panicked"), "{text}: {said}");
    }
}

#[test]
fn serve_stops_at_bad_settings_as_well() {
    let folder = TempDir::with_prefix("muster-cli-").expect("a temporary folder");
    let config = Config::new().text("naming", "push-dealy", "1s");
    let mut process = Process::start(&mut command(&config, folder.path()), None);
    let status = process.wait(DEADLINE);
    muster_tests::wait::pause(Duration::from_millis(50));
    let said = process.log.text();
    assert!(
        !status.success() && said.contains("push-dealy") && said.contains("push-delay"),
        "{status} {said}"
    );
    assert!(!said.contains("muster ready"), "{said}");
}

#[test]
fn the_environment_overrides_the_file() {
    let node = Node::with(Config::new().env("MUSTER_HTTP__CONTEXT_PATH", "/elsewhere"));
    assert_eq!(node.get("/elsewhere/v1/ns/operator/metrics").json()["status"], "UP");
    assert_eq!(node.get("/nacos/v1/ns/operator/metrics").status, 404);
}

#[test]
fn one_node_at_a_time_has_the_data() {
    let node = Node::start();
    let mut second = Process::start(&mut command(&Config::new(), node.folder()), None);
    let status = second.wait(DEADLINE);
    assert!(!status.success(), "{}", second.log.text());
    // the first goes on
    assert_eq!(node.get("/nacos/v1/ns/operator/metrics").json()["status"], "UP");
}

#[test]
fn the_ready_line_is_in_the_data_folder_too() {
    let node = Node::start();
    let text = std::fs::read_to_string(node.data().join("muster.ready")).expect("a ready file");
    assert!(text.contains(&format!("http=127.0.0.1:{}", node.port())), "{text}");
}

fn probe(plugin: &str, target: &str, settings: &str) -> String {
    let mut probe = Command::new(binary());
    probe.args(["probe", "run", plugin, "--target", target, "--settings", settings]);
    let mut process = Process::start(&mut probe, None);
    process.wait(DEADLINE);
    muster_tests::wait::pause(Duration::from_millis(50));
    process.log.text()
}

#[test]
fn a_probe_runs_from_the_shell() {
    let open = TcpTarget::open();
    let said = probe("TCP", &format!("127.0.0.1:{}", open.port), "{}");
    assert!(said.contains("passed"), "{said}");
    let said = probe("TCP", &format!("127.0.0.1:{}", closed_port()), "{}");
    assert!(said.contains("failed-now"), "{said}");
    let http = HttpTarget::open(503);
    let said = probe("HTTP", &format!("127.0.0.1:{}", http.port), r#"{"path":"/up"}"#);
    assert!(said.contains("failed") && !said.contains("failed-now"), "{said}");
    assert_eq!(http.asked()[0].line, "GET /up HTTP/1.1");
    let said = probe("TCP", "127.0.0.1:1", r#"{"nonsense":true}"#);
    assert!(said.contains("nonsense"), "{said}");
}

#[test]
fn bundled_plugins_can_be_inspected() {
    let said = run(Command::new(binary()).args(["plugin", "inspect", "MYSQL"]), DEADLINE);
    for word in ["muster:plugin", "0.1.0", "user", "pwd", "cmd"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

const NEAR: &str = "[[filter]]\nplugin = \"same-cluster-first\"\nservice = \"orders\"\non-fault = \"last\"\n\
                    [[subscriber]]\ncidr = \"10.1.0.0/16\"\nlabels = { cluster = \"HZ\" }\n";

#[test]
fn a_node_explains_what_a_subscriber_sees() {
    let node = Node::with(Config::new().more(NEAR));
    let server = format!("http://127.0.0.1:{}", node.port());
    for (port, more) in [(1, "&clusterName=HZ"), (2, "&clusterName=SH"), (3, "&clusterName=HZ&enabled=false")]
    {
        let target = format!("/nacos/v1/ns/instance?serviceName=orders&ip=10.0.0.7&port={port}{more}");
        node.post(target).ok();
    }
    let explain = |arguments: &[&str]| {
        let common = ["--server", &server];
        run(Command::new(binary()).arg("explain").args(arguments).args(common), DEADLINE)
    };
    let said = explain(&["subscriber", "orders", "10.1.2.3"]);
    for line in [
        "sees           1 of 3",
        "1. clusters    3 left, 0 out: it asks for all",
        "2. disabled    2 left, 1 out",
        "*  10.0.0.7:1  HZ       healthy  shown",
        "   10.0.0.7:2  SH       healthy  out: filter",
        "   10.0.0.7:3  HZ       healthy  out: disabled",
    ] {
        assert!(said.lines().any(|found| found == line), "{line}\nin\n{said}");
    }
    assert!(said.contains("its labels cluster=HZ from 10.1.0.0/16"), "{said}");
    // what it says is what the subscriber gets
    let list = node.get("/nacos/v1/ns/instance/list?serviceName=orders&clientIP=10.1.2.3").json();
    assert_eq!(list["hosts"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list["hosts"][0]["port"], 1);
    assert!(explain(&["subscriber", "orders", "10.2.2.3"]).contains("sees           2 of 3"));

    let said = explain(&["instance", "orders", "10.0.0.7:3"]);
    assert!(said.contains("lists       not shown: disabled"), "{said}");
    let said = explain(&["instance", "orders", "10.0.0.7:1", "--json"]);
    assert!(said.contains("\"effectiveHealthy\": true"), "{said}");
    let missing = node.get("/nacos/v3/admin/muster/explain/subscriber?serviceName=nobody&ip=10.0.0.1");
    assert_eq!(missing.status, 404);
}

/// One line of a scripted server: what it answers to every line that it gets.
fn answering(answer: &'static [u8]) -> u16 {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut writer = stream.try_clone().expect("a second handle");
            for _ in BufReader::new(stream).lines().map_while(Result::ok).filter(String::is_empty) {
                // an HTTP request is over; the client may be gone
                let _ = writer.write_all(answer);
            }
        }
    });
    port
}

#[test]
fn a_recorded_probe_is_replayed_without_its_target() {
    let folder = TempDir::with_prefix("muster-trace-").expect("a temporary folder");
    let port = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nup");
    let trace = folder.path().join("http.trace");
    let muster = |arguments: &[&str]| {
        let mut command = Command::new(binary());
        command.arg("plugin").args(arguments);
        let mut process = Process::start(&mut command, None);
        let (status, said) = process.finish(DEADLINE);
        (status.code(), said)
    };
    let file = trace.to_str().expect("a path");
    let target = format!("127.0.0.1:{port}");
    let (code, said) =
        muster(&["record", "HTTP", "--target", &target, "--settings", r#"{"path":"/up"}"#, "--out", file]);
    assert!(code == Some(0) && said.contains("verdict   passed") && said.contains("fetch.send"), "{said}");
    let (code, said) = muster(&["replay", "HTTP", file]);
    assert!(code == Some(0) && said.contains("the same build of HTTP did the same again"), "{said}");
    let (code, said) = muster(&["run", "HTTP", "--trace", file, "--json"]);
    assert!(code == Some(0) && said.contains("\"outcome\": \"passed\""), "{said}");
    let text = std::fs::read_to_string(&trace).expect("a trace");
    std::fs::write(&trace, text.replace("/up", "/down")).expect("written");
    let (code, said) = muster(&["replay", "HTTP", file]);
    assert!(code == Some(0), "its settings are in the trace too: {said}");
    std::fs::write(
        &trace,
        text.replacen("\"path\":\"/up\",\"timeout-ms\"", "\"path\":\"/else\",\"timeout-ms\"", 1),
    )
    .expect("written");
    let (code, said) = muster(&["replay", "HTTP", file]);
    assert!(code == Some(1) && said.contains("diverged at step 1"), "{said}");
    std::fs::write(&trace, "{}\n{}\n").expect("written");
    let (code, said) = muster(&["replay", "HTTP", file]);
    assert!(code == Some(2) && said.contains("line 1"), "{said}");
}

#[test]
fn fuzzing_finds_no_break_in_a_bundled_plugin() {
    let folder = TempDir::with_prefix("muster-fuzz-").expect("a temporary folder");
    let port = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nup");
    let trace = folder.path().join("http.trace");
    let file = trace.to_str().expect("a path");
    let target = format!("127.0.0.1:{port}");
    run(
        Command::new(binary()).args(["plugin", "record", "HTTP", "--target", &target, "--out", file]),
        DEADLINE,
    );
    let said = run(Command::new(binary()).args(["plugin", "fuzz", "HTTP", file, "--runs", "200"]), DEADLINE);
    assert!(said.contains("nothing broke, and no dead target passed (seed 1)"), "{said}");
}

#[test]
fn a_plugin_can_be_measured() {
    let said = run(Command::new(binary()).args(["plugin", "bench", "TCP", "--calls", "50"]), DEADLINE);
    for line in ["load: compiled before", "call as a node makes it", "baseline", "memory of an instance"] {
        assert!(said.contains(line), "{line}: {said}");
    }
}
