//! `[secrets]`: passwords by name, which other settings refer to.

use super::reader::Section;
use super::tree::{Node, Table};
use crate::secrets::Secret;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where a secret comes from. Shows no value, ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// Written into the settings.
    Value(Secret),
    /// The content of a file, without the newline at its end.
    File(PathBuf),
    /// The value of an environment variable.
    Variable(String),
}

const WANTED: &str =
    "must be a text, or one of { value = \"…\" }, { file = \"PATH\" } and { env = \"NAME\" }";

/// Reads `[secrets]` of `root`. No message repeats a value.
pub(super) fn read(root: &mut Section<'_>) -> BTreeMap<String, SecretSource> {
    let mut sources = BTreeMap::new();
    for (name, entry) in root.free("secrets") {
        let source = match &entry.node {
            Node::Text(text) | Node::Raw(text) => Some(SecretSource::Value(Secret::new(text.as_str()))),
            Node::Table(table) => of_table(table),
            _ => None,
        };
        match source {
            Some(source) => {
                sources.insert(name, source);
            }
            None => root.problem_at(&entry.place, &format!("secrets.{name}"), WANTED),
        }
    }
    sources
}

fn of_table(table: &Table) -> Option<SecretSource> {
    let mut entries = table.iter();
    let (Some((key, entry)), None) = (entries.next(), entries.next()) else { return None };
    let text = entry.node.text().filter(|text| !text.is_empty())?;
    match key.as_str() {
        "value" => Some(SecretSource::Value(Secret::new(text))),
        "file" => Some(SecretSource::File(text.into())),
        "env" => Some(SecretSource::Variable(text.to_owned())),
        _ => None,
    }
}
