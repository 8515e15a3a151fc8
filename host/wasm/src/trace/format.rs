//! The file: JSON lines. The first is the head, the last the end, between them one line for each host call.

use muster_core::plugin::PluginKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Version of the format that this host writes and reads.
pub const TRACE_VERSION: u32 = 1;

/// Bytes of the largest trace that is read.
pub const MAX_TRACE: usize = 16 << 20;

/// One call of a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// who was asked what
    pub head: Head,
    /// what the plugin asked of the host, in order
    pub steps: Vec<Step>,
    /// how it ended
    pub end: End,
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Head {
    /// version of the format
    pub muster_trace: u32,
    /// written by hand and not recorded: it has no calls of WASI, and for who makes such calls the clocks stand still (at
    /// one second) and random bytes are zero
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scripted: bool,
    /// name of the plugin
    pub plugin: String,
    /// its own version
    pub version: String,
    /// digest of the component that was recorded
    pub sha256: String,
    /// wall time that the call had, in milliseconds
    pub deadline_ms: u32,
    /// what `wasi:random/insecure-seed` answers, 32 hex digits
    pub seed: String,
    /// settings that held a secret: neither their values nor anything that the plugin sent is in the trace
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<String>,
    /// the call
    pub question: Question,
}

/// What was asked, by kind of plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// a health check's
    Check(CheckQuestion),
    /// a member lookup's
    Find(FindQuestion),
    /// a push filter's
    Select(SelectQuestion),
}

impl Question {
    /// The kind of plugin that can be asked this.
    pub const fn kind(&self) -> PluginKind {
        match self {
            Self::Check(_) => PluginKind::HealthCheck,
            Self::Find(_) => PluginKind::MemberLookup,
            Self::Select(_) => PluginKind::PushFilter,
        }
    }

    /// The settings of the call.
    pub const fn settings(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Check(CheckQuestion { settings, .. })
            | Self::Find(FindQuestion { settings, .. })
            | Self::Select(SelectQuestion { settings, .. }) => settings,
        }
    }
}

/// `checker.check`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckQuestion {
    /// literal address or host name
    pub address: String,
    /// port
    pub port: u16,
    /// namespace id
    pub namespace: String,
    /// group
    pub group: String,
    /// service
    pub service: String,
    /// cluster of the instance
    pub cluster: String,
    /// metadata of the instance
    #[serde(default)]
    pub metadata: Vec<(String, String)>,
    /// settings, without defaults
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// `lookup.find`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindQuestion {
    /// address of the node that asks
    pub address: String,
    /// its main port
    pub port: u16,
    /// whether it was started to be alone
    pub standalone: bool,
    /// what the last answer gave
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<Value>,
    /// settings, without defaults
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// `filter.select`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelectQuestion {
    /// namespace id
    pub namespace: String,
    /// group
    pub group: String,
    /// service
    pub service: String,
    /// instances of the list
    pub count: u32,
    /// settings, without defaults
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// One host call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// interface and function, such as `dial.read`
    pub call: String,
    /// what the plugin gave
    #[serde(rename = "in", default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// `{"ok": …}` or `{"error": …}`; none when the call of the plugin ended while it waited
    #[serde(rename = "out", default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// microseconds that the host took
    pub us: u64,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum End {
    /// the plugin answered
    Answer(Value),
    /// the time was up while the plugin waited for the outside
    TimedOut,
    /// there is no answer
    Error {
        /// a stable word such as `plugin.trap`
        code: String,
        /// for people
        message: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastLine {
    end: End,
}

/// A file that is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// a line that cannot be read
    #[error("trace, line {line}: {text}")]
    Line {
        /// counted from 1
        line: usize,
        /// what is wrong
        text: String,
    },
    /// made by a newer or an unknown program
    #[error("the trace has version {found}, this program reads {TRACE_VERSION}")]
    Version {
        /// the version it has
        found: u32,
    },
    /// no end line
    #[error("the trace breaks off: its last line must hold \"end\"")]
    BrokenOff,
    /// too large
    #[error("the trace has {0} bytes, at most {MAX_TRACE} are read")]
    TooLarge(usize),
}

impl Trace {
    /// Reads a trace.
    ///
    /// # Errors
    /// [`TraceError`] names the line.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        if text.len() > MAX_TRACE {
            return Err(TraceError::TooLarge(text.len()));
        }
        let mut lines: Vec<_> =
            text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
        let wrong = |at: usize| {
            move |error: serde_json::Error| TraceError::Line { line: at + 1, text: error.to_string() }
        };
        let (last, end) = lines.pop().ok_or(TraceError::BrokenOff)?;
        let mut lines = lines.into_iter();
        let (_, first) = lines.next().ok_or(TraceError::BrokenOff)?;
        check_version(first)?;
        let head: Head = serde_json::from_str(first).map_err(wrong(0))?;
        let end: Value = serde_json::from_str(end).map_err(wrong(last))?;
        if end.get("end").is_none() {
            return Err(TraceError::BrokenOff);
        }
        let LastLine { end } = serde_json::from_value(end).map_err(wrong(last))?;
        let steps = lines
            .map(|(at, line)| serde_json::from_str(line).map_err(wrong(at)))
            .collect::<Result<_, _>>()?;
        Ok(Self { head, steps, end })
    }

    /// The text that [`Self::parse`] reads.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut line = |value: Result<String, serde_json::Error>| {
            // maps with text keys and finite numbers only: nothing that JSON lacks
            text.push_str(&value.unwrap_or_default());
            text.push('\n');
        };
        line(serde_json::to_string(&self.head));
        self.steps.iter().for_each(|step| line(serde_json::to_string(step)));
        line(serde_json::to_string(&LastLine { end: self.end.clone() }));
        text
    }
}

