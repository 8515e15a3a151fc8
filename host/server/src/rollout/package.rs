//! The files of a plugin with what they say: what is installed, and what is looked at before it is compiled.

use super::kept::Origin;
use crate::plugins::{Component, PluginsError};
use crate::trust::{self, Source, Standing, Trust, TrustError};
use muster_core::rollout::Digests;
use muster_wasm::LoadError;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// A component, its manifest and its signatures, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    pub(crate) component: Component,
    pub(crate) files: trust::Package,
}

impl Package {
    /// Files from anywhere.
    ///
    /// # Errors
    /// [`LoadError::Manifest`].
    pub fn new(origin: PathBuf, files: trust::Package) -> Result<Self, LoadError> {
        let manifest = files.parse_manifest()?;
        Ok(Self { component: Component { origin, wasm: files.wasm.clone(), manifest }, files })
    }

    /// `NAME.wasm` with `NAME.toml`, and `NAME.sig` where there is one, beside it.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub fn of_file(path: &Path) -> Result<Self, PluginsError> {
        let files = trust::Package::read(path)?;
        let refused = |source| PluginsError::Load { path: path.with_extension("toml"), source };
        Self::new(path.to_owned(), files).map_err(refused)
    }

    /// What identifies this version.
    pub(crate) fn digests(&self) -> Digests {
        Digests {
            component: sha256(&self.files.wasm),
            manifest: sha256(&self.files.manifest),
            signature: self.files.signature.as_deref().map(sha256),
        }
    }
}

/// Whether the operator's policy takes these files. Asked by everything that is compiled, at a start and later.
///
/// # Errors
/// [`TrustError`].
pub(super) fn admit(package: &Package, trust: &Trust, origin: Origin) -> Result<(), TrustError> {
    let source = match origin {
        Origin::Folder => Source::Folder,
        Origin::Installed => Source::Installed,
    };
    if let Standing::Tolerated { signers, warn: true } = trust.admit(&package.files, source)? {
        let plugin = package.component.manifest.plugin.name.as_str();
        tracing::warn!(plugin, ?signers, "taken although nobody signed it who is trusted");
    }
    Ok(())
}

/// Whether these bytes may be compiled at all: the one place that every version on its way passes before that.
///
/// # Errors
/// Why not, for people.
pub(super) fn verify(package: &Package, trust: &Trust, origin: Origin) -> Result<(), String> {
    admit(package, trust, origin).map_err(|error| error.to_string())?;
    let Component { wasm, manifest, .. } = &package.component;
    let found = muster_wasm::inspect(wasm).map_err(|error| error.to_string())?;
    let plugin = &manifest.plugin;
    if let Some(expected) = plugin.sha256.as_ref().filter(|expected| **expected != found.sha256) {
        return Err(format!("the component has sha256 {}, its manifest says {expected}", found.sha256));
    }
    if found.kind != plugin.kind {
        return Err(format!(
            "the manifest says {}, the component is a {}",
            plugin.kind.world(),
            found.kind.world()
        ));
    }
    Ok(())
}

/// In lower-case hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
