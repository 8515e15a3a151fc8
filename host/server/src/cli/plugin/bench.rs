//! `muster plugin bench`: what it costs to load a plugin and to call it.

use super::ask::{Loaded, checked, selected, this_node};
use super::check::{brief_target, complete};
use super::list::List;
use super::{Failure, failed, load_one, pretty};
use crate::cli::probe::flattened;
use crate::cli::{exit, print_line, runtime};
use muster_core::plugin::{PluginKind, Settings};
use muster_wasm::{CheckCall, HostOptions, LiveCall, LookupCall, LookupFiles, LookupNames, PluginHost};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Bench {
    /// Name of a bundled plugin, a project, or a component file
    plugin: String,
    /// Settings to call it with; required ones that are left out are made up
    #[arg(long, value_name = "JSON", default_value = "{}")]
    settings: String,
    /// Calls of each sort
    #[arg(long, default_value_t = 1000)]
    calls: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line of the result.
struct Line {
    what: &'static str,
    times: Vec<Duration>,
}

impl Line {
    fn quantile(&self, percent: usize) -> Duration {
        let mut sorted = self.times.clone();
        sorted.sort();
        let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(at).copied().unwrap_or_default()
    }
}

pub(super) fn run(bench: &Bench) -> Result<u8, Failure> {
    let given = flattened(&bench.settings).map_err(super::usage)?;
    let (lines, memory) = runtime()?.block_on(measure(bench, given))?;
    if bench.json {
        let line = |line: &Line| {
            let us = |percent| line.quantile(percent).as_secs_f64() * 1e6;
            json!({"what": line.what, "count": line.times.len(), "p50-us": us(50), "p99-us": us(99)})
        };
        let lines: Vec<Value> = lines.iter().map(line).collect();
        print_line(&pretty(&json!({"lines": lines, "instance-memory": memory})));
    } else {
        print_line(&format!("{:<44} {:>7} {:>12} {:>12}", "", "count", "p50", "p99"));
        for line in &lines {
            let show = |percent| format!("{:.1} us", line.quantile(percent).as_secs_f64() * 1e6);
            print_line(&format!(
                "{:<44} {:>7} {:>12} {:>12}",
                line.what,
                line.times.len(),
                show(50),
                show(99)
            ));
        }
        print_line(&format!("{:<44} {:>7} KiB", "memory of an instance", memory >> 10));
    }
    Ok(exit::OK)
}

async fn measure(bench: &Bench, given: Settings) -> Result<(Vec<Line>, u64), Failure> {
    let loaded = Loaded::new(&bench.plugin).await?;
    let settings = Arc::new(complete(&loaded.descriptor, given));
    let mut lines = vec![Line { what: "load: compile, link, describe", times: load(&loaded, None).await? }];
    let cache = tempfile::tempdir().map_err(failed)?;
    load(&loaded, Some(&cache)).await?;
    lines.push(Line { what: "load: compiled before", times: load(&loaded, Some(&cache)).await? });
    let target = brief_target().await.map_err(failed)?;
    let question = || question(&loaded, &settings, target);
    let first = loaded.host.record(loaded.name(), question(), false).await.map_err(failed)?;
    for (what, reuse) in
        [("call in a fresh instance, recorded", false), ("call in a used instance, recorded", true)]
    {
        let mut times = Vec::new();
        for _ in 0..bench.calls {
            times.push(loaded.host.record(loaded.name(), question(), reuse).await.map_err(failed)?.took);
        }
        lines.push(Line { what, times });
    }
    if let Some(check) = loaded.host.health_check(loaded.name()) {
        let mut times = Vec::new();
        for _ in 0..bench.calls {
            if let LiveCall::Check(call) = question() {
                times.push(check.check(call).await.took);
            }
        }
        lines.push(Line { what: "call as a node makes it", times });
        let mut times = Vec::new();
        for _ in 0..bench.calls {
            let began = Instant::now();
            tokio::net::TcpStream::connect(target).await.map_err(failed)?;
            times.push(began.elapsed());
        }
        lines.push(Line { what: "baseline: a native connect to the same target", times });
    }
    Ok((lines, first.cost.memory))
}

/// Loads the plugin into a host of its own, a few times.
async fn load(loaded: &Loaded, cache: Option<&tempfile::TempDir>) -> Result<Vec<Duration>, Failure> {
    let mut times = Vec::new();
    for _ in 0..3 {
        let cache_dir = cache.map(|folder| folder.path().join("cache"));
        let options = HostOptions { pool: 64, max_in_flight: 32, cache_dir, ..HostOptions::default() };
        let host = PluginHost::new(options).map_err(failed)?;
        let began = Instant::now();
        load_one(&host, loaded.component.clone()).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

fn question(loaded: &Loaded, settings: &Arc<Settings>, target: std::net::SocketAddr) -> LiveCall {
    let (settings, deadline) = (Arc::clone(settings), Duration::from_secs(3));
    match loaded.kind {
        PluginKind::HealthCheck => {
            let instance = checked(&target.ip().to_string(), target.port());
            LiveCall::Check(CheckCall { target: instance, reach: target, settings, deadline, trace: false })
        }
        PluginKind::MemberLookup => LiveCall::Find(LookupCall {
            node: this_node(),
            settings,
            cookie: None,
            files: LookupFiles::default(),
            endpoints: Vec::new(),
            names: LookupNames::default(),
            deadline,
        }),
        PluginKind::PushFilter => {
            let labels = [("zone".to_owned(), "x".to_owned()), ("cluster".to_owned(), "a".to_owned())].into();
            LiveCall::Select(selected(List::made(1000, true), labels, settings, deadline))
        }
    }
}
