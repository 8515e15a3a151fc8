//! Where the member list comes from: a file, an address server, what was kept, and what an operator changes.

use muster_tests::node::{START_DEADLINE, command};
use muster_tests::ports::free_port;
use muster_tests::process::Process;
use muster_tests::seen::{ELECTION, SOON, listed_members, ports, states};
use muster_tests::target::HttpTarget;
use muster_tests::wait::hold;
use muster_tests::{Clock, Config, Node, Reply, Request, eventually, name, never};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// In which a change of the member file must be seen.
const SEEN: Duration = Duration::from_secs(2);
/// What a busy machine may add to that.
const MARGIN: Duration = Duration::from_secs(2);

/// Replaced as a whole, as an editor or a configuration tool does it.
fn write_list(file: &Path, members: &[String]) {
    let new = file.with_extension("new");
    std::fs::write(&new, members.join("\n")).expect("the list is written");
    std::fs::rename(new, file).expect("the list is put in place");
}

/// A member where nobody is.
pub(crate) fn nobody() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// A node that may have others beside it, and its address.
pub(crate) fn member() -> (Config, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let config =
        Config::new().text("http", "bind", &address).text("cluster", "secret", "the members of this test");
    (config, address)
}

fn with_file(config: &Config, file: &Path) -> Config {
    let config = config.clone().text("lookup", "type", "file");
    config.text("lookup.settings", "file", &file.to_string_lossy())
}

/// Asked every second, also while it fails.
fn with_server(config: &Config, server: &HttpTarget) -> Config {
    let url = format!("http://127.0.0.1:{}/nacos/serverlist", server.port);
    let config = config.clone().text("lookup", "type", "address-server");
    config.text("lookup", "max-interval", "1s").set("lookup.settings", "interval", "1000").text(
        "lookup.settings",
        "url",
        &url,
    )
}

#[track_caller]
pub(crate) fn lists(node: &Node, wanted: &[&String], deadline: Duration) {
    let mut wanted: Vec<String> = wanted.iter().map(|address| (*address).clone()).collect();
    wanted.sort();
    eventually(deadline, || {
        let seen = listed_members(node);
        hold(seen == wanted, || format!("{seen:?}, not {wanted:?}"))
    });
}

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::with_prefix("muster-lists-").expect("a temporary folder");
    let file = folder.path().join("cluster.conf");
    (folder, file)
}

/// Starts a node that is expected to end by itself, and gives how and what it said.
fn fails_to_start(config: &Config) -> (Option<i32>, String) {
    let folder = TempDir::with_prefix("muster-node-").expect("a temporary folder");
    let mut process = Process::start(&mut command(config, folder.path()), None);
    let status = process.wait(START_DEADLINE);
    // the readers of its outputs may lag behind
    let log = eventually(SOON, || {
        let log = process.log.text();
        if log.contains("lookup") { Ok(log) } else { Err(log) }
    });
    (status.code(), log)
}

#[test]
fn n306_a_line_added_to_cluster_conf_is_seen_within_two_seconds_and_makes_the_cluster_larger() {
    let ((one, at_one), (two, at_two)) = (member(), member());
    let (_folder, first) = folder();
    let (_folder, second) = folder();
    write_list(&first, std::slice::from_ref(&at_one));
    write_list(&second, &[at_one.clone(), at_two.clone()]);
    let one = Node::with(with_file(&one.set("cluster", "expect", "1"), &first));
    let service = name("web");
    one.post(format!("/nacos/v1/ns/instance?serviceName={service}&ip=10.0.0.9&port=1&ephemeral=true")).ok();

    let clock = Clock::start();
    write_list(&first, &[at_one.clone(), at_two.clone()]);
    lists(&one, &[&at_one, &at_two], SEEN + MARGIN);
    let took = clock.elapsed();
    assert!(took < SEEN + MARGIN, "{took:?}");

    let two = Node::with(with_file(&two, &second));
    assert_eq!(ports(&two, &service), [1], "a new member has everything before it serves");
    eventually(ELECTION, || {
        let seen = [states(&one), states(&two)];
        hold(seen == [["UP"; 2], ["UP"; 2]], || format!("{seen:?}"))
    });

    let third = nobody();
    for (file, node) in [(&first, &one), (&second, &two)] {
        let clock = Clock::start();
        write_list(file, &[at_one.clone(), at_two.clone(), third.clone()]);
        lists(node, &[&at_one, &at_two, &third], SEEN + MARGIN);
        assert!(clock.elapsed() < SEEN + MARGIN);
    }
}

