//! Installed versions in the data directory, so that a restart comes up with the wanted set and without the network.
//!
//! `DATA/plugins/SHA256.wasm` and `SHA256.toml` are named after what is in them; `wanted.json` says which of them each
//! plugin uses. What is there and does not have its digest is an error: nothing falls back to another version unseen.

use super::files::Files;
use super::package::{Package, admit, sha256};
use crate::plugins::{self, Component, Identity, PluginsError};
use crate::settings::Settings;
use crate::trust::{self, Statement, Trust};
use bytes::Bytes;
use muster_core::plugin::PluginKind;
use muster_core::rollout::Digests;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The folder in the data directory.
const FOLDER: &str = "plugins";
const WANTED: &str = "wanted.json";
const FORMAT: u32 = 1;

/// Why the installed plugins cannot be used or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// A file cannot be read or written.
    #[error("installed plugins: {}: {source}", path.display())]
    File {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: io::Error,
    },
    /// A file is not what it was.
    #[error(
        "installed plugins: {} is broken: its sha256 is {found}; put the file with the digest of its name there, or \
         remove {} to start with the bundled plugins and those of plugins.directory",
        path.display(), wanted.display()
    )]
    Broken {
        /// the file
        path: PathBuf,
        /// the digest that it has
        found: String,
        /// the list of what is wanted
        wanted: PathBuf,
    },
    /// A file that is needed is gone.
    #[error(
        "installed plugins: {} is missing; put it back, or remove {} to start with the bundled plugins and those of \
         plugins.directory",
        path.display(), wanted.display()
    )]
    Missing {
        /// the file
        path: PathBuf,
        /// the list of what is wanted
        wanted: PathBuf,
    },
    /// The list cannot be read.
    #[error(
        "installed plugins: {} cannot be read: {why}; remove it to start with the bundled plugins and those of \
         plugins.directory, and install the others again",
        path.display()
    )]
    Wanted {
        /// the list
        path: PathBuf,
        /// what is wrong
        why: String,
    },
    /// A manifest that was accepted once is not any more.
    #[error("installed plugins: {}: {why}", path.display())]
    Manifest {
        /// the file
        path: PathBuf,
        /// what is wrong
        why: String,
    },
}

/// What a signature of this version is over, and what it is approved by.
pub(super) fn statement_of(version: &Digests) -> Statement {
    Statement::of_digests(&version.component, &version.manifest)
}

/// The names of the files of a version: component, manifest, and signatures where there are any.
pub(super) fn files_of(version: &Digests) -> impl Iterator<Item = String> {
    let signature = version.signature.as_ref().map(|one| format!("{one}.sig"));
    [format!("{}.wasm", version.component), format!("{}.toml", version.manifest)].into_iter().chain(signature)
}

/// Where a version came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Origin {
    /// `plugins.directory`; it goes with its file
    Folder,
    /// the API
    Installed,
}

/// The versions of one plugin. None means the bundled one, or none at all where no bundled one has the name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entry {
    kind: String,
    name: String,
    /// of the active version
    pub(super) origin: Origin,
    #[serde(default)]
    pub(super) active: Option<Digests>,
    #[serde(default)]
    pub(super) previous: Option<Digests>,
    /// there is a previous version, though it may be the bundled one
    #[serde(default)]
    pub(super) has_previous: bool,
    #[serde(default)]
    pub(super) candidate: Option<Digests>,
    /// came over the API, and the members may not have been told yet
    #[serde(default)]
    pub(super) sending: Option<Digests>,
    /// the version that may ask for more than the active one, by [`Statement::digest`]
    #[serde(default)]
    pub(super) approved: Option<String>,
    /// the file of the folder that was taken last; it is taken again when it is another one
    #[serde(default)]
    pub(super) folder: Option<Digests>,
    /// an operator wants it not to be called
    #[serde(default)]
    pub(super) called_off: bool,
}

impl Entry {
    fn of(identity: &Identity, origin: Origin) -> Self {
        Self {
            kind: identity.0.world().to_owned(),
            name: identity.1.clone(),
            origin,
            active: None,
            previous: None,
            has_previous: false,
            candidate: None,
            sending: None,
            approved: None,
            folder: None,
            called_off: false,
        }
    }

