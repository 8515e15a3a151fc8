//! Passwords by name. They leave this module only towards the plugin that is called with them.

use crate::settings::{SecretSource, variable};
use arc_swap::ArcSwap;
use muster_core::plugin::{Descriptor, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A text that shows nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Hides `text`.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever really needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// Why a secret is not there.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file cannot be read.
    #[error("secrets.{name}: cannot read {}: {source}", path.display())]
    File {
        /// the secret
        name: String,
        /// its file
        path: PathBuf,
        /// why
        #[source]
        source: std::io::Error,
    },
    /// Its environment variable is not set.
    #[error("secrets.{name}: the environment variable {variable} is not set")]
    Variable {
        /// the secret
        name: String,
        /// its variable
        variable: String,
    },
    /// Nobody defined it.
    #[error("there is no secret named {name:?}; add it to [secrets]")]
    Unknown {
        /// the name that was referred to
        name: String,
    },
    /// The operator lets the plugin have none of this name, whether or not there is one.
    #[error(
        "{plugin} may not have the secret {name:?}; if it may, add to [plugins.grants.{plugin}] in the node's \
         settings: secrets = [{name:?}]{}",
        command(plugin, name)
    )]
    NotGranted {
        /// the plugin
        plugin: String,
        /// the name that was referred to
        name: String,
    },
}

/// The secrets of this node.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    all: Arc<BTreeMap<String, Secret>>,
    granted: Arc<ArcSwap<SecretGrants>>,
}

/// Which secrets health checks may have, by the name of the check.
pub(crate) type SecretGrants = BTreeMap<String, BTreeSet<String>>;

/// The same by the command line, on all members. A name that a shell could take for something else is of whoever
/// registers services, and not repeated where it may be pasted.
fn command(plugin: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_plain =
        |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain);
    if is_plain(plugin) && is_plain(name) {
        format!(", or with plugins.cluster-grants = true run: muster plugin grant {plugin} --secrets {name}")
    } else {
        String::new()
    }
}

impl Secrets {
    /// Reads the secrets from where `sources` says they are.
    ///
    /// # Errors
    /// The first one that is not there.
    pub fn load(sources: &BTreeMap<String, SecretSource>) -> Result<Self, SecretError> {
        let read = |(name, source): (&String, &SecretSource)| Ok((name.clone(), secret_of(name, source)?));
        let all = Arc::new(sources.iter().map(read).collect::<Result<_, _>>()?);
        Ok(Self { all, granted: Arc::default() })
    }

    /// The same, of which health checks may have those that are granted to them.
    #[must_use]
    pub fn granting(self, granted: BTreeMap<String, BTreeSet<String>>) -> Self {
        Self { granted: Arc::new(ArcSwap::from_pointee(granted)), ..self }
    }

    /// From now on, for every clone of this, the check of that name may have these and no others.
    pub(crate) fn grant(&self, check: &str, names: BTreeSet<String>) {
        self.granted.rcu(|granted| {
            let mut granted = BTreeMap::clone(granted);
            granted.insert(check.to_owned(), names.clone());
            granted
        });
    }

    /// What is granted now; another one after each change.
    pub(crate) fn granted(&self) -> Arc<SecretGrants> {
        self.granted.load_full()
    }

    /// The secret `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.all.get(name)
    }

    /// `settings` with every reference in a setting of kind `secret` replaced by what it refers to. Text that
    /// is no reference is the password itself, as Nacos has it. For settings that the operator wrote, whose word that is.
    ///
    /// # Errors
    /// [`SecretError::Unknown`].
    pub fn resolve(&self, descriptor: &Descriptor, settings: &Settings) -> Result<Settings, SecretError> {
        self.replace(descriptor, settings, |_| Ok(()))
    }

    /// The same for settings of a check, which come from whoever may register a service: without a grant they could send
    /// any secret of the node to a server of theirs.
    ///
    /// # Errors
    /// [`SecretError::NotGranted`], [`SecretError::Unknown`].
    pub fn resolve_granted(
        &self,
        descriptor: &Descriptor,
        settings: &Settings,
    ) -> Result<Settings, SecretError> {
        let granted = self.granted.load();
        let granted = granted.get(&descriptor.name);
        self.replace(descriptor, settings, |name| match granted.is_some_and(|names| names.contains(name)) {
            true => Ok(()),
            false => Err(SecretError::NotGranted { plugin: descriptor.name.clone(), name: name.to_owned() }),
        })
    }

    fn replace(
        &self,
        descriptor: &Descriptor,
        settings: &Settings,
        may_have: impl Fn(&str) -> Result<(), SecretError>,
    ) -> Result<Settings, SecretError> {
        let mut resolved = settings.clone();
        for key in descriptor.secrets() {
            if let Some(text) = resolved.get_mut(key)
                && let Some(name) = reference(text)
            {
                may_have(name)?;
                let secret = self.get(name).ok_or_else(|| SecretError::Unknown { name: name.to_owned() })?;
                *text = secret.reveal().to_owned();
            }
        }
        Ok(resolved)
    }
}

