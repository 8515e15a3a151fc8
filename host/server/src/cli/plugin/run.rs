//! `muster plugin run`, `record` and `replay`: one call, live or from a trace.

use super::ask::{Ask, Loaded, as_json, as_text, code};
use super::{Failure, failed, pretty, usage};
use crate::cli::{exit, print_line, runtime};
use muster_wasm::{End, MAX_TRACE, Trace, Trial};
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
    /// What `record` kept, or somebody wrote; of several, each gets one line
    #[arg(required = true)]
    trace: Vec<PathBuf>,
    /// Print JSON, of several as a list
    #[arg(long)]
    json: bool,
}

pub(super) fn run(run: &Run) -> Result<u8, Failure> {
    if let Some(trace) = &run.trace {
        return again(&run.ask.plugin, std::slice::from_ref(trace), run.json);
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

/// What came of a trace.
struct Replayed<'a> {
    file: &'a Path,
    trace: Trace,
    trial: Trial,
}

fn again(plugin: &str, files: &[PathBuf], json: bool) -> Result<u8, Failure> {
    let traces = files.iter().map(|file| Ok((file, read(file)?))).collect::<Result<Vec<_>, Failure>>()?;
    let (loaded, all) = runtime()?.block_on(async {
        let loaded = Loaded::new(plugin).await?;
        let mut all = Vec::new();
        for (file, trace) in traces {
            let trial = loaded.host.replay(loaded.name(), &trace).await.map_err(failed)?;
            all.push(Replayed { file, trace, trial });
        }
        Ok::<_, Failure>((loaded, all))
    })?;
    match all.as_slice() {
        [one] => show(one, loaded.name(), json),
        several if json => {
            print_line(&pretty(&several.iter().map(|one| as_json(&one.trial)).collect()));
        }
        several => several.iter().for_each(|one| print_line(&one.line())),
    }
    let diverged: Vec<_> = all.iter().filter_map(Replayed::diverged).collect();
    if diverged.is_empty() { Ok(exit::OK) } else { Err(failed(diverged.join("\n"))) }
}

fn show(one: &Replayed<'_>, name: &str, json: bool) {
    if json {
        print_line(&pretty(&as_json(&one.trial)));
        return;
    }
    print_line(&as_text(&one.trial));
    if one.trial.diverged.is_some() {
        return;
    }
    let head = &one.trace.head;
    let build = if one.trial.trace.head.sha256 == head.sha256 { "the same build" } else { "another build" };
    let withheld =
        if head.withheld.is_empty() { "" } else { " (what was sent was withheld, so it was not compared)" };
    print_line(&if head.scripted {
        format!("{:<9} {name} did as the script says{withheld}", "replay")
    } else {
        format!("{:<9} {build} of {name} did the same again{withheld}", "replay")
    });
}

impl Replayed<'_> {
    /// `ok` or `OTHER`, the trace, and how the call ended.
    fn line(&self) -> String {
        let word = if self.trial.diverged.is_some() { "OTHER" } else { "ok" };
        let end = match &self.trial.trace.end {
            End::Answer(said) => said["outcome"].as_str().unwrap_or("answered").to_owned(),
            End::TimedOut => "timed-out".to_owned(),
            End::Error { code, .. } => code.clone(),
        };
        format!("{word:<7} {}  {end}", self.file.display())
    }

    fn diverged(&self) -> Option<String> {
        self.trial.diverged.as_ref().map(|diverged| format!("{}: {diverged}", self.file.display()))
    }
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
