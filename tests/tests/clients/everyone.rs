//! All SDKs at once in one service: each registers, all hear.

use crate::common::{SOON, keeper, node, secs, up};
use muster_tests::client::{ALL, Client, Hears, Lacks, Outcome, Sdk};
use muster_tests::wait::hold;
use muster_tests::{Clock, addr, eventually, name};
use serde_json::json;
use std::panic::catch_unwind;
use std::sync::OnceLock;
use std::time::Duration;

/// A pushed change is heard within this time.
const PUSHED: Duration = Duration::from_millis(1500);

/// How often each registers and leaves, until all have once heard of it in time: a machine that is
/// busy with the others' programs may be late.
const ROUNDS: usize = 4;

/// How soon a subscriber heard of a provider's changes, at best; `None` when it missed one.
struct Heard {
    provider: &'static Sdk,
    consumer: &'static Sdk,
    best: Option<Duration>,
}

impl Heard {
    fn in_time(&self) -> bool {
        let limit = if self.consumer.hears == Hears::ByPush { PUSHED } else { SOON };
        self.best.is_some_and(|best| best < limit)
    }
}

/// Done once for the tests of all SDKs; empty when it could not be done.
fn heard() -> &'static [Heard] {
    static HEARD: OnceLock<Vec<Heard>> = OnceLock::new();
    // the panic is shown with the test that came first
    HEARD.get_or_init(|| catch_unwind(meet).ok().and_then(Result::ok).unwrap_or_default())
}

fn meet() -> Result<Vec<Heard>, Lacks> {
    let (space, s, first) = (name("together"), name("orders"), addr());
    let stays = keeper(node(), &s, &space, &first);
    let port = node().port();
    let clients = Client::start_each(ALL.iter().map(|sdk| (*sdk, port, space.as_str())).collect());
    for client in &clients {
        crate::changes::follow(client, &s, std::slice::from_ref(&stays))?;
    }
    let mut heard = Vec::new();
    for provider in &clients {
        let mut best = vec![None; clients.len()];
        let ip = addr();
        for _ in 0..ROUNDS {
            provider.register(&s, &ip, 8080)?;
            listen(&clients, &s, &[stays.clone(), up(&ip, 8080)], &mut best);
            provider.deregister(&s, &ip, 8080)?;
            listen(&clients, &s, std::slice::from_ref(&stays), &mut best);
            let of = |(consumer, best): (&Client, &Option<Duration>)| Heard {
                provider: provider.sdk,
                consumer: consumer.sdk,
                best: *best,
            };
            if clients.iter().zip(&best).map(of).all(|heard| heard.in_time()) {
                break;
            }
        }
        let pairs = clients.iter().zip(best);
        heard.extend(pairs.map(|(consumer, best)| Heard {
            provider: provider.sdk,
            consumer: consumer.sdk,
            best,
        }));
    }
    everyone_lists(&clients, &s, stays)?;
    Ok(heard)
}

/// Waits until all have heard this list, and keeps the best time of each.
fn listen(clients: &[Client], service: &str, wanted: &[String], best: &mut [Option<Duration>]) {
    let clock = Clock::start();
    let mut missing: Vec<usize> = (0..clients.len()).collect();
    while !missing.is_empty() && clock.elapsed() < SOON {
        missing.retain(|&n| {
            let changes = clients[n].changes(service);
            let here = changes.last().is_some_and(|change| change.hosts == wanted);
            if here {
                best[n] = Some(best[n].map_or(clock.elapsed(), |best| best.min(clock.elapsed())));
            }
            !here
        });
        muster_tests::wait::pause(secs(0.02));
    }
    for n in missing {
        best[n] = None;
    }
}

/// All registered at once: every SDK lists every other's.
#[track_caller]
fn everyone_lists(clients: &[Client], service: &str, stays: String) -> Outcome {
    let mut wanted = vec![stays];
    for client in clients {
        let ip = addr();
        client.register(service, &ip, 8080)?;
        wanted.push(up(&ip, 8080));
    }
    for client in clients {
        client.wait_list(&json!({"service": service}), SOON, &wanted)?;
        eventually(SOON, || {
            let changes = client.changes(service);
            let now = changes.last().map(|change| change.hosts.clone()).unwrap_or_default();
            hold(now == wanted, || format!("{} heard {now:?}, not {wanted:?}", client.sdk.name))
        });
    }
    Ok(())
}

#[track_caller]
fn all_in_time(of: impl Fn(&Heard) -> bool) {
    let of: Vec<&Heard> = heard().iter().filter(|heard| of(heard)).collect();
    assert_eq!(of.len(), ALL.len(), "they did not meet: see the first of these tests");
    let late = of.iter().filter(|heard| !heard.in_time());
    let late: Vec<String> = late
        .map(|h| format!("{} heard of {} after {:?}", h.consumer.name, h.provider.name, h.best))
        .collect();
    assert!(late.is_empty(), "{late:#?}");
}

/// Subscribers of every SDK hear of what this one registers.
pub(crate) fn is_seen_by_all(sdk: &'static Sdk) -> Outcome {
    all_in_time(|heard| heard.provider.name == sdk.name);
    Ok(())
}

/// This SDK's subscribers hear of what every SDK registers.
pub(crate) fn hears_all(sdk: &'static Sdk) -> Outcome {
    all_in_time(|heard| heard.consumer.name == sdk.name);
    Ok(())
}
