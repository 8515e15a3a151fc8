use super::*;
use crate::lists::Lists;
use crate::{plugins, wire};
use muster_core::Instance;
use muster_core::naming::Protection;
use muster_wasm::HostOptions;

const PLUGIN: &str = "same-cluster-first";

async fn host() -> PluginHost {
    let host = PluginHost::new(HostOptions { pool: 16, max_in_flight: 8, ..HostOptions::default() }).unwrap();
    let bundled = plugins::bundled().unwrap();
    let filter = bundled.into_iter().filter(|one| one.manifest.plugin.name == PLUGIN).collect();
    plugins::load(&host, filter).await.unwrap();
    host
}

fn filter(service: Option<&str>, settings: &[(&str, &str)]) -> settings::Filter {
    settings::Filter {
        plugin: PLUGIN.into(),
        scope: Scope { service: service.map(Into::into), ..Scope::default() },
        on_fault: None,
        timeout: Duration::from_secs(5),
        settings: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

fn network(cidr: &str, cluster: &str) -> settings::Subscriber {
    let labels = BTreeMap::from([("cluster".to_owned(), cluster.to_owned())]);
    settings::Subscriber { cidr: cidr.parse().unwrap(), labels }
}

fn snapshot(revision: u64, healthy: bool) -> Arc<ServiceSnapshot> {
    let instance = |(port, cluster): (u16, &str)| {
        let cluster = cluster.into();
        Arc::new(Instance { cluster, healthy, ..Instance::new("10.0.0.5", port) })
    };
    let instances = [(1, "HZ"), (2, "SH"), (3, "HZ")].map(instance).to_vec();
    let key = ServiceKey::new("", "", "orders");
    Arc::new(ServiceSnapshot { key, ephemeral: true, revision, metadata: None, instances })
}

async fn narrowed(filters: &Filters, snapshot: &Arc<ServiceSnapshot>, ip: &str) -> Option<Vec<u32>> {
    let query = Query { enabled_only: true, ..Query::default() };
    let selected = snapshot.select(&query);
    let who = Who { ip, app: "", agent: "" };
    filters.narrow(snapshot, &query, &selected, &who).await.map(|indices| indices.to_vec())
}

#[tokio::test]
async fn subscribers_get_their_own_cluster_and_all_when_it_is_sick() {
    let host = host().await;
    let subscribers = [network("10.0.0.0/8", "SH"), network("10.1.0.0/16", "HZ")];
    let filters = Filters::load(&host, &Secrets::default(), &[filter(Some("orders"), &[])], &subscribers)
        .await
        .unwrap();
    assert!(filters.narrows(&ServiceKey::new("", "", "orders")));
    assert!(!filters.narrows(&ServiceKey::new("", "", "other")));
    let healthy = snapshot(1, true);
    assert_eq!(narrowed(&filters, &healthy, "10.1.2.3").await, Some(vec![0, 2]), "the narrowest network");
    assert_eq!(narrowed(&filters, &healthy, "10.2.2.3").await, Some(vec![1]));
    assert_eq!(narrowed(&filters, &healthy, "::ffff:10.2.2.3").await, Some(vec![1]));
    assert_eq!(narrowed(&filters, &healthy, "192.168.0.1").await, None);
    assert_eq!(narrowed(&filters, &snapshot(2, false), "10.1.2.3").await, None, "spill-over");
}

#[tokio::test]
async fn a_filter_is_asked_once_for_subscribers_that_are_alike() {
    let host = host().await;
    let (bound, networks) = ([filter(None, &[])], [network("10.0.0.0/8", "HZ")]);
    let filters = Filters::load(&host, &Secrets::default(), &bound, &networks).await.unwrap();
    let calls = || host.list().iter().map(|info| info.counters.calls).sum::<u64>();
    let before = calls();
    for nth in 0..50 {
        let ip = format!("10.0.0.{nth}");
        assert_eq!(narrowed(&filters, &snapshot(1, true), &ip).await, Some(vec![0, 2]));
    }
    assert_eq!(calls() - before, 1);
    narrowed(&filters, &snapshot(2, true), "10.0.0.1").await;
    assert_eq!(calls() - before, 2, "a new snapshot is a new question");
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_before_the_start() {
    let host = host().await;
    let load = async |filter: settings::Filter| {
        Filters::load(&host, &Secrets::default(), &[filter], &[]).await.unwrap_err().to_string()
    };
    let unknown = settings::Filter { plugin: "nearest".into(), ..filter(None, &[]) };
    assert_eq!(
        load(unknown).await,
        "filter \"nearest\": no push filter is called so; there are: same-cluster-first"
    );
    let error = load(filter(None, &[("min-healthy", "many")])).await;
    assert!(
        error.starts_with("filter \"same-cluster-first\": setting 'min-healthy': must be a whole number"),
        "{error}"
    );
}

/// Any numbers will do, as long as a failure can be repeated.
fn numbers(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    }
}

#[tokio::test]
async fn what_is_explained_is_what_is_sent() {
    let host = host().await;
    let subscribers =
        [network("10.1.0.0/16", "SH"), network("10.2.0.0/16", "HZ"), network("10.3.0.0/16", "XX")];
    let filters =
        Filters::load(&host, &Secrets::default(), &[filter(None, &[("min-healthy", "2")])], &subscribers)
            .await
            .unwrap();
    let lists = Lists::new(Arc::default(), filters, Protection::Nacos);
    let mut next = numbers(7);
    for revision in 0..300 {
        let mut instances = Vec::new();
        for port in 0..next(12) {
            let cluster = ["HZ", "SH", "BJ"][usize::try_from(next(3)).unwrap()].into();
            let (healthy, enabled) = (next(3) > 0, next(5) > 0);
            let address = Instance::new("10.0.0.5", u16::try_from(port).unwrap());
            instances.push(Arc::new(Instance { cluster, healthy, enabled, ..address }));
        }
        let snapshot = Arc::new(ServiceSnapshot {
            key: ServiceKey::new("", "", "orders"),
            ephemeral: true,
            revision,
            metadata: (next(2) == 0).then(Arc::default),
            instances,
        });
        let (clusters, healthy_only) = (["", "HZ", "SH,BJ"][usize::try_from(next(3)).unwrap()], next(2) == 0);
        let ip = format!("10.{}.0.9", next(5));
        let who = Who { ip: &ip, app: "", agent: "" };
        let query = lists.query(clusters, healthy_only);
        let explained = lists.explain(&snapshot, &query, &who).await;
        let sent = lists.select(&snapshot, &query, &who).await;
        assert_eq!(explained.shown, sent, "revision {revision}, {ip} asks for {query:?} of {snapshot:?}");
        if !healthy_only {
            let which = lists.which(&snapshot, clusters, &who).await;
            let pushed = lists.encode(&snapshot, clusters, which.as_deref());
            let shown = wire::hosts(&snapshot.key, &explained.shown.instances, explained.shown.protected);
            assert_eq!(pushed, (shown, explained.shown.protected), "as it is pushed");
        }
    }
}

/// The same filters, whose plugin gives no answer from now on: it cannot read its settings.
fn broken(filters: Filters) -> Filters {
    let mut inner = Arc::into_inner(filters.0).unwrap();
    inner.bindings[0].settings = Arc::new([("min-healthy".to_owned(), "many".to_owned())].into());
    Filters(Arc::new(inner))
}

#[tokio::test]
async fn a_filter_that_fails_leaves_what_its_policy_says() {
    let host = host().await;
    let networks = [network("10.0.0.0/8", "HZ")];
    let load = async |on_fault| {
        let bound = [settings::Filter { on_fault, ..filter(None, &[]) }];
        Filters::load(&host, &Secrets::default(), &bound, &networks).await.unwrap()
    };
    for (policy, left) in [
        (None, None), // as its manifest says
        (Some(FilterPolicy::All), None),
        (Some(FilterPolicy::None), Some(vec![])),
        (Some(FilterPolicy::Last), Some(vec![0, 2])),
    ] {
        let filters = load(policy).await;
        assert_eq!(narrowed(&filters, &snapshot(1, true), "10.0.0.1").await, Some(vec![0, 2]));
        let filters = broken(filters);
        assert_eq!(
            narrowed(&filters, &snapshot(1, true), "10.0.0.2").await,
            Some(vec![0, 2]),
            "known already"
        );
        assert_eq!(narrowed(&filters, &snapshot(2, true), "10.0.0.2").await, left, "{policy:?}");
    }
    let filters = broken(load(Some(FilterPolicy::Last)).await);
    let (snapshot, query) = (snapshot(1, true), Query { enabled_only: true, ..Query::default() });
    let who = Who { ip: "10.0.0.1", app: "", agent: "" };
    let explained = filters.explain(&snapshot, &query, &snapshot.select(&query), &who).await.unwrap();
    let code = "plugin.fault.bad-settings";
    let how = How::Fault { code, policy: FilterPolicy::Last, remembered: false };
    assert_eq!(explained.narrowed, Narrowed { which: None, how }, "without a last answer all are left");
    assert_eq!(explained.labels["cluster"], "HZ");
}
