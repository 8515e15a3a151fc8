//! `examples/probes`: one probe in five languages, built as its README says, dropped into a real node.
//!
//! Every language has to give the same verdict on the same target, down to the message. A language that cannot be
//! built fails the run.

#[path = "probes/chaos.rs"]
mod chaos;
#[path = "probes/projects.rs"]
mod projects;

use muster_tests::lines::{LineTarget, Script};
use muster_tests::process::{build_folder, run};
use muster_tests::target::BlackHole;
use muster_tests::wait::hold;
use muster_tests::{Config, Node, encode, eventually};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::net::TcpSocket;

const LANGUAGES: [&str; 5] = ["C", "GO", "JAVASCRIPT", "PYTHON", "RUST"];

/// Those whose components import nothing but interfaces of Muster.
const WITHOUT_WASI: [&str; 3] = ["C", "JAVASCRIPT", "PYTHON"];

/// For installing all the tools and building all probes; a quarter of it is usual.
const BUILD: Duration = Duration::from_secs(900);

/// From a change of the target to its consequence, which takes two seconds on an idle machine.
const SEEN: Duration = Duration::from_secs(60);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the root of the repository")
}

/// The folder of the built components and their manifests.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = build_folder().parent().expect("target/<profile>").to_path_buf();
        let mut build = Command::new(root().join("examples/probes/build"));
        run(build.env("CARGO_TARGET_DIR", &target), BUILD);
        target.join("probes/plugins")
    })
}

/// The node that all tests share, with all probes. One verdict is enough to turn an instance.
fn node() -> &'static Node {
    static NODE: OnceLock<Node> = OnceLock::new();
    NODE.get_or_init(|| {
        let config = Config::new()
            .text("plugins", "directory", &built().to_string_lossy())
            .set("health", "rise", "1")
            .set("health", "fall", "1")
            .text("health", "first-delay", "100ms")
            .text("health", "first-spread", "500ms")
            .text("health", "max-interval", "1s")
            .text("health", "timeout", "2s");
        Node::with(config)
    })
}

/// A persistent service whose instances this probe checks.
#[track_caller]
fn service(name: &str, language: &str, settings: &Value) {
    node().post(format!("/nacos/v1/ns/service?serviceName={name}")).ok();
    put_checker(name, language, settings).ok();
}

#[track_caller]
fn put_checker(service: &str, language: &str, settings: &Value) -> muster_tests::Reply {
    let mut checker = settings.clone();
    checker["type"] = format!("LINE-{language}").into();
    let query = format!("serviceName={service}&clusterName=DEFAULT&checkPort=1&useInstancePort4Check=true");
    node().put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={}", encode(&checker.to_string())))
}

#[track_caller]
fn register(service: &str, port: u16) {
    let query = format!("serviceName={service}&ip=127.0.0.1&port={port}&ephemeral=false&healthy=false");
    node().post(format!("/nacos/v1/ns/instance?{query}")).ok();
}

/// The real health of the only instance.
fn healthy(service: &str) -> bool {
    let list = node().get(format!("/nacos/v3/admin/ns/instance/list?serviceName={service}")).data();
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    list[0]["healthy"] == true
}

/// What the last check found.
fn last(service: &str, port: u16) -> Value {
    let query = format!("serviceName={service}&ip=127.0.0.1&port={port}");
    node().get(format!("/nacos/v3/admin/muster/explain?{query}")).data()["probe"]["last"].clone()
}

/// What the node says of the probe in this language.
fn plugin(language: &str) -> Value {
    let all = node().get("/nacos/v3/admin/muster/plugins").data();
    let name = format!("LINE-{language}");
    let found = all.as_array().and_then(|all| all.iter().find(|one| one["name"] == name.as_str())).cloned();
    assert!(found.is_some(), "no {name}: {all}");
    found.unwrap_or_default()
}

/// Whatever the targets did, no probe has trapped, run out of time by itself or returned a fault.
#[track_caller]
fn no_faults() {
    for language in LANGUAGES {
        let plugin = plugin(language);
        assert_eq!((&plugin["state"], &plugin["faults"]), (&json!("ready"), &json!({})), "{plugin}");
    }
}

