//! Numbers of the node in Prometheus's text format, at `/metrics` and where Nacos has them.

use super::call::Call;
use super::error::Dialect;
use super::reply;
use super::router::{Family, GET, Gate, Outcome, Run, Table, Version};
use super::status::Status;
use crate::cluster::LinkCounters;
use crate::grpc::{GrpcCounters, LATENCY_BOUNDS};
use crate::lookup::LookupProgress;
use crate::rollout::Rollouts;
use crate::udp::PushCounters;
use http::StatusCode;
use muster_core::naming::{Counters, DistroCounters, LATENESS_BOUNDS, Naming};
use muster_wasm::{PluginInfo, PluginState};
use std::collections::BTreeMap;
use std::fmt::Write;

const PLAIN: Family = Family { version: Version::V3, dialect: Dialect::Text, gate: Gate::Open, instead: "" };

/// Where scrapers look, with or without the context path in front.
pub(crate) const PATH: &str = "/metrics";

/// Adds the routes.
pub(crate) fn routes(table: &mut Table) {
    for path in [PATH, "/actuator/prometheus"] {
        table.add(PLAIN, GET, path, Run::Later(|call| Box::pin(metrics(call))));
    }
}

async fn metrics(call: &Call<'_>) -> Outcome {
    let read = |naming: &mut Naming, _| (naming.counters(), naming.distro_counters());
    let (counters, distro) = call.app.naming.step(read).await?;
    let mut text = String::with_capacity(4096);
    gauge(&mut text, "muster_up", usize::from(call.app.status.computed() == Status::Up));
    of_node(&mut text, &counters);
    gauge(&mut text, "muster_raft_quarantined", all(call.app.store.quarantined()));
    if let Some(distro) = distro {
        of_distro(&mut text, &distro);
    }
    gauge(&mut text, "muster_members", call.app.members.load().len());
    of_lookup(&mut text, call.app.lookup.progress());
    if let Some(links) = &call.app.links {
        of_links(&mut text, &links.counters());
    }
    of_pushes(&mut text, &call.app.pushes.counters());
    of_grpc(&mut text, &call.app.grpc.counters());
    of_plugins(&mut text, &call.app.plugins.list());
    of_rollouts(&mut text, &call.app.rollouts);
    Ok(reply::text(StatusCode::OK, text))
}

fn of_distro(text: &mut String, distro: &DistroCounters) {
    gauge(text, "muster_distro_publications", distro.live);
    gauge(text, "muster_distro_tombstones", distro.tombstones);
    gauge(text, "muster_distro_unacknowledged", distro.unacknowledged);
    count(text, "muster_distro_repeated_total", distro.repeated);
    count(text, "muster_distro_merged_total", distro.merged);
    count(text, "muster_distro_differences_total", distro.differences);
    count(text, "muster_distro_objections_total", distro.objections);
    count(text, "muster_distro_disbelieved_total", distro.disbelieved);
}

/// Where the member list comes from, and how asking there goes.
fn of_lookup(text: &mut String, lookup: &LookupProgress) {
    let kind = lookup.kind();
    line(text, format_args!("# TYPE muster_lookup gauge\nmuster_lookup{{type={kind:?}}} 1"));
    gauge(text, "muster_lookup_healthy", usize::from(lookup.is_healthy()));
    gauge(text, "muster_lookup_from_kept_list", usize::from(lookup.is_from_kept_list()));
    gauge(text, "muster_lookup_failures_in_a_row", all(lookup.failures_in_a_row().into()));
    count(text, "muster_lookup_failures_total", lookup.failures());
    count(text, "muster_lookup_switches_total", lookup.switches());
}

