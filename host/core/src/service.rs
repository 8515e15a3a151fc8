//! What is stored about a service beside its instances: threshold, selector, metadata, cluster settings.

use crate::instance::Metadata;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Stored service metadata. Its presence switches selector and protection on (Nacos `ServiceUtil`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceMetadata {
    /// whether the service holds ephemeral instances
    #[serde(default)]
    pub ephemeral: bool,
    /// 0.0 to 1.0 is meant; a negative one counts as 0
    #[serde(default)]
    pub protect_threshold: f32,
    /// free key/value pairs
    #[serde(default)]
    pub metadata: Metadata,
    /// who may be sent what
    #[serde(default)]
    pub selector: Selector,
    /// settings of named clusters; a cluster without an entry has [`ClusterSettings::default`]
    #[serde(default)]
    pub clusters: BTreeMap<String, ClusterSettings>,
}

/// A rule that narrows a list by what is known of the subscriber.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Selector {
    /// everybody gets everything
    #[default]
    None,
    /// label equality through a CMDB; without one it filters nothing
    Label {
        /// as the operator wrote it
        expression: String,
        /// the label names that must be equal
        labels: Vec<String>,
    },
}

/// Why a selector was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// no selector of that name
    #[error("not match any type of selector!")]
    UnknownType,
    /// not `CONSUMER.label.x = PROVIDER.label.x [& …]`
    #[error("parse expression failed!")]
    Expression,
}

impl Selector {
    /// The selector of `kind`, with the label expression where it needs one.
    ///
    /// # Errors
    /// [`SelectorError`] with Nacos's own texts.
    pub fn parse(kind: &str, expression: &str) -> Result<Self, SelectorError> {
        match kind {
            "none" | "" => Ok(Self::None),
            "label" => {
                let labels = expression.split('&').map(label_of).collect::<Option<Vec<_>>>();
                let labels = labels.ok_or(SelectorError::Expression)?;
                Ok(Self::Label { expression: expression.to_owned(), labels })
            }
            _ => Err(SelectorError::UnknownType),
        }
    }
}

/// The label of one term `CONSUMER.label.x = PROVIDER.label.x`; none unless both sides name the same.
fn label_of(term: &str) -> Option<String> {
    let (left, right) = term.split_once('=')?;
    let consumer = left.trim().strip_prefix("CONSUMER.label.")?;
    let provider = right.trim().strip_prefix("PROVIDER.label.")?;
    (!consumer.is_empty() && consumer == provider).then(|| consumer.to_owned())
}

/// Settings of one cluster of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// port that is checked when the instance's own is not. Source: Nacos `ClusterMetadata` (80)
    pub check_port: u16,
    /// check each instance at its own port
    pub use_instance_port: bool,
    /// which checker, and its settings
    pub checker: CheckerSettings,
    /// free key/value pairs
    #[serde(default)]
    pub metadata: Metadata,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            check_port: 80,
            use_instance_port: true,
            checker: CheckerSettings::default(),
            metadata: Metadata::new(),
        }
    }
}

/// `healthChecker`: its type and, flattened to text, everything else the operator wrote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CheckerSettings {
    /// the word that selects the plugin: `TCP`, `HTTP`, `MYSQL`, `NONE` or a plugin's own name
    pub kind: String,
    /// the other fields of the object
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// The checker type that never checks. Source: Nacos `HealthCheckType.NONE`.
pub const NO_CHECKER: &str = "NONE";

impl Default for CheckerSettings {
    fn default() -> Self {
        Self { kind: "TCP".into(), settings: BTreeMap::new() }
    }
}

impl CheckerSettings {
    /// Whether instances are checked at all.
    pub fn is_none(&self) -> bool {
        self.kind == NO_CHECKER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n028_default_cluster_settings_are_tcp_port_80_and_the_instance_port() {
        let settings = ClusterSettings::default();
        assert_eq!(
            (settings.checker.kind.as_str(), settings.check_port, settings.use_instance_port),
            ("TCP", 80, true)
        );
    }

    #[test]
    fn n123_an_unknown_selector_type_is_refused_with_nacos_words() {
        let error = Selector::parse("zone", "").unwrap_err();
        assert_eq!(error.to_string(), "not match any type of selector!");
    }

    #[test]
    fn n124_label_expressions_need_the_same_label_on_both_sides() {
        let good = Selector::parse(
            "label",
            "CONSUMER.label.zone = PROVIDER.label.zone & CONSUMER.label.a=PROVIDER.label.a",
        );
        assert!(matches!(good, Ok(Selector::Label { labels, .. }) if labels == ["zone", "a"]));
        for bad in ["", "zone=zone", "CONSUMER.label.a = PROVIDER.label.b", "CONSUMER.label.=PROVIDER.label."]
        {
            assert_eq!(
                Selector::parse("label", bad).unwrap_err().to_string(),
                "parse expression failed!",
                "{bad}"
            );
        }
    }
}
