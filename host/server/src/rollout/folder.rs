//! `plugins.directory` while the node runs: files that are new or other than before, once they are complete.

use super::package::Package;
use crate::plugins::PluginsError;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Between two looks. A file that is the same at two looks is complete, so a new one is noticed within two of them.
pub(super) const LOOK: Duration = Duration::from_millis(700);

/// Size and time of change of a component, its manifest and its signatures, where they are there.
type Signature = [Option<(u64, Option<SystemTime>)>; 3];

/// What was seen in the folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    seen: BTreeMap<PathBuf, Seen>,
}

#[derive(Debug)]
struct Seen {
    signature: Signature,
    /// it was read with this signature
    read: bool,
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: BTreeMap::new() }
    }

    /// Everything that is complete and was not read before, or why it cannot be read. Blocks for as long as the disk
    /// does.
    pub(super) fn look(&mut self) -> Vec<Result<Package, PluginsError>> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        let mut now = BTreeMap::new();
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "wasm") {
                let (manifest, signed) = (path.with_extension("toml"), path.with_extension("sig"));
                let signature = [&path, &manifest, &signed].map(|file| signature(file));
                now.insert(path, signature);
            }
        }
        self.seen.retain(|path, _| now.contains_key(path));
        let mut found = Vec::new();
        for (path, signature) in now {
            match self.seen.get_mut(&path) {
                Some(seen) if seen.signature == signature => {
                    if !std::mem::replace(&mut seen.read, true) {
                        found.push(Package::of_file(&path));
                    }
                }
                _ => drop(self.seen.insert(path, Seen { signature, read: false })),
            }
        }
        found
    }
}

fn signature(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    let found = fs::metadata(path).ok()?;
    Some((found.len(), found.modified().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[plugin]\nname = \"OWN\"\nkind = \"health-check\"\n";

    #[test]
    fn a_file_is_read_once_it_is_complete_and_once_for_every_change() {
        let folder = tempfile::tempdir().unwrap();
        let mut look = Folder::new(folder.path());
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        assert!(look.look().is_empty());
        put("own.wasm", "on");
        assert!(look.look().is_empty(), "it may still grow");
        put("own.wasm", "one");
        put("own.toml", MANIFEST);
        assert!(look.look().is_empty(), "it has grown");
        let found = look.look();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].as_ref().unwrap().component.wasm, b"one"[..]);
        assert!(look.look().is_empty(), "it was read");
        put("own.toml", &format!("{MANIFEST}[limits]\nmemory = \"1MiB\"\n"));
        look.look();
        assert_eq!(look.look().len(), 1, "another manifest is another version");
    }

    #[test]
    fn a_component_without_a_manifest_is_complained_about_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut look = Folder::new(folder.path());
        fs::write(folder.path().join("own.wasm"), "one").unwrap();
        look.look();
        let found = look.look();
        assert!(matches!(found[..], [Err(PluginsError::Package(_))]), "{found:?}");
        assert!(look.look().is_empty());
    }
}
