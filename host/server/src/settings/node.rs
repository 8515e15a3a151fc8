//! `[node]`, `[raft]`, `[log]` and `[compat]`: what this process is and what it writes.

use super::reader::Section;
use super::values::words;
use std::num::NonZeroU64;
use std::path::PathBuf;

/// `[node]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where everything durable lives; one node at a time.
    pub data_dir: PathBuf,
    /// IP address or host name by which clients and other members reach this node; none means that of
    /// `http.bind`, or the machine's own when that is unspecified.
    pub address: Option<String>,
    /// Identity in the replicated log; kept for the life of the data directory.
    pub id: NonZeroU64,
}

impl Default for Node {
    fn default() -> Self {
        Self { data_dir: "data".into(), address: None, id: NonZeroU64::MIN }
    }
}

impl Node {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            data_dir: section.get("data-dir", default.data_dir),
            address: section.optional("address"),
            id: section.get("id", default.id),
        };
        if read.address.as_deref().is_some_and(|address| !is_host(address)) {
            section.problem("address", "must be an IP address or a host name, without a port");
        }
        read
    }
}

fn is_host(text: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    text.parse::<std::net::IpAddr>().is_ok() || (!text.is_empty() && text.chars().all(name))
}

/// `[raft]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raft {
    /// Entries of the log after which a snapshot is taken and the log is cut.
    pub snapshot_after: NonZeroU64,
}

impl Default for Raft {
    fn default() -> Self {
        Self { snapshot_after: NonZeroU64::MIN.saturating_add(9_999) }
    }
}

impl Raft {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        Self { snapshot_after: section.get("snapshot-after", Self::default().snapshot_after) }
    }
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `error` to `trace`, or directives such as `info,muster::http=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

words!(LogFormat { "text" => LogFormat::Text, "json" => LogFormat::Json });

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

impl Log {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        let read = Self {
            level: section.get("level", default.level),
            format: section.get("format", default.format),
        };
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&read.level) {
            let wanted = "must be a level (error, warn, info, debug, trace) or directives such as";
            section.problem("level", format!("{wanted} \"info,muster::http=debug\": {error}"));
        }
        read
    }
}

/// `[compat]`: the APIs of older generations, each of which can be switched off (N190).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compat {
    /// v1 and v2 client APIs.
    pub client: bool,
    /// v1 and v2 operator APIs.
    pub admin: bool,
    /// v1 console APIs.
    pub console: bool,
}

impl Default for Compat {
    fn default() -> Self {
        Self { client: true, admin: true, console: true }
    }
}

impl Compat {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            client: section.get("client", default.client),
            admin: section.get("admin", default.admin),
            console: section.get("console", default.console),
        }
    }
}
