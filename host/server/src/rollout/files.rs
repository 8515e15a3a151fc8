//! The files of versions travel between members: by their digest, in pieces, over the connection that members have
//! anyway. Nothing is fetched from anywhere else, and neither a start nor a probe waits for it.

use super::kept::{KeptError, files_of};
use super::package::sha256;
use super::{Kept, Package};
use crate::cluster::Links;
use crate::trust;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use muster_core::cluster::NodeId;
use muster_core::rollout::Digests;
use muster_wasm::MAX_COMPONENT;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of one answer.
const PIECE: u64 = 512 << 10;
/// Time for one answer.
const ANSWER_MOST: Duration = Duration::from_secs(5);

/// What is kept on this node, for other members. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Files(pub(super) PathBuf);

/// A part of a file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Piece {
    /// size of the whole file
    total: u64,
    /// the part, in base64
    bytes: String,
}

impl Files {
    /// A part of the file `name` from byte `from` on; none when it is not here. Blocks for as long as the disk does.
    pub(crate) fn piece(&self, name: &str, from: u64) -> Option<Piece> {
        // The other end is a member, and still names no path of this machine.
        let (digest, end) = name.split_once('.')?;
        let is_ours = digest.len() == 64
            && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
            && matches!(end, "wasm" | "toml" | "sig");
        if !is_ours {
            return None;
        }
        let (total, bytes) = self.read(name, from).ok()?;
        Some(Piece { total, bytes: BASE64_STANDARD.encode(&bytes) })
    }

    fn read(&self, name: &str, from: u64) -> io::Result<(u64, Vec<u8>)> {
        let mut file = File::open(self.0.join(name))?;
        let total = file.metadata()?.len();
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(PIECE).read_to_end(&mut bytes)?;
        Ok((total, bytes))
    }
}

/// Why the files of a version are not here.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// Members may have them later, or be reached later.
    #[error("no member that is reached has its files")]
    Nowhere,
    /// They are here and cannot be used.
    #[error(transparent)]
    Kept(#[from] KeptError),
}

/// The files of a version: those that are kept here, else those of the first member that has them. They are as their
/// digests say; nothing is stored.
pub(super) async fn fetch(
    kept: Kept,
    links: Option<&Links>,
    digests: &Digests,
) -> Result<Package, FetchError> {
    let wanted = digests.clone();
    let here = tokio::task::spawn_blocking(move || kept.package(&wanted)).await;
    match here {
        Ok(Ok(package)) => return Ok(package),
        // A file that is missing or broken is replaced.
        Ok(Err(KeptError::Missing { .. } | KeptError::Broken { .. })) | Err(_) => {}
        Ok(Err(error)) => return Err(error.into()),
    }
    let members = links.map(Links::connected).unwrap_or_default();
    for member in members {
        if let Some(files) = links.map(|links| all_of(links, NodeId(member), digests))
            && let Some(files) = files.await
        {
            let package = Package::new("a member".into(), files);
            let path = PathBuf::from(format!("{}.toml", digests.manifest));
            return package.map_err(|error| KeptError::Manifest { path, why: error.to_string() }.into());
        }
    }
    Err(FetchError::Nowhere)
}

async fn all_of(links: &Links, member: NodeId, digests: &Digests) -> Option<trust::Package> {
    let mut files = Vec::new();
    for name in files_of(digests) {
        files.push(whole(links, member, &name).await?);
    }
    let mut files = files.into_iter();
    Some(trust::Package { wasm: files.next()?, manifest: files.next()?, signature: files.next() })
}

/// A file of a member, if it is there and has its digest.
async fn whole(links: &Links, member: NodeId, name: &str) -> Option<Bytes> {
    let mut all = Vec::new();
    loop {
        let from = all.len() as u64;
        let Piece { total, bytes } = links.file(member, name, from, ANSWER_MOST).await?;
        let bytes = BASE64_STANDARD.decode(bytes).ok()?;
        let grown = all.len() + bytes.len();
        if total > MAX_COMPONENT as u64 || grown as u64 > total || (bytes.is_empty() && from < total) {
            return None;
        }
        all.extend(bytes);
        if grown as u64 == total {
            break;
        }
    }
    let (digest, _) = name.split_once('.')?;
    (sha256(&all) == digest).then(|| all.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_given_in_pieces_and_only_by_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let content = vec![7; PIECE as usize + 10];
        let name = format!("{}.wasm", sha256(&content));
        std::fs::write(folder.path().join(&name), &content).unwrap();
        std::fs::write(folder.path().join("wanted.json"), "{}").unwrap();
        let files = Files(folder.path().to_owned());
        let piece = |from| {
            let piece = files.piece(&name, from).unwrap();
            (piece.total, BASE64_STANDARD.decode(piece.bytes).unwrap().len() as u64)
        };
        assert_eq!(piece(0), (PIECE + 10, PIECE));
        assert_eq!(piece(PIECE), (PIECE + 10, 10));
        assert_eq!(piece(PIECE + 10), (PIECE + 10, 0));
        for other in ["wanted.json", "../x.wasm", &format!("{}.key", "a".repeat(64)), "", &"b".repeat(64)] {
            assert!(files.piece(other, 0).is_none(), "{other}");
        }
    }
}