/// One situation, and the verdict that every language has to give on it.
struct Case {
    name: &'static str,
    settings: Value,
    script: Script,
    verdict: Value,
}

fn case(name: &'static str, settings: Value, script: Script, verdict: Value) -> Case {
    Case { name, settings, script, verdict }
}

fn passed(answer: &str) -> Value {
    json!({"outcome": "passed", "code": "", "message": "", "facts": {"answer": answer}})
}

fn verdict(outcome: &str, code: &str, message: &str) -> Value {
    json!({"outcome": outcome, "code": code, "message": message, "facts": {}})
}

/// Situations in which the target answers the connection.
fn cases() -> Vec<Case> {
    let defaults = || json!({});
    let mismatch = |word: &str| json!({ "mismatch": word });
    let loading = || Script::answer("-LOADING\r\n");
    let answered = "answered \"-LOADING\"";
    let pieces = Script::Answer(vec![b"+PO".to_vec(), b"NG so far\r".to_vec(), b"\nmore\r\n".to_vec()]);
    let long = format!("+PONG{}", "x".repeat(10_000));
    vec![
        case("right", defaults(), Script::answer("+PONG\r\n"), passed("+PONG")),
        case("in-pieces", defaults(), pieces, passed("+PONG so far")),
        case("without-end", defaults(), Script::answer("+PONG"), passed("+PONG")),
        case("long", defaults(), Script::answer(long.clone()), passed(&long[..200])),
        case(
            "own-words",
            json!({"send": "HELO x", "expect": "250"}),
            Script::answer("250 y\n"),
            passed("250 y"),
        ),
        case(
            "greeting",
            json!({"send": "", "expect": "220 "}),
            Script::Greet(b"220 ready\r\n".to_vec()),
            passed("220 ready"),
        ),
        case("wrong", defaults(), loading(), verdict("failed", "line.mismatch", answered)),
        case(
            "wrong-now",
            mismatch("failed-now"),
            loading(),
            verdict("failed-now", "line.mismatch", answered),
        ),
        case("wrong-well", mismatch("warning"), loading(), verdict("warning", "line.mismatch", answered)),
        case(
            "no-text",
            defaults(),
            Script::answer(*b"\xff\0\xc3(\r\r\n"),
            verdict("failed", "line.mismatch", "answered \"???(?\""),
        ),
        case(
            "silent",
            defaults(),
            Script::Close,
            verdict("failed", "line.silent", "closed without an answer"),
        ),
        case("reset", defaults(), Script::Reset, verdict("failed", "line.broken", "the connection broke")),
    ]
}

/// Waits until the last check of the instance has found this; the time of the check is its own.
#[track_caller]
fn wait_verdict(service: &str, port: u16, wanted: &Value) {
    eventually(SEEN, || {
        let mut last = last(service, port);
        if let Some(last) = last.as_object_mut() {
            last.remove("time");
        }
        hold(last == *wanted, || format!("{service}: {last}, not {wanted}"))
    });
}

#[test]
fn every_language_gives_the_same_verdicts() {
    let targets: Vec<_> =
        cases().into_iter().map(|case| (LineTarget::open(case.script.clone()), case)).collect();
    let named = |language: &str, case: &Case| format!("{}-{}", case.name, language.to_lowercase());
    for language in LANGUAGES {
        for (target, case) in &targets {
            service(&named(language, case), language, &case.settings);
            register(&named(language, case), target.port);
        }
    }
    for language in LANGUAGES {
        for (target, case) in &targets {
            wait_verdict(&named(language, case), target.port, &case.verdict);
        }
    }
    for (target, case) in &targets {
        let sent = case.settings["send"].as_str().unwrap_or("PING");
        let heard = target.heard();
        assert!(heard.iter().all(|line| *line == format!("{sent}\r\n")), "{}: {heard:?}", case.name);
    }
    no_faults();
}

