//! Real clients: programs around unmodified SDKs (`tests/clients`), driven over their input.

mod report;
mod sdk;
mod slots;

pub use report::{Feature, prove};
pub use sdk::{
    ALL, GO_GRPC, Hears, JAVA_2, JAVA_3, JAVA_HTTP, NODE_HTTP, PYTHON_2, PYTHON_3, PYTHON_HTTP, RUST_GRPC,
    Sdk, Transport,
};

use crate::process::Process;
use crate::tls::Files;
use crate::wait::{eventually, hold};
use serde_json::{Value, json};
use slots::Slot;
use std::io::Write;
use std::process::ChildStdin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// How long an SDK may take for one call, and to start, on a machine that is busy with others.
const CALL_DEADLINE: Duration = Duration::from_secs(60);

/// The SDK has no such function; its program says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacks(pub String);

/// How a scenario ends, unless it panics.
pub type Outcome = Result<(), Lacks>;

/// A change that a subscriber was told of.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// `ip:port=healthy` of each host, sorted
    pub hosts: Vec<String>,
    /// metadata by `ip:port`
    pub metadata: Value,
}

/// A running client. Several tests may share one: answers go by number, changes by service.
#[derive(Debug)]
pub struct Client {
    /// the SDK it drives
    pub sdk: &'static Sdk,
    process: Process,
    input: Mutex<Input>,
    heard: Mutex<Heard>,
    // after the process, which must have ended
    _home: TempDir,
    _slot: Slot,
}

/// An SDK, the addresses of its nodes, its namespace, and its environment.
type Told<'a> = (&'static Sdk, String, &'a str, Vec<(&'static str, String)>);

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[derive(Debug)]
struct Input {
    pipe: ChildStdin,
    next: u64,
}

/// What was read of its output.
#[derive(Debug, Default)]
struct Heard {
    read: usize,
    messages: Vec<Value>,
}

impl Client {
    /// Starts a client of the node at `127.0.0.1:port` in this namespace.
    ///
    /// # Panics
    /// When it does not start, or was not installed.
    #[track_caller]
    pub fn start(sdk: &'static Sdk, port: u16, namespace: &str) -> Self {
        let [client] = Self::start_all([(sdk, port, namespace)]);
        client
    }

