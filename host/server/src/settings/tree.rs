//! A settings file as a tree that remembers where each value was written, with the environment laid over it.

use super::reader::Problem;
use std::collections::BTreeMap;
use std::fmt;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Variables that start so, and name a section and a key joined by [`LEVEL`], override the file.
pub(super) const PREFIX: &str = "MUSTER_";
/// Between section and key in the name of a variable. Names without it are left alone: an orchestrator may
/// set `MUSTER_PORT` and the like for reasons of its own.
const LEVEL: &str = "__";

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Line of the file, from 1.
    Line(usize),
    /// An environment variable.
    Variable(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) place: Place,
}

/// A table of a settings file.
pub(super) type Table = BTreeMap<String, Entry>;

/// A value of a settings file.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Entry>),
    Table(Table),
    /// From the environment, where everything is text.
    Raw(String),
}

impl Node {
    /// The kind of value, for messages.
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Text(text) | Self::Raw(text) => format!("the text {text:?}"),
            Self::Integer(number) => format!("the number {number}"),
            Self::Float(number) => format!("the number {number}"),
            Self::Boolean(flag) => format!("{flag}"),
            Self::List(_) => "a list".into(),
            Self::Table(_) => "a table".into(),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Raw(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Raw(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn float(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            #[allow(clippy::cast_precision_loss, reason = "settings are small numbers")]
            Self::Integer(number) => Some(*number as f64),
            Self::Raw(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(flag) => Some(*flag),
            Self::Raw(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The value as text, the way plugins get their settings; none for dates, lists and tables of a kind that
    /// JSON lacks.
    pub(super) fn flattened(&self) -> String {
        match self {
            Self::Text(text) | Self::Raw(text) => text.clone(),
            _ => self.json().to_string(),
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) | Self::Raw(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Boolean(flag) => (*flag).into(),
            Self::List(entries) => entries.iter().map(|entry| entry.node.json()).collect(),
            Self::Table(table) => table.iter().map(|(key, entry)| (key.clone(), entry.node.json())).collect(),
        }
    }
}

/// The tree of a TOML document.
pub(super) fn parse(text: &str) -> Result<Table, Problem> {
    let document = DeTable::parse(text).map_err(|error| Problem {
        place: error.span().map(|span| Place::Line(line_of(text, span.start))),
        key: String::new(),
        message: format!("not valid TOML: {}", error.message()),
    })?;
    Ok(table_of(text, document.get_ref()))
}

fn table_of(text: &str, table: &DeTable<'_>) -> Table {
    table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), entry_of(text, key.span().start, value)))
        .collect()
}

fn entry_of(text: &str, start: usize, value: &Spanned<DeValue<'_>>) -> Entry {
    let node = match value.get_ref() {
        DeValue::String(string) => Node::Text(string.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Node::Integer(number),
            Err(_) => Node::Text(number.to_string()), // too large: refused by whoever wants a number
        },
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Node::Text(number.to_string()), Node::Float)
        }
        DeValue::Boolean(flag) => Node::Boolean(*flag),
        DeValue::Datetime(date) => Node::Text(date.to_string()),
        DeValue::Array(array) => {
            Node::List(array.iter().map(|item| entry_of(text, item.span().start, item)).collect())
        }
        DeValue::Table(table) => Node::Table(table_of(text, table)),
    };
    Entry { node, place: Place::Line(line_of(text, start)) }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// Lays the variables over the file: `MUSTER_HTTP__BIND` over `http.bind`.
pub(super) fn overlay(
    tree: &mut Table,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, value) in variables {
        let Some(path) = name.strip_prefix(PREFIX).filter(|path| path.contains(LEVEL)) else { continue };
        let keys: Vec<String> = path.split(LEVEL).map(|part| part.to_lowercase().replace('_', "-")).collect();
        let place = Place::Variable(name);
        if let Err(message) = put(tree, &keys, &value, &place) {
            problems.push(Problem { place: Some(place), key: keys.join("."), message });
        }
    }
    problems
}

fn put(table: &mut Table, keys: &[String], value: &str, place: &Place) -> Result<(), String> {
    match keys {
        [] => Ok(()),
        [last] => {
            table.insert(last.clone(), Entry { node: Node::Raw(value.to_owned()), place: place.clone() });
            Ok(())
        }
        [first, rest @ ..] => {
            let empty = || Entry { node: Node::Table(Table::new()), place: place.clone() };
            match &mut table.entry(first.clone()).or_insert_with(empty).node {
                Node::Table(inner) => put(inner, rest, value, place),
                _ => Err(format!("{first} is not a section, so it has no keys that could be overridden")),
            }
        }
    }
}
