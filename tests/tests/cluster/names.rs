//! Members that come from DNS: services, addresses, changes, a server that is away.

use crate::lookup::{lists, member, nobody};
use muster_tests::dns::DnsServer;
use muster_tests::seen::SOON;
use muster_tests::wait::hold;
use muster_tests::{Clock, Config, Node, Request, eventually};
use std::net::Ipv4Addr;
use std::time::Duration;

const SERVICE: &str = "_muster._tcp.muster.svc.cluster.local";
const HEADLESS: &str = "muster.default.svc.cluster.local";

fn with_names(config: &Config, server: &DnsServer, name: &str) -> Config {
    let config = config.clone().text("lookup", "type", "dns");
    config
        .text("lookup", "name-server", &server.address.to_string())
        .text("lookup", "max-interval", "1s")
        .set("lookup.settings", "interval", "1000")
        .text("lookup.settings", "name", name)
}

fn port(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

#[test]
fn members_follow_the_services_of_a_name() {
    let ((config, own), server) = (member(), DnsServer::open());
    let others = [nobody(), nobody()];
    for (target, last) in [("m-0.muster.local", 1), ("m-1.muster.local", 1), ("m-2.muster.local", 1)] {
        server.addresses(target, &[Ipv4Addr::new(127, 0, 0, last)]);
    }
    let targets = ["m-0.muster.local", "m-1.muster.local", "m-2.muster.local"];
    server.services(SERVICE, &[(targets[0], port(&own)), (targets[1], port(&others[0]))]);
    let mut node = Node::with(with_names(&config, &server, SERVICE));
    lists(&node, &[&own, &others[0]], SOON);
    assert_eq!(node.metric("muster_lookup{type=\"dns\"}"), 1.0);

    server.services(SERVICE, &[(targets[0], port(&own)), (targets[2], port(&others[1]))]);
    lists(&node, &[&own, &others[1]], SOON);

    // a target without an address, a server that fails, no such name: the list stays
    server.services(SERVICE, &[(targets[0], port(&own)), ("gone.muster.local", 1)]);
    stays(&node, &[&own, &others[1]]);
    server.services(SERVICE, &[(targets[0], port(&own)), (targets[1], port(&others[0]))]);
    server.fail(true);
    stays(&node, &[&own, &others[1]]);
    // also over a restart
    node.stop();
    node.start_again();
    lists(&node, &[&own, &others[1]], SOON);
    assert_eq!(node.metric("muster_lookup_from_kept_list"), 1.0);
    server.fail(false);
    lists(&node, &[&own, &others[0]], SOON);
    assert_eq!(node.metric("muster_lookup_from_kept_list"), 0.0);
    server.services(SERVICE, &[]);
    stays(&node, &[&own, &others[0]]);
}

/// Waits for two more look-ups that fail.
#[track_caller]
fn stays(node: &Node, members: &[&String]) {
    let before = node.metric("muster_lookup_failures_total");
    eventually(SOON, || {
        let failures = node.metric("muster_lookup_failures_total");
        hold(failures >= before + 2.0, || format!("{failures} failures, there were {before}"))
    });
    lists(node, members, Duration::ZERO);
}

#[test]
fn members_are_the_addresses_of_a_name_at_the_nodes_own_port_and_a_switch_leads_there() {
    let ((config, own), server) = (member(), DnsServer::open());
    let at = |last: u8| Ipv4Addr::new(127, 0, 0, last);
    let main = port(&own);
    let list = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(list.path(), &own).expect("the list is written");
    let file = config.clone().text("lookup", "type", "file");
    let mut node = Node::with(file.text("lookup.settings", "file", &list.path().to_string_lossy()));
    lists(&node, &[&own], SOON);

    let dns = with_names(&config, &server, HEADLESS).text("lookup.settings", "records", "address");
    node.write_settings(dns);
    let switch = || node.send(&Request::new("PUT", "/nacos/v3/admin/core/cluster/lookup?type=dns"));
    switch().has(503, "there are no such records; the members stay those that file found");
    server.addresses(HEADLESS, &[at(1), at(2)]);
    assert_eq!(switch().data(), true);
    lists(&node, &[&own, &format!("127.0.0.2:{main}")], SOON);
    let clock = Clock::start();
    server.addresses(HEADLESS, &[at(1), at(3), at(2)]);
    lists(&node, &[&own, &format!("127.0.0.2:{main}"), &format!("127.0.0.3:{main}")], SOON);
    assert!(clock.elapsed() < SOON && server.asked() > 4);
}