    /// Starts one of each, of a cluster whose nodes are at these ports.
    ///
    /// # Panics
    /// As [`Client::start`].
    #[track_caller]
    pub fn of_cluster<const N: usize>(sdks: [&'static Sdk; N], ports: &[u16]) -> [Self; N] {
        let nodes: Vec<String> = ports.iter().copied().map(at).collect();
        let wanted = sdks.into_iter().map(|sdk| (sdk, nodes.join(","), "", Vec::new())).collect();
        Self::start_told(wanted).try_into().expect("as many as wanted")
    }

    /// Starts several at once. A test that needs several asks for all of them here, so that no two
    /// tests wait for each other's.
    ///
    /// # Panics
    /// As [`Client::start`].
    #[track_caller]
    pub fn start_all<const N: usize>(wanted: [(&'static Sdk, u16, &str); N]) -> [Self; N] {
        Self::start_each(wanted.to_vec()).try_into().expect("as many as wanted")
    }

    /// As [`Client::start_all`], for any number.
    ///
    /// # Panics
    /// As [`Client::start`].
    #[track_caller]
    pub fn start_each(wanted: Vec<(&'static Sdk, u16, &str)>) -> Vec<Self> {
        let told = |(sdk, port, namespace)| (sdk, at(port), namespace, Vec::new());
        Self::start_told(wanted.into_iter().map(told).collect())
    }

    /// Starts one of each that speak TLS with the node at `127.0.0.1:port`.
    ///
    /// # Panics
    /// As [`Client::start`], and when one does not speak TLS as it is built here.
    #[track_caller]
    pub fn start_over_tls(sdks: &[&'static Sdk], port: u16, files: &Files) -> Vec<Self> {
        let told = |sdk: &&'static Sdk| (*sdk, at(port), "", sdk.tls(files).expect("it speaks TLS"));
        Self::start_told(sdks.iter().map(told).collect())
    }

    #[track_caller]
    fn start_told(wanted: Vec<Told<'_>>) -> Vec<Self> {
        let slots = slots::take(wanted.len());
        let clients: Vec<_> =
            wanted.into_iter().zip(slots).map(|(wanted, slot)| Self::spawn(wanted, slot)).collect();
        for client in &clients {
            let started = eventually(CALL_DEADLINE, || {
                let started = client.find(|m| m["event"] == "started");
                started.ok_or_else(|| client.log())
            });
            report::version(client.sdk, started["version"].as_str().unwrap_or("?"));
        }
        clients
    }

    #[track_caller]
    fn spawn((sdk, nodes, namespace, environment): Told<'_>, slot: Slot) -> Self {
        let home = TempDir::with_prefix("muster-client-").expect("a temporary folder");
        let mut command = sdk.command(home.path());
        command.envs(environment);
        let mut process = Process::start_with_input(command.arg(nodes).arg(namespace), home.path());
        let pipe = process.input().expect("input is piped");
        let input = Mutex::new(Input { pipe, next: 1 });
        Self { sdk, process, input, heard: Mutex::default(), _home: home, _slot: slot }
    }

    /// Its output, for messages of failed tests: the end of it.
    fn log(&self) -> String {
        let text = self.process.log.text();
        let lines: Vec<&str> = text.lines().collect();
        format!("{}: ...\n{}", self.sdk.name, lines[lines.len().saturating_sub(60)..].join("\n"))
    }

    /// Everything it has said so far.
    fn heard(&self) -> MutexGuard<'_, Heard> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let new = self.process.log.since(heard.read);
        let whole = new.rfind('\n').map_or(0, |end| end + 1);
        heard.read += whole;
        let lines = new[..whole].lines();
        heard
            .messages
            .extend(lines.filter_map(|line| serde_json::from_str(line.trim_end().strip_prefix("@@ ")?).ok()));
        heard
    }

    fn find(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        self.heard().messages.iter().find(|m| wanted(m)).cloned()
    }

    /// Asks for something and waits for the answer.
    ///
    /// # Errors
    /// [`Lacks`] when the SDK has no such function.
    ///
    /// # Panics
    /// When the SDK reports an error, or nothing.
    #[track_caller]
    pub fn ask(&self, action: &str, what: Value) -> Result<Value, Lacks> {
        let answer = self.send(action, what.clone());
        if let Some(why) = answer["unsupported"].as_str() {
            return Err(Lacks(why.to_owned()));
        }
        assert!(answer.get("ok").is_some(), "{} {action} {what}: {answer}\n{}", self.sdk.name, self.log());
        Ok(answer["ok"].clone())
    }

    /// Asks for something that may fail, as when no node can be reached; none when the SDK reports an error.
    pub fn attempt(&self, action: &str, what: Value) -> Option<Value> {
        self.send(action, what).get("ok").cloned()
    }

    #[track_caller]
    fn send(&self, action: &str, mut command: Value) -> Value {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let id = input.next;
        input.next += 1;
        command["id"] = id.into();
        command["do"] = action.into();
        let written = writeln!(input.pipe, "{command}");
        assert!(written.is_ok(), "{command}: {written:?}: {}", self.log());
        drop(input);
        eventually(CALL_DEADLINE, || {
            self.find(|m| m["id"] == id).ok_or_else(|| format!("{command}: {}", self.log()))
        })
    }

    /// Asks for something that answers `true`.
    ///
    /// # Errors
    /// As [`Client::ask`].
    ///
    /// # Panics
    /// As [`Client::ask`], or when the answer is another.
    #[track_caller]
    pub fn tell(&self, action: &str, what: Value) -> Outcome {
        assert_eq!(self.ask(action, what)?, true, "{} {action}", self.sdk.name);
        Ok(())
    }

    /// Registers an ephemeral instance, which stays as long as the client.
    ///
    /// # Errors
    /// As [`Client::ask`].
    #[track_caller]
    pub fn register(&self, service: &str, ip: &str, port: u16) -> Outcome {
        self.tell("register", json!({"service": service, "ip": ip, "port": port}))
    }

    /// Takes an ephemeral instance out.
    ///
    /// # Errors
    /// As [`Client::ask`].
    #[track_caller]
    pub fn deregister(&self, service: &str, ip: &str, port: u16) -> Outcome {
        self.tell("deregister", json!({"service": service, "ip": ip, "port": port}))
    }

    /// `ip:port=healthy` of each host, as the SDK sees it when it asks the node.
    ///
    /// # Errors
    /// As [`Client::ask`].
    #[track_caller]
    pub fn list(&self, what: Value) -> Result<Vec<String>, Lacks> {
        Ok(texts(&self.ask("list", what)?))
    }

    /// Waits until the SDK sees exactly these hosts.
    ///
    /// # Errors
    /// As [`Client::ask`].
    ///
    /// # Panics
    /// When it does not in time.
    #[track_caller]
    pub fn wait_list(&self, what: &Value, deadline: Duration, wanted: &[String]) -> Outcome {
        // whether it has the function is known at once; then only the answer matters
        self.list(what.clone())?;
        eventually(deadline, || {
            let now = self.list(what.clone()).map_err(|Lacks(why)| why)?;
            hold(now == wanted, || format!("{}: {now:?}, not {wanted:?}", self.sdk.name))
        });
        Ok(())
    }

    /// Subscribes; [`Client::changes`] tells what was heard.
    ///
    /// # Errors
    /// As [`Client::ask`].
    #[track_caller]
    pub fn subscribe(&self, service: &str) -> Outcome {
        self.tell("subscribe", json!({"service": service}))
    }

    /// The changes of a service that the SDK told of, in order.
    pub fn changes(&self, service: &str) -> Vec<Change> {
        let heard = self.heard();
        let events = heard.messages.iter().filter(|m| m["event"] == "change" && m["service"] == service);
        events.map(|m| Change { hosts: texts(&m["hosts"]), metadata: m["metadata"].clone() }).collect()
    }

    /// What fuzzy watches told of a service, in order: `ADD_SERVICE` and `DELETE_SERVICE`.
    pub fn fuzzy(&self, service: &str) -> Vec<String> {
        let heard = self.heard();
        let events = heard.messages.iter().filter(|m| m["event"] == "fuzzy" && m["service"] == service);
        events.map(|m| m["change"].as_str().unwrap_or("?").to_owned()).collect()
    }

    /// Waits until the last change heard shows exactly these hosts.
    ///
    /// # Panics
    /// When it does not in time.
    #[track_caller]
    pub fn wait_change(&self, service: &str, deadline: Duration, wanted: &[String]) {
        eventually(deadline, || {
            let changes = self.changes(service);
            let now = changes.last().map(|change| change.hosts.as_slice());
            hold(now == Some(wanted), || format!("{} heard {changes:?}, not {wanted:?}", self.sdk.name))
        });
    }

    /// Kills the client: its beats end and its connection breaks.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap_or("?").to_owned()).collect()
}
