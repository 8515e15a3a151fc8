//! All rows as text.

use super::look_into;
use crate::db::DbError;
use crate::error::OpenError;
use crate::log_store::log_state;
use crate::recover::{applied_index, recover};
use muster_core::ids::ServiceKey;
use muster_core::persist::{Change, Row, RowKey};
use serde::Serialize;
use serde_json::value::RawValue;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// lines
    pub rows: u64,
    /// index of the last log entry that they contain
    pub last: Option<u64>,
    /// entries in the log that are not known to be committed, and not in the rows
    pub unconfirmed: u64,
}

/// Why not all was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The lines cannot be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// A row. Fields that its kind does not have are left out.
#[derive(Serialize)]
struct Line<'a> {
    /// `switches`, `service`, `instance` or `overlay`
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    /// of an instance `ip:port`, of an overlay `ip:port:cluster`
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// as it is in the file
    value: Box<RawValue>,
}

/// Writes the rows of a node that does not run, one JSON object a line, sorted by kind, service and id:
/// `{"kind":"instance","namespace":…,"group":…,"service":…,"id":"10.0.0.9:3306","value":{…}}`. They contain what the
/// node would have when it is started, and nothing is written to its file.
///
/// # Errors
/// [`ExportError`].
pub fn export(path: &Path, out: &mut dyn Write) -> Result<Exported, ExportError> {
    let of_file = |error: DbError| ExportError::Open(error.into());
    let (db, node) = look_into(path)?;
    let db = Arc::new(db);
    let rows = recover(&db, node).map_err(of_file)?;
    let last = applied_index(&db).map_err(of_file)?;
    let end = db.read(log_state).map_err(of_file)?.last_log_id.map(|id| id.index);
    for change in &rows {
        if let Some(line) = line(change)? {
            serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    let next = |index: Option<u64>| index.map_or(0, |index| index + 1);
    Ok(Exported { rows: rows.len() as u64, last, unconfirmed: next(end).saturating_sub(next(last)) })
}

fn line(change: &Change) -> io::Result<Option<Line<'_>>> {
    let Some(row) = &change.row else { return Ok(None) };
    let (kind, service, id): (_, Option<&ServiceKey>, Option<&str>) = match &change.key {
        RowKey::Switches => ("switches", None, None),
        RowKey::Service(service) => ("service", Some(service), None),
        RowKey::Instance(service, address) => ("instance", Some(service), Some(address)),
        RowKey::Overlay(service, id) => ("overlay", Some(service), Some(id)),
        RowKey::Plugin(kind, name) => (kind.world(), None, Some(name)),
    };
    let value = match row {
        Row::Switches(value) => serde_json::value::to_raw_value(value),
        Row::Service(value) => serde_json::value::to_raw_value(value),
        Row::Instance(value) => serde_json::value::to_raw_value(value),
        Row::Overlay(value) => serde_json::value::to_raw_value(value),
        Row::Plugin(value) => serde_json::value::to_raw_value(value),
    }?;
    Ok(Some(Line {
        kind,
        namespace: service.map(ServiceKey::namespace),
        group: service.map(ServiceKey::group),
        service: service.map(ServiceKey::name),
        id,
        value,
    }))
}
