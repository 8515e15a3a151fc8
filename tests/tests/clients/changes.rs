//! Subscribing. N194, N250, N259, N265.

use crate::common::{SOON, node, pair, secs, up, wait_listed};
use muster_tests::client::{Client, Hears, Outcome, Sdk};
use muster_tests::wait::{hold, never};
use muster_tests::{Clock, addr, eventually, name};
use serde_json::json;
use std::time::Duration;

/// A change that is pushed is heard within this time: the merge delay is half a second.
const PUSHED: Duration = Duration::from_millis(1500);

/// How many changes are tried, and how many of them must be heard in time. A subscriber that polled
/// every 6 s or more would not come that far by chance; a busy machine may delay some.
const TRIES: usize = 8;
const IN_TIME: usize = 3;

/// Subscribes and waits until the subscription works, whether the SDK tells of it or not.
#[track_caller]
pub(crate) fn follow(consumer: &Client, service: &str, now: &[String]) -> Outcome {
    consumer.subscribe(service)?;
    if consumer.sdk.tells_at_subscription {
        consumer.wait_change(service, SOON, now);
    }
    Ok(())
}

/// Every change is heard; where it is pushed, soon.
pub(crate) fn subscribe(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let (s, first, second) = (name("orders"), addr(), addr());
    pair.provider.register(&s, &first, 8080)?;
    let one = [up(&first, 8080)];
    let two = [up(&first, 8080), up(&second, 8080)];
    wait_listed(node(), &s, SOON, &one);
    follow(&pair.consumer, &s, &one)?;
    let mut times = Vec::new();
    for turn in 0..TRIES {
        let clock = Clock::start();
        // the consumer's own instance: over gRPC a client has one instance of a service
        if turn % 2 == 0 {
            pair.consumer.register(&s, &second, 8080)?;
            pair.consumer.wait_change(&s, SOON, &two);
        } else {
            pair.consumer.deregister(&s, &second, 8080)?;
            pair.consumer.wait_change(&s, SOON, &one);
        }
        times.push(clock.elapsed());
        let in_time = times.iter().filter(|time| **time < PUSHED).count();
        if turn > 0 && (sdk.hears == Hears::ByPolling || in_time >= IN_TIME) {
            return Ok(());
        }
    }
    assert_eq!(sdk.hears, Hears::ByPolling, "heard after {times:?}");
    Ok(())
}

/// After unsubscribing nothing is heard that another subscriber hears.
pub(crate) fn unsubscribe(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let (s, first, second) = (name("orders"), addr(), addr());
    pair.provider.register(&s, &first, 8080)?;
    let one = [up(&first, 8080)];
    wait_listed(node(), &s, SOON, &one);
    follow(&pair.consumer, &s, &one)?;
    follow(&pair.provider, &s, &one)?;
    pair.consumer.tell("unsubscribe", json!({"service": s}))?;
    pair.consumer.register(&s, &second, 8080)?;
    pair.provider.wait_change(&s, SOON, &[up(&first, 8080), up(&second, 8080)]);
    never(secs(3.0), || {
        let changes = pair.consumer.changes(&s);
        let heard = changes.iter().any(|change| change.hosts.contains(&up(&second, 8080)));
        hold(!heard, || format!("{changes:?}"))
    });
    Ok(())
}

/// The same instance with other metadata.
pub(crate) fn metadata(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let (s, ip) = (name("orders"), addr());
    let with =
        |version: &str| json!({"service": s, "ip": ip, "port": 8080, "metadata": {"version": version}});
    pair.provider.tell("register", with("1"))?;
    wait_listed(node(), &s, SOON, &[up(&ip, 8080)]);
    follow(&pair.consumer, &s, &[up(&ip, 8080)])?;
    pair.provider.tell("update", with("2"))?;
    eventually(SOON, || {
        let changes = pair.consumer.changes(&s);
        let now = changes.last().map(|change| &change.metadata[format!("{ip}:8080")]["version"]);
        hold(now == Some(&json!("2")), || format!("{changes:?}"))
    });
    assert_eq!(pair.consumer.list(json!({"service": s}))?, [up(&ip, 8080)]);
    Ok(())
}