/// Before anything else: a newer head may have keys that this program does not know.
fn check_version(head: &str) -> Result<(), TraceError> {
    let wrong = |text: &str| TraceError::Line { line: 1, text: text.to_owned() };
    let head: Value = serde_json::from_str(head).map_err(|error| wrong(&error.to_string()))?;
    let version = head
        .get("muster-trace")
        .and_then(Value::as_u64)
        .ok_or_else(|| wrong("no trace: it lacks \"muster-trace\""))?;
    match u32::try_from(version).unwrap_or(u32::MAX) {
        TRACE_VERSION => Ok(()),
        found => Err(TraceError::Version { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trace() -> Trace {
        let question = CheckQuestion {
            address: "10.0.0.1".into(),
            port: 6379,
            namespace: "public".into(),
            group: "g".into(),
            service: "s".into(),
            cluster: "c".into(),
            metadata: vec![("k".into(), "v".into())],
            settings: [("a".into(), "b".into())].into(),
        };
        Trace {
            head: Head {
                muster_trace: TRACE_VERSION,
                scripted: false,
                plugin: "REDIS".into(),
                version: "1.0.0".into(),
                sha256: "00".into(),
                deadline_ms: 500,
                seed: "0".repeat(32),
                withheld: vec![],
                question: Question::Check(question),
            },
            steps: vec![
                Step {
                    call: "dial.connect".into(),
                    input: json!({"timeout-ms": null}),
                    output: Some(json!({"ok": 0})),
                    us: 7,
                },
                Step { call: "dial.read".into(), input: json!({"connection": 0}), output: None, us: 9 },
            ],
            end: End::TimedOut,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let text = trace().to_text();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(Trace::parse(&text).unwrap(), trace());
        assert!(!text.contains("scripted"));
        let scripted = Trace { head: Head { scripted: true, ..trace().head }, ..trace() };
        assert_eq!(Trace::parse(&scripted.to_text()).unwrap(), scripted);
        let error = End::Error { code: "plugin.trap".into(), message: "x".into() };
        let other = Trace { end: error, ..trace() };
        assert_eq!(Trace::parse(&other.to_text()).unwrap(), other);
    }

    #[test]
    fn what_is_no_trace_is_refused_with_the_line() {
        let text = trace().to_text();
        let refused = |text: &str| Trace::parse(text).unwrap_err().to_string();
        assert!(refused("").contains("breaks off"));
        assert!(refused("{}\n{}").contains("muster-trace"));
        assert!(refused(&text.replacen(":1,", ":2,", 1)).contains("version 2"), "{text}");
        let cut: Vec<_> = text.lines().take(3).collect();
        assert!(refused(&cut.join("\n")).contains("breaks off"));
        assert!(refused(&text.replace("dial.read\"", "dial.read\",\"x\":1,\"y\":\"")).contains("line 3"));
    }
}
