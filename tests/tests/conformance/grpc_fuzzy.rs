//! L: fuzzy watch.

use crate::common::{client, grpc_register, instance_body, secs};
use muster_tests::grpc::{Message, SETUP};
use muster_tests::wait::hold;
use muster_tests::{Clock, Config, Grpc, Node, addr, eventually, name, never};
use serde_json::json;
use std::collections::BTreeSet;

const SYNC: &str = "NamingFuzzyWatchSyncRequest";
const CHANGE: &str = "NamingFuzzyWatchChangeNotifyRequest";

fn body(pattern: &str, kind: &str, received: &[&str], initializing: bool) -> String {
    let received = json!(received);
    format!(
        r#"{{"headers":{{}},"namespace":"public","groupKeyPattern":"{pattern}","receivedGroupKeys":{received},"watchType":"{kind}","initializing":{initializing},"module":"naming"}}"#
    )
}

fn watch(client: &Grpc, pattern: &str, received: &[&str], initializing: bool) {
    let answer = client.ask("NamingFuzzyWatchRequest", &body(pattern, "WATCH", received, initializing));
    assert_eq!(answer.kind, "NamingFuzzyWatchResponse");
    assert_eq!(answer.text, r#"{"resultCode":200,"errorCode":0,"success":true}"#);
}

/// Registers services of these names in a group, each over the same connection.
fn publish(client: &Grpc, group: &str, names: impl IntoIterator<Item = String>) {
    for name in names {
        let register = instance_body("registerInstance", &name, &addr(), "");
        let register =
            register.replace(r#""groupName":"DEFAULT_GROUP""#, &format!(r#""groupName":"{group}""#));
        client.ask("InstanceRequest", &register).ok("InstanceResponse");
    }
}

fn of_type(client: &Grpc, kind: &str) -> Vec<Message> {
    client.received_of(SYNC).into_iter().filter(|sync| sync.json["syncType"] == kind).collect()
}

fn wait_finish(client: &Grpc, pattern: &str) -> Message {
    client.wait_for(secs(10.0), |message| {
        message.json["syncType"] == "FINISH_FUZZY_WATCH_INIT_NOTIFY"
            && message.json["groupKeyPattern"] == pattern
    })
}

#[test]
fn n269_n270_n271_n272_n282_matches_come_in_batches_of_ten_and_then_the_finish() {
    let (provider, watcher, group) = (client(), client(), name("G"));
    publish(&provider, &group, (0..23).map(|at| format!("orders-{at}")));
    let pattern = format!("public>>{group}>>orders*");
    watcher.stop_answering();
    watch(&watcher, &pattern, &[], true);
    eventually(secs(10.0), || {
        hold(of_type(&watcher, "FUZZY_WATCH_INIT_NOTIFY").len() == 3, || format!("{:?}", watcher.received()))
    });
    let batches = of_type(&watcher, "FUZZY_WATCH_INIT_NOTIFY");
    let numbers: Vec<_> = batches
        .iter()
        .map(|sync| (sync.json["currentBatch"].clone(), sync.json["totalBatch"].clone()))
        .collect();
    assert_eq!(numbers, [1, 2, 3].map(|current| (json!(current), json!(3))));
    let contexts: Vec<_> =
        batches.iter().map(|sync| sync.json["contexts"].as_array().cloned().unwrap_or_default()).collect();
    assert_eq!(contexts.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10, 3]);
    let keys: BTreeSet<String> = contexts
        .iter()
        .flatten()
        .map(|one| one["serviceKey"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(keys, (0..23).map(|at| format!("public@@{group}@@orders-{at}")).collect());
    assert!(contexts.iter().flatten().all(|one| one["changedType"] == "ADD_SERVICE"));
    // no finish before the last one is acknowledged
    never(secs(1.5), || {
        hold(of_type(&watcher, "FINISH_FUZZY_WATCH_INIT_NOTIFY").is_empty(), || "finished".into())
    });
    watcher.answer();
    for batch in batches {
        let id = batch.json["requestId"].as_str().unwrap_or_default();
        let answer = format!(r#"{{"resultCode":200,"errorCode":0,"requestId":"{id}","success":true}}"#);
        watcher.say("NamingFuzzyWatchSyncResponse", &answer);
    }
    let finish = wait_finish(&watcher, &pattern);
    let id = finish.json["requestId"].clone();
    assert_eq!(
        finish.json,
        json!({"headers": {}, "requestId": id, "syncType": "FINISH_FUZZY_WATCH_INIT_NOTIFY", "groupKeyPattern": pattern,
            "contexts": [], "totalBatch": 1, "currentBatch": 1, "module": "naming"})
    );
}

#[test]
fn n273_n274_n275_only_the_difference_is_sent() {
    // after a start, deletions would be held
    let node = Node::with(Config::new().text("naming", "restart-hold", "0s"));
    let connect = || Grpc::connect(node.grpc()).set_up(SETUP);
    let (provider, group) = (connect(), name("G"));
    publish(&provider, &group, ["here".to_owned()]);
    let (nothing, same, gone) = (connect(), connect(), connect());
    let none = format!("public>>{group}>>none*");
    watch(&nothing, &none, &[], true);
    let here = format!("public@@{group}@@here");
    let was = format!("public@@{group}@@was");
    let pattern = format!("public>>{group}>>*");
    watch(&same, &pattern, &[&here], false);
    watch(&gone, &pattern, &[&here, &was], false);
    wait_finish(&nothing, &none);
    assert_eq!(nothing.received().len(), 1);
    let sync = gone.wait_for(secs(10.0), |message| message.kind == SYNC);
    assert_eq!(sync.json["syncType"], "FUZZY_WATCH_DIFF_SYNC_NOTIFY");
    assert_eq!(sync.json["contexts"], json!([{"serviceKey": was, "changedType": "DELETE_SERVICE"}]));
    // nacos-client 3.2.1 looks for no deletion in a difference: it is told once more
    let change = gone.wait_for(secs(5.0), |message| message.kind == CHANGE);
    assert_eq!(
        (&change.json["serviceKey"], &change.json["changedType"]),
        (&json!(was), &json!("DELETE_SERVICE"))
    );
    never(secs(2.0), || hold(same.received().is_empty(), || format!("{:?}", same.received())));
}

#[test]
fn n275_after_a_start_a_deletion_is_told_when_the_service_had_the_time_to_come_back() {
    let mut node = Node::with(Config::new().text("naming", "restart-hold", "8s"));
    let (group, connect) = (name("G"), |node: &Node| Grpc::connect(node.grpc()).set_up(SETUP));
    let former = connect(&node);
    publish(&former, &group, ["kept".to_owned()]);
    node.stop();
    node.start_again();
    let clock = Clock::start();
    let watcher = connect(&node);
    let keys = ["back", "kept", "lost"].map(|service| format!("public@@{group}@@{service}"));
    watch(&watcher, &format!("public>>{group}>>*"), &keys.each_ref().map(String::as_str), false);
    let provider = connect(&node);
    publish(&provider, &group, ["back".to_owned()]);
    let deletions = || {
        let told =
            watcher.received_of(CHANGE).into_iter().filter(|m| m.json["changedType"] == "DELETE_SERVICE");
        told.map(|m| m.json["serviceKey"].as_str().unwrap_or_default().to_owned()).collect::<BTreeSet<_>>()
    };
    while clock.elapsed() < secs(6.0) {
        assert!(deletions().is_empty() && watcher.received_of(SYNC).is_empty(), "{:?}", watcher.received());
        muster_tests::wait::pause(secs(0.1));
    }
    let gone: BTreeSet<String> = keys[1..].iter().cloned().collect();
    eventually(secs(20.0), || hold(deletions() == gone, || format!("{:?}", watcher.received())));
    let sync = watcher.wait_for(secs(5.0), |message| message.kind == SYNC);
    assert_eq!(sync.json["contexts"], json!([{"serviceKey": keys[2], "changedType": "DELETE_SERVICE"}]));
}

#[test]
fn n276_n277_n279_services_that_come_and_go_are_told_until_the_watch_ends() {
    let (watcher, group, s) = (client(), name("G"), name("orders"));
    let pattern = format!("public>>{group}>>{s}");
    watch(&watcher, &pattern, &[], true);
    wait_finish(&watcher, &pattern);
    let key = format!("public@@{group}@@{s}");
    let wait = |kind: &str| {
        let told = watcher.wait_for(secs(5.0), |m| m.kind == CHANGE && m.json["changedType"] == kind);
        let id = told.json["requestId"].clone();
        assert_eq!(
            told.json,
            json!({"headers": {}, "requestId": id, "syncType": "FUZZY_WATCH_RESOURCE_CHANGED", "serviceKey": key,
                "changedType": kind, "module": "naming"})
        );
    };
    let [one, two] = [(); 2].map(|()| client());
    publish(&one, &group, [s.clone()]);
    wait("ADD_SERVICE");
    publish(&two, &group, [s.clone()]);
    drop(one);
    never(secs(1.5), || hold(watcher.received_of(CHANGE).len() == 1, || format!("{:?}", watcher.received())));
    drop(two);
    wait("DELETE_SERVICE");
    let cancel = watcher.ask("NamingFuzzyWatchRequest", &body(&pattern, "CANCEL_WATCH", &[], false));
    cancel.ok("NamingFuzzyWatchResponse");
    watcher.forget();
    publish(&client(), &group, [s.clone()]);
    never(secs(1.5), || hold(watcher.received().is_empty(), || format!("{:?}", watcher.received())));
}

#[test]
fn n278_patterns_match_ends_and_a_namespace_exactly() {
    let (provider, s) = (client(), name("orders"));
    grpc_register(&provider, &s, &addr());
    let (start, end, middle) = (&s[..4], &s[2..], &s[1..s.len() - 1]);
    let matching = [format!("{start}*"), format!("*{end}"), format!("*{middle}*"), s.clone(), "*".to_owned()];
    for service in matching {
        let watcher = client();
        watch(&watcher, &format!("public>>DEFAULT_*>>{service}"), &[], true);
        watcher.wait_for(secs(10.0), |message| message.text.contains(&format!("@@{s}\"")));
    }
    for pattern in [format!("pub*>>*>>{s}"), format!("public>>X*>>{s}"), format!("public>>*>>{s}x")] {
        let watcher = client();
        watch(&watcher, &pattern, &[], true);
        wait_finish(&watcher, &pattern);
        assert_eq!(watcher.received().len(), 1, "{pattern}");
    }
    for pattern in ["orders", "a>>b", "a>>b>>c>>d", ""] {
        provider.ask("NamingFuzzyWatchRequest", &body(pattern, "WATCH", &[], true)).fails(
            "ErrorResponse",
            400,
            400,
        );
    }
}

#[test]
fn n280_n281_patterns_and_their_matches_are_limited() {
    let node = Node::start();
    let connect = || Grpc::connect(node.grpc()).set_up(SETUP);
    let (provider, watcher, other) = (connect(), connect(), connect());
    publish(&provider, "G", (0..510).map(|at| format!("s{at}")));
    let answer =
        watcher.ask("NamingFuzzyWatchRequest", &body("public>>*>>*", "WATCH", &["public@@G@@gone"], true));
    answer.fails("NamingFuzzyWatchResponse", 500, 50_311);
    wait_finish(&watcher, "public>>*>>*");
    let contexts = watcher.received_of(SYNC);
    let contexts: Vec<_> =
        contexts.iter().flat_map(|sync| sync.json["contexts"].as_array().into_iter().flatten()).collect();
    assert_eq!(contexts.len(), 500);
    assert!(contexts.iter().all(|one| one["changedType"] == "ADD_SERVICE"));
    for at in 1..20 {
        watch(&watcher, &format!("public>>*>>p{at}*"), &[], true);
    }
    let answer = other.ask("NamingFuzzyWatchRequest", &body("public>>*>>more", "WATCH", &[], true));
    answer.fails("NamingFuzzyWatchResponse", 500, 50_310);
    watch(&other, "public>>*>>p1*", &[], true);
    // room again when nobody watches the others any more
    drop(watcher);
    eventually(secs(10.0), || {
        let answer = other.ask("NamingFuzzyWatchRequest", &body("public>>*>>more", "WATCH", &[], true));
        hold(answer.json["resultCode"] == 200, || format!("{answer:?}"))
    });
}
