//! An empty call: what the host does around a guest that does nothing.

use super::{NAME, check_of, empty};
use crate::Context;
use crate::process::cpu_ns;
use crate::report::Goal;
use crate::stats::{Round, median};
use anyhow::Context as _;
use muster_core::plugin::Outcome;
use muster_wasm::{HealthCheck, InstanceMode, PluginHost};
use std::time::Duration;
use tokio::time::Instant;

/// Runs it.
///
/// # Errors
/// The plugin does not load, or does not pass.
pub(crate) async fn run(context: &mut Context, host: &PluginHost) -> anyhow::Result<()> {
    let count = if context.quick { 1_000 } else { 100_000 };
    for (mode, word, goal) in [(InstanceMode::Reuse, "reused", 1.5), (InstanceMode::Fresh, "fresh", 15.0)] {
        let (wasm, mut manifest) = empty();
        manifest.instances.mode = mode;
        host.load(wasm, manifest).await?;
        let plugin = host.health_check("guest").context("not loaded")?;
        let (mut here, mut there, mut wall) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=context.shape.rounds {
            let guests = host.guest_runtime();
            let on_guest_threads = guests.spawn(calls(plugin.clone(), count, true)).await??;
            let from_outside = calls(plugin.clone(), count / 4, false).await?;
            if round > 0 {
                here.push(on_guest_threads.cpu_us);
                wall.push(1e6 / on_guest_threads.rate);
                there.push(from_outside.cpu_us);
            }
        }
        let mut details = vec![("wall-us", median(&wall)), ("from-another-runtime-us", median(&there))];
        if mode == InstanceMode::Fresh {
            let births = async move { plugin.births_here(count).await };
            let [making, ending] =
                host.guest_runtime().spawn(births).await??.map(|time| time.as_secs_f64() * 1e6);
            details.extend([("of-it-made-us", making), ("of-it-taken-apart-us", ending)]);
        }
        let value = (median(&here), "us CPU");
        context.report.add(
            NAME,
            format!("empty call, {word} instance"),
            value,
            Goal::AtMost(goal),
            &details,
        )?;
    }
    Ok(())
}

/// Makes `count` calls, one after the other.
async fn calls(plugin: HealthCheck, count: u32, here: bool) -> anyhow::Result<Round> {
    let call = check_of(([127, 0, 0, 1], 1).into(), Duration::from_millis(500));
    let (began, before) = (Instant::now(), cpu_ns("self")?);
    for _ in 0..count {
        let call = call.clone();
        let run = if here { plugin.check_here(call).await } else { plugin.check(call).await };
        anyhow::ensure!(run.result?.outcome == Outcome::Passed, "the empty plugin did not pass");
    }
    let cpu = cpu_ns("self")? - before;
    Ok(Round::new(count.into(), began.elapsed().as_secs_f64(), cpu))
}
