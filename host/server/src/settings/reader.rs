//! Reads typed settings from a tree and collects everything that is wrong, so that one run shows it all.

use super::nacos;
use super::tree::{Entry, Node, Place, Table};
use super::values::FromSetting;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was written, when it was written at all.
    pub place: Option<Place>,
    /// The key with its path, such as `http.bind`.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// What a reading learns beside the values.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) problems: RefCell<Vec<Problem>>,
    /// Every key that was asked for, with its path.
    pub(super) known: RefCell<BTreeSet<String>>,
}

impl Notes {
    fn problem(&self, place: Option<Place>, key: String, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { place, key, message: message.into() });
    }
}

/// One table of the file while it is read: every key is taken once, what is left over is unknown.
pub(super) struct Section<'a> {
    path: String,
    table: Table,
    place: Option<Place>,
    asked: Vec<&'static str>,
    notes: &'a Notes,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: Table, notes: &'a Notes) -> Self {
        Self { path: String::new(), table, place: None, asked: Vec::new(), notes }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn remove(&mut self, key: &'static str) -> Option<Entry> {
        self.asked.push(key);
        self.notes.known.borrow_mut().insert(self.key(key));
        self.table.remove(key)
    }

    /// The value of `key`; none when it is not set or when it is wrong.
    pub(super) fn optional<T: FromSetting>(&mut self, key: &'static str) -> Option<T> {
        let Entry { node, place } = self.remove(key)?;
        match T::read(&node) {
            Ok(value) => Some(value),
            Err(wanted) => {
                let message = format!("must be {wanted}, is {}", node.kind());
                self.notes.problem(Some(place), self.key(key), message);
                None
            }
        }
    }

    /// The value of `key`, or `default`.
    pub(super) fn get<T: FromSetting>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// As [`Section::optional`], within inclusive bounds.
    pub(super) fn optional_within<T: FromSetting + PartialOrd>(
        &mut self,
        key: &'static str,
        bounds: &RangeInclusive<T>,
    ) -> Option<T> {
        let place = self.table.get(key).map(|entry| entry.place.clone());
        let value: T = self.optional(key)?;
        if !bounds.contains(&value) {
            let (low, high) = (bounds.start().show(), bounds.end().show());
            self.notes.problem(
                place,
                self.key(key),
                format!("must be from {low} to {high}, is {}", value.show()),
            );
            return None;
        }
        Some(value)
    }

    /// As [`Section::get`], within inclusive bounds.
    pub(super) fn within<T: FromSetting + PartialOrd>(
        &mut self,
        key: &'static str,
        default: T,
        bounds: &RangeInclusive<T>,
    ) -> T {
        self.optional_within(key, bounds).unwrap_or(default)
    }

    /// The value of a key that must be there; notes a problem and answers none when it is not.
    pub(super) fn required<T: FromSetting>(&mut self, key: &'static str) -> Option<T> {
        if !self.table.contains_key(key) {
            self.remove(key);
            self.notes.problem(self.place.clone(), self.key(key), "is required");
            return None;
        }
        self.optional(key)
    }

    /// Reads the table `key`, which may be missing.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let entry = self.remove(key);
        let path = self.key(key);
        let place = entry.as_ref().map(|entry| entry.place.clone());
        let table = entry.and_then(|entry| self.table_of(&path, entry)).unwrap_or_default();
        self.inner(path, place, table, read)
    }

    /// Reads every table of the list `key`, which may be missing.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let path = self.key(key);
        let entries = match self.remove(key) {
            None => return Vec::new(),
            Some(Entry { node: Node::List(entries), .. }) => entries,
            Some(Entry { node, place }) => {
                let message = format!("must be a list of tables, written [[{path}]], is {}", node.kind());
                self.notes.problem(Some(place), path, message);
                return Vec::new();
            }
        };
        let mut all = Vec::new();
        for entry in entries {
            let place = Some(entry.place.clone());
            if let Some(table) = self.table_of(&path, entry) {
                all.push(self.inner(path.clone(), place, table, &mut read));
            }
        }
        all
    }

    /// The entries of the table `key`, whose keys are the user's own.
    pub(super) fn free(&mut self, key: &'static str) -> Table {
        let path = self.key(key);
        self.remove(key).and_then(|entry| self.table_of(&path, entry)).unwrap_or_default()
    }

    /// Reads every table of the table `key`, whose keys are the user's own.
    pub(super) fn tables<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&mut Section<'_>) -> T,
    ) -> BTreeMap<String, T> {
        let outer = self.key(key);
        let mut all = BTreeMap::new();
        for (name, entry) in self.free(key) {
            let path = format!("{outer}.{name}");
            let place = Some(entry.place.clone());
            if let Some(table) = self.table_of(&path, entry) {
                all.insert(name, self.inner(path, place, table, &read));
            }
        }
        all
    }

    /// Notes something that is wrong with a value which reads well by itself.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.notes.problem(self.place.clone(), self.key(key), message);
    }

    /// Notes something that is wrong with an entry of [`Section::free`].
    pub(super) fn problem_at(&self, place: &Place, key: &str, message: impl Into<String>) {
        self.notes.problem(Some(place.clone()), self.key(key), message);
    }

    fn inner<T>(
        &self,
        path: String,
        place: Option<Place>,
        table: Table,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let mut section = Section { path, table, place, asked: Vec::new(), notes: self.notes };
        let value = read(&mut section);
        section.finish();
        value
    }

    fn table_of(&self, path: &str, entry: Entry) -> Option<Table> {
        match entry.node {
            Node::Table(table) => Some(table),
            node => {
                let message = format!("must be a table, written [{path}], is {}", node.kind());
                self.notes.problem(Some(entry.place), path.to_owned(), message);
                None
            }
        }
    }

    /// Everything that nobody asked for is a mistake.
    pub(super) fn finish(mut self) {
        for (key, entry) in std::mem::take(&mut self.table) {
            self.unknown(&key, &entry);
        }
    }

    fn unknown(&self, key: &str, entry: &Entry) {
        let path = self.key(key);
        let mut of_nacos = false;
        nacos::leaves(key, entry, &mut |name, place| {
            if let Some(hint) = nacos::hint(name) {
                of_nacos = true;
                let message = format!("is the Nacos property {name}; in Muster {hint}");
                self.notes.problem(Some(place.clone()), self.key(key), message);
            }
        });
        if of_nacos {
            return;
        }
        let message = match nearest(key, &self.asked) {
            Some(near) => format!("unknown key; did you mean {}?", self.key(near)),
            None => format!("unknown key; {} has: {}", self.name(), self.asked.join(", ")),
        };
        self.notes.problem(Some(entry.place.clone()), path, message);
    }

    fn name(&self) -> String {
        if self.path.is_empty() { "the top level".into() } else { format!("[{}]", self.path) }
    }
}

/// The word of `known` that a person most likely meant by `word`.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |text: &str| text.to_lowercase().replace(['_', '.'], "-");
    let word = plain(word);
    let scored = known.iter().map(|known| (distance(&word, known), *known));
    let limit = (word.chars().count() / 3).max(1);
    scored.filter(|(distance, _)| *distance <= limit).min().map(|(_, known)| known)
}

/// Edits (insert, remove, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_within_reason() {
        let known = ["bind", "max-body", "header-timeout"];
        assert_eq!(nearest("bnid", &known), Some("bind"));
        assert_eq!(nearest("max_body", &known), Some("max-body"));
        assert_eq!(nearest("headerTimeout", &known), Some("header-timeout"));
        assert_eq!(nearest("port", &known), None);
    }
}