fn all(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Connections to other members.
fn of_links(text: &mut String, links: &LinkCounters) {
    gauge(text, "muster_peers_connected", links.connected);
    count(text, "muster_peer_sent_bytes_total", links.sent_bytes);
    count(text, "muster_peer_received_bytes_total", links.received_bytes);
    count(text, "muster_peer_dropped_total", links.dropped);
}

fn gauge(text: &mut String, name: &str, value: usize) {
    line(text, format_args!("# TYPE {name} gauge\n{name} {value}"));
}

fn count(text: &mut String, name: &str, value: u64) {
    line(text, format_args!("# TYPE {name} counter\n{name} {value}"));
}

/// Writing to a `String` does not fail.
fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

fn of_node(text: &mut String, counters: &Counters) {
    let gauges = [
        ("muster_services", counters.services),
        ("muster_instances", counters.instances),
        ("muster_subscriptions", counters.subscriptions),
        ("muster_clients", counters.clients),
        ("muster_check_targets", counters.targets),
        ("muster_checks_running", counters.checks_running),
        ("muster_checks_waiting", counters.checks_waiting),
        ("muster_health_damped", counters.damped),
    ];
    for (name, value) in gauges {
        gauge(text, name, value);
    }
    count(text, "muster_health_damped_total", counters.damped_total);
    count(text, "muster_checks_overlapped_total", counters.checks_overlapped);
    count(text, "muster_held_empty_pushes_total", counters.held_empty_pushes);
    gauge(text, "muster_held_services", counters.held_services);
    gauge(text, "muster_remembered_instances", counters.remembered);
    lateness(text, &counters.lateness.counts);
}

/// Pushes by UDP.
fn of_pushes(text: &mut String, pushes: &PushCounters) {
    count(text, "muster_udp_pushes_total", pushes.total);
    count(text, "muster_udp_pushes_acknowledged_total", pushes.succeeded);
    count(text, "muster_udp_pushes_failed_total", pushes.failed);
    count(text, "muster_udp_pushes_replaced_total", pushes.replaced);
    count(text, "muster_udp_pushes_resent_total", pushes.resent);
    gauge(text, "muster_udp_pushes_pending", all(pushes.pending));
}

/// Connections of gRPC clients, and pushes to them.
fn of_grpc(text: &mut String, grpc: &GrpcCounters) {
    gauge(text, "muster_grpc_connections", all(grpc.connections));
    gauge(text, "muster_grpc_held_bytes", all(grpc.held_bytes));
    count(text, "muster_grpc_connections_refused_total", grpc.refused);
    count(text, "muster_grpc_handshakes_failed_total", grpc.handshakes_failed);
    count(text, "muster_grpc_resets_total", grpc.resets);
    count(text, "muster_grpc_pushes_acknowledged_total", grpc.acknowledged);
    count(text, "muster_grpc_pushes_failed_total", grpc.failed);
    count(text, "muster_grpc_pushes_dropped_total", grpc.dropped);
    let name = "muster_grpc_push_latency_ms";
    line(text, format_args!("# TYPE {name} histogram"));
    let mut total = 0;
    for (at, count) in grpc.latency.iter().enumerate() {
        total += count;
        match LATENCY_BOUNDS.get(at) {
            Some(bound) => line(text, format_args!("{name}_bucket{{le=\"{bound}\"}} {total}")),
            None => line(text, format_args!("{name}_bucket{{le=\"+Inf\"}} {total}")),
        }
    }
    line(text, format_args!("{name}_sum {}\n{name}_count {total}", grpc.latency_ms));
}

/// How late checks started, as the buckets of a histogram (whose sum is not kept).
fn lateness(text: &mut String, counts: &[u64]) {
    let name = "muster_check_lateness_ms_bucket";
    line(text, format_args!("# TYPE {name} counter"));
    let mut total = 0;
    for (at, count) in counts.iter().enumerate() {
        total += count;
        match LATENESS_BOUNDS.get(at) {
            Some(bound) => line(text, format_args!("{name}{{le=\"{bound}\"}} {total}")),
            None => line(text, format_args!("{name}{{le=\"+Inf\"}} {total}")),
        }
    }
}

/// Labels are the plugins' names, of which an operator has a few.
fn of_plugins(text: &mut String, plugins: &[PluginInfo]) {
    let mut each = |name: &str, kind: &str, value: &dyn Fn(&PluginInfo) -> u64| {
        line(text, format_args!("# TYPE {name} {kind}"));
        for plugin in plugins {
            let (kind, plugin_name) = (plugin.kind.world(), &plugin.name);
            let value = value(plugin);
            line(text, format_args!("{name}{{kind=\"{kind}\",plugin={plugin_name:?}}} {value}"));
        }
    };
    each("muster_plugin_calls_total", "counter", &|plugin| plugin.counters.calls);
    each("muster_plugin_quarantined", "gauge", &|plugin| u64::from(plugin.state != PluginState::Ready));
    each("muster_plugin_p50_microseconds", "gauge", &|plugin| plugin.counters.p50_us);
    each("muster_plugin_p99_microseconds", "gauge", &|plugin| plugin.counters.p99_us);
    each("muster_plugin_cpu_milliseconds_total", "counter", &|plugin| plugin.counters.cpu_ms);
    each("muster_plugin_memory_bytes", "gauge", &|plugin| plugin.counters.memory);
    let mut by = |metric: &str, label: &str, counts: fn(&PluginInfo) -> &BTreeMap<&'static str, u64>| {
        line(text, format_args!("# TYPE {metric} counter"));
        for plugin in plugins {
            for (word, count) in counts(plugin) {
                let name = &plugin.name;
                line(text, format_args!("{metric}{{plugin={name:?},{label}=\"{word}\"}} {count}"));
            }
        }
    };
    by("muster_plugin_faults_total", "fault", |plugin| &plugin.counters.faults);
    by("muster_plugin_verdicts_total", "outcome", |plugin| &plugin.counters.verdicts);
}

