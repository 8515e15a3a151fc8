//! Settings as a plugin reads them.

use crate::bindings::about::muster::plugin::types::{Descriptor, Problem};
use std::str::FromStr;
use std::time::Duration;

/// What the operator wrote, as text pairs, with the defaults of the descriptor filled in.
///
/// The host has checked every value against the descriptor before a plugin sees it, so the typed getters
/// fail only where the two disagree; their [`Problem`] turns into a fault with `?`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// What the host would pass for `pairs`: these, and the defaults of the rest. For tests.
    pub fn with_defaults(descriptor: &Descriptor, pairs: &[(&str, &str)]) -> Self {
        let mut all = Self::from(pairs);
        for setting in &descriptor.settings {
            if let (None, Some(default)) = (all.get(&setting.key), &setting.default) {
                all.0.push((setting.key.clone(), default.clone()));
            }
        }
        all
    }

    /// The value of `key`; none when it was not given and has no default.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The value of `key`, empty when there is none.
    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// A number.
    ///
    /// # Errors
    /// It is there, but is no number of this type.
    pub fn number<N: FromStr>(&self, key: &str) -> Result<Option<N>, Problem> {
        self.get(key)
            .map(|text| text.trim().parse().map_err(|_| Problem::new(key, "must be a number")))
            .transpose()
    }

    /// A time in milliseconds.
    ///
    /// # Errors
    /// It is there, but is no whole number.
    pub fn millis(&self, key: &str) -> Result<Option<Duration>, Problem> {
        Ok(self.number(key)?.map(Duration::from_millis))
    }

    /// A yes or no; no when it is not given.
    ///
    /// # Errors
    /// It is neither `true` nor `false`.
    pub fn flag(&self, key: &str) -> Result<bool, Problem> {
        match self.get(key) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::new(key, "must be true or false")),
        }
    }

    /// All pairs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl From<Vec<(String, String)>> for Settings {
    fn from(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }
}

impl From<&[(&str, &str)]> for Settings {
    fn from(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::about::muster::plugin::types::Setting;

    #[test]
    fn defaults_fill_what_was_left_out_and_nothing_else() {
        let descriptor = Descriptor::new("X", "1.0.0", "")
            .setting(Setting::text("path", "").default("/"))
            .setting(Setting::integer("n", 0, 9, "").default("3"))
            .setting(Setting::text("none", ""));
        let settings = Settings::with_defaults(&descriptor, &[("path", "/health")]);
        assert_eq!(settings.get("path"), Some("/health"));
        assert_eq!(settings.number::<u8>("n"), Ok(Some(3)));
        assert_eq!(settings.get("none"), None);
        assert_eq!(settings.text("none"), "");
    }

    #[test]
    fn what_does_not_fit_names_its_key() {
        let settings = Settings::from([("wait", "soon"), ("on", "yes")].as_slice());
        assert_eq!(settings.millis("wait").map_err(|p| p.key), Err("wait".to_owned()));
        assert_eq!(settings.flag("on").map_err(|p| p.key), Err("on".to_owned()));
        assert_eq!(settings.flag("off"), Ok(false));
    }
}
