//! The SDKs under test: how each is started, and what a test has to know about it.

use crate::process::build_folder;
use crate::tls::Files;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How an SDK talks to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP requests and beats
    Http,
    /// one gRPC connection
    Grpc,
}

/// How a subscriber hears of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hears {
    /// the node tells it, by UDP or over the gRPC connection
    ByPush,
    /// it asks again and again
    ByPolling,
}

/// What kind of program drives the SDK.
#[derive(Clone, Copy, Debug)]
enum Program {
    /// this file of `tests/clients`, with the Python installed for this SDK
    Python(&'static str),
    /// `client.js` in the SDK's folder
    Node,
    /// class `muster.Client`, compiled for this SDK
    Java,
    /// the program `client` built for this SDK
    Native,
}

/// An unmodified SDK and the program around it.
#[derive(Debug)]
pub struct Sdk {
    /// its folder in `tests/clients`, and in `target/clients`
    pub name: &'static str,
    /// what its registry calls it
    pub package: &'static str,
    /// how it talks to the node
    pub transport: Transport,
    /// how its subscribers hear of changes
    pub hears: Hears,
    /// whether a new subscription tells of what is already there
    pub tells_at_subscription: bool,
    /// how long a break has to be for the SDK to notice it without a call
    pub notices_after: Duration,
    /// what becomes of a subscription when the node could not be reached
    pub loses_subscriptions: Option<&'static str>,
    program: Program,
}

impl Sdk {
    const fn grpc(name: &'static str, package: &'static str, program: Program) -> Self {
        Self {
            name,
            package,
            transport: Transport::Grpc,
            hears: Hears::ByPush,
            tells_at_subscription: true,
            notices_after: Duration::from_secs(2),
            loses_subscriptions: None,
            program,
        }
    }

    const fn http(name: &'static str, package: &'static str, program: Program) -> Self {
        Self { transport: Transport::Http, ..Self::grpc(name, package, program) }
    }
}

/// HTTP with beats; it polls.
pub static PYTHON_HTTP: Sdk = Sdk {
    hears: Hears::ByPolling,
    tells_at_subscription: false,
    // its timer is not set again after an exception
    loses_subscriptions: Some(
        "its registrations come back; its subscription ends with the first failed poll, for ever",
    ),
    ..Sdk::http("python-http", "nacos-sdk-python", Program::Python("python-http/client.py"))
};
/// gRPC without ability negotiation; the same program as for 3.x.
pub static PYTHON_2: Sdk = Sdk {
    // it looks every 5 s, and takes the answer that it is not registered (301) for health: when its
    // channel has come back by then, it learns of the break only from its next call
    notices_after: Duration::from_secs(12),
    ..Sdk::grpc("python-2", "nacos-sdk-python", Program::Python("python-3/client.py"))
};
/// gRPC with ability negotiation.
pub static PYTHON_3: Sdk = Sdk::grpc("python-3", "nacos-sdk-python", Program::Python("python-3/client.py"));
/// HTTP with beats, UDP push.
pub static NODE_HTTP: Sdk = Sdk::http("node-http", "nacos (Node.js)", Program::Node);
/// HTTP with light beats, UDP push.
pub static JAVA_HTTP: Sdk = Sdk::http("java-http", "nacos-client (Java)", Program::Java);
/// gRPC.
pub static JAVA_2: Sdk = Sdk::grpc("java-2", "nacos-client (Java)", Program::Java);
/// gRPC with ability negotiation and fuzzy watch.
pub static JAVA_3: Sdk = Sdk::grpc("java-3", "nacos-client (Java)", Program::Java);
/// gRPC without ability table.
pub static GO_GRPC: Sdk = Sdk::grpc("go-grpc", "nacos-sdk-go/v2", Program::Native);
/// gRPC with strict decoding.
pub static RUST_GRPC: Sdk = Sdk::grpc("rust-grpc", "nacos-sdk (Rust)", Program::Native);

/// Every SDK, in the order of the compatibility matrix.
pub static ALL: &[&Sdk] =
    &[&JAVA_HTTP, &JAVA_2, &JAVA_3, &GO_GRPC, &RUST_GRPC, &PYTHON_HTTP, &PYTHON_2, &PYTHON_3, &NODE_HTTP];

impl Sdk {
    /// What tells it to speak TLS and trust who signed `ca.pem`, and to show its own certificate when asked; none
    /// for an SDK that does not speak TLS as it is built here.
    pub(super) fn tls(&self, files: &Files) -> Option<Vec<(&'static str, String)>> {
        let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| files.path(name));
        if self.transport == Transport::Http {
            return None;
        }
        match self.program {
            // the SDK reads them itself
            Program::Native if self.name == GO_GRPC.name => Some(vec![
                ("nacos_remote_client_rpc_tls_enable", "true".to_owned()),
                ("nacos_remote_client_rpc_tls_trustCollectionChainPath", ca),
                ("nacos_remote_client_rpc_tls_certChainFile", certificate),
                ("nacos_remote_client_rpc_tls_certPrivateKey", key),
            ]),
            Program::Java => {
                let of = |name: &str, value: &str| format!("-Dnacos.remote.client.rpc.tls.{name}={value}");
                // a path alone would be looked for among the classes
                let file = |name: &str, path: &str| of(name, &format!("file:{path}"));
                let options = [
                    of("enable", "true"),
                    of("mutualAuth", "true"),
                    // everybody is trusted unless told otherwise
                    of("trustAll", "false"),
                    file("trustCollectionChainPath", &ca),
                    file("certChainFile", &certificate),
                    file("certPrivateKey", &key),
                ];
                Some(vec![("JAVA_TOOL_OPTIONS", options.join(" "))])
            }
            // its program makes the SDK's TLSConfig of them
            Program::Python(_) => {
                Some(vec![("TLS_CA", ca), ("TLS_CERTIFICATE", certificate), ("TLS_KEY", key)])
            }
            Program::Native | Program::Node => None,
        }
    }

    /// The command that starts its program, without arguments. `home` is where it may keep caches and
    /// logs: its own, because SDKs tell of no change that is none to what they find there.
    ///
    /// # Panics
    /// When it was not installed.
    pub(super) fn command(&self, home: &Path) -> Command {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let built = built().join(self.name);
        let mut command = match self.program {
            Program::Python(file) => {
                let mut command = Command::new(installed(built.join("bin/python")));
                command.arg(source.join(file));
                command
            }
            Program::Node => {
                installed(source.join(self.name).join("node_modules"));
                let mut command = Command::new("node");
                command.arg(source.join(self.name).join("client.js"));
                command
            }
            Program::Java => java(&built, home),
            Program::Native => Command::new(installed(built.join("client"))),
        };
        command.env("HOME", home).current_dir(home);
        command
    }
}

/// Where `tests/run` puts the SDKs: `target/clients`.
pub(super) fn built() -> PathBuf {
    build_folder().parent().map(|target| target.join("clients")).unwrap_or_default()
}

fn java(built: &Path, home: &Path) -> Command {
    let jars = installed(built.join("dependency")).join("*");
    let classes = installed(built.join("classes"));
    let mut command = Command::new("java");
    // many of them start on a small machine: no second compiler, no threads for the collector
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m", "-Xshare:auto"]);
    command.arg(format!("-Duser.home={}", home.display()));
    command.arg("-cp").arg(format!("{}:{}", classes.display(), jars.display()));
    command.arg("muster.Client");
    command
}

fn installed(path: PathBuf) -> PathBuf {
    assert!(path.exists(), "no {}: tests/run installs the clients", path.display());
    path
}
