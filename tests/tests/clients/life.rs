//! What keeps an instance, and what its client's end does to it.

use crate::common::{SOON, keeper, listed, node, pair, secs, up, wait_listed};
use muster_tests::client::{Client, Outcome, Sdk, Transport};
use muster_tests::{Clock, addr, name, wait};

/// Healthy at every look for longer than silence would be tolerated. Over gRPC there are no beats:
/// the connection keeps it. N103, N225.
pub(crate) fn keeps(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let (s, ip) = (name("orders"), addr());
    pair.provider.register(&s, &ip, 8080)?;
    wait_listed(node(), &s, SOON, &[up(&ip, 8080)]);
    let clock = Clock::start();
    while clock.elapsed() < secs(34.0) {
        assert_eq!(listed(node(), &s), [up(&ip, 8080)], "after {:?}", clock.elapsed());
        wait::pause(secs(0.5));
    }
    Ok(())
}

/// Over gRPC its instances go with its connection, at once (N235, N236, N248, N255). Over HTTP the
/// last beat was up to 5 s before, so 10 to 20 s later (and a look every 5 s) it is unhealthy, and
/// 25 to 35 s later gone.
pub(crate) fn dies(sdk: &'static Sdk) -> Outcome {
    let (s, stays, ip) = (name("orders"), addr(), addr());
    let stays = keeper(node(), &s, "public", &stays);
    let provider = Client::start(sdk, node().port(), "");
    provider.register(&s, &ip, 8080)?;
    wait_listed(node(), &s, SOON, &[stays.clone(), up(&ip, 8080)]);
    let clock = Clock::start();
    provider.kill();
    if sdk.transport == Transport::Grpc {
        wait_listed(node(), &s, secs(5.0), &[stays]);
        return Ok(());
    }
    wait_listed(node(), &s, secs(25.0), &[stays.clone(), format!("{ip}:8080=false")]);
    let ill = clock.elapsed();
    wait_listed(node(), &s, secs(25.0), &[stays]);
    let gone = clock.elapsed();
    assert!(ill > secs(9.5) && ill < secs(21.5), "unhealthy after {ill:?}");
    assert!(gone > secs(24.5) && gone < secs(36.5), "gone after {gone:?}");
    Ok(())
}