#[test]
fn every_language_tells_apart_why_there_is_no_connection() {
    let hole = BlackHole::open();
    // bound and not listening: nobody else is given the port in between
    let closed = TcpSocket::new_v4().expect("a socket");
    closed.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let closed_port = closed.local_addr().expect("bound").port();
    let hung = LineTarget::open(Script::Hang);
    for language in LANGUAGES {
        let named = |what: &str| format!("{what}-{}", language.to_lowercase());
        for (what, port) in [("refused", closed_port), ("hole", hole.port), ("hung", hung.port)] {
            let settings = if what == "hole" { json!({"connect-timeout": 300}) } else { json!({}) };
            service(&named(what), language, &settings);
            register(&named(what), port);
        }
    }
    for language in LANGUAGES {
        let named = |what: &str| format!("{what}-{}", language.to_lowercase());
        let refused = verdict("failed-now", "line.refused", "connection refused");
        wait_verdict(&named("refused"), closed_port, &refused);
        wait_verdict(
            &named("hole"),
            hole.port,
            &verdict("failed", "line.timed-out", "no connection in time"),
        );
        // the node ends the check while the probe waits for its target: no probe has to watch a clock for that
        eventually(SEEN, || {
            let last = last(&named("hung"), hung.port);
            hold(last["outcome"] == "failed" && last["code"] == "timed-out", || format!("{language}: {last}"))
        });
    }
    no_faults();
}

#[test]
fn an_instance_turns_with_the_answers_of_its_target() {
    let target = LineTarget::open(Script::answer("+PONG\r\n"));
    let named = |language: &str| format!("turning-{}", language.to_lowercase());
    let all_become = |wanted: bool| {
        for language in LANGUAGES {
            let state = || format!("{language}: {}", last(&named(language), target.port));
            eventually(SEEN, || hold(healthy(&named(language)) == wanted, state));
        }
    };
    for language in LANGUAGES {
        service(&named(language), language, &json!({}));
        register(&named(language), target.port);
    }
    all_become(true);
    target.change(Script::answer("-MASTERDOWN\r\n"));
    all_become(false);
    target.change(Script::answer("+PONG\r\n"));
    all_become(true);
    no_faults();
}

#[test]
fn every_language_validates_its_settings() {
    for language in LANGUAGES {
        let name = format!("strict-{}", language.to_lowercase());
        service(&name, language, &json!({}));
        for (settings, complaint) in [
            // by the probe itself
            (json!({"expect": ""}), "must not be empty"),
            (json!({"send": "two\nlines"}), "must be one line of printable ASCII"),
            (json!({"expect": "größer"}), "must be one line of printable ASCII"),
            // by the node, from what the probe says of its settings
            (json!({"mismatch": "fine"}), "failed-now"),
            (json!({"connect-timeout": 0}), "60000"),
            (json!({"exepct": "x"}), "exepct"),
        ] {
            let reply = put_checker(&name, language, &settings);
            let refused = reply.status == 400 && reply.body.contains(complaint);
            assert!(refused, "{language} {settings}: {} {}", reply.status, reply.body);
        }
    }
}

#[test]
fn components_import_what_the_readme_says() {
    for language in LANGUAGES {
        let plugin = plugin(language);
        let imports = plugin["inspection"]["imports"].as_array().cloned().unwrap_or_default();
        let wasi =
            imports.iter().filter(|import| import.as_str().is_some_and(|name| name.starts_with("wasi:")));
        assert_eq!(wasi.count() == 0, WITHOUT_WASI.contains(&language), "{language}: {imports:?}");
        assert!(
            imports
                .iter()
                .filter_map(|import| import.as_str())
                .any(|import| import.starts_with("muster:plugin/dial@0.1.")),
            "{language}: {imports:?}"
        );
        let settings = plugin["settings"].as_array().cloned().unwrap_or_default();
        let keys: Vec<_> = settings.iter().filter_map(|setting| setting["key"].as_str()).collect();
        assert_eq!(keys, ["send", "expect", "mismatch", "connect-timeout"], "{language}");
    }
}
