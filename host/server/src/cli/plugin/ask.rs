//! What a plugin is asked from the command line, and how the way it went is shown.

use super::{Failure, failed, load_granted, usage};
use crate::cli::exit;
use crate::cli::probe::{deadline, flattened, target};
use crate::plugins::Component;
use crate::secrets::Secrets;
use crate::settings::{self, Settings};
use muster_core::ServiceKey;
use muster_core::ids::{DEFAULT_CLUSTER, DEFAULT_GROUP, PUBLIC};
use muster_core::plugin::{self, Descriptor, PluginKind, SettingProblem, Target};
use muster_wasm::{
    CheckCall, End, FilterCall, FilterSubscriber, LiveCall, LookupCall, LookupFiles, LookupNames,
    PluginError, PluginHost, Step, ThisNode, Trial,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A question from the command line.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Ask {
    /// Name of a bundled plugin, a project, or a component file
    pub(super) plugin: String,
    /// Health check: what to check
    #[arg(long, value_name = "HOST:PORT")]
    target: Option<String>,
    /// What the plugin is told
    #[arg(long, value_name = "JSON", default_value = "{}")]
    settings: String,
    /// Time for the call
    #[arg(long, default_value = "3s", value_parser = deadline)]
    deadline: Duration,
    /// Settings file whose [secrets] may be referred to as secret:NAME, and whose [plugins.grants] hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Member lookup: the folder of the files that its manifest names
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Push filter: the list, JSON as in `[{"address":"10.0.0.1","port":80,"cluster":"a","metadata":{"zone":"b"}}]`
    #[arg(long, value_name = "FILE")]
    instances: Option<PathBuf>,
    /// Push filter: a label of the subscriber
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A plugin that is loaded, and the name to call it by.
pub(super) struct Loaded {
    pub(super) host: PluginHost,
    pub(super) component: Component,
    pub(super) descriptor: Arc<Descriptor>,
    pub(super) kind: PluginKind,
}

impl Loaded {
    pub(super) async fn new(plugin: &str) -> Result<Self, Failure> {
        Self::granted(plugin, &settings::Plugins::default()).await
    }

    /// One that may reach and use what these settings grant, as far as it asks for it.
    async fn granted(plugin: &str, settings: &settings::Plugins) -> Result<Self, Failure> {
        let (host, component, info) = load_granted(plugin, settings).await?;
        Ok(Self { host, component, descriptor: info.descriptor, kind: info.kind })
    }

    pub(super) fn name(&self) -> &str {
        &self.component.manifest.plugin.name
    }

    /// What is wrong with the settings: by the schema, then by the plugin itself.
    pub(super) async fn problems(&self, told: &plugin::Settings) -> Result<Vec<SettingProblem>, PluginError> {
        let gone = || PluginError::Stopped { plugin: self.name().to_owned() };
        match self.kind {
            PluginKind::HealthCheck => {
                self.host.health_check(self.name()).ok_or_else(gone)?.validate(told).await
            }
            PluginKind::MemberLookup => {
                self.host.member_lookup(self.name()).ok_or_else(gone)?.validate(told).await
            }
            PluginKind::PushFilter => {
                self.host.push_filter(self.name()).ok_or_else(gone)?.validate(told).await
            }
        }
    }
}

impl Ask {
    /// Loads the plugin and makes the call, recorded.
    pub(super) async fn record(&self) -> Result<(Loaded, Trial), Failure> {
        let settings = self.config.as_ref().map(|file| Settings::load(file)).transpose().map_err(usage)?;
        let plugins = settings.as_ref().map(|settings| settings.plugins.clone()).unwrap_or_default();
        let secrets = match &settings {
            None => Secrets::default(),
            Some(settings) => Secrets::load(&settings.secrets).map_err(usage)?,
        };
        let loaded = Loaded::granted(&self.plugin, &plugins).await?;
        let call = self.call(&loaded, &secrets).await?;
        let trial = loaded.host.record(loaded.name(), call, false).await.map_err(failed)?;
        Ok((loaded, trial))
    }

    async fn call(&self, loaded: &Loaded, secrets: &Secrets) -> Result<LiveCall, Failure> {
        let settings = Arc::new(self.settings(loaded, secrets).await?);
        let deadline = self.deadline;
        Ok(match loaded.kind {
            PluginKind::HealthCheck => {
                let target =
                    self.target.as_deref().ok_or_else(|| usage("a health check needs --target HOST:PORT"))?;
                let (address, port) =
                    self::target(target).ok_or_else(|| usage("--target must be HOST:PORT"))?;
                let reach = crate::probe::reach(&address, port, deadline)
                    .await
                    .map_err(|verdict| failed(format!("{target}: {}", verdict.message)))?;
                LiveCall::Check(CheckCall {
                    target: checked(&address, port),
                    reach,
                    settings,
                    deadline,
                    trace: false,
                })
            }
            PluginKind::MemberLookup => {
                let grants = &loaded.component.manifest.grants;
                LiveCall::Find(LookupCall {
                    node: this_node(),
                    settings,
                    cookie: None,
                    files: LookupFiles { folder: self.folder.clone(), names: grants.files.clone() },
                    endpoints: grants.fetch.clone(),
                    names: LookupNames { keys: grants.names.clone(), server: None },
                    deadline,
                })
            }
            PluginKind::PushFilter => {
                let file =
                    self.instances.as_ref().ok_or_else(|| usage("a push filter needs --instances FILE"))?;
                let text = std::fs::read_to_string(file)
                    .map_err(|error| usage(format!("{}: {error}", file.display())))?;
                let list = super::list::read(&text)
                    .map_err(|error| usage(format!("{}: {error}", file.display())))?;
                let labels = self.label.iter().cloned().collect();
                LiveCall::Select(selected(list, labels, settings, deadline))
            }
        })
    }

    async fn settings(&self, loaded: &Loaded, secrets: &Secrets) -> Result<plugin::Settings, Failure> {
        let told = flattened(&self.settings).map_err(usage)?;
        let problems = loaded.problems(&told).await.map_err(failed)?;
        if !problems.is_empty() {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return Err(usage(format!("--settings: {}", lines.join("; "))));
        }
        secrets.resolve(&loaded.descriptor, &told).map_err(usage)
    }
}

/// An instance to check, of a service that nobody has.
pub(super) fn checked(address: &str, port: u16) -> Target {
    Target {
        address: address.to_owned(),
        port,
        namespace: PUBLIC.into(),
        group: DEFAULT_GROUP.into(),
        service: "plugin-run".into(),
        cluster: DEFAULT_CLUSTER.into(),
        metadata: Vec::new(),
    }
}

pub(super) fn this_node() -> ThisNode {
    ThisNode { address: "127.0.0.1".into(), port: 8848, standalone: false }
}

pub(super) fn selected(
    list: super::list::List,
    labels: BTreeMap<String, String>,
    settings: Arc<plugin::Settings>,
    deadline: Duration,
) -> FilterCall {
    FilterCall {
        service: ServiceKey::new(PUBLIC, DEFAULT_GROUP, "plugin-run"),
        subscriber: FilterSubscriber { address: "127.0.0.1".into(), labels, ..FilterSubscriber::default() },
        candidates: Arc::new(list),
        settings,
        deadline,
    }
}

/// The exit code of a call.
pub(super) fn code(end: &End) -> u8 {
    match end {
        End::Answer(said) => match said["outcome"].as_str() {
            Some("failed" | "failed-now") => exit::PROBE_FAILED,
            Some("inconclusive") => exit::PROBE_INCONCLUSIVE,
            _ => exit::OK,
        },
        End::TimedOut => exit::PROBE_FAILED,
        End::Error { .. } => exit::FAILED,
    }
}

/// The way a call went, for people.
pub(super) fn as_text(trial: &Trial) -> String {
    let head = &trial.trace.head;
    let mut lines = vec![format!("{:<9} {} {}", "plugin", head.plugin, head.version)];
    lines.extend(end_lines(&trial.trace.end));
    if trial.shows_secret {
        lines.push(format!("{:<9} the answer or the log shows a secret; it was struck out here", "LEAK"));
    }
    if let Some(refused) = &trial.refused {
        lines.push(format!("{:<9} {refused}", "refused"));
    }
    let cost = &trial.cost;
    lines.push(format!("{:<9} {}, {} of it computing", "time", millis(trial.took), millis(cost.computing)));
    lines.push(format!(
        "{:<9} {} KiB of memory, {} connections, {} bytes of traffic",
        "cost",
        cost.memory >> 10,
        cost.connections,
        cost.traffic
    ));
    let steps = &trial.trace.steps;
    lines.push(format!("{:<9} {}", "calls", steps.len()));
    lines.extend(steps.iter().map(step_line));
    lines.join("\n")
}

fn end_lines(end: &End) -> Vec<String> {
    let titled = |title: &str, text: &str| format!("{title:<9} {text}");
    match end {
        End::TimedOut => vec![titled("verdict", "failed"), titled("code", "timed-out")],
        End::Error { code, message } => vec![titled("error", code), titled("", message)],
        End::Answer(said) => match said["outcome"].as_str() {
            None => vec![titled("answer", &said.to_string())],
            Some(outcome) => {
                let mut lines = vec![titled("verdict", outcome)];
                for key in ["code", "message"] {
                    lines.extend(
                        said[key].as_str().filter(|text| !text.is_empty()).map(|text| titled(key, text)),
                    );
                }
                for fact in said["facts"].as_array().into_iter().flatten() {
                    let part = |at: usize| fact[at].as_str().unwrap_or_default();
                    lines.push(titled("fact", &format!("{} = {}", part(0), part(1))));
                }
                lines
            }
        },
    }
}

fn step_line(step: &Step) -> String {
    let input = if step.input.is_null() { String::new() } else { format!(" {}", step.input) };
    let output = step.output.as_ref().map_or_else(|| "the call ended here".to_owned(), Value::to_string);
    let took = millis(Duration::from_micros(step.us));
    format!("{took:>13}  {}{} -> {}", step.call, cut(&input), cut(&output))
}

/// At most 120 characters.
fn cut(text: &str) -> String {
    if text.chars().count() <= 120 {
        return text.to_owned();
    }
    text.chars().take(117).chain("...".chars()).collect()
}

pub(super) fn millis(took: Duration) -> String {
    format!("{:.2} ms", took.as_secs_f64() * 1_000.0)
}

pub(super) fn as_json(trial: &Trial) -> Value {
    let cost = &trial.cost;
    json!({
        "plugin": trial.trace.head.plugin, "version": trial.trace.head.version,
        "end": trial.trace.end, "ms": trial.took.as_secs_f64() * 1_000.0, "shows-secret": trial.shows_secret,
        "refused": trial.refused,
        "cost": {
            "computing-ms": cost.computing.as_secs_f64() * 1_000.0, "memory": cost.memory,
            "connections": cost.connections, "traffic": cost.traffic,
        },
        "steps": trial.trace.steps,
        "diverged": trial.diverged.as_ref().map(|off| json!({
            "step": off.step, "expected": off.expected, "found": off.found,
        })),
    })
}