impl Secrets {
    /// The text of a setting that may be a reference to a secret.
    ///
    /// # Errors
    /// [`SecretError::Unknown`].
    pub fn follow(&self, setting: &Secret) -> Result<Secret, SecretError> {
        match reference(setting.reveal()) {
            None => Ok(setting.clone()),
            Some(name) => {
                self.get(name).cloned().ok_or_else(|| SecretError::Unknown { name: name.to_owned() })
            }
        }
    }
}

/// `NAME` of `secret:NAME` or `${secret.NAME}`; none for any other text.
pub fn reference(text: &str) -> Option<&str> {
    let braced = || text.strip_prefix("${secret.").and_then(|rest| rest.strip_suffix('}'));
    text.strip_prefix("secret:").or_else(braced)
}

fn secret_of(name: &str, source: &SecretSource) -> Result<Secret, SecretError> {
    match source {
        SecretSource::Value(secret) => Ok(secret.clone()),
        SecretSource::File(path) => of_file(name, path),
        SecretSource::Variable(variable_name) => match variable(variable_name) {
            Some(text) => Ok(Secret::new(&text)),
            None => Err(SecretError::Variable { name: name.to_owned(), variable: variable_name.clone() }),
        },
    }
}

fn of_file(name: &str, path: &Path) -> Result<Secret, SecretError> {
    let text = std::fs::read_to_string(path).map_err(|source| SecretError::File {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
    })?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::plugin::{SettingKind, SettingSpec};

    fn descriptor() -> Descriptor {
        let spec = |key: &str, kind| SettingSpec {
            key: key.into(),
            kind,
            required: false,
            default: None,
            summary: String::new(),
        };
        Descriptor {
            name: "MYSQL".into(),
            version: "0.1.0".into(),
            summary: String::new(),
            settings: vec![spec("user", SettingKind::Text), spec("pwd", SettingKind::Secret)],
        }
    }

    fn resolve(secrets: &Secrets, pwd: &str) -> Result<String, String> {
        let settings = Settings::from([("user".into(), "secret:db".into()), ("pwd".into(), pwd.into())]);
        let resolved = secrets.resolve(&descriptor(), &settings).map_err(|error| error.to_string())?;
        assert_eq!(resolved["user"], "secret:db", "only settings of kind secret are resolved");
        Ok(resolved["pwd"].clone())
    }

    #[test]
    fn references_are_resolved_and_other_text_is_the_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "from file\n").unwrap();
        let sources = BTreeMap::from([
            ("db".to_owned(), SecretSource::Value(Secret::new("hunter2"))),
            ("file".to_owned(), SecretSource::File(path)),
        ]);
        let secrets = Secrets::load(&sources).unwrap();
        assert_eq!(resolve(&secrets, "secret:db").unwrap(), "hunter2");
        assert_eq!(resolve(&secrets, "${secret.file}").unwrap(), "from file");
        assert_eq!(resolve(&secrets, "literal").unwrap(), "literal");
        assert_eq!(
            resolve(&secrets, "secret:other").unwrap_err(),
            "there is no secret named \"other\"; add it to [secrets]"
        );
        assert!(!format!("{secrets:?} {}", secrets.get("db").unwrap()).contains("hunter2"));
    }

    #[test]
    fn a_check_has_the_secrets_that_are_granted_to_it() {
        let sources = ["db", "members"].map(|name| (name.to_owned(), SecretSource::Value(Secret::new(name))));
        let grants = BTreeMap::from([("MYSQL".to_owned(), BTreeSet::from(["db".to_owned()]))]);
        let secrets = Secrets::load(&BTreeMap::from(sources)).unwrap().granting(grants);
        let with = |pwd: &str| {
            let settings = Settings::from([("pwd".into(), pwd.into())]);
            let resolved = secrets.resolve_granted(&descriptor(), &settings);
            resolved.map(|resolved| resolved["pwd"].clone()).map_err(|error| error.to_string())
        };
        assert_eq!(with("secret:db").unwrap(), "db");
        assert_eq!(with("literal").unwrap(), "literal");
        assert_eq!(
            with("${secret.members}").unwrap_err(),
            "MYSQL may not have the secret \"members\"; if it may, add to [plugins.grants.MYSQL] in the node's \
             settings: secrets = [\"members\"], or with plugins.cluster-grants = true run: muster plugin grant MYSQL --secrets members"
        );
        let shell = with("secret:$(reboot)").unwrap_err();
        assert!(shell.ends_with("secrets = [\"$(reboot)\"]"), "{shell}");
        let absent = with("secret:absent").unwrap_err();
        assert_eq!(absent, with("secret:members").unwrap_err().replace("members", "absent"), "no hint");
    }

    #[test]
    fn a_secret_that_is_not_there_stops_the_start() {
        let missing = |source| Secrets::load(&BTreeMap::from([("db".to_owned(), source)])).unwrap_err();
        let error = missing(SecretSource::File("/nowhere/secret".into())).to_string();
        assert!(error.starts_with("secrets.db: cannot read /nowhere/secret: "), "{error}");
        let error = missing(SecretSource::Variable("MUSTER_TEST_UNSET".into())).to_string();
        assert_eq!(error, "secrets.db: the environment variable MUSTER_TEST_UNSET is not set");
    }
}
