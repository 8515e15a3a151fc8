//! Where an artifact is: `REGISTRY/REPOSITORY[:TAG][@sha256:HEX]`.

use super::artifact::ArtifactError;
use crate::trust::sha256;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `sha256:` and 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(format!("sha256:{}", sha256(bytes)))
    }

    /// The hex digits.
    pub fn hex(&self) -> &str {
        self.0.strip_prefix("sha256:").unwrap_or(&self.0)
    }

    /// Whether `bytes` have this digest.
    ///
    /// # Errors
    /// [`ArtifactError::Digest`].
    pub fn check(&self, bytes: &[u8]) -> Result<(), ArtifactError> {
        let found = Self::of(bytes);
        if found == *self { Ok(()) } else { Err(ArtifactError::Digest { expected: self.clone(), found }) }
    }
}

impl TryFrom<String> for Digest {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        let is_hex =
            |hex: &str| hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match text.strip_prefix("sha256:") {
            Some(hex) if is_hex(hex) => Ok(Self(text)),
            _ => Err(ReferenceError::Digest(text)),
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No host.
    #[error("{0:?} names no registry; a reference is HOST[:PORT]/REPOSITORY[:TAG][@sha256:HEX]")]
    Registry(String),
    /// Not a repository.
    #[error(
        "{0:?} is no repository: lower-case letters and digits, with . _ - between them, and / between parts"
    )]
    Repository(String),
    /// Not a tag.
    #[error("{0:?} is no tag: at most 128 letters, digits, and . _ - but not first")]
    Tag(String),
    /// Not a digest.
    #[error("{0:?} is no digest: sha256: and 64 lower-case hex digits")]
    Digest(String),
}

/// Where an artifact is, or goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `host` or `host:port`
    pub registry: String,
    /// `team/plugin`
    pub repository: String,
    /// a name for it that may move
    pub tag: Option<String>,
    /// exactly which one
    pub digest: Option<Digest>,
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Source: OCI distribution specification 1.1, "Pulling manifests".
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let bare = text.strip_prefix("oci://").unwrap_or(text);
        let (named, digest) = match bare.split_once('@') {
            Some((named, digest)) => (named, Some(Digest::try_from(digest.to_owned())?)),
            None => (bare, None),
        };
        let no_registry = || ReferenceError::Registry(text.to_owned());
        let (registry, path) = named.split_once('/').ok_or_else(no_registry)?;
        // without it, Docker would take the first part for one of its own
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        if !is_host || registry.parse::<http::uri::Authority>().is_err() || registry.contains('@') {
            return Err(no_registry());
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        if repository.len() > 255 || !repository.split('/').all(is_part) {
            return Err(ReferenceError::Repository(repository.to_owned()));
        }
        if let Some(tag) = tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag(tag.clone()));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

/// One part of a repository: letters and digits at both ends.
fn is_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [part.bytes().next(), part.bytes().last()];
    ends.into_iter().all(|end| end.is_some_and(plain))
        && part.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

fn is_tag(tag: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(plain)
        && tag.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_and_shows() {
        let digest = Digest::of(b"").to_string();
        for text in ["ghcr.io/team/probe", "localhost:5000/probe:1.0", "127.0.0.1:5000/a/b-c_d.e:v1"] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
            let pinned = format!("{text}@{digest}");
            assert_eq!(pinned.parse::<Reference>().unwrap().to_string(), pinned);
        }
        let read: Reference = "oci://localhost:5000/probe:1".parse().unwrap();
        assert_eq!((read.registry.as_str(), read.repository.as_str()), ("localhost:5000", "probe"));
        assert_eq!(read.tag.as_deref(), Some("1"));
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        use ReferenceError as Error;
        let refused = |text: &str| text.parse::<Reference>().unwrap_err();
        for text in ["probe", "team/probe:1", "user@host.io/x", "a b.c/x", "/x"] {
            assert!(matches!(refused(text), Error::Registry(_) | Error::Digest(_)), "{text}");
        }
        for text in ["a.b/Probe", "a.b/", "a.b/x//y", "a.b/-x", "a.b/../x"] {
            assert!(matches!(refused(text), Error::Repository(_)), "{text}");
        }
        assert!(matches!(refused("a.b/x:"), Error::Tag(_)));
        assert!(matches!(refused("a.b/x:.y"), Error::Tag(_)));
        assert!(matches!(refused("a.b/x@sha256:AB"), Error::Digest(_)));
    }
}
