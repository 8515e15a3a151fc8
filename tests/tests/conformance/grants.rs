//! What a health check may have and reach beyond its targets: granted and taken back by commands while the node runs.

use crate::common::{plugin, secs};
use muster_test_guests::component;
use muster_tests::target::{HttpTarget, TcpTarget};
use muster_tests::wait::hold;
use muster_tests::{Config, Node, encode, eventually, never};
use serde_json::{Value, json};
use std::time::Duration;
use tempfile::TempDir;

const MANIFEST: &str = "[plugin]\nname = \"guest\"\nkind = \"health-check\"\n[grants]\ndial = true\n\
    fetch = [\"url\"]\nhosts = [\"127.0.0.0/8:*\"]\n";
const SECRET: &str = "correct-horse-battery";
/// From a command to what follows, on a machine that does much else.
const DONE: Duration = Duration::from_secs(60);

/// One verdict turns an instance, so that a single wrong one is seen.
fn config(folder: &TempDir) -> Config {
    std::fs::write(folder.path().join("guest.wasm"), component("reaches_beyond")).expect("written");
    std::fs::write(folder.path().join("guest.toml"), MANIFEST).expect("written");
    let mut config = Config::new()
        .text("plugins", "directory", &folder.path().to_string_lossy())
        .set("plugins", "cluster-grants", "true")
        .text("secrets", "probe", SECRET)
        .text("secrets", "by-file", "of-the-file")
        .set("plugins.grants.HTTP", "secrets", "[\"by-file\"]")
        .set("health", "rise", "1")
        .set("health", "fall", "1");
    for (key, value) in
        [("first-delay", "100ms"), ("first-spread", "100ms"), ("max-interval", "500ms"), ("timeout", "2s")]
    {
        config = config.text("health", key, value);
    }
    config
}

#[track_caller]
fn done(node: &Node, words: &[&str]) -> String {
    let (good, said) = plugin(node, words);
    assert!(good, "{words:?}: {said}");
    said
}

fn grants(node: &Node, name: &str) -> Value {
    node.get(format!("/nacos/v3/admin/muster/plugins/grants?name={name}")).data()[0].clone()
}

/// Stores the checker of a service; answers the status and what was said.
fn store(node: &Node, service: &str, checker: &Value) -> (u16, String) {
    node.post(format!("/nacos/v1/ns/service?serviceName={service}"));
    let query = format!("serviceName={service}&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true");
    let checker = encode(&checker.to_string());
    let answer = node.put(format!("/nacos/v1/ns/cluster?{query}&healthChecker={checker}"));
    (answer.status, answer.body.replace('\\', ""))
}

fn register(node: &Node, service: &str, port: u16) {
    let query = format!("serviceName={service}&ip=127.0.0.1&port={port}&ephemeral=false&healthy=false");
    node.post(format!("/nacos/v1/ns/instance?{query}")).ok();
}

fn healthy(node: &Node, service: &str) -> bool {
    let list = node.get(format!("/nacos/v3/admin/ns/instance/list?serviceName={service}")).data();
    list[0]["healthy"] == true
}

#[track_caller]
fn explains(node: &Node, service: &str, port: u16, text: &str) {
    let instance = format!("serviceName={service}&ip=127.0.0.1&port={port}");
    eventually(DONE, || {
        let said = node.get(format!("/nacos/v3/admin/muster/explain?{instance}")).body;
        if said.contains(text) { Ok(()) } else { Err(said) }
    });
}

