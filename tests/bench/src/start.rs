//! `start`: from the start of the process to its ready line, and what it occupies while it is idle.

use crate::Context;
use crate::node::Site;
use crate::process::{Server, mib, resident};
use crate::report::Goal;
use crate::stats::median;
use anyhow::Context as _;
use std::ffi::OsStr;
use std::path::Path;
use tempfile::TempDir;

/// As `--only` names it.
pub(crate) const NAME: &str = "start";

/// Runs it.
///
/// # Errors
/// A server does not start.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let site = Site::new(&context.binary)?;
    let cold = milliseconds(&site.start()?);
    let (mut warm, mut bare, mut memory, mut bare_memory) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..context.shape.rounds {
        let baseline = Server::ourselves(&[OsStr::new("serve-baseline")])?;
        bare.push(milliseconds(&baseline));
        bare_memory.push(mib(resident(baseline.id())?));
        let node = site.start()?;
        warm.push(milliseconds(&node));
        memory.push(mib(resident(node.id())?));
    }
    let details = [("bare-hyper-ms", median(&bare)), ("cold-cache-ms", cold)];
    let ready = (median(&warm), "ms");
    context.report.add(NAME, "start to ready, warm plugin cache", ready, Goal::AtMost(300.0), &details)?;
    let details = [("bare-hyper-mib", median(&bare_memory))];
    let few = (median(&warm), median(&memory));
    context.report.add(NAME, "resident when ready", (few.1, "MiB"), Goal::Reported, &details)?;
    many(context, few)
}

/// Plugins of the operator's folder beside the bundled ones: what each adds to a start, and to an idle node.
fn many(context: &mut Context, (few_ms, few_mib): (f64, f64)) -> anyhow::Result<()> {
    let count: usize = if context.quick { 10 } else { 100 };
    let folder = TempDir::with_prefix("muster-bench-plugins-")?;
    write_plugins(folder.path(), count)?;
    let more = format!("[plugins]\ndirectory = {:?}\n", folder.path());
    let site = Site::with(&context.binary, &more)?;
    let cold = milliseconds(&site.start()?);
    let (mut warm, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..context.shape.rounds {
        let node = site.start()?;
        warm.push(milliseconds(&node));
        memory.push(mib(resident(node.id())?));
    }
    let (warm, memory) = (median(&warm), median(&memory));
    #[allow(clippy::cast_precision_loss, reason = "a hundred")]
    let each = |whole: f64, few: f64| (whole - few) / count as f64;
    let details = [("cold-ms", cold), ("each-ms", each(warm, few_ms))];
    let name = format!("start to ready, {count} plugins more, warm");
    context.report.add(NAME, name, (warm, "ms"), Goal::Reported, &details)?;
    let name = format!("resident when ready, {count} plugins more");
    let details = [("each-mib", each(memory, few_mib))];
    context.report.add(NAME, name, (memory, "MiB"), Goal::Reported, &details)
}

/// The bundled TCP check under `count` other names: each is compiled for itself.
fn write_plugins(folder: &Path, count: usize) -> anyhow::Result<()> {
    let bundled = muster_plugins_bundle::plugins();
    let tcp = bundled.iter().find(|plugin| plugin.name == "TCP").context("TCP is bundled")?;
    let name = b"TCP";
    let at = tcp.wasm.windows(name.len()).position(|bytes| bytes == name).context("it says its name")?;
    for index in 0..count {
        let own = format!("X{index:02}");
        let mut wasm = tcp.wasm.to_vec();
        wasm[at..at + name.len()].copy_from_slice(own.as_bytes());
        let manifest =
            format!("[plugin]\nname = {own:?}\nkind = \"health-check\"\n\n[grants]\ndial = true\n");
        std::fs::write(folder.join(format!("{own}.wasm")), wasm)?;
        std::fs::write(folder.join(format!("{own}.toml")), manifest)?;
    }
    Ok(())
}

fn milliseconds(server: &Server) -> f64 {
    server.took.as_secs_f64() * 1_000.0
}
