//! Loads the bundled plugins and those of the operator's folder into the plugin host.

use crate::rollout::KeptError;
use crate::settings;
use crate::trust::{Package, PackageError, Source, Standing, Trust, TrustError};
use bytes::Bytes;
use futures_util::future::try_join_all;
use muster_core::plugin::PluginKind;
use muster_wasm::{HostError, HostOptions, LoadError, MAX_COMPONENT, Manifest, PluginHost, PluginInfo};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Why plugins could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// The host did not start.
    #[error("plugins: {0}")]
    Host(#[from] HostError),
    /// A file or the folder cannot be read.
    #[error("plugins: cannot read {}: {source}", path.display())]
    Unreadable {
        /// the file or folder
        path: PathBuf,
        /// why
        #[source]
        source: io::Error,
    },
    /// The files of a plugin are not all there, or too large.
    #[error("plugins: {0}")]
    Package(#[from] PackageError),
    /// One that is not trusted.
    #[error("plugin {}: {source}", path.display())]
    Trust {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: TrustError,
    },
    /// One is not accepted.
    #[error("plugin {}: {source}", path.display())]
    Load {
        /// the file, or the name of a bundled one
        path: PathBuf,
        /// why
        #[source]
        source: LoadError,
    },
    /// Two plugins of one kind have the same name.
    #[error("plugins: {} and {} are both called {name:?}; rename one", first.display(), second.display())]
    Twice {
        /// the name
        name: String,
        /// one file
        first: PathBuf,
        /// the other
        second: PathBuf,
    },
    /// What was installed is not as it was kept.
    #[error(transparent)]
    Kept(#[from] KeptError),
    /// A plugin has the name of a bundled one.
    #[error(
        "plugin {}: {name:?} is the name of a bundled plugin; rename it, or set plugins.replace-bundled = true",
        path.display()
    )]
    Bundled {
        /// the name
        name: String,
        /// the file
        path: PathBuf,
    },
}

/// A component that is ready to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// its file, or its name when it is bundled
    pub origin: PathBuf,
    /// its bytes
    pub wasm: Bytes,
    /// what it may reach and use
    pub manifest: Manifest,
}

/// What a plugin is called among those of its kind.
pub(crate) type Identity = (PluginKind, String);

impl Component {
    pub(crate) fn identity(&self) -> Identity {
        (self.manifest.plugin.kind, self.manifest.plugin.name.clone())
    }
}

/// Starts the plugin host as the settings say.
///
/// # Errors
/// [`HostError`].
pub fn host(settings: &settings::Settings) -> Result<PluginHost, HostError> {
    let plugins = &settings.plugins;
    let cores = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    PluginHost::new(HostOptions {
        cache_dir: Some(settings.plugin_cache()),
        pool: u32::try_from(plugins.pool.get()).unwrap_or(u32::MAX),
        guest_threads: plugins.guest_threads.map_or(cores.div_ceil(2), NonZeroUsize::get),
        max_in_flight: plugins.max_in_flight.get(),
        hosts: plugins.granted_hosts(),
        bounds: plugins.bounds(),
        name_server: settings.lookup.name_server,
    })
}

/// The components that a node with these settings has: the bundled ones, less those that the folder replaces, and
/// those of the folder.
///
/// # Errors
/// [`PluginsError`], for the first that is not as it should be.
pub fn components(settings: &settings::Settings) -> Result<Vec<Component>, PluginsError> {
    components_and(settings, |_| Ok(()))
}

/// The same, with what `change` makes of them.
///
/// # Errors
/// [`PluginsError`], for the first that is not as it should be.
pub(crate) fn components_and(
    settings: &settings::Settings,
    change: impl FnOnce(&mut BTreeMap<Identity, Component>) -> Result<(), PluginsError>,
) -> Result<Vec<Component>, PluginsError> {
    let mut all: BTreeMap<Identity, Component> =
        bundled()?.into_iter().map(|one| (one.identity(), one)).collect();
    let own = match &settings.plugins.directory {
        Some(folder) => of_folder(folder, &Trust::of(settings))?,
        None => BTreeMap::new(),
    };
    for (identity, component) in own {
        if all.contains_key(&identity) && !settings.plugins.replace_bundled {
            return Err(PluginsError::Bundled { name: identity.1, path: component.origin });
        }
        all.insert(identity, component);
    }
    change(&mut all)?;
    grant_member_file(&mut all, &settings.lookup);
    Ok(all.into_values().collect())
}

/// Naming a file in `[lookup.settings]` is the operator's word that the bundled lookup may read it.
fn grant_member_file(all: &mut BTreeMap<Identity, Component>, lookup: &settings::Lookup) {
    let identity = (PluginKind::MemberLookup, "file".to_owned());
    if let (Some(component), Some(file)) = (all.get_mut(&identity), lookup.settings.get("file")) {
        component.manifest.grants.files.push(file.clone());
    }
}

/// The member lookups among `components`.
pub fn lookups(components: Vec<Component>) -> Vec<Component> {
    let is_lookup = |one: &Component| one.manifest.plugin.kind == PluginKind::MemberLookup;
    components.into_iter().filter(is_lookup).collect()
}

/// Loads `components`, all at once.
///
/// # Errors
/// [`PluginsError::Load`].
pub async fn load(host: &PluginHost, components: Vec<Component>) -> Result<Vec<PluginInfo>, PluginsError> {
    let loading = components.into_iter().map(|component| async move {
        let Component { origin, wasm, manifest } = component;
        host.load(wasm, manifest).await.map_err(|source| PluginsError::Load { path: origin, source })
    });
    try_join_all(loading).await
}

