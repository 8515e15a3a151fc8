//! `start`: from the start of the process to its ready line, and what it occupies while it is idle.

use crate::Context;
use crate::node::Site;
use crate::process::{Server, mib, resident};
use crate::report::Goal;
use crate::stats::median;
use std::ffi::OsStr;

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
    context.report.add(NAME, "resident when ready", (median(&memory), "MiB"), Goal::Reported, &details)
}

fn milliseconds(server: &Server) -> f64 {
    server.took.as_secs_f64() * 1_000.0
}
