//! `muster plugin run`, `record` and `replay`: one call, live or from a trace.

use super::ask::{Ask, Loaded, as_json, as_text, code};
use super::{Failure, failed, pretty, usage};
use crate::cli::{exit, print_line, runtime};
use muster_wasm::{MAX_TRACE, Trace};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Run {
    #[command(flatten)]
    ask: Ask,
    /// Take all answers from this trace instead of a live target
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    trace: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Record {
    #[command(flatten)]
    ask: Ask,
    /// Where to keep the trace; what is there is written over
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Replay {
    /// Name of a bundled plugin, a project, or a component file
    plugin: String,
    /// What `record` kept
    trace: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(run: &Run) -> Result<u8, Failure> {
    if let Some(trace) = &run.trace {
        return again(&run.ask.plugin, trace, run.json);
    }
    let (_, trial) = runtime()?.block_on(run.ask.record())?;
    print_line(&if run.json { pretty(&as_json(&trial)) } else { as_text(&trial) });
    Ok(code(&trial.trace.end))
}

pub(super) fn record(record: &Record) -> Result<u8, Failure> {
    let (_, trial) = runtime()?.block_on(record.ask.record())?;
    let out = &record.out;
    std::fs::write(out, trial.trace.to_text())
        .map_err(|error| failed(format!("{}: {error}", out.display())))?;
    print_line(&as_text(&trial));
    print_line(&format!("{:<9} {}", "trace", out.display()));
    if !trial.trace.head.withheld.is_empty() {
        let keys = trial.trace.head.withheld.join(", ");
        print_line(&format!(
            "{:<9} {keys}: neither the secret nor what was sent is in the trace",
            "withheld"
        ));
    }
    Ok(code(&trial.trace.end))
}

pub(super) fn replay(replay: &Replay) -> Result<u8, Failure> {
    again(&replay.plugin, &replay.trace, replay.json)
}

fn again(plugin: &str, file: &Path, json: bool) -> Result<u8, Failure> {
    let trace = read(file)?;
    let (loaded, trial) = runtime()?.block_on(async {
        let loaded = Loaded::new(plugin).await?;
        let trial = loaded.host.replay(loaded.name(), &trace).await.map_err(failed)?;
        Ok::<_, Failure>((loaded, trial))
    })?;
    print_line(&if json { pretty(&as_json(&trial)) } else { as_text(&trial) });
    if let Some(diverged) = &trial.diverged {
        return Err(failed(format!("{}: {diverged}", file.display())));
    }
    if !json {
        let build =
            if trial.trace.head.sha256 == trace.head.sha256 { "the same build" } else { "another build" };
        let withheld = if trace.head.withheld.is_empty() {
            ""
        } else {
            " (what was sent was withheld, so it was not compared)"
        };
        let name = loaded.name();
        print_line(&format!("{:<9} {build} of {name} did the same again{withheld}", "replay"));
    }
    Ok(exit::OK)
}

/// A trace from its file.
pub(super) fn read(file: &Path) -> Result<Trace, Failure> {
    let refused = |error: &dyn std::fmt::Display| usage(format!("{}: {error}", file.display()));
    let size = std::fs::metadata(file).map_err(|error| refused(&error))?.len();
    if size > MAX_TRACE as u64 {
        return Err(refused(&format!("a trace has at most {MAX_TRACE} bytes")));
    }
    let text = std::fs::read_to_string(file).map_err(|error| refused(&error))?;
    Trace::parse(&text).map_err(|error| refused(&error))
}