/// A check asks a place beyond its target: refused, granted, taken back, granted again, and after a restart.
#[test]
fn a_place_is_granted_and_taken_back_without_a_restart() {
    let folder = TempDir::with_prefix("muster-grants-").expect("a temporary folder");
    let mut node = Node::with(config(&folder));
    let (target, beyond) = (TcpTarget::open(), HttpTarget::open(200));
    let place = format!("127.0.0.1:{}", beyond.port);
    let checker = json!({"type": "guest", "what": "gives-up url", "url": format!("http://{place}/")});
    assert_eq!(store(&node, "asks-beyond", &checker).0, 200);
    register(&node, "asks-beyond", target.port);
    explains(&node, "asks-beyond", target.port, "[plugins.grants.guest]");
    assert!(!healthy(&node, "asks-beyond") && beyond.asked().is_empty());

    let said = done(&node, &["grant", "guest", "--hosts", &place]);
    assert!(said.contains(&format!("in force        hosts {place}; secrets -")), "{said}");
    eventually(DONE, || hold(healthy(&node, "asks-beyond"), || "it is not found healthy".into()));

    // the guest gives up when it is refused, which says nothing of the target
    done(&node, &["revoke", "guest", "--hosts", &place]);
    explains(&node, "asks-beyond", target.port, "[plugins.grants.guest]");
    let asked = beyond.asked().len();
    never(secs(2.0), || hold(healthy(&node, "asks-beyond"), || "it turned".into()));
    assert_eq!(beyond.asked().len(), asked, "asked after it was taken back");

    let wide = "10.0.0.0/8:443";
    done(&node, &["grant", "guest", "--hosts", &format!("{place},{wide}")]);
    node.stop();
    node.start_again();
    let seen = grants(&node, "guest");
    assert_eq!(seen["byCluster"]["hosts"], json!([wide, place]), "{seen}");
    assert_eq!(seen["inForce"]["hosts"], json!([place]), "its manifest does not ask for the other: {seen}");
    eventually(DONE, || hold(beyond.asked().len() > asked, || "not asked after the restart".into()));
    done(&node, &["grant", "guest", "--clear"]);
    let seen = grants(&node, "guest");
    assert_eq!((&seen["byCluster"]["hosts"], &seen["inForce"]["hosts"]), (&json!([]), &json!([])), "{seen}");
}

/// The settings of a service refer to a secret: refused when they are stored, granted, taken back.
#[test]
fn a_secret_that_is_not_granted_is_refused_when_the_checker_is_stored() {
    let folder = TempDir::with_prefix("muster-grants-").expect("a temporary folder");
    let node = Node::with(config(&folder));
    let target = HttpTarget::open(200);
    let checker = |name: &str| {
        let token = "Authorization:Bearer ${secret.token}";
        json!({"type": "HTTP", "headers": token, "token": format!("secret:{name}")})
    };
    assert_eq!(store(&node, "by-file", &checker("by-file")).0, 200, "granted by the settings");
    let (status, said) = store(&node, "with-secret", &checker("probe"));
    assert_eq!(status, 400, "{said}");
    for part in [
        "add to [plugins.grants.HTTP] in the node's settings: secrets = [\"probe\"]",
        "muster plugin grant HTTP --secrets probe",
    ] {
        assert!(said.contains(part), "{said}");
    }
    for (words, why) in [
        (&["grant", "HTTP", "--secrets", "absent"][..], "there is no secret named \"absent\""),
        (&["grant", "HTTP", "--hosts", "auth.example"], "\"auth.example\" is not a host with ports"),
        (&["grant", "HTPP", "--secrets", "probe"], "there is no plugin \"HTPP\" among the health-checks"),
        (&["grant", "HTTP"], "at least one of them is needed"),
    ] {
        let (good, said) = plugin(&node, words);
        assert!(!good && said.contains(why), "{words:?}: {said}");
    }

    let said = done(&node, &["grant", "HTTP", "--secrets", "probe"]);
    assert!(said.contains("secrets by-file, probe"), "{said}");
    assert_eq!(store(&node, "with-secret", &checker("probe")).0, 200);
    register(&node, "with-secret", target.port);
    eventually(DONE, || hold(healthy(&node, "with-secret"), || "it is not found healthy".into()));
    let asked = target.asked();
    let sent = asked[0].headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value);
    assert_eq!(sent.map(String::as_str), Some(format!("Bearer {SECRET}").as_str()));

    let said = done(&node, &["revoke", "HTTP", "--all"]);
    assert!(said.contains("in force        hosts -; secrets by-file"), "{said}");
    explains(&node, "with-secret", target.port, "HTTP may not have the secret");
    let asked = target.asked().len();
    target.answer(500);
    never(secs(2.0), || hold(healthy(&node, "with-secret"), || "it turned".into()));
    assert_eq!(target.asked().len(), asked, "asked after it was taken back");
    let shown = [done(&node, &["grants"]), grants(&node, "HTTP").to_string(), node.log()];
    assert!(shown.iter().all(|text| !text.contains(SECRET)), "{shown:?}");
}
