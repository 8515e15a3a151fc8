//! A push filter over 1,000 instances, against a native loop over the same instances.

use super::{NAME, bundled};
use crate::Context;
use crate::node::address;
use crate::process::cpu_ns;
use crate::report::Goal;
use crate::stats::{Paired, Round};
use muster_core::{Instance, ServiceKey};
use muster_wasm::{
    Candidate, Candidates, Column, FilterCall, FilterSubscriber, PluginHost, PushFilter, Selection, Settings,
};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Instances of the service.
const INSTANCES: usize = 1_000;
/// Clusters that they are in.
const CLUSTERS: [&str; 4] = ["az-1", "az-2", "az-3", "az-4"];

/// Runs it.
///
/// # Errors
/// The plugin does not load, or chooses other instances than the loop.
pub(crate) async fn run(context: &mut Context, host: &PluginHost) -> anyhow::Result<()> {
    let count = if context.quick { 1_000 } else { 50_000 };
    let (wasm, manifest) = bundled("same-cluster-first")?;
    host.load(wasm, manifest).await?;
    let plugin = host.push_filter("same-cluster-first").ok_or_else(|| anyhow::anyhow!("not loaded"))?;
    let list = Arc::new(List::new());
    let mut paired = Paired::default();
    for round in 0..=context.shape.rounds {
        let (plugin, list) = (plugin.clone(), list.clone());
        let guests = host.guest_runtime();
        let pair = guests.spawn(async move {
            let one = loops(&list, count)?;
            anyhow::Ok((one, calls(&plugin, &list, count).await?))
        });
        let (one, other) = pair.await??;
        if round > 0 {
            paired.push(one, other);
        }
    }
    let name = format!("filter of {INSTANCES} / native loop");
    let (native, wasm) = paired.medians(|round| round.cpu_us);
    let details = [("native-us", native), ("wasm-us", wasm), ("rate-ratio", paired.rate_ratio())];
    context.report.add(NAME, name, (paired.cpu_ratio(), "x CPU"), Goal::AtMost(3.0), &details)
}

/// `count` native loops.
fn loops(list: &List, count: u32) -> anyhow::Result<Round> {
    let (began, before) = (Instant::now(), cpu_ns("self")?);
    for _ in 0..count {
        black_box(near(black_box(&list.instances), black_box("az-2")));
    }
    let cpu = cpu_ns("self")? - before;
    Ok(Round::new(count.into(), began.elapsed().as_secs_f64(), cpu))
}

/// What the plugin does: the instances of a cluster, all when none of them is healthy.
fn near(instances: &[Arc<Instance>], place: &str) -> Option<Vec<u32>> {
    let mut chosen = Vec::new();
    let mut healthy = 0;
    for (index, instance) in (0..).zip(instances) {
        if &*instance.cluster == place {
            chosen.push(index);
            healthy += u32::from(instance.healthy && instance.enabled);
        }
    }
    (healthy > 0).then_some(chosen)
}

/// `count` calls of the plugin.
async fn calls(plugin: &PushFilter, list: &Arc<List>, count: u32) -> anyhow::Result<Round> {
    let subscriber = FilterSubscriber {
        address: "10.9.0.1".into(),
        labels: BTreeMap::from([("cluster".into(), "az-2".into())]),
        ..FilterSubscriber::default()
    };
    let call = FilterCall {
        service: ServiceKey::new("", "", "orders"),
        subscriber,
        candidates: list.clone(),
        settings: Arc::new(Settings::new()),
        deadline: Duration::from_millis(200),
    };
    let expected = near(&list.instances, "az-2").map_or(Selection::All, Selection::Only);
    let (began, before) = (Instant::now(), cpu_ns("self")?);
    for _ in 0..count {
        let (selection, _) = plugin.select_here(call.clone()).await?;
        anyhow::ensure!(selection == expected, "the plugin chose other instances than the loop");
    }
    let cpu = cpu_ns("self")? - before;
    Ok(Round::new(count.into(), began.elapsed().as_secs_f64(), cpu))
}

/// A service with its columns, as the node keeps them with a snapshot.
struct List {
    instances: Vec<Arc<Instance>>,
    clusters: Arc<Column>,
    states: Arc<[u8]>,
}

impl List {
    fn new() -> Self {
        let cluster = |index: usize| CLUSTERS[index % CLUSTERS.len()];
        let instance = |i| Instance { cluster: cluster(i).into(), ..Instance::new(&address(i), 8080) };
        let codes = (1..=4).cycle().take(INSTANCES).collect();
        let values = CLUSTERS.map(str::to_owned).to_vec();
        Self {
            instances: (0..INSTANCES).map(|i| Arc::new(instance(i))).collect(),
            clusters: Arc::new(Column { values, codes }),
            states: vec![0b111; INSTANCES].into(),
        }
    }
}

impl Candidates for List {
    fn count(&self) -> u32 {
        u32::try_from(self.instances.len()).unwrap_or(u32::MAX)
    }

    fn metadata(&self, _: &str) -> Arc<Column> {
        Arc::new(Column { values: Vec::new(), codes: vec![0; self.instances.len()] })
    }

    fn clusters(&self) -> Arc<Column> {
        self.clusters.clone()
    }

    fn addresses(&self) -> Arc<[String]> {
        self.instances.iter().map(|instance| instance.ip.to_string()).collect()
    }

    fn ports(&self) -> Arc<[u16]> {
        self.instances.iter().map(|instance| instance.port).collect()
    }

    fn weights(&self) -> Arc<[f64]> {
        self.instances.iter().map(|instance| instance.weight).collect()
    }

    fn states(&self) -> Arc<[u8]> {
        self.states.clone()
    }

    fn instance(&self, _: u32) -> Option<Candidate> {
        None
    }
}
