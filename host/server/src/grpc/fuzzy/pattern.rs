//! Patterns of fuzzy watches, and how services are called there. Source: Nacos `FuzzyGroupKeyPattern`, `NamingUtils`.

use muster_core::ServiceKey;
use std::sync::Arc;

/// `namespace>>group pattern>>service pattern`
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::grpc) struct Pattern {
    text: Arc<str>,
    namespace: String,
    group: Glob,
    service: Glob,
}

/// Text with a `*` at either end, or at neither.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Glob {
    All,
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
}

impl Glob {
    fn parse(text: &str) -> Self {
        if text == "*" {
            return Self::All;
        }
        match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(rest), Some(_)) => Self::Contains(rest.trim_end_matches('*').to_owned()),
            (Some(rest), None) => Self::Suffix(rest.to_owned()),
            (None, Some(rest)) => Self::Prefix(rest.to_owned()),
            (None, None) => Self::Exact(text.to_owned()),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Contains(part) => text.contains(part),
        }
    }
}

impl Pattern {
    /// None unless it has three parts.
    pub(in crate::grpc) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(">>");
        let (namespace, group, service) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || group.is_empty() || service.is_empty() {
            return None;
        }
        let namespace = if namespace.is_empty() { muster_core::ids::PUBLIC } else { namespace }.to_owned();
        Some(Self { text: text.into(), namespace, group: Glob::parse(group), service: Glob::parse(service) })
    }

    /// As it was written.
    pub(in crate::grpc) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether it matches a service.
    pub(in crate::grpc) fn matches(&self, service: &ServiceKey) -> bool {
        service.namespace() == self.namespace
            && self.group.matches(service.group())
            && self.service.matches(service.name())
    }
}

/// `namespace@@group@@service` (N282)
pub(in crate::grpc) fn service_key(service: &ServiceKey) -> String {
    format!("{}@@{}@@{}", service.namespace(), service.group(), service.name())
}

/// The service of such a key; none when it is none.
pub(in crate::grpc) fn service_of(key: &str) -> Option<ServiceKey> {
    let mut parts = key.splitn(3, "@@");
    let (namespace, group, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some(ServiceKey::new(namespace, group, name))
}
