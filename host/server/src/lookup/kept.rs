//! The last good list on disk, for a start while the source is away.

use muster_core::plugin::FoundMember;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// One member as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    metadata: Vec<(String, String)>,
}

/// The file with the last good list.
#[derive(Clone, Debug)]
pub(super) struct KeptList(PathBuf);

impl KeptList {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// None when none was ever kept.
    pub(super) fn read(&self) -> io::Result<Option<Vec<FoundMember>>> {
        let text = match std::fs::read(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let kept: Vec<Kept> = serde_json::from_slice(&text)?;
        let member = |Kept { address, port, metadata }| FoundMember { address, port, metadata };
        Ok(Some(kept.into_iter().map(member).collect()))
    }

    /// Replaces the file as a whole: a crash leaves the old list or the new one.
    pub(super) fn write(&self, members: &[FoundMember]) -> io::Result<()> {
        let kept: Vec<Kept> = members
            .iter()
            .map(|FoundMember { address, port, metadata }| Kept {
                address: address.clone(),
                port: *port,
                metadata: metadata.clone(),
            })
            .collect();
        let new = self.0.with_extension("json.new");
        std::fs::write(&new, serde_json::to_vec_pretty(&kept)?)?;
        std::fs::File::open(&new)?.sync_all()?;
        std::fs::rename(new, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_as_it_was_written_and_damage_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let kept = KeptList::new(folder.path().join("members.json"));
        assert!(kept.read().unwrap().is_none());
        let members = vec![
            FoundMember { address: "10.0.0.1".into(), port: None, metadata: vec![] },
            FoundMember {
                address: "b.example".into(),
                port: Some(1),
                metadata: vec![("a".into(), "b".into())],
            },
        ];
        kept.write(&members).unwrap();
        assert_eq!(kept.read().unwrap(), Some(members));
        std::fs::write(kept.path(), "[{").unwrap();
        assert!(kept.read().is_err());
    }
}
