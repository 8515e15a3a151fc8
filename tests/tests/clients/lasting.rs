//! Persistent instances, and namespaces.

use crate::common::{SOON, info, node, secs, up, wait_listed};
use muster_tests::client::{Client, Outcome, Sdk, Transport};
use muster_tests::wait::{hold, never};
use muster_tests::{addr, name};
use serde_json::json;
use std::net::TcpListener;

/// A persistent instance outlives its client, and any client takes it out.
pub(crate) fn persistent(sdk: &'static Sdk) -> Outcome {
    let port = node().port();
    let [provider, consumer] = Client::start_all([(sdk, port, ""), (sdk, port, "")]);
    let (s, mortal, ip) = (name("orders"), name("mortal"), addr());
    // the node dials it to see whether it is well
    let target = TcpListener::bind((ip.as_str(), 0)).expect("loopback");
    let target = target.local_addr().expect("bound").port();
    let what = json!({"service": s, "ip": ip, "port": target, "ephemeral": false});
    provider.tell("register", what.clone())?;
    consumer.wait_list(&json!({"service": s}), SOON, &[up(&ip, target)])?;
    let listed = info(node(), &format!("serviceName={s}"));
    assert_eq!(listed["hosts"][0]["ephemeral"], false, "{listed}");
    provider.register(&mortal, &ip, 1)?;
    wait_listed(node(), &mortal, SOON, &[up(&ip, 1)]);
    provider.kill();
    if sdk.transport == Transport::Grpc {
        // the client's death has been noticed
        wait_listed(node(), &mortal, SOON, &[]);
    }
    never(secs(3.0), || {
        let hosts = muster_tests::udp::hosts(&info(node(), &format!("serviceName={s}")));
        hold(hosts.len() == 1, || format!("{hosts:?}"))
    });
    consumer.tell("deregister", what)?;
    wait_listed(node(), &s, SOON, &[]);
    Ok(())
}

/// Neither sees or hears what the other registers under the same name.
pub(crate) fn namespaces(sdk: &'static Sdk) -> Outcome {
    let (port, other) = (node().port(), name("ns"));
    let [here, there] = Client::start_all([(sdk, port, "public"), (sdk, port, &other)]);
    let (s, ours, theirs) = (name("orders"), addr(), addr());
    here.register(&s, &ours, 8080)?;
    wait_listed(node(), &s, SOON, &[up(&ours, 8080)]);
    // before anything is listed: what an SDK has in its cache is no change to it
    crate::changes::follow(&here, &s, &[up(&ours, 8080)])?;
    assert!(there.list(json!({"service": s}))?.is_empty(), "another namespace");
    there.register(&s, &theirs, 9090)?;
    there.wait_list(&json!({"service": s}), SOON, &[up(&theirs, 9090)])?;
    assert_eq!(here.list(json!({"service": s}))?, [up(&ours, 8080)]);
    let in_other = info(node(), &format!("serviceName={s}&namespaceId={other}"));
    assert_eq!(muster_tests::udp::hosts(&in_other), [up(&theirs, 9090)]);
    there.deregister(&s, &theirs, 9090)?;
    never(secs(2.0), || {
        let changes = here.changes(&s);
        let theirs = changes.iter().any(|change| change.hosts != [up(&ours, 8080)]);
        hold(!theirs, || format!("{changes:?}"))
    });
    Ok(())
}
