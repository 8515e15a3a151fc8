//! The settings of a node: typed, read once, judged as a whole before anything is opened.
//!
//! A file in TOML (documented in `host/server/reference.toml`), with environment variables laid over it:
//! `MUSTER_HTTP__BIND` sets `http.bind`. What is unknown or does not fit is an error that names the key, where
//! it was written, and what would be right; nothing falls back to a default silently. Relative paths start at
//! the folder of the file. This is also the only place that reads the environment.

mod cluster;
mod grpc;
mod health;
mod http;
mod nacos;
mod naming;
mod node;
mod plugins;
mod reader;
mod secrets;
mod tree;
mod values;

pub use cluster::Cluster;
pub use grpc::{Grpc, GrpcTls, TlsVersion};
pub use health::Health;
pub use http::{Http, Udp};
pub use naming::Naming;
pub use node::{Compat, Log, LogFormat, Node, Raft};
pub use plugins::{Filter, FilterPolicy, Grants, Lookup, Plugins, Subscriber};
pub use reader::Problem;
pub use secrets::SecretSource;
pub use tree::Place;
pub use values::Bytes;

pub(crate) use health::millis;
pub(crate) use reader::nearest;
pub(crate) use values::duration;

use crate::trust::Unsigned;
use reader::{Notes, Section};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// Everything a node can be told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// `[node]`
    pub node: Node,
    /// `[http]`
    pub http: Http,
    /// `[udp]`
    pub udp: Udp,
    /// `[grpc]`
    pub grpc: Grpc,
    /// `[cluster]`
    pub cluster: Cluster,
    /// `[naming]`
    pub naming: Naming,
    /// `[raft]`
    pub raft: Raft,
    /// `[health]`
    pub health: Health,
    /// `[plugins]`
    pub plugins: Plugins,
    /// `[lookup]`
    pub lookup: Lookup,
    /// `[[filter]]`
    pub filters: Vec<Filter>,
    /// `[[subscriber]]`
    pub subscribers: Vec<Subscriber>,
    /// `[secrets]`
    pub secrets: BTreeMap<String, SecretSource>,
    /// `[log]`
    pub log: Log,
    /// `[compat]`
    pub compat: Compat,
    /// The folder of the file, where relative paths start.
    pub folder: PathBuf,
    /// The file, for those of them that are read again while the node runs; none when there was no file.
    pub file: Option<PathBuf>,
}

/// Why settings were not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: std::io::Error,
    },
    /// It can be read, but something in it or in the environment is wrong.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

/// All that is wrong with the settings, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    /// The file's name, or what stands for it.
    pub file: String,
    /// At least one.
    pub problems: Vec<Problem>,
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.problems.iter().enumerate() {
            if nth > 0 {
                f.write_str("\n")?;
            }
            match &problem.place {
                Some(Place::Line(line)) => {
                    write!(f, "{}:{line}: ", self.file)?;
                    Problem { place: None, ..problem.clone() }.fmt(f)?;
                }
                Some(Place::Variable(_)) => problem.fmt(f)?,
                None => write!(f, "{}: {problem}", self.file)?,
            }
        }
        Ok(())
    }
}

impl Settings {
    /// Reads the file at `path` with the process's environment over it.
    ///
    /// # Errors
    /// The file is unreadable, or something is wrong with what it says.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let mut settings = Self::parse(&path.display().to_string(), &text, environment())?;
        // The parent of a bare file name is empty, which is no folder to open.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        settings.start_paths_at(folder.unwrap_or_else(|| Path::new(".")));
        settings.split_member_file();
        settings.file = Some(path.to_owned());
        Ok(settings)
    }

    /// Reads `text`, with `variables` over it. `file` is only named in errors.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn parse(
        file: &str,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Problems> {
        let notes = Notes::default();
        let settings = Self::read(text, variables, &notes);
        let mut problems = notes.problems.into_inner();
        if problems.is_empty() {
            return Ok(settings);
        }
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        Err(Problems { file: file.to_owned(), problems })
    }

    fn read(text: &str, variables: impl IntoIterator<Item = (String, String)>, notes: &Notes) -> Self {
        let mut table = match tree::parse(text) {
            Ok(table) => table,
            Err(problem) => {
                notes.problems.borrow_mut().push(problem);
                return Self::default();
            }
        };
        notes.problems.borrow_mut().extend(tree::overlay(&mut table, variables));
        let mut root = Section::root(table, notes);
        let settings = Self {
            node: root.section("node", Node::read),
            http: root.section("http", Http::read),
            udp: root.section("udp", Udp::read),
            grpc: root.section("grpc", Grpc::read),
            cluster: root.section("cluster", Cluster::read),
            naming: root.section("naming", Naming::read),
            raft: root.section("raft", Raft::read),
            health: root.section("health", Health::read),
            plugins: root.section("plugins", Plugins::read),
            lookup: root.section("lookup", Lookup::read),
            filters: root.list("filter", Filter::read),
            subscribers: root.list("subscriber", Subscriber::read).into_iter().flatten().collect(),
            secrets: secrets::read(&mut root),
            log: root.section("log", Log::read),
            compat: root.section("compat", Compat::read),
            folder: PathBuf::new(),
            file: None,
        };
        if settings.is_clustered() && settings.plugins.unsigned == Some(Unsigned::Allow) {
            root.problem(
                "plugins.unsigned",
                "\"allow\" is for a node that is alone. For a member of a cluster: sign the plugins and list the key in \
                 plugins.trust-keys (`muster plugin sign`), or write \"warn\"",
            );
        }
        root.finish();
        settings
    }

    fn start_paths_at(&mut self, folder: &Path) {
        let paths =
            [Some(&mut self.node.data_dir), self.plugins.directory.as_mut(), self.plugins.cache_dir.as_mut()];
        let files = self.secrets.values_mut().filter_map(|source| match source {
            SecretSource::File(path) => Some(path),
            _ => None,
        });
        for path in paths.into_iter().flatten().chain(files).chain(self.grpc.tls.files()) {
            *path = folder.join(&path);
        }
        self.folder = folder.to_owned();
    }

    /// Lookups read files of one folder only: the settings' own, or that of a file which is named in full.
    fn split_member_file(&mut self) {
        let Some(file) = self.lookup.settings.get_mut("file") else { return };
        let path = PathBuf::from(&*file);
        if let (true, Some(folder), Some(name)) =
            (path.is_absolute(), path.parent(), path.file_name().and_then(|name| name.to_str()))
        {
            name.clone_into(file);
            self.folder = folder.to_owned();
        }
    }

    /// Whether the node may have other members beside it.
    pub fn is_clustered(&self) -> bool {
        self.lookup.kind != crate::lookup::STANDALONE && self.cluster.secret.is_some()
    }

    /// Where compiled plugins are kept.
    pub fn plugin_cache(&self) -> PathBuf {
        self.plugins.cache_dir.clone().unwrap_or_else(|| self.node.data_dir.join("plugin-cache"))
    }
}

/// The environment of this process; variables that are not Unicode cannot be ours and are left out.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// One variable of the environment of this process.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

#[cfg(test)]
mod tests;
