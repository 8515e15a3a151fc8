//! Makes the source that an operator asks for while the node runs.

use super::plugin::{Granted, PluginSource, STANDALONE, unknown};
use super::{Pace, Source, SwitchError};
use crate::plugins::{self, Component};
use crate::rollout::Kept;
use crate::secrets::Secrets;
use crate::settings::Settings;
use muster_wasm::PluginHost;
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};

/// Makes sources.
pub trait Maker: Send + 'static {
    /// What it makes.
    type Source: Source;

    /// A source of the kind that the operator asks for. [`Maker::settle`] follows in any case.
    ///
    /// # Errors
    /// [`SwitchError`].
    fn make(&mut self, kind: &str) -> impl Future<Output = Result<Made<Self::Source>, SwitchError>> + Send;

    /// Says whether what was made last is used. If it is not, everything is put back as it was before.
    fn settle(&mut self, used: bool) -> impl Future<Output = ()> + Send;
}

/// A source, and how often it is asked.
#[derive(Debug)]
pub struct Made<S> {
    /// the source
    pub source: S,
    /// its bounds
    pub pace: Pace,
}

/// Makes them of plugins, by what the settings file says at that moment.
pub(crate) struct PluginMaker {
    host: PluginHost,
    file: Option<PathBuf>,
    address: String,
    port: u16,
    clustered: bool,
    /// the lookups that the host has, by name
    loaded: BTreeMap<String, Component>,
    /// loaded for a source that is not settled yet
    trying: Option<Component>,
}

/// What the settings file says, and the files that it names.
struct Told {
    settings: Settings,
    secrets: Secrets,
    lookups: Vec<Component>,
}

impl PluginMaker {
    /// For the node at `address`, whose settings are `settings` and whose host has loaded `lookups`.
    pub(crate) fn new(
        host: PluginHost,
        settings: &Settings,
        lookups: Vec<Component>,
        address: (&str, u16),
        clustered: bool,
    ) -> Self {
        let loaded = lookups.into_iter().map(|one| (name(&one).to_owned(), one)).collect();
        let file = settings.file.clone();
        let (address, port) = (address.0.to_owned(), address.1);
        Self { host, file, address, port, clustered, loaded, trying: None }
    }

    /// The plugin of this name as it is now: loaded when it is new, another one, or may read other files.
    async fn have(&mut self, component: &Component) -> Result<(), SwitchError> {
        let former = self.loaded.get(name(component));
        if former == Some(component) {
            return Ok(());
        }
        let mut trial = component.clone();
        if let Some(former) = former {
            // Until it is settled, the source in use may be of this plugin too.
            trial.manifest.grants.files.extend(former.manifest.grants.files.iter().cloned());
            trial.manifest.grants.fetch.extend(former.manifest.grants.fetch.iter().cloned());
            trial.manifest.grants.names.extend(former.manifest.grants.names.iter().cloned());
        }
        self.trying = Some(component.clone());
        plugins::load(&self.host, vec![trial]).await?;
        Ok(())
    }
}

impl Maker for PluginMaker {
    type Source = PluginSource;

    async fn make(&mut self, kind: &str) -> Result<Made<PluginSource>, SwitchError> {
        let file = self.file.clone().ok_or(SwitchError::NoFile)?;
        let read = tokio::task::spawn_blocking(move || Told::read(&file)).await;
        let Told { settings, secrets, lookups } = read.map_err(|_| SwitchError::Stopping)??;
        let Some(component) = lookups.iter().find(|one| name(one) == kind) else {
            let known: Vec<String> = lookups.iter().map(|one| name(one).to_owned()).collect();
            return Err(unknown(kind, &known).into());
        };
        if settings.lookup.kind != kind {
            let (asked, written) = (kind.to_owned(), settings.lookup.kind);
            return Err(SwitchError::NotWritten { asked, written });
        }
        if self.clustered && kind == STANDALONE {
            return Err(SwitchError::Standalone);
        }
        self.have(component).await?;
        let granted = Granted::of(&lookups, kind);
        let source =
            PluginSource::new(&self.host, &secrets, &settings, granted, &self.address, self.port).await?;
        Ok(Made { source, pace: Pace::from(&settings.lookup) })
    }

    async fn settle(&mut self, used: bool) {
        let Some(component) = self.trying.take() else { return };
        let name = name(&component).to_owned();
        if used {
            self.loaded.insert(name, component);
        } else if let Some(former) = self.loaded.get(&name)
            && let Err(error) = plugins::load(&self.host, vec![former.clone()]).await
        {
            tracing::error!(plugin = name, %error, "the former plugin could not be loaded again");
        }
    }
}

impl Told {
    fn read(file: &Path) -> Result<Self, SwitchError> {
        let settings = Settings::load(file)?;
        let secrets = Secrets::load(&settings.secrets)?;
        let lookups = plugins::lookups(Kept::with_installed(&settings)?);
        Ok(Self { settings, secrets, lookups })
    }
}

fn name(component: &Component) -> &str {
    &component.manifest.plugin.name
}