/// Versions that come and go: the stage of each as a number of its label, and how they ended.
fn of_rollouts(text: &mut String, rollouts: &Rollouts) {
    line(text, format_args!("# TYPE muster_plugin_rollout gauge"));
    for view in rollouts.views().iter() {
        if let Some(candidate) = &view.candidate {
            let (kind, name, stage) = (view.kind.world(), &view.name, candidate.rollout.stage().word());
            line(
                text,
                format_args!("muster_plugin_rollout{{kind=\"{kind}\",plugin={name:?},stage=\"{stage}\"}} 1"),
            );
        }
    }
    let (activated, rolled_back) = rollouts.counts();
    count(text, "muster_plugin_versions_activated_total", activated);
    let name = "muster_plugin_versions_rolled_back_total";
    line(text, format_args!("# TYPE {name} counter"));
    for (reason, number) in rolled_back {
        line(text, format_args!("{name}{{reason=\"{reason}\"}} {number}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_an_acknowledgement_is_a_histogram() {
        let mut text = String::new();
        let latency = [1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1];
        of_grpc(&mut text, &GrpcCounters { latency, latency_ms: 21_000, ..GrpcCounters::default() });
        for line in ["_bucket{le=\"10\"} 1\n", "_bucket{le=\"600\"} 3\n", "_bucket{le=\"+Inf\"} 4\n"] {
            assert!(text.contains(line), "{text}");
        }
        assert!(
            text.ends_with("muster_grpc_push_latency_ms_sum 21000\nmuster_grpc_push_latency_ms_count 4\n")
        );
    }

    #[test]
    fn lateness_is_cumulative() {
        let mut text = String::new();
        lateness(&mut text, &[1, 2, 0, 0, 0, 0, 0, 0, 0, 4]);
        assert!(text.contains("_bucket{le=\"1\"} 1\n"));
        assert!(text.contains("_bucket{le=\"5\"} 3\n"));
        assert!(text.ends_with("_bucket{le=\"+Inf\"} 7\n"));
    }
}
