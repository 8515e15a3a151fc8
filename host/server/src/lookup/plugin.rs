//! The source that is a plugin.

use super::{NoMembers, Source};
use crate::plugins::Component;
use crate::secrets::{SecretError, Secrets};
use crate::settings::{self, nearest};
use muster_core::plugin::{LookupAnswer, PluginKind, Settings};
use muster_wasm::{LookupCall, LookupFiles, LookupNames, MemberLookup, PluginError, PluginHost, ThisNode};
use std::sync::Arc;

/// The type that means this node alone. Source: Nacos `nacos.standalone`.
pub(crate) const STANDALONE: &str = "standalone";

/// Why there is no lookup.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No such plugin.
    #[error("lookup.type: there is no member lookup {kind:?}{hint}; there are: {known}")]
    Unknown {
        /// as the settings say
        kind: String,
        /// what may have been meant
        hint: String,
        /// those there are
        known: String,
    },
    /// The plugin does not take its settings.
    #[error("lookup.settings of {kind}: {problems}")]
    Settings {
        /// the plugin
        kind: String,
        /// all that is wrong
        problems: String,
    },
    /// A secret is missing.
    #[error("lookup.settings of {kind}: {source}")]
    Secret {
        /// the plugin
        kind: String,
        /// which
        #[source]
        source: SecretError,
    },
    /// The plugin broke when it was asked about its settings.
    #[error("lookup {kind}: {source}")]
    Plugin {
        /// the plugin
        kind: String,
        /// how
        #[source]
        source: PluginError,
    },
    /// The source does not answer.
    #[error(transparent)]
    NoMembers(#[from] NoMembers),
}

/// What a lookup may read and ask, by its manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    files: Vec<String>,
    endpoints: Vec<String>,
    names: Vec<String>,
}

impl Granted {
    /// The grants of the lookup `name` among `components`.
    pub fn of(components: &[Component], name: &str) -> Self {
        let plugin = |one: &&Component| {
            one.manifest.plugin.kind == PluginKind::MemberLookup && one.manifest.plugin.name == name
        };
        let grants =
            components.iter().find(plugin).map(|one| one.manifest.grants.clone()).unwrap_or_default();
        Self { files: grants.files, endpoints: grants.fetch, names: grants.names }
    }
}

/// Asks a plugin.
pub struct PluginSource {
    plugin: MemberLookup,
    call: LookupCall,
}

impl PluginSource {
    /// The plugin that the settings name, once it has judged its settings.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn new(
        host: &PluginHost,
        secrets: &Secrets,
        settings: &settings::Settings,
        granted: Granted,
        address: &str,
        port: u16,
    ) -> Result<Self, LookupError> {
        let settings::Lookup { kind, timeout, settings: told, .. } = &settings.lookup;
        let plugin =
            host.member_lookup(kind).ok_or_else(|| unknown(kind, &host.names(PluginKind::MemberLookup)))?;
        validated(kind, &plugin, told).await?;
        let told = secrets.resolve(&plugin.descriptor(), told);
        let told = told.map_err(|source| LookupError::Secret { kind: kind.clone(), source })?;
        let standalone = kind == STANDALONE;
        let call = LookupCall {
            node: ThisNode { address: address.to_owned(), port, standalone },
            settings: Arc::new(told),
            cookie: None,
            files: LookupFiles { folder: settings.folder.clone(), names: granted.files },
            endpoints: granted.endpoints,
            names: LookupNames { keys: granted.names, server: settings.lookup.name_server },
            deadline: *timeout,
        };
        Ok(Self { plugin, call })
    }
}

impl Source for PluginSource {
    async fn find(&self, cookie: Option<Vec<u8>>) -> Result<LookupAnswer, String> {
        let call = LookupCall { cookie, ..self.call.clone() };
        self.plugin.find(call).await.map_err(|error| error.to_string())
    }
}

/// The error for a lookup that is none of the `known` ones.
pub(super) fn unknown(kind: &str, known: &[String]) -> LookupError {
    let words: Vec<&str> = known.iter().map(String::as_str).collect();
    let hint = nearest(kind, &words).map(|near| format!(", did you mean {near:?}?")).unwrap_or_default();
    LookupError::Unknown { kind: kind.to_owned(), hint, known: known.join(", ") }
}

async fn validated(kind: &str, plugin: &MemberLookup, told: &Settings) -> Result<(), LookupError> {
    let kind = kind.to_owned();
    match plugin.validate(told).await {
        Ok(problems) if problems.is_empty() => Ok(()),
        Ok(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Err(LookupError::Settings { kind, problems: problems.join("; ") })
        }
        Err(source) => Err(LookupError::Plugin { kind, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins;
    use muster_wasm::HostOptions;
    use std::path::Path;

    /// A settings file in `folder` that names the lookup `kind`, and the plugins that follow from it.
    async fn source(folder: &Path, kind: &str, settings: &str) -> Result<PluginSource, LookupError> {
        let file = folder.join("muster.toml");
        let text = format!("[lookup]\ntype = \"{kind}\"\n[lookup.settings]\n{settings}\n");
        std::fs::write(&file, text).unwrap();
        let settings = settings::Settings::load(&file).unwrap();
        let components = plugins::components(&settings).unwrap();
        let granted = Granted::of(&components, kind);
        let lookups = plugins::lookups(components);
        let host =
            PluginHost::new(HostOptions { pool: 16, max_in_flight: 8, ..HostOptions::default() }).unwrap();
        plugins::load(&host, lookups).await.unwrap();
        PluginSource::new(&host, &Secrets::default(), &settings, granted, "10.0.0.1", 8848).await
    }

    async fn addresses(source: &PluginSource) -> Vec<String> {
        match source.find(None).await.unwrap() {
            LookupAnswer::Changed { members, .. } => {
                members.into_iter().map(|member| member.address).collect()
            }
            LookupAnswer::Unchanged(_) => Vec::new(),
        }
    }

    #[tokio::test]
    async fn a_member_file_is_found_beside_the_settings_and_where_they_say() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(here.path().join("cluster.conf"), "10.0.0.1\n10.0.0.2:8850\n").unwrap();
        let members = there.path().join("members.txt");
        std::fs::write(&members, "10.0.0.3\n").unwrap();
        let beside = source(here.path(), "file", "").await.unwrap();
        assert_eq!(addresses(&beside).await, ["10.0.0.1", "10.0.0.2"]);
        let setting = format!("file = {:?}", members.display().to_string());
        let named = source(here.path(), "file", &setting).await.unwrap();
        assert_eq!(addresses(&named).await, ["10.0.0.3"]);
    }

    #[tokio::test]
    async fn standalone_answers_this_node_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(addresses(&source(folder.path(), "standalone", "").await.unwrap()).await, ["10.0.0.1"]);
    }

    #[tokio::test]
    async fn wrong_settings_are_refused_before_they_are_used() {
        let folder = tempfile::tempdir().unwrap();
        let error = source(folder.path(), "file", "interval = 5").await.err().unwrap().to_string();
        assert_eq!(
            error,
            "lookup.settings of file: setting 'interval': must be a whole number from 1000 to 3600000, is \"5\""
        );
    }
}