    fn digests(&self) -> impl Iterator<Item = &Digests> {
        [&self.active, &self.previous, &self.candidate, &self.sending].into_iter().flatten()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    format: u32,
    plugins: Vec<Entry>,
}

/// All that is installed.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    entries: BTreeMap<Identity, Entry>,
}

impl Kept {
    /// What the data directory says.
    ///
    /// # Errors
    /// [`KeptError`].
    pub(crate) fn load(data_dir: &Path) -> Result<Self, KeptError> {
        let folder = data_dir.join(FOLDER);
        let path = folder.join(WANTED);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { folder, entries: BTreeMap::new() });
            }
            Err(source) => return Err(KeptError::File { path, source }),
        };
        let wrong = |why: String| KeptError::Wanted { path: path.clone(), why };
        let wanted: Wanted = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if wanted.format != FORMAT {
            return Err(wrong(format!("it has format {}, this node knows {FORMAT}", wanted.format)));
        }
        let mut entries = BTreeMap::new();
        for entry in wanted.plugins {
            let kind = PluginKind::of_world(&entry.kind)
                .ok_or_else(|| wrong(format!("there is no kind {:?}", entry.kind)))?;
            entries.insert((kind, entry.name.clone()), entry);
        }
        Ok(Self { folder, entries })
    }

    /// The components that a node with these settings starts with.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub(crate) fn components(&mut self, settings: &Settings) -> Result<Vec<Component>, PluginsError> {
        plugins::components_and(settings, |all| {
            let own = |one: &Component| {
                settings.plugins.directory.as_ref().is_some_and(|folder| one.origin.starts_with(folder))
            };
            let gone = |identity: &Identity| !all.get(identity).is_some_and(own);
            let trust = Trust::of(settings);
            // What the policy of today refuses gives way to what now lies in the folder, which it took: signed later, say.
            let is_refused = |entry: &Entry| {
                let admitted =
                    entry.active.as_ref().map(|digests| self.admitted(digests, &trust, entry.origin));
                matches!(admitted, Some(Err(PluginsError::Trust { .. })))
            };
            let refused = self.entries.iter().filter(|(_, entry)| is_refused(entry));
            let refused: Vec<Identity> = refused.map(|(identity, _)| identity.clone()).collect();
            self.entries.retain(|identity, entry| {
                entry.origin == Origin::Installed || !(gone(identity) || refused.contains(identity))
            });
            let new: Vec<Component> = all
                .values()
                .filter(|one| own(one) && !self.entries.contains_key(&one.identity()))
                .cloned()
                .collect();
            for component in new {
                let package = Package::of_file(&component.origin)?;
                let digests = self.store(&package)?;
                let entry = self.entry(&component.identity(), Origin::Folder);
                (entry.active, entry.folder) = (Some(digests.clone()), Some(digests));
            }
            let bundled = plugins::bundled()?;
            for (identity, entry) in &self.entries {
                let active = match &entry.active {
                    Some(digests) => Some(self.admitted(digests, &trust, entry.origin)?),
                    None => bundled.iter().find(|one| one.identity() == *identity).cloned(),
                };
                match active {
                    // its own origin is what errors should name
                    Some(component) if all.get(identity).is_some_and(|one| is_same(one, &component)) => {}
                    Some(component) => drop(all.insert(identity.clone(), component)),
                    None => drop(all.remove(identity)),
                }
            }
            Ok(())
        })
    }

    /// The components of these settings, with what was installed over the API in place of others. Changes nothing.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub(crate) fn with_installed(settings: &Settings) -> Result<Vec<Component>, PluginsError> {
        let (kept, trust) = (Self::load(&settings.node.data_dir)?, Trust::of(settings));
        plugins::components_and(settings, |all| {
            for (identity, entry) in kept.entries.iter().filter(|(_, one)| one.origin == Origin::Installed) {
                if let Some(digests) = &entry.active {
                    all.insert(identity.clone(), kept.admitted(digests, &trust, entry.origin)?);
                }
            }
            Ok(())
        })
    }

    /// What other members may be given of it.
    pub(crate) fn files(&self) -> Files {
        Files(self.folder.clone())
    }

    pub(super) fn get(&self, identity: &Identity) -> Option<&Entry> {
        self.entries.get(identity)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&Identity, &Entry)> {
        self.entries.iter()
    }

    /// The entry of a plugin, made where there is none.
    pub(super) fn entry(&mut self, identity: &Identity, origin: Origin) -> &mut Entry {
        self.entries.entry(identity.clone()).or_insert_with(|| Entry::of(identity, origin))
    }

    /// Writes both files, unless they are there. Blocks for as long as the disk does.
    pub(super) fn store(&self, package: &Package) -> Result<Digests, KeptError> {
        let digests = package.digests();
        let files = [&package.files.wasm, &package.files.manifest];
        for (name, bytes) in files_of(&digests).zip(files.into_iter().chain(&package.files.signature)) {
            let path = self.folder.join(name);
            // A file that is broken is written again.
            if !fs::read(&path).is_ok_and(|found| found == bytes[..]) {
                self.write(&path, bytes)?;
            }
        }
        Ok(digests)
    }

    /// A version that was stored, if the policy of today takes it.
    fn admitted(&self, digests: &Digests, trust: &Trust, origin: Origin) -> Result<Component, PluginsError> {
        let package = self.package(digests)?;
        let path = package.component.origin.clone();
        admit(&package, trust, origin).map_err(|source| PluginsError::Trust { path, source })?;
        Ok(package.component)
    }

    /// A version that was stored.
    pub(super) fn package(&self, digests: &Digests) -> Result<Package, KeptError> {
        let file = |name: &str, end: &str| self.read(&self.folder.join(format!("{name}.{end}")), name);
        let files = trust::Package {
            wasm: file(&digests.component, "wasm")?,
            manifest: file(&digests.manifest, "toml")?,
            signature: digests.signature.as_ref().map(|one| file(one, "sig")).transpose()?,
        };
        let path = self.folder.join(format!("{}.toml", digests.manifest));
        let origin = self.folder.join(format!("{}.wasm", digests.component));
        Package::new(origin, files).map_err(|error| KeptError::Manifest { path, why: error.to_string() })
    }

    fn read(&self, path: &Path, digest: &str) -> Result<Bytes, KeptError> {
        let wanted = self.folder.join(WANTED);
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(KeptError::Missing { path: path.to_owned(), wanted });
            }
            Err(source) => return Err(KeptError::File { path: path.to_owned(), source }),
        };
        let found = sha256(&bytes);
        if found == digest {
            Ok(bytes.into())
        } else {
            Err(KeptError::Broken { path: path.to_owned(), found, wanted })
        }
    }

    /// Writes the list, then removes the files that nobody wants any more. Blocks for as long as the disk does.
    pub(crate) fn save(&self) -> Result<(), KeptError> {
        let path = self.folder.join(WANTED);
        if self.entries.is_empty() && !path.exists() {
            return Ok(());
        }
        let wanted = Wanted { format: FORMAT, plugins: self.entries.values().cloned().collect() };
        let text = serde_json::to_vec_pretty(&wanted)
            .map_err(|error| KeptError::Wanted { path: path.clone(), why: error.to_string() })?;
        self.write(&path, &text)?;
        self.collect();
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), KeptError> {
        let failed = |source| KeptError::File { path: path.to_owned(), source };
        fs::create_dir_all(&self.folder).map_err(failed)?;
        let part = path.with_extension("part");
        let mut file = File::create(&part).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        drop(file);
        fs::rename(&part, path).map_err(failed)?;
        // The name is durable with its folder.
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// What cannot be removed stays and does no harm.
    fn collect(&self) {
        let wanted: BTreeSet<String> =
            self.entries.values().flat_map(Entry::digests).flat_map(files_of).collect();
        let Ok(files) = fs::read_dir(&self.folder) else { return };
        for file in files.flatten() {
            let name = file.file_name().to_string_lossy().into_owned();
            let ours =
                matches!(name.len(), 68 | 69) && name.bytes().take(64).all(|byte| byte.is_ascii_hexdigit());
            if ours && !wanted.contains(&name) {
                let _ = fs::remove_file(file.path());
            }
        }
    }
}

fn is_same(one: &Component, other: &Component) -> bool {
    one.wasm == other.wasm && one.manifest == other.manifest
}

#[cfg(test)]
mod tests;
