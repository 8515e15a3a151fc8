//! The names of things, as types: what is parsed once at the edge stays parsed.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The namespace used when a request names none. Source: Nacos `Constants.DEFAULT_NAMESPACE_ID`.
pub const PUBLIC: &str = "public";
/// The group used when a request names none. Source: Nacos `Constants.DEFAULT_GROUP`.
pub const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
/// The cluster an instance belongs to when it names none. Source: Nacos `UtilsAndCommons.DEFAULT_CLUSTER_NAME`.
pub const DEFAULT_CLUSTER: &str = "DEFAULT";
/// Between group and name in a grouped service name. Source: Nacos `Constants.SERVICE_INFO_SPLITER`.
pub const GROUP_SEPARATOR: &str = "@@";

/// Identity of a service: namespace, group and name. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceKey(Arc<Parts>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
struct Parts {
    namespace: Box<str>,
    group: Box<str>,
    name: Box<str>,
}

impl ServiceKey {
    /// The service `name` of `group` in `namespace`; blank namespace and group take their defaults.
    pub fn new(namespace: &str, group: &str, name: &str) -> Self {
        let namespace = or_default(namespace, PUBLIC);
        let group = or_default(group, DEFAULT_GROUP);
        Self(Arc::new(Parts { namespace: namespace.into(), group: group.into(), name: name.trim().into() }))
    }

    /// From `group@@name`, or a bare name which then belongs to `DEFAULT_GROUP`.
    pub fn from_grouped(namespace: &str, grouped: &str) -> Self {
        match split_grouped(grouped) {
            Some((group, name)) => Self::new(namespace, group, name),
            None => Self::new(namespace, DEFAULT_GROUP, grouped),
        }
    }

    /// The namespace id, `public` unless named.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// The group, `DEFAULT_GROUP` unless named.
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// The bare name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// `group@@name`, the form that HTTP v1 and instances use.
    pub fn grouped(&self) -> String {
        format!("{}{GROUP_SEPARATOR}{}", self.group(), self.name())
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}{GROUP_SEPARATOR}{}", self.namespace(), self.group(), self.name())
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `G@@s` as `(G, s)`; none without the separator. Cuts at the first one.
pub fn split_grouped(name: &str) -> Option<(&str, &str)> {
    name.split_once(GROUP_SEPARATOR)
}

fn or_default<'a>(text: &'a str, default: &'a str) -> &'a str {
    let text = text.trim();
    if text.is_empty() { default } else { text }
}

/// Who publishes or subscribes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClientId {
    /// An address over HTTP or UDP: `ip:port#true`, or `ip:port#false` for persistent instances.
    Address {
        /// `ip:port`
        address: Arc<str>,
        /// false for the client that holds a persistent instance
        ephemeral: bool,
    },
    /// A connection that lives as long as its transport: `<ms>_<ip>_<port>`.
    Connection(Arc<str>),
}

impl ClientId {
    /// The client of `ip:port` that holds ephemeral (or persistent) instances.
    pub fn address(ip: &str, port: u16, ephemeral: bool) -> Self {
        Self::Address { address: format!("{ip}:{port}").into(), ephemeral }
    }

    /// Whether what it publishes is ephemeral.
    pub fn is_ephemeral(&self) -> bool {
        !matches!(self, Self::Address { ephemeral: false, .. })
    }

    /// `ip` and `port` as text; the parts of a connection id for connections.
    pub fn ip_and_port(&self) -> (&str, &str) {
        match self {
            Self::Address { address, .. } => address.rsplit_once(':').unwrap_or((address, "0")),
            Self::Connection(id) => {
                let rest = id.split_once('_').map_or(&**id, |(_, rest)| rest);
                rest.rsplit_once('_').unwrap_or((rest, "0"))
            }
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, ephemeral } => write!(f, "{address}#{ephemeral}"),
            Self::Connection(id) => f.write_str(id),
        }
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ClientId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl FromStr for ClientId {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once('#') {
            Some((address, flag)) => Self::Address { address: address.into(), ephemeral: flag != "false" },
            None => Self::Connection(text.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n001_n002_blank_namespace_and_group_take_their_defaults() {
        assert_eq!(ServiceKey::new(" ", "", "orders"), ServiceKey::new("public", "DEFAULT_GROUP", "orders"));
    }

    #[test]
    fn n004_a_grouped_name_and_a_separate_group_are_the_same_service() {
        assert_eq!(ServiceKey::from_grouped("", "G1@@orders"), ServiceKey::new("public", "G1", "orders"));
    }

    #[test]
    fn n006_n007_group_and_namespace_are_part_of_the_identity() {
        assert_ne!(ServiceKey::new("", "G1", "orders"), ServiceKey::new("", "G2", "orders"));
        assert_ne!(ServiceKey::new("a", "G1", "orders"), ServiceKey::new("b", "G1", "orders"));
    }

    #[test]
    fn n008_the_namespace_default_is_not_public() {
        assert_ne!(ServiceKey::new("default", "", "orders"), ServiceKey::new("", "", "orders"));
    }

    #[test]
    fn client_ids_read_as_they_are_written() {
        for text in ["10.0.0.5:8080#true", "10.0.0.5:8080#false", "1700000000000_10.0.0.9_55123"] {
            let id: ClientId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
        }
        let id: ClientId = "1700000000000_10.0.0.9_55123".parse().unwrap();
        assert_eq!(id.ip_and_port(), ("10.0.0.9", "55123"));
    }
}
