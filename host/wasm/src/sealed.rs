//! Secrets that a guest uses and never sees: where a setting holds one, it is told `${secret.KEY}`, and the host puts
//! the secret into the headers of the requests that hold that text.
//!
//! What a server answers is looked through as well, since many show what they were sent. A server that means to tell the
//! guest can do so in a form that nobody knows; it has the secret anyway.

use crate::trace::Secrets;
use muster_core::plugin::{Descriptor, Settings};
use std::{collections::BTreeMap, sync::Arc};

/// Before and behind the key.
const OPEN: &str = "${secret.";
const CLOSE: char = '}';
/// Bytes of a secret that is looked for in answers: shorter ones would strike out much that is no secret.
const SHORTEST: usize = 4;

/// The sealed settings of a plugin, each with what its guest is told instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sealed(Arc<BTreeMap<String, String>>);

impl Sealed {
    /// Those that the manifest names.
    ///
    /// # Errors
    /// A key that is not that of a secret setting.
    pub(crate) fn new(keys: &[String], descriptor: &Descriptor) -> Result<Self, String> {
        let known = |key: &String| descriptor.secrets().any(|secret| secret == key);
        match keys.iter().find(|key| !known(key)) {
            Some(key) => Err(format!("grants.sealed-secrets: it has no secret setting {key:?}")),
            None => Ok(Self(Arc::new(keys.iter().map(|key| (key.clone(), reference(key))).collect()))),
        }
    }

    /// What the guest is told in place of the setting `key`; none when it is told the setting itself.
    pub(crate) fn told(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether the guest sees every secret of this plugin only in this form.
    pub(crate) fn has_all(&self, descriptor: &Descriptor) -> bool {
        descriptor.secrets().all(|secret| self.0.contains_key(secret))
    }

    /// What a call with these settings needs; none when nothing is sealed.
    pub(crate) fn of_call(&self, settings: &Settings) -> Option<Box<Unsealed>> {
        if self.0.is_empty() {
            return None;
        }
        let value =
            |key: &String| Some((key.clone(), settings.get(key).filter(|value| !value.is_empty())?.clone()));
        let values: BTreeMap<_, _> = self.0.keys().filter_map(value).collect();
        let secrets = Secrets::of(values.values().filter(|value| value.len() >= SHORTEST).cloned());
        Some(Box::new(Unsealed { values, sealed: self.clone(), secrets }))
    }
}

/// The sealed secrets of one call. Shows nowhere: it has no `Debug`.
pub(crate) struct Unsealed {
    values: BTreeMap<String, String>,
    sealed: Sealed,
    secrets: Secrets,
}

/// A reference that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoSecret {
    /// what it refers to
    pub(crate) key: String,
    /// the plugin may use it, but the settings do not have it
    pub(crate) is_granted: bool,
}

impl Unsealed {
    /// The keys that the manifest names.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.sealed.0.keys().cloned().collect()
    }

    /// Bytes of the longest text that [`Unsealed::strike`] looks for.
    pub(crate) fn longest(&self) -> usize {
        self.secrets.longest()
    }

    /// `bytes` without the secrets that can be recognised in them.
    pub(crate) fn strike(&self, bytes: &[u8]) -> Vec<u8> {
        self.secrets.strike(bytes)
    }

    /// `text` without them.
    pub(crate) fn strike_text(&self, text: &str) -> String {
        self.secrets.strike_text(text)
    }
}

/// `text` with the secrets that it refers to.
///
/// # Errors
/// [`NoSecret`], for the first that is not there.
pub(crate) fn fill(unsealed: Option<&Unsealed>, text: &str) -> Result<String, NoSecret> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once(OPEN) {
        let Some((key, after)) = from.split_once(CLOSE) else { break };
        let value = unsealed.and_then(|unsealed| unsealed.values.get(key)).ok_or_else(|| NoSecret {
            key: key.to_owned(),
            is_granted: unsealed.is_some_and(|unsealed| unsealed.sealed.told(key).is_some()),
        })?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn reference(key: &str) -> String {
    format!("{OPEN}{key}{CLOSE}")
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
        let settings = vec![
            spec("path", SettingKind::Text),
            spec("token", SettingKind::Secret),
            spec("other", SettingKind::Secret),
        ];
        Descriptor { name: "x".into(), version: "1.0.0".into(), summary: String::new(), settings }
    }

    fn sealed(keys: &[&str]) -> Result<Sealed, String> {
        Sealed::new(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), &descriptor())
    }

    #[test]
    fn only_a_secret_setting_can_be_sealed() {
        assert_eq!(sealed(&["token"]).unwrap().told("token"), Some("${secret.token}"));
        assert_eq!(sealed(&["token"]).unwrap().told("other"), None);
        assert!(sealed(&["path"]).unwrap_err().contains("\"path\""));
        assert!(sealed(&["absent"]).is_err());
        assert!(sealed(&["token", "other"]).unwrap().has_all(&descriptor()));
        assert!(!sealed(&["token"]).unwrap().has_all(&descriptor()));
    }

    #[test]
    fn a_reference_is_filled_and_nothing_else_is() {
        let settings = Settings::from([("token".into(), "s3cret".into()), ("other".into(), "seen".into())]);
        let unsealed = sealed(&["token"]).unwrap().of_call(&settings).unwrap();
        let filled = |text| fill(Some(&unsealed), text);
        assert_eq!(filled("Bearer ${secret.token}"), Ok("Bearer s3cret".into()));
        assert_eq!(filled("${secret.token}${secret.token}"), Ok("s3crets3cret".into()));
        assert_eq!(filled("${secret.token"), Ok("${secret.token".into()));
        assert_eq!(filled("plain"), Ok("plain".into()));
        let missing = |key: &str, is_granted| Err(NoSecret { key: key.into(), is_granted });
        assert_eq!(
            filled("${secret.other}"),
            missing("other", false),
            "what is not sealed is not filled in either"
        );
        assert_eq!(filled("${secret.}"), missing("", false));
        assert_eq!(fill(None, "${secret.token}"), missing("token", false));
        let without = sealed(&["token"]).unwrap().of_call(&Settings::new()).unwrap();
        assert_eq!(fill(Some(&without), "${secret.token}"), missing("token", true));
    }

    #[test]
    fn a_secret_that_refers_to_a_secret_is_just_text() {
        let settings =
            Settings::from([("token".into(), "${secret.other}".into()), ("other".into(), "x".into())]);
        let unsealed = sealed(&["token", "other"]).unwrap().of_call(&settings).unwrap();
        assert_eq!(fill(Some(&unsealed), "${secret.token}"), Ok("${secret.other}".into()));
    }
}
