//! A real node: the `muster` binary in its own process, with its own data folder and ports.

use crate::config::Config;
use crate::http::Http;
use crate::ports::free_port;
use crate::process::{Process, build_folder, kept_folder};
use crate::wait::{eventually, pause};
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tempfile::TempDir;

/// How long a node may take to start. The first start ever compiles the bundled plugins.
pub const START_DEADLINE: Duration = Duration::from_secs(120);

/// How long a node may take to drain.
pub const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A running node. Dereferences to the HTTP client that talks to it.
#[derive(Debug)]
pub struct Node {
    process: Process,
    http: Http,
    folder: TempDir,
    config: Config,
}

impl Deref for Node {
    type Target = Http;

    fn deref(&self) -> &Http {
        &self.http
    }
}

/// The binary that cargo built into the same folder as this test.
pub fn binary() -> PathBuf {
    build_folder().join("muster")
}

impl Node {
    /// Starts a node with Nacos's defaults and an empty data folder.
    ///
    /// # Panics
    /// When it is not ready in time.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(Config::new())
    }

    /// Starts a node with these settings and an empty data folder.
    ///
    /// # Panics
    /// When it is not ready in time.
    #[track_caller]
    pub fn with(config: Config) -> Self {
        let folder = TempDir::with_prefix("muster-node-").expect("a temporary folder");
        let config = config.with_port(free_port);
        let (process, http) = launch(&config, folder.path());
        Self { process, http, folder, config }
    }

    /// The client of the node's HTTP, for another thread.
    pub fn http(&self) -> Http {
        self.http
    }

    /// The folder that holds the settings file and the data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The port of the HTTP listener.
    pub fn port(&self) -> u16 {
        self.http.addr.port()
    }

    /// Where 2.x and 3.x clients connect.
    ///
    /// # Panics
    /// When it was told to have no such port.
    #[track_caller]
    pub fn grpc(&self) -> SocketAddr {
        let line = self.process.log.line("muster ready ").expect("it is ready");
        let address = ready_field(&line, "grpc").and_then(|text| text.parse().ok());
        address.expect("a port for gRPC")
    }

    /// A number of `/metrics`.
    ///
    /// # Panics
    /// When there is none of this name.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.http.get("/metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| unreachable!("no {name} in {text}"))
    }

    /// Memory of the process, in bytes.
    ///
    /// # Panics
    /// When it has ended.
    #[track_caller]
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).expect("a number") * 1024
    }

    /// What the node has written to its outputs since it was started.
    pub fn log(&self) -> String {
        self.process.log.text()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// `SIGTERM`, without waiting.
    pub fn terminate(&self) {
        self.process.terminate();
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait(STOP_DEADLINE)
    }

    /// Stops the node in order; it must leave with 0.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn stop(&mut self) {
        self.terminate();
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Starts the node again over the same data; it must have ended.
    ///
    /// # Panics
    /// When it is not ready in time.
    #[track_caller]
    pub fn start_again(&mut self) {
        let (process, http) = launch(&self.config, self.folder.path());
        self.process = process;
        self.http = http;
    }

    /// As [`Node::start_again`], with other settings.
    #[track_caller]
    pub fn start_again_with(&mut self, config: Config) {
        let port = self.port();
        self.config = config.with_port(|| port);
        self.start_again();
    }
}

impl Node {
    /// Writes other settings into the node's file. It runs on; what it reads again is its own business.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write_settings(&mut self, config: Config) {
        let port = self.port();
        self.config = config.with_port(|| port);
        // The command is not run.
        let _ = command(&self.config, self.folder.path());
    }
}

/// Writes the settings file and gives the command that starts a node over `folder`.
///
/// # Panics
/// When the file cannot be written.
pub fn command(config: &Config, folder: &Path) -> Command {
    let data = folder.join("data");
    let file = folder.join("muster.toml");
    std::fs::write(&file, config.render(&data, &kept_folder().join("plugin-cache")))
        .expect("settings written");
    let mut command = Command::new(binary());
    command.arg("serve").arg("--config").arg(&file).envs(config.environment());
    command
}

fn launch(config: &Config, folder: &Path) -> (Process, Http) {
    let mut process = Process::start(&mut command(config, folder), Some(folder));
    let log = process.log.clone();
    let line = eventually(START_DEADLINE, || {
        if let Some(status) = process.ended() {
            // let the readers of its outputs catch up before they are quoted
            pause(Duration::from_millis(100));
            assert_eq!(None, Some(status), "the node ended: {}", log.text());
        }
        log.line("muster ready ").ok_or_else(|| format!("not ready: {}", log.text()))
    });
    let addr = ready_field(&line, "http").and_then(|text| text.parse().ok());
    assert!(addr.is_some(), "no http= in {line:?}");
    let addr: SocketAddr = addr.expect("just checked");
    (process, Http { addr })
}

/// One `key=value` of the ready line.
pub fn ready_field(line: &str, key: &str) -> Option<String> {
    line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('=').map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_read_by_key() {
        let line = "muster ready http=127.0.0.1:8848 udp=127.0.0.1:1";
        assert_eq!(ready_field(line, "http").as_deref(), Some("127.0.0.1:8848"));
        assert_eq!(ready_field(line, "tcp"), None);
    }
}
