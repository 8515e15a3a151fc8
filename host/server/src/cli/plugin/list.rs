//! A list of instances from a file, as a push filter sees it.

use muster_wasm::{Candidate, Candidates, Column};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Instances in a list.
const MOST: usize = 100_000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct List(Vec<Row>);

/// One instance; what is left out is as of a healthy instance of the default cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) address: String,
    pub(super) port: u16,
    #[serde(default = "default_cluster")]
    pub(super) cluster: String,
    #[serde(default = "one")]
    pub(super) weight: f64,
    #[serde(default = "yes")]
    pub(super) healthy: bool,
    #[serde(default = "yes")]
    pub(super) enabled: bool,
    #[serde(default = "yes")]
    pub(super) ephemeral: bool,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
}

fn default_cluster() -> String {
    muster_core::ids::DEFAULT_CLUSTER.into()
}

const fn one() -> f64 {
    1.0
}

const fn yes() -> bool {
    true
}

/// Reads a list.
pub(super) fn read(text: &str) -> Result<List, String> {
    let rows: Vec<Row> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if rows.len() > MOST {
        return Err(format!("{} instances, at most {MOST} are read", rows.len()));
    }
    Ok(List(rows))
}

impl List {
    /// `count` healthy instances in three zones and two clusters.
    pub(super) fn made(count: u32, healthy: bool) -> Self {
        let row = |at: u32| Row {
            address: format!("10.{}.{}.{}", at >> 16, (at >> 8) & 255, at & 255),
            port: 8080,
            cluster: ["a", "b"][at as usize % 2].to_owned(),
            weight: 1.0,
            healthy,
            enabled: true,
            ephemeral: true,
            metadata: [("zone".to_owned(), ["x", "y", "z"][at as usize % 3].to_owned())].into(),
        };
        Self((0..count).map(row).collect())
    }

    fn each<T>(&self, read: impl Fn(&Row) -> T) -> Arc<[T]> {
        self.0.iter().map(read).collect()
    }
}

impl Row {
    fn state(&self) -> u8 {
        u8::from(self.healthy) | u8::from(self.enabled) << 1 | u8::from(self.ephemeral) << 2
    }
}

fn column<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Arc<Column> {
    let mut column = Column::default();
    let mut known = BTreeMap::new();
    for value in values {
        let code = value.map_or(0, |value| {
            *known.entry(value).or_insert_with(|| {
                column.values.push(value.to_owned());
                u32::try_from(column.values.len()).unwrap_or(u32::MAX)
            })
        });
        column.codes.push(code);
    }
    Arc::new(column)
}

impl Candidates for List {
    fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn metadata(&self, key: &str) -> Arc<Column> {
        column(self.0.iter().map(|row| row.metadata.get(key).map(String::as_str)))
    }

    fn clusters(&self) -> Arc<Column> {
        column(self.0.iter().map(|row| Some(row.cluster.as_str())))
    }

    fn addresses(&self) -> Arc<[String]> {
        self.each(|row| row.address.clone())
    }

    fn ports(&self) -> Arc<[u16]> {
        self.each(|row| row.port)
    }

    fn weights(&self) -> Arc<[f64]> {
        self.each(|row| row.weight)
    }

    fn states(&self) -> Arc<[u8]> {
        self.each(Row::state)
    }

    fn instance(&self, index: u32) -> Option<Candidate> {
        let row = self.0.get(usize::try_from(index).ok()?)?;
        Some(Candidate {
            id: format!("{}#{}#{}", row.address, row.port, row.cluster),
            address: row.address.clone(),
            port: row.port,
            cluster: row.cluster.clone(),
            weight: row.weight,
            state: row.state(),
            metadata: row.metadata.clone().into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_with_defaults_and_without_surprises() {
        let list = read(r#"[{"address":"10.0.0.1","port":80},{"address":"10.0.0.2","port":81,"healthy":false,"metadata":{"zone":"b"}}]"#).unwrap();
        assert_eq!((list.count(), list.states().to_vec()), (2, vec![7, 6]));
        assert_eq!(list.metadata("zone").codes, [0, 1]);
        assert_eq!(list.clusters().values, ["DEFAULT"]);
        assert!(read(r#"[{"address":"x","port":80,"zone":"b"}]"#).unwrap_err().contains("zone"));
    }
}
