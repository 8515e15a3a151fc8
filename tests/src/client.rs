//! Real clients: programs around unmodified SDKs (`tests/clients`), driven over their input.

use crate::process::{Process, build_folder};
use crate::wait::eventually;
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::time::Duration;

/// How long an SDK may take for one call, and to start.
const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// Which SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// `nacos-sdk-python` 1.x: HTTP, polls
    Python,
    /// `nacos-sdk-python` 3.x: gRPC
    PythonGrpc,
    /// `nacos` 2.6 for Node: HTTP, UDP push
    Node,
    /// `nacos-client` 1.4 for Java: HTTP, light beats, UDP push
    Java,
}

impl Sdk {
    fn command(self) -> Command {
        let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let built = build_folder().parent().map(|target| target.join("clients")).unwrap_or_default();
        match self {
            Self::Python => {
                let mut command = Command::new(installed(built.join("python/bin/python")));
                command.arg(clients.join("python-http/client.py"));
                command
            }
            Self::PythonGrpc => {
                let mut command = Command::new(installed(built.join("python-grpc/bin/python")));
                // its caches and logs go beside it, not into the home of whoever tests
                command.arg(clients.join("python-grpc/client.py")).env("HOME", built.join("python-grpc"));
                command
            }
            Self::Node => {
                installed(clients.join("node-http/node_modules/nacos"));
                let mut command = Command::new("node");
                command.arg(clients.join("node-http/client.js"));
                command
            }
            Self::Java => {
                let jars = installed(built.join("java/dependency")).join("*");
                let mut command = Command::new("java");
                command.arg("-cp").arg(format!(
                    "{}:{}",
                    built.join("java/classes").display(),
                    jars.display()
                ));
                // its caches and logs go beside its classes, not into the home of whoever tests
                command
                    .arg(format!("-Duser.home={}", built.join("java/home").display()))
                    .arg("muster.Client");
                command
            }
        }
    }
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "no {}: tests/run installs the clients", path.display());
    path
}

/// A running client.
#[derive(Debug)]
pub struct Client {
    process: Process,
    input: ChildStdin,
    next: u64,
}

impl Client {
    /// Starts a client of the node at `127.0.0.1:port` in this namespace.
    ///
    /// # Panics
    /// When it does not start, or was not installed.
    #[track_caller]
    pub fn start(sdk: Sdk, port: u16, namespace: &str) -> Self {
        let mut command = sdk.command();
        let mut process = Process::start_with_input(command.arg(format!("127.0.0.1:{port}")).arg(namespace));
        let input = process.input().expect("input is piped");
        let client = Self { process, input, next: 1 };
        eventually(CALL_DEADLINE, || {
            client
                .said()
                .into_iter()
                .find(|m| m["event"] == "started")
                .ok_or_else(|| client.process.log.text())
        });
        client
    }

    /// Everything it has said so far.
    fn said(&self) -> Vec<Value> {
        let text = self.process.log.text();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.filter_map(|line| serde_json::from_str(line.trim_end().strip_prefix("@@ ")?).ok()).collect()
    }

    /// Asks for something and waits for the answer.
    ///
    /// # Panics
    /// When the SDK reports an error, or nothing.
    #[track_caller]
    pub fn ask(&mut self, action: &str, what: Value) -> Value {
        let id = self.next;
        self.next += 1;
        let mut command = what;
        command["id"] = id.into();
        command["do"] = action.into();
        writeln!(self.input, "{command}").expect("the client listens");
        let answer = eventually(CALL_DEADLINE, || {
            let answer = self.said().into_iter().find(|m| m["id"] == id);
            answer.ok_or_else(|| format!("{command}: {}", self.process.log.text()))
        });
        assert!(answer.get("ok").is_some(), "{command}: {answer}");
        answer["ok"].clone()
    }

    /// Registers, and beats from then on.
    #[track_caller]
    pub fn register(&mut self, service: &str, ip: &str, port: u16) {
        assert_eq!(self.ask("register", json!({"service": service, "ip": ip, "port": port})), true);
    }

    /// Takes an instance out.
    #[track_caller]
    pub fn deregister(&mut self, service: &str, ip: &str, port: u16) {
        assert_eq!(self.ask("deregister", json!({"service": service, "ip": ip, "port": port})), true);
    }

    /// `ip:port=healthy` of each host, as the SDK sees it, asking the node.
    #[track_caller]
    pub fn list(&mut self, service: &str) -> Vec<String> {
        texts(&self.ask("list", json!({"service": service})))
    }

    /// Subscribes; [`Client::changes`] tells what was heard.
    #[track_caller]
    pub fn subscribe(&mut self, service: &str) {
        assert_eq!(self.ask("subscribe", json!({"service": service})), true);
    }

    /// The hosts of each change of a service that the SDK told of, in order.
    pub fn changes(&self, service: &str) -> Vec<Vec<String>> {
        let events = self.said().into_iter().filter(|m| m["event"] == "change" && m["service"] == service);
        events.map(|m| texts(&m["hosts"])).collect()
    }

    /// Kills the client: its beats end.
    pub fn kill(mut self) {
        self.process.kill();
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap_or("?").to_owned()).collect()
}