#[test]
fn n306_an_unreadable_file_keeps_the_old_list() {
    let ((config, own), other) = (member(), nobody());
    let (_folder, file) = folder();
    write_list(&file, &[own.clone(), other.clone()]);
    let node = Node::with(with_file(&config.text("lookup", "max-interval", "1s"), &file));
    for broken in ["127.0.0.1:what", "\n# nobody\n"] {
        std::fs::write(&file, broken).expect("the list is written");
        never(Duration::from_millis(2_500), || {
            let seen = listed_members(&node);
            hold(seen.len() == 2, || format!("{seen:?}"))
        });
    }
    std::fs::remove_file(&file).expect("the list is removed");
    eventually(SOON, || {
        let failures = node.metric("muster_lookup_failures_in_a_row");
        hold(failures > 0.0, || "the missing file is no failure".into())
    });
    lists(&node, &[&own, &other], SOON);
    write_list(&file, std::slice::from_ref(&own));
    lists(&node, &[&own], SEEN + MARGIN);
}

#[test]
fn n309_an_address_server_is_asked_every_five_seconds() {
    let ((config, own), server) = (member(), HttpTarget::open(200));
    server.say(&own);
    let url = format!("http://127.0.0.1:{}/nacos/serverlist", server.port);
    let config = config.text("lookup", "type", "address-server").text("lookup.settings", "url", &url);
    let _node = Node::with(config);
    let next = |count: usize| {
        let clock = Clock::start();
        eventually(Duration::from_secs(15), || {
            let asked = server.asked().len();
            hold(asked >= count, || format!("asked {asked} times"))
        });
        clock.elapsed()
    };
    let begun = server.asked().len();
    assert!(begun >= 1 && server.asked()[0].line == "GET /nacos/serverlist HTTP/1.1");
    next(begun + 1);
    for more in 2..4 {
        let gap = next(begun + more);
        assert!(gap > Duration::from_millis(4_500) && gap < Duration::from_secs(5) + MARGIN, "{gap:?}");
    }
}

#[test]
fn n309_members_follow_the_address_server_and_twelve_failures_make_it_unhealthy_and_lose_nobody() {
    let ((config, own), server) = (member(), HttpTarget::open(200));
    let others = [nobody(), nobody()];
    server.say(&format!("{own}\n{}\n", others[0]));
    let node = Node::with(with_server(&config, &server));
    lists(&node, &[&own, &others[0]], SOON);
    server.say(&format!("{own}\n{}\n{}\n", others[0], others[1]));
    lists(&node, &[&own, &others[0], &others[1]], SOON);
    assert_eq!((node.metric("muster_lookup_healthy"), node.metric("muster_members")), (1.0, 3.0));

    server.answer(503);
    eventually(Duration::from_secs(60), || {
        // both of the same moment
        let text = node.get("/metrics").body;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|number| number.parse::<u32>().ok()).expect("a number")
        };
        let healthy = number("muster_lookup_healthy") == 1;
        let in_a_row = number("muster_lookup_failures_in_a_row");
        assert_eq!(healthy, in_a_row < 12, "{in_a_row} failures");
        hold(!healthy, || format!("healthy after {in_a_row} failures"))
    });
    lists(&node, &[&own, &others[0], &others[1]], SOON);
    server.say(&format!("{own}\n{}\n", others[1]));
    server.answer(200);
    lists(&node, &[&own, &others[1]], SOON);
    assert_eq!(node.metric("muster_lookup_healthy"), 1.0);
    assert!(node.metric("muster_lookup_failures_total") >= 12.0);
}

#[test]
fn a_source_that_is_away_at_a_restart_leaves_the_list_that_was_kept() {
    let ((config, own), server) = (member(), HttpTarget::open(200));
    let others = [nobody(), nobody()];
    server.say(&format!("{own}\n{}\n", others[0]));
    let mut node = Node::with(with_server(&config, &server));
    assert_eq!(node.metric("muster_lookup_from_kept_list"), 0.0);
    node.stop();
    server.answer(500);
    node.start_again();
    lists(&node, &[&own, &others[0]], SOON);
    assert_eq!(node.metric("muster_lookup_from_kept_list"), 1.0);
    assert!(node.metric("muster_lookup_failures_total") >= 1.0);
    assert!(node.log().contains("starting with the last list"), "{}", node.log());
    server.say(&format!("{own}\n{}\n", others[1]));
    server.answer(200);
    lists(&node, &[&own, &others[1]], SOON);
    assert_eq!(node.metric("muster_lookup_from_kept_list"), 0.0);
}

/// Source: Nacos `nacos.core.address-server.retry` (5).
#[test]
fn a_first_start_without_the_source_fails_after_five_tries() {
    let server = HttpTarget::open(503);
    let (status, log) = fails_to_start(&with_server(&member().0, &server));
    assert_eq!(server.asked().len(), 5, "{log}");
    assert!(status.is_some_and(|code| code != 0), "{status:?}");
    assert!(log.contains("lookup address-server: ") && log.contains("status 503"), "{log}");
    assert!(log.contains("there is no list of an earlier run"), "{log}");
}

