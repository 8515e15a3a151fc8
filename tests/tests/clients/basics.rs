//! Registering and asking.

use crate::common::{SOON, info, keeper, listed, node, pair, secs, up, wait_listed};
use muster_tests::client::{Client, Lacks, Outcome, Sdk};
use muster_tests::wait::hold;
use muster_tests::{addr, eventually, name};
use serde_json::{Value, json};

/// Everything an SDK says of an instance arrives, and other clients of its kind find it.
pub(crate) fn register(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let (s, group, ip) = (name("orders"), name("GROUP"), addr());
    let mut what = json!({"service": s, "group": group, "ip": ip, "port": 8080, "cluster": "east"});
    what["weight"] = 2.5.into();
    what["metadata"] = json!({"zone": "a b/ü", "version": "1"});
    pair.provider.tell("register", what)?;
    pair.consumer.wait_list(&json!({"service": s, "group": group}), SOON, &[up(&ip, 8080)])?;
    let info = info(node(), &format!("serviceName={s}&groupName={group}"));
    let host = &info["hosts"][0];
    for (key, wanted) in [("ip", json!(ip)), ("clusterName", "east".into()), ("ephemeral", true.into())] {
        assert_eq!(host[key], wanted, "{key} of {host}");
    }
    assert_eq!(host["weight"].as_f64(), Some(2.5), "{host}");
    assert_eq!(host["metadata"]["zone"], "a b/ü", "{host}");
    assert_eq!(host["metadata"]["version"], "1", "{host}");
    pair.consumer.wait_list(&json!({"service": s}), SOON, &[])
}

/// Several instances in one request; the next such request replaces them all.
pub(crate) fn batch_register(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let (s, ips) = (name("orders"), [addr(), addr(), addr()]);
    let instance = |ip: &String| json!({"ip": ip, "port": 8080, "cluster": "east", "metadata": {"of": ip}});
    let all: Vec<Value> = ips.iter().map(instance).collect();
    let hosts: Vec<String> = ips.iter().map(|ip| up(ip, 8080)).collect();
    pair.provider.tell("batch", json!({"service": s, "instances": all}))?;
    pair.consumer.wait_list(&json!({"service": s}), SOON, &hosts)?;
    let info = info(node(), &format!("serviceName={s}"));
    for host in info["hosts"].as_array().into_iter().flatten() {
        assert_eq!(host["metadata"]["of"], host["ip"], "{info}");
        assert_eq!(host["clusterName"], "east", "{info}");
    }
    pair.provider.tell("batch", json!({"service": s, "instances": all[..2]}))?;
    pair.consumer.wait_list(&json!({"service": s}), SOON, &hosts[..2])
}

pub(crate) fn deregister(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let (s, stays, ip) = (name("orders"), addr(), addr());
    let stays = keeper(node(), &s, "public", &stays);
    pair.provider.register(&s, &ip, 8080)?;
    pair.consumer.wait_list(&json!({"service": s}), SOON, &[stays.clone(), up(&ip, 8080)])?;
    pair.provider.deregister(&s, &ip, 8080)?;
    pair.consumer.wait_list(&json!({"service": s}), SOON, std::slice::from_ref(&stays))?;
    assert_eq!(listed(node(), &s), [stays]);
    Ok(())
}

pub(crate) fn cluster_filter(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let (s, east, west) = (name("orders"), addr(), addr());
    let of = |ip: &str, cluster: &str| json!({"service": s, "ip": ip, "port": 8080, "cluster": cluster});
    pair.provider.tell("register", of(&east, "east"))?;
    // another client: over gRPC a client has one instance of a service
    pair.consumer.tell("register", of(&west, "west"))?;
    let asks = |client: &Client, clusters: Value, wanted: &[String]| {
        client.wait_list(&json!({"service": s, "clusters": clusters}), SOON, wanted)
    };
    asks(&pair.consumer, json!(["east"]), &[up(&east, 8080)])?;
    asks(&pair.consumer, json!(["west"]), &[up(&west, 8080)])?;
    asks(&pair.consumer, json!(["east", "west"]), &[up(&east, 8080), up(&west, 8080)])?;
    asks(&pair.consumer, json!([]), &[up(&east, 8080), up(&west, 8080)])
}

pub(crate) fn health_filter(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let (s, ill, well) = (name("orders"), addr(), addr());
    // without beats it is ill after the second it asks for, and stays listed
    let impatient = "preserved.heart.beat.interval%3D500%2Cpreserved.heart.beat.timeout%3D1000\
        %2Cpreserved.ip.delete.timeout%3D600000";
    node().post(format!("/nacos/v1/ns/instance?serviceName={s}&ip={ill}&port=1&metadata={impatient}")).ok();
    pair.provider.register(&s, &well, 8080)?;
    let all = [format!("{ill}:1=false"), up(&well, 8080)];
    wait_listed(node(), &s, secs(30.0), &all);
    pair.consumer.wait_list(&json!({"service": s}), SOON, &all)?;
    pair.consumer.wait_list(&json!({"service": s, "healthy": true}), SOON, &all[1..])
}

/// Pages of two: each service is on exactly one of them, and every page tells how many there are.
pub(crate) fn paging(sdk: &'static Sdk) -> Outcome {
    let pair = pair(sdk);
    let group = name("GROUP");
    let mut wanted: Vec<String> = (0..5).map(|_| name("orders")).collect();
    for s in &wanted {
        let what = json!({"service": s, "group": group, "ip": addr(), "port": 8080});
        pair.provider.tell("register", what)?;
    }
    wanted.sort();
    let page = |page: usize| pair.consumer.ask("services", json!({"page": page, "size": 2, "group": group}));
    page(1)?;
    eventually(SOON, || {
        let pages = [page(1), page(2), page(3)].map(|page| page.unwrap_or_else(|Lacks(why)| why.into()));
        let sizes = pages.clone().map(|page| page["names"].as_array().map_or(0, Vec::len));
        let names = pages.iter().flat_map(|page| page["names"].as_array().cloned().unwrap_or_default());
        let mut names: Vec<String> = names.filter_map(|n| n.as_str().map(str::to_owned)).collect();
        names.sort();
        let counted = pages.iter().all(|page| page["count"] == 5);
        hold(counted && sizes == [2, 2, 1] && names == wanted, || format!("{pages:?}"))
    });
    Ok(())
}
