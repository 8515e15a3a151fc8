//! Builders of what a plugin says about itself.

use crate::bindings::about::muster::plugin::types::{Descriptor, Fault, Kind, Problem, Setting};

impl Descriptor {
    /// A plugin without settings. `name` is the word that selects it, `version` its own semver.
    pub fn new(name: &str, version: &str, summary: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            summary: summary.to_owned(),
            settings: Vec::new(),
        }
    }

    /// The same with one more setting.
    #[must_use]
    pub fn setting(mut self, setting: Setting) -> Self {
        self.settings.push(setting);
        self
    }
}

impl Setting {
    fn of_kind(key: &str, kind: Kind, summary: &str) -> Self {
        Self { key: key.to_owned(), kind, required: false, default: None, summary: summary.to_owned() }
    }

    /// Any text.
    pub fn text(key: &str, summary: &str) -> Self {
        Self::of_kind(key, Kind::Text, summary)
    }

    /// A whole number within inclusive bounds.
    pub fn integer(key: &str, low: i32, high: i32, summary: &str) -> Self {
        Self::of_kind(key, Kind::Integer((low, high)), summary)
    }

    /// `true` or `false`.
    pub fn boolean(key: &str, summary: &str) -> Self {
        Self::of_kind(key, Kind::Boolean, summary)
    }

    /// One of `words`.
    pub fn choice(key: &str, words: &[&str], summary: &str) -> Self {
        Self::of_kind(key, Kind::Choice(words.iter().map(|&word| word.to_owned()).collect()), summary)
    }

    /// Text that the host never logs and never returns.
    pub fn secret(key: &str, summary: &str) -> Self {
        Self::of_kind(key, Kind::Secret, summary)
    }

    /// The same, and it must be given.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same, and this is passed when it is not given.
    #[must_use]
    pub fn default(mut self, text: &str) -> Self {
        self.default = Some(text.to_owned());
        self
    }
}

impl Problem {
    /// Something wrong with the setting `key`: say what is wrong and what would be right.
    pub fn new(key: &str, message: impl Into<String>) -> Self {
        Self { key: key.to_owned(), message: message.into() }
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::BadSettings(problem)
    }
}

impl Fault {
    /// Something that the plugin cannot explain or did not expect.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::Internal(message.into())
    }
}