#[test]
fn an_unknown_lookup_stops_the_start_and_the_known_ones_are_named() {
    let (status, log) = fails_to_start(&member().0.text("lookup", "type", "adress-server"));
    assert!(status.is_some_and(|code| code != 0), "{status:?}");
    for text in
        ["no member lookup \"adress-server\"", "did you mean \"address-server\"?", "file", "standalone"]
    {
        assert!(log.contains(text), "no {text:?} in {log}");
    }
}

fn switch(node: &Node, kind: &str) -> Reply {
    node.send(&Request::new("PUT", format!("/nacos/v3/admin/core/cluster/lookup?type={kind}")))
}

#[test]
fn the_lookup_of_a_running_node_is_switched_and_its_source_is_the_new_one_from_then_on() {
    let ((config, own), server) = (member(), HttpTarget::open(200));
    let others = [nobody(), nobody(), nobody()];
    let (_folder, file) = folder();
    write_list(&file, &[own.clone(), others[0].clone()]);
    server.say(&format!("{own}\n{}\n", others[1]));
    let mut node = Node::with(with_file(&config, &file));
    lists(&node, &[&own, &others[0]], SOON);
    assert_eq!(node.metric("muster_lookup{type=\"file\"}"), 1.0);

    node.write_settings(with_server(&config, &server));
    assert_eq!(switch(&node, "address-server").data(), true);
    lists(&node, &[&own, &others[1]], SOON);
    assert_eq!(node.metric("muster_lookup{type=\"address-server\"}"), 1.0);
    assert_eq!(node.metric("muster_lookup_switches_total"), 1.0);
    let own_info = node.get("/nacos/v1/core/cluster/self").value()["data"]["extendInfo"]["lookup"].clone();
    assert_eq!(own_info, "address-server");
    // the former source has no say any more, the new one has
    write_list(&file, &[own.clone(), others[2].clone()]);
    server.say(&format!("{own}\n{}\n{}\n", others[0], others[1]));
    lists(&node, &[&own, &others[0], &others[1]], SOON);

    // v1, and back
    node.write_settings(with_file(&config, &file));
    let answer = node.post("/nacos/v1/core/cluster/switch/lookup?type=file").json();
    assert_eq!((&answer["code"], &answer["data"]), (&200.into(), &serde_json::Value::Null));
    lists(&node, &[&own, &others[2]], SOON);
    // v2, with another file of the same lookup, named in a form
    let (_other_folder, other_file) = folder();
    write_list(&other_file, &[own.clone(), others[1].clone()]);
    node.write_settings(with_file(&config, &other_file));
    let form = Request::new("PUT", "/nacos/v2/core/cluster/lookup").form("type=file");
    assert_eq!(node.send(&form).data(), true);
    lists(&node, &[&own, &others[1]], SOON);
    // what was switched to is what the next start finds
    node.stop();
    node.start_again();
    lists(&node, &[&own, &others[1]], SOON);
}

#[test]
fn a_switch_that_cannot_be_made_is_refused_with_the_reason_and_the_running_lookup_stays() {
    let ((config, own), server) = (member(), HttpTarget::open(503));
    let others = [nobody(), nobody()];
    let (_folder, file) = folder();
    write_list(&file, &[own.clone(), others[0].clone()]);
    let mut node = Node::with(with_file(&config, &file));

    let known = "there are: address-server, dns, file, standalone";
    switch(&node, "fiel").has(400, "there is no member lookup \\\"fiel\\\", did you mean").has(400, known);
    let written = "lookup.type is \\\"file\\\" in the settings: write \\\"address-server\\\" there first";
    switch(&node, "address-server").has(400, written);
    node.send(&Request::new("PUT", "/nacos/v3/admin/core/cluster/lookup")).has(400, "type");

    node.write_settings(with_server(&config, &server));
    switch(&node, "address-server").has(503, "status 503; the members stay those that file found");
    node.write_settings(with_server(&config, &server).text("lookup.settings", "url", "nonsense"));
    switch(&node, "address-server").has(400, "setting 'url'");
    node.write_settings(with_file(&config, &file).set("lookup", "min-intervall", "1"));
    switch(&node, "file").has(400, "check-config");
    node.write_settings(config.clone().text("lookup", "type", "standalone"));
    switch(&node, "standalone").has(400, "cannot become standalone");
    // the same plugin, which may read another file for as long as it is tried
    node.write_settings(with_file(&config, &file.with_extension("missing")));
    switch(&node, "file").has(503, "there is no such file");

    assert_eq!(node.metric("muster_lookup{type=\"file\"}"), 1.0);
    assert_eq!(node.metric("muster_lookup_switches_total"), 0.0);
    write_list(&file, &[own.clone(), others[1].clone()]);
    lists(&node, &[&own, &others[1]], SEEN + MARGIN);
    assert_eq!(node.metric("muster_lookup_failures_total"), 0.0);
}
