//! Why a registry does not do what it is asked.

use super::artifact::ArtifactError;
use super::transport::Answer;
use http::uri::Authority;
use http::{Method, StatusCode, Uri};
use std::path::PathBuf;

/// Characters of an error that a registry gives.
const EXCERPT: usize = 300;

/// Why a registry does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be reached.
    #[error("{host}: {why}")]
    Unreachable {
        /// whom
        host: String,
        /// why
        why: String,
    },
    /// It refuses.
    #[error("{method} {uri}: {status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Refused {
        /// what was asked
        method: Method,
        /// of what
        uri: String,
        /// the answer
        status: StatusCode,
        /// the beginning of its text
        said: String,
    },
    /// It wants to know who asks.
    #[error("{host} wants to know who asks: --user NAME --password-file FILE")]
    Unauthorized {
        /// who wants it
        host: String,
    },
    /// Its answer makes no sense.
    #[error("{host}: {why}")]
    Answer {
        /// who
        host: String,
        /// what is wrong
        why: String,
    },
    /// The certificates of `--ca`.
    #[error("{}: {why}", path.display())]
    Authorities {
        /// the file
        path: PathBuf,
        /// why
        why: String,
    },
    /// A tag may be another artifact tomorrow.
    #[error(
        "{0} is not pinned: pull takes REFERENCE@sha256:…, which `muster plugin push` printed for whoever pushed it"
    )]
    NotPinned(String),
    /// The artifact is none of ours, or not the one that was asked for.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// What a registry answered instead of doing it.
pub(super) fn refused(method: Method, uri: &Uri, answer: &Answer) -> RegistryError {
    let said: String = String::from_utf8_lossy(&answer.body).chars().take(EXCERPT).collect();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    // the query may hold a session
    let uri = format!("{}{}", uri.authority().map(Authority::as_str).unwrap_or_default(), uri.path());
    RegistryError::Refused { method, uri, status: answer.status, said }
}
