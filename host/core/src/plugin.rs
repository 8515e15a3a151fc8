//! What passes between the rules and the plugins, in the rules' own words.

use crate::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of a plugin, flattened to text.
pub type Settings = BTreeMap<String, String>;

/// What a checker concluded about its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// healthy
    Passed,
    /// healthy, but worth showing
    Warning,
    /// counts towards the threshold
    Failed,
    /// unhealthy at once
    FailedNow,
    /// could not tell: health stays as it is
    Inconclusive,
}

impl Outcome {
    /// The stable word of metrics, logs and the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::FailedNow => "failed-now",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// What a checker says of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// what follows from it
    pub outcome: Outcome,
    /// a short stable dotted word, at most 64 bytes
    pub code: String,
    /// for people, at most 256 bytes
    pub message: String,
    /// what was learnt, at most 16 pairs
    pub facts: Vec<(String, String)>,
}

impl Verdict {
    /// A verdict of the host itself, without facts.
    pub fn of_host(outcome: Outcome, code: &str, message: impl Into<String>) -> Self {
        Self { outcome, code: code.to_owned(), message: message.into(), facts: Vec::new() }
    }
}

/// What a health check looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// literal address, or the host name the instance was registered with
    pub address: String,
    /// port to check
    pub port: u16,
    /// namespace id
    pub namespace: String,
    /// group of the service
    pub group: String,
    /// bare service name
    pub service: String,
    /// cluster of the instance
    pub cluster: String,
    /// the instance's metadata, overlay included
    pub metadata: Vec<(String, String)>,
}

/// A server that a member lookup found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FoundMember {
    /// IP address or host name
    pub address: String,
    /// none means the main port setting
    pub port: Option<u16>,
    /// free key/value pairs
    pub metadata: Vec<(String, String)>,
}

/// What a member lookup answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupAnswer {
    /// a new list
    Changed {
        /// the servers
        members: Vec<FoundMember>,
        /// given back on the next call, at most 4 KiB
        cookie: Vec<u8>,
        /// when to ask again
        next: Millis,
    },
    /// nothing new; when to ask again
    Unchanged(Millis),
}

/// What a push filter answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// the whole list
    All,
    /// ascending indices into the list, none twice, all in range
    Only(Vec<u32>),
}

/// The three kinds of plugin, one world each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PluginKind {
    /// checks one instance
    HealthCheck,
    /// finds the servers of the cluster
    MemberLookup,
    /// narrows a list for one subscriber
    PushFilter,
}

impl PluginKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::HealthCheck, Self::MemberLookup, Self::PushFilter];

    /// The kind whose world has this name.
    pub fn of_world(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.world() == name)
    }

    /// The name of its WIT world, which is also its `kind` in a manifest.
    pub const fn world(self) -> &'static str {
        match self {
            Self::HealthCheck => "health-check",
            Self::MemberLookup => "member-lookup",
            Self::PushFilter => "push-filter",
        }
    }
}

/// What a plugin says about one of its settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingSpec {
    /// name of the setting
    pub key: String,
    /// what it may hold
    pub kind: SettingKind,
    /// whether it must be given
    pub required: bool,
    /// what is passed when it is not
    pub default: Option<String>,
    /// for people
    pub summary: String,
}

/// What a setting may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// any text
    Text,
    /// a whole number within inclusive bounds
    Integer(i32, i32),
    /// `true` or `false`
    Boolean,
    /// one of these words
    Choice(Vec<String>),
    /// a reference to a secret of the node
    Secret,
}

/// One thing wrong with the settings of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting '{key}': {message}")]
pub struct SettingProblem {
    /// the setting
    pub key: String,
    /// what is wrong and what would be right
    pub message: String,
}

/// What a plugin says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// the word that selects it
    pub name: String,
    /// its own version
    pub version: String,
    /// one line for people
    pub summary: String,
    /// what it can be told
    pub settings: Vec<SettingSpec>,
}

impl Descriptor {
    /// Everything about `settings` that can be judged without asking the plugin: unknown keys, missing ones,
    /// wrong kinds. Empty when all is well.
    pub fn problems(&self, settings: &Settings) -> Vec<SettingProblem> {
        let unknown =
            settings.keys().filter(|key| !self.settings.iter().any(|s| s.key == **key)).map(|key| {
                let known: Vec<&str> = self.settings.iter().map(|s| s.key.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                SettingProblem {
                    key: key.clone(),
                    message: format!("{} has no such setting; it has: {known}", self.name),
                }
            });
        let wrong = self.settings.iter().filter_map(|spec| {
            let message = match settings.get(&spec.key) {
                None if spec.required && spec.default.is_none() => "is required".to_owned(),
                None => return None,
                Some(text) => spec.kind.problem(text)?,
            };
            Some(SettingProblem { key: spec.key.clone(), message })
        });
        unknown.chain(wrong).collect()
    }

    /// `settings` with the defaults of everything left out.
    pub fn with_defaults(&self, settings: &Settings) -> Settings {
        let mut complete = settings.clone();
        for spec in &self.settings {
            if let Some(default) = &spec.default {
                complete.entry(spec.key.clone()).or_insert_with(|| default.clone());
            }
        }
        complete
    }

    /// The keys that hold secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        self.settings.iter().filter(|s| s.kind == SettingKind::Secret).map(|s| s.key.as_str())
    }
}

impl SettingKind {
    /// What is wrong with `text`; none when it fits.
    fn problem(&self, text: &str) -> Option<String> {
        match self {
            Self::Text | Self::Secret => None,
            Self::Integer(low, high) => match text.parse::<i32>() {
                Ok(number) if (low..=high).contains(&&number) => None,
                _ => Some(format!("must be a whole number from {low} to {high}, is {text:?}")),
            },
            Self::Boolean => {
                (!matches!(text, "true" | "false")).then(|| format!("must be true or false, is {text:?}"))
            }
            Self::Choice(words) => (!words.iter().any(|word| word == text))
                .then(|| format!("must be one of {}, is {text:?}", words.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor() -> Descriptor {
        let spec = |key: &str, kind, required, default: Option<&str>| SettingSpec {
            key: key.into(),
            kind,
            required,
            default: default.map(Into::into),
            summary: String::new(),
        };
        Descriptor {
            name: "X".into(),
            version: "0.1.0".into(),
            summary: String::new(),
            settings: vec![
                spec("n", SettingKind::Integer(1, 5), false, Some("3")),
                spec("must", SettingKind::Text, true, None),
                spec("flag", SettingKind::Boolean, false, None),
            ],
        }
    }

    fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
        let settings = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        descriptor().problems(&settings).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn settings_are_judged_by_the_schema_alone() {
        assert_eq!(problems(&[("must", "x"), ("n", "5"), ("flag", "true")]), [""; 0]);
        assert_eq!(problems(&[]), ["setting 'must': is required"]);
        assert_eq!(
            problems(&[("must", ""), ("n", "6")]),
            ["setting 'n': must be a whole number from 1 to 5, is \"6\""]
        );
        assert_eq!(
            problems(&[("must", ""), ("pth", "/")]),
            ["setting 'pth': X has no such setting; it has: n, must, flag"]
        );
    }

    #[test]
    fn defaults_fill_only_what_is_missing() {
        let given = Settings::from([("must".into(), "x".into())]);
        assert_eq!(descriptor().with_defaults(&given)["n"], "3");
        let given = Settings::from([("n".into(), "4".into())]);
        assert_eq!(descriptor().with_defaults(&given)["n"], "4");
    }
}
