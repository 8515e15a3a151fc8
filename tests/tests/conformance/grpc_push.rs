//! K: subscriptions and pushes over gRPC.

use crate::common::{
    LASTING, client, deregister, grpc_register, grpc_subscribe, instance_body, node, register, secs,
    service_body,
};
use muster_tests::wait::hold;
use muster_tests::{Clock, Grpc, addr, eventually, name, never};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PUSH: &str = "NotifySubscriberRequest";

fn subscribe(client: &Grpc, service: &str, wanted: bool, clusters: &str) -> Value {
    let body = service_body(service, &format!(r#","subscribe":{wanted},"clusters":"{clusters}""#));
    client.ask("SubscribeServiceRequest", &body).ok("SubscribeServiceResponse").clone()
}

/// The weights in the first host of all pushes so far.
fn weights(client: &Grpc) -> Vec<f64> {
    let pushes = client.received_of(PUSH);
    pushes.iter().filter_map(|push| push.json["serviceInfo"]["hosts"][0]["weight"].as_f64()).collect()
}

fn weigh(client: &Grpc, service: &str, ip: &str, weight: u32) {
    let body = instance_body("registerInstance", service, ip, "");
    let body = body.replace(r#""weight":1.0"#, &format!(r#""weight":{weight}.0"#));
    client.ask("InstanceRequest", &body).ok("InstanceResponse");
}

#[test]
fn n228_n248_n250_n265_a_subscription_is_answered_and_followed_by_a_push() {
    let (client, s, ip) = (client(), name("orders"), addr());
    let host = format!("{ip}:8080=true");
    register(node(), &s, &ip, LASTING);
    assert_eq!(grpc_subscribe(&client, &s), [host.as_str()]);
    let (push, after) = client.wait_push(secs(5.0), &s, &[&host]);
    assert!(after < secs(2.0), "{after:?}");
    let keys: BTreeSet<_> =
        push.json.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, BTreeSet::from(["headers", "requestId", "serviceInfo", "module"]));
    assert_eq!(
        (push.kind.as_str(), &push.json["headers"], &push.json["module"]),
        (PUSH, &json!({}), &json!("naming"))
    );
    assert!(push.json["requestId"].as_str().is_some_and(|id| id.parse::<u64>().is_ok()), "{push:?}");
    assert_eq!(
        (&push.json["serviceInfo"]["name"], &push.json["serviceInfo"]["groupName"]),
        (&json!(s), &json!("DEFAULT_GROUP"))
    );
}

#[test]
fn n249_n251_a_service_that_appears_is_pushed_until_the_subscription_ends() {
    let (client, s, ip) = (client(), name("orders"), addr());
    assert!(grpc_subscribe(&client, &s).is_empty());
    register(node(), &s, &ip, LASTING);
    client.wait_push(secs(5.0), &s, &[&format!("{ip}:8080=true")]);
    let ended = subscribe(&client, &s, false, "");
    assert_eq!(ended["serviceInfo"]["name"], s);
    subscribe(&client, &s, false, "");
    client.forget();
    deregister(node(), &s, &ip, "");
    never(secs(2.0), || hold(client.received().is_empty(), || format!("{:?}", client.received())));
}

#[test]
fn n252_other_clusters_change_what_is_pushed() {
    let (one, two, watcher, s) = (client(), client(), client(), name("orders"));
    let (a, b) = (addr(), addr());
    for (provider, ip, cluster) in [(&one, &a, "A"), (&two, &b, "B")] {
        let body = instance_body("registerInstance", &s, ip, "");
        let body = body.replace(r#""clusterName":"DEFAULT""#, &format!(r#""clusterName":"{cluster}""#));
        provider.ask("InstanceRequest", &body).ok("InstanceResponse");
    }
    for (clusters, ip) in [("A", &a), ("B", &b)] {
        subscribe(&watcher, &s, true, clusters);
        let (push, _) = watcher.wait_push(secs(5.0), &s, &[&format!("{ip}:8080=true")]);
        assert_eq!(push.json["serviceInfo"]["clusters"], clusters);
    }
}

#[test]
fn n253_changes_of_a_persistent_service_are_pushed() {
    let (client, s, ip) = (client(), name("db"), addr());
    register(node(), &s, &ip, "&ephemeral=false");
    grpc_subscribe(&client, &s);
    client.wait_for(secs(5.0), |message| message.hosts().len() == 1);
    deregister(node(), &s, &ip, "&ephemeral=false");
    client.wait_push(secs(5.0), &s, &[]);
}

#[test]
fn n254_n259_n260_a_client_is_told_of_its_own_instance_and_two_changes_make_one_push() {
    let (client, s, ip) = (client(), name("orders"), addr());
    let host = format!("{ip}:8080=true");
    grpc_register(&client, &s, &ip);
    grpc_subscribe(&client, &s);
    client.wait_push(secs(5.0), &s, &[&host]);
    client.forget();
    let clock = Clock::start();
    weigh(&client, &s, &ip, 2);
    weigh(&client, &s, &ip, 3);
    client.wait_for(secs(5.0), |message| message.kind == PUSH);
    let after = clock.elapsed();
    assert!(after >= secs(0.45) && after < secs(1.5), "{after:?}");
    never(secs(1.2), || hold(client.received_of(PUSH).len() == 1, || format!("{:?}", client.received())));
    assert_eq!(weights(&client), [3.0]);
}

#[test]
fn n261_a_steady_stream_of_changes_is_pushed_all_the_same() {
    let (client, s, ip) = (client(), name("orders"), addr());
    grpc_register(&client, &s, &ip);
    grpc_subscribe(&client, &s);
    let clock = Clock::start();
    let mut weight = 1;
    while clock.elapsed() < secs(6.0) {
        weight += 1;
        weigh(&client, &s, &ip, weight);
        clock.until(secs(f64::from(weight) * 0.1));
    }
    let pushes = client.received_of(PUSH).len();
    assert!(pushes >= 6, "{pushes} pushes in {:?}", clock.elapsed());
    eventually(secs(5.0), || {
        hold(weights(&client).last() == Some(&f64::from(weight)), || format!("{:?}", weights(&client)))
    });
}

#[test]
fn n262_n263_n264_an_unanswered_push_is_made_again_to_that_client_alone() {
    let (deaf, well, provider) = (client(), client(), client());
    let (s, ip) = (name("orders"), addr());
    let host = format!("{ip}:8080=true");
    grpc_register(&provider, &s, &ip);
    deaf.stop_answering();
    grpc_subscribe(&deaf, &s);
    grpc_subscribe(&well, &s);
    deaf.wait_push(secs(5.0), &s, &[&host]);
    let clock = Clock::start();
    eventually(secs(20.0), || hold(deaf.received_of(PUSH).len() >= 2, || "not again".into()));
    let after = clock.elapsed();
    assert!(after > secs(5.0) && after < secs(9.0), "{after:?}");
    let ids: BTreeSet<_> =
        deaf.received_of(PUSH).iter().map(|push| push.json["requestId"].to_string()).collect();
    assert_eq!(ids.len(), deaf.received_of(PUSH).len());
    assert_eq!(well.received_of(PUSH).len(), 1);
    // nor does it delay others
    let clock = Clock::start();
    weigh(&provider, &s, &ip, 5);
    eventually(secs(5.0), || hold(weights(&well).contains(&5.0), || format!("{:?}", weights(&well))));
    assert!(clock.elapsed() < secs(2.0), "{:?}", clock.elapsed());
    // an answer that says no counts as none
    deaf.forget();
    let push = deaf.wait_for(secs(15.0), |message| message.kind == PUSH);
    let id = push.json["requestId"].as_str().unwrap_or_default();
    deaf.forget();
    let clock = Clock::start();
    deaf.say(
        "NotifySubscriberResponse",
        &format!(r#"{{"resultCode":500,"errorCode":500,"requestId":"{id}","success":false}}"#),
    );
    deaf.wait_for(secs(10.0), |message| message.kind == PUSH);
    assert!(clock.elapsed() > secs(0.8) && clock.elapsed() < secs(4.5), "{:?}", clock.elapsed());
    deaf.answer();
}

#[test]
fn n266_lost_beats_are_pushed() {
    let (client, s, ip) = (client(), name("orders"), addr());
    register(node(), &s, &ip, "");
    grpc_subscribe(&client, &s);
    client.wait_push(secs(5.0), &s, &[&format!("{ip}:8080=true")]);
    client.wait_push(secs(25.0), &s, &[&format!("{ip}:8080=false")]);
    client.wait_push(secs(25.0), &s, &[]);
}

#[test]
fn n267_an_operators_weight_is_pushed() {
    let (client, s, ip) = (client(), name("orders"), addr());
    grpc_register(&client, &s, &ip);
    grpc_subscribe(&client, &s);
    client.wait_push(secs(5.0), &s, &[&format!("{ip}:8080=true")]);
    node().put(format!("/nacos/v1/ns/instance?serviceName={s}&ip={ip}&port=8080&weight=7")).ok();
    eventually(secs(5.0), || hold(weights(&client).contains(&7.0), || format!("{:?}", weights(&client))));
}
