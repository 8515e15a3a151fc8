use super::*;
use crate::plugins;
use muster_core::Instance;
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
