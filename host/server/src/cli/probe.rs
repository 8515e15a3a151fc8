//! `muster probe run`: one check, now, from this machine.

use super::plugin::{load, pretty};
use super::{Failure, exit, print_line, runtime};
use crate::secrets::Secrets;
use crate::settings::{Settings, duration};
use muster_core::ids::{DEFAULT_CLUSTER, DEFAULT_GROUP, PUBLIC};
use muster_core::plugin::{self, Outcome, Target, Verdict};
use muster_wasm::{CheckCall, CheckRun, HealthCheck, HostCall};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check one target once and print verdict, facts, time and what the plugin asked of the host
    ///
    /// Example: muster probe run MYSQL --target 10.0.0.7:3306 --settings '{"user":"probe","pwd":"secret:db"}'
    Run(Run),
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// Name of a bundled health check, or a component file
    plugin: String,
    /// What to check
    #[arg(long, value_name = "HOST:PORT")]
    target: String,
    /// What the plugin is told, as in healthChecker
    #[arg(long, value_name = "JSON", default_value = "{}")]
    settings: String,
    /// Time for the check
    #[arg(long, default_value = "3s", value_parser = deadline)]
    deadline: Duration,
    /// Settings file whose [secrets] may be referred to as secret:NAME
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn deadline(text: &str) -> Result<Duration, String> {
    duration(text).filter(|time| !time.is_zero()).ok_or_else(|| "a duration such as 500ms or 3s".into())
}

pub(super) fn run(Command::Run(run): Command) -> Result<u8, Failure> {
    let usage = |error: &dyn std::fmt::Display| Failure::new(exit::USAGE, error);
    let (address, port) = target(&run.target).ok_or_else(|| usage(&"--target must be HOST:PORT"))?;
    let told = flattened(&run.settings).map_err(|error| usage(&error))?;
    let secrets = match &run.config {
        None => Secrets::default(),
        Some(file) => {
            let settings = Settings::load(file).map_err(|error| usage(&error))?;
            Secrets::load(&settings.secrets).map_err(|error| usage(&error))?
        }
    };
    let ended = runtime()?.block_on(async {
        let (host, info) = load(&run.plugin).await?;
        let Some(check) = host.health_check(&info.name) else {
            return Err(usage(&format!("{} is a {}, not a health check", run.plugin, info.kind.world())));
        };
        accepted(&check, &told).await?;
        let settings = secrets.resolve(&check.descriptor(), &told).map_err(|error| usage(&error))?;
        Ok(once(&check, &address, port, settings, run.deadline).await)
    })?;
    print_line(&if run.json { pretty(&as_json(&ended)) } else { as_text(&ended) });
    ended.result.map(|verdict| code(verdict.outcome)).map_err(|error| Failure::new(exit::FAILED, error))
}

pub(super) fn target(text: &str) -> Option<(String, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!address.is_empty()).then(|| (address.to_owned(), port))
}

/// The settings as plugins get them: numbers and truth values in their JSON form, nested JSON as compact text.
pub(super) fn flattened(text: &str) -> Result<plugin::Settings, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("--settings is not JSON: {error}"))?;
    let Value::Object(object) = value else { return Err("--settings must be a JSON object".into()) };
    let flat = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(object.into_iter().filter(|(key, _)| key != "type").map(|(key, value)| (key, flat(value))).collect())
}

async fn accepted(check: &HealthCheck, told: &plugin::Settings) -> Result<(), Failure> {
    let problems = check.validate(told).await.map_err(|error| Failure::new(exit::FAILED, error))?;
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Err(Failure::new(exit::USAGE, format!("--settings: {}", lines.join("; "))))
}

async fn once(
    check: &HealthCheck,
    address: &str,
    port: u16,
    settings: plugin::Settings,
    deadline: Duration,
) -> CheckRun {
    let reach = match crate::probe::reach(address, port, deadline).await {
        Ok(reach) => reach,
        Err(verdict) => return CheckRun { result: Ok(verdict), took: Duration::ZERO, trace: Vec::new() },
    };
    let target = Target {
        address: address.to_owned(),
        port,
        namespace: PUBLIC.into(),
        group: DEFAULT_GROUP.into(),
        service: "probe-run".into(),
        cluster: DEFAULT_CLUSTER.into(),
        metadata: Vec::new(),
    };
    check.check(CheckCall { target, reach, settings: Arc::new(settings), deadline, trace: true }).await
}

fn code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Passed | Outcome::Warning => exit::OK,
        Outcome::Failed | Outcome::FailedNow => exit::PROBE_FAILED,
        Outcome::Inconclusive => exit::PROBE_INCONCLUSIVE,
    }
}

fn as_text(run: &CheckRun) -> String {
    let mut lines = Vec::new();
    if let Ok(Verdict { outcome, code, message, facts }) = &run.result {
        lines.push(format!("verdict   {}", outcome.word()));
        let said = [("code", code), ("message", message)].into_iter().filter(|(_, text)| !text.is_empty());
        lines.extend(said.map(|(title, text)| format!("{title:<9} {text}")));
        lines.extend(titled("facts", facts.iter().map(|(key, value)| format!("{key} = {value}"))));
    }
    lines.push(format!("time      {}", millis(run.took)));
    let call = |HostCall { call, detail, took }: &HostCall| format!("{:>10}  {call} {detail}", millis(*took));
    lines.extend(titled("calls", run.trace.iter().map(call)));
    lines.join("\n")
}

/// The first line behind `title`, the others below it.
fn titled(title: &str, lines: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    lines.enumerate().map(move |(nth, line)| format!("{:<9} {line}", if nth == 0 { title } else { "" }))
}

fn millis(took: Duration) -> String {
    format!("{:.2} ms", took.as_secs_f64() * 1_000.0)
}

fn as_json(run: &CheckRun) -> Value {
    let calls: Vec<Value> = run
        .trace
        .iter()
        .map(
            |call| json!({"call": call.call, "detail": call.detail, "ms": call.took.as_secs_f64() * 1_000.0}),
        )
        .collect();
    let mut value = json!({"ms": run.took.as_secs_f64() * 1_000.0, "calls": calls});
    match &run.result {
        Ok(Verdict { outcome, code, message, facts }) => {
            let facts: serde_json::Map<String, Value> =
                facts.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
            value["verdict"] = outcome.word().into();
            value["code"] = code.as_str().into();
            value["message"] = message.as_str().into();
            value["facts"] = facts.into();
        }
        Err(error) => {
            value["error"] = json!({"code": error.code(), "message": error.to_string()});
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_a_host_and_a_port() {
        assert_eq!(target("10.0.0.1:3306"), Some(("10.0.0.1".into(), 3306)));
        assert_eq!(target("[::1]:80"), Some(("::1".into(), 80)));
        assert_eq!(target("db.example:80"), Some(("db.example".into(), 80)));
        for bad in ["10.0.0.1", ":80", "a:0", "a:x", ""] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }

    #[test]
    fn settings_are_flattened_as_the_api_does() {
        let flat = flattened(r#"{"type":"X","a":"b","n":1,"t":true,"o":{"k":[1]}}"#).unwrap();
        let pairs: Vec<_> = flat.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(pairs, ["a=b", "n=1", r#"o={"k":[1]}"#, "t=true"]);
        assert!(flattened("[]").is_err() && flattened("{").is_err());
    }
}