/// The plugins that are part of this program.
///
/// # Errors
/// [`PluginsError::Load`] when a manifest that was built in is wrong, which a test rules out.
pub fn bundled() -> Result<Vec<Component>, PluginsError> {
    let component = |plugin: &muster_plugins_bundle::Bundled| {
        let refused = |source| PluginsError::Load { path: plugin.name.into(), source };
        let manifest = Manifest::parse(plugin.manifest).map_err(refused)?;
        Ok(Component { origin: plugin.name.into(), wasm: Bytes::from_static(plugin.wasm), manifest })
    };
    muster_plugins_bundle::plugins().iter().map(component).collect()
}

/// One component from its file, with the manifest beside it. Whether it is trusted is not looked at: this is for tools.
///
/// # Errors
/// [`PluginsError`].
pub fn of_file(path: &Path) -> Result<Component, PluginsError> {
    component(path, Package::read(path)?)
}

fn component(path: &Path, package: Package) -> Result<Component, PluginsError> {
    let refused = |source| PluginsError::Load { path: path.with_extension("toml"), source };
    let manifest = package.parse_manifest().map_err(refused)?;
    Ok(Component { origin: path.to_owned(), wasm: package.wasm, manifest })
}

/// One component from its file, if it is trusted.
fn trusted(path: &Path, trust: &Trust) -> Result<Component, PluginsError> {
    let package = Package::read(path)?;
    let standing = trust.admit(&package, Source::Folder);
    let refused = |source| PluginsError::Trust { path: path.to_owned(), source };
    if let Standing::Tolerated { signers, warn: true } = standing.map_err(refused)? {
        tracing::warn!(plugin = %path.display(), ?signers, "taken although nobody signed it who is trusted");
    }
    component(path, package)
}

/// The bytes of a component, if it is not too large to be one.
///
/// # Errors
/// [`PluginsError::Unreadable`], [`PluginsError::Load`].
pub fn read_component(path: &Path) -> Result<Bytes, PluginsError> {
    let size = std::fs::metadata(path).map_err(unreadable(path))?.len();
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > MAX_COMPONENT {
        let source = LoadError::TooLarge { size, max: MAX_COMPONENT };
        return Err(PluginsError::Load { path: path.to_owned(), source });
    }
    std::fs::read(path).map(Bytes::from).map_err(unreadable(path))
}

fn of_folder(folder: &Path, trust: &Trust) -> Result<BTreeMap<Identity, Component>, PluginsError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable(folder))? {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension() == Some(OsStr::new("wasm")) {
            files.push(path);
        }
    }
    files.sort();
    let mut all: BTreeMap<Identity, Component> = BTreeMap::new();
    for path in files {
        let component = trusted(&path, trust)?;
        let identity = component.identity();
        if let Some(other) = all.insert(identity.clone(), component) {
            return Err(PluginsError::Twice { name: identity.1, first: other.origin, second: path });
        }
    }
    Ok(all)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> PluginsError {
    let path = path.to_owned();
    move |source| PluginsError::Unreadable { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    const MANIFEST: &str = "[plugin]\nname = \"TCP\"\nkind = \"health-check\"\n[grants]\ndial = true\n";

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Settings) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let mut settings = Settings::default();
        settings.plugins.directory = Some(folder.path().to_owned());
        (folder, settings)
    }

    fn refused(files: &[(&str, &str)]) -> String {
        let (folder, settings) = folder(files);
        let error = components(&settings).unwrap_err().to_string();
        error.replace(&folder.path().display().to_string(), "F")
    }

    #[test]
    fn a_folder_that_is_not_as_it_should_be_is_refused_with_the_fix() {
        assert_eq!(refused(&[("a.wasm", "")]), "plugins: F/a.wasm has no manifest; write F/a.toml");
        assert_eq!(
            refused(&[("a.wasm", ""), ("a.toml", MANIFEST)]),
            "plugin F/a.wasm: \"TCP\" is the name of a bundled plugin; rename it, or set plugins.replace-bundled = true"
        );
        let own = MANIFEST.replace("TCP", "OWN");
        let twice = [("a.wasm", ""), ("a.toml", own.as_str()), ("b.wasm", ""), ("b.toml", own.as_str())];
        assert_eq!(refused(&twice), "plugins: F/a.wasm and F/b.wasm are both called \"OWN\"; rename one");
        assert!(
            refused(&[("a.wasm", ""), ("a.toml", "[plugin]")]).starts_with("plugin F/a.toml: manifest: ")
        );
    }

    #[test]
    fn a_folder_may_replace_a_bundled_plugin_when_the_operator_says_so() {
        let (_folder, mut settings) = folder(&[("a.wasm", "mine"), ("a.toml", MANIFEST), ("notes.txt", "")]);
        settings.plugins.replace_bundled = true;
        let all = components(&settings).unwrap();
        let tcp: Vec<_> = all.iter().filter(|one| one.manifest.plugin.name == "TCP").collect();
        assert!(tcp.len() == 1 && tcp[0].wasm == b"mine"[..] && all.len() == bundled().unwrap().len());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let mut settings = Settings::default();
        settings.plugins.directory = Some("/nowhere/plugins".into());
        let error = components(&settings).unwrap_err().to_string();
        assert!(error.starts_with("plugins: cannot read /nowhere/plugins: "), "{error}");
    }

    #[test]
    fn the_file_of_the_member_list_is_granted_by_naming_it() {
        let mut settings = Settings::default();
        settings.lookup.settings.insert("file".into(), "members.txt".into());
        let all = components(&settings).unwrap();
        let file = all.iter().find(|one| one.manifest.plugin.name == "file").unwrap();
        assert!(file.manifest.grants.files.contains(&"members.txt".to_owned()));
    }
}
