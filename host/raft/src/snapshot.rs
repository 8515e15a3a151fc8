//! Snapshots: a consistent copy of the rows, as one run of bytes that is stored in pieces.
//!
//! A copy is made from a view of the file, so that writes go on meanwhile, and is written piece by piece,
//! each its own short transaction, so that writes wait for a piece and never for the whole. Only the last
//! transaction makes the new copy the current one and drops the one before: until then a crash leaves the
//! old one current, and the pieces of the unfinished one are dropped by the next attempt.
//!
//! Layout: `MUSTROW1`, the number of rows (u64), then for each row its key and its value as stored, each
//! after its length (u32). Numbers are little-endian.

use crate::db::{Db, DbError, TxnError, View, get_meta, put_meta};
use crate::records::{AppliedRecord, SnapshotRecord};
use crate::tables::{ROWS, SNAPSHOT, meta};
use redb::{Durability, ReadTransaction, ReadableTable, ReadableTableMetadata, WriteTransaction};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"MUSTROW1";
/// Bytes of one piece.
const PIECE: usize = 1 << 20;

/// A row as stored: key and value.
type StoredRow<'a> = (&'a [u8], &'a [u8]);

/// The bytes that stand for all rows of `txn`.
pub(crate) fn encode(txn: &ReadTransaction) -> Result<Vec<u8>, TxnError> {
    let rows = txn.open_table(ROWS)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend(rows.len()?.to_le_bytes());
    for row in rows.iter()? {
        let (key, value) = row?;
        for part in [key.value(), value.value()] {
            let length = u32::try_from(part.len()).map_err(|error| TxnError::undecodable("a row", error))?;
            bytes.extend(length.to_le_bytes());
            bytes.extend(part);
        }
    }
    Ok(bytes)
}

/// Keys and values of the rows that `bytes` stand for.
pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<StoredRow<'_>>, TxnError> {
    rows_in(bytes).ok_or_else(|| TxnError::undecodable("a snapshot", "not a complete snapshot of format 1"))
}

fn rows_in(bytes: &[u8]) -> Option<Vec<StoredRow<'_>>> {
    let rest = &mut bytes.strip_prefix(MAGIC)?;
    let count = u64::from_le_bytes(*take::<8>(rest)?);
    let mut rows = Vec::new();
    for _ in 0..count {
        rows.push((take_part(rest)?, take_part(rest)?));
    }
    rest.is_empty().then_some(rows)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(head)
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = u32::from_le_bytes(*take::<4>(rest)?);
    let (part, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    *rest = tail;
    Some(part)
}

/// Copies the rows of `view` and makes the copy the current snapshot.
pub(crate) fn build(db: &Arc<Db>, view: &View) -> Result<(SnapshotRecord, Vec<u8>), DbError> {
    let covers: AppliedRecord = view.read(|txn| Ok(get_meta(txn, meta::APPLIED)?.unwrap_or_default()))?;
    let bytes = view.read(encode)?;
    let id = covers.last.map_or_else(|| "empty".to_owned(), |last| format!("{}-{}", last.term, last.index));
    let record = store(db, covers, id, &bytes)?;
    Ok((record, bytes))
}

/// Stores `bytes` and makes them the current snapshot. Waits for no more than a piece at a time.
fn store(db: &Arc<Db>, covers: AppliedRecord, id: String, bytes: &[u8]) -> Result<SnapshotRecord, DbError> {
    let generation = db.write(Durability::None, begin)?;
    for (number, piece) in (0..).zip(bytes.chunks(PIECE)) {
        db.write(Durability::None, |txn| {
            txn.open_table(SNAPSHOT)?.insert((generation, number), piece)?;
            Ok(())
        })?;
    }
    db.write(Durability::Immediate, |txn| {
        let record = record(generation, covers, format!("{id}-{generation}"), bytes)?;
        make_current(txn, &record)?;
        Ok(record)
    })
}

/// Stores `bytes` as the current snapshot within `txn`, under the id that its maker gave it.
pub(crate) fn store_within(
    txn: &WriteTransaction,
    covers: AppliedRecord,
    id: &str,
    bytes: &[u8],
) -> Result<(), TxnError> {
    let generation = begin(txn)?;
    let mut pieces = txn.open_table(SNAPSHOT)?;
    for (number, piece) in (0..).zip(bytes.chunks(PIECE)) {
        pieces.insert((generation, number), piece)?;
    }
    drop(pieces);
    make_current(txn, &record(generation, covers, id.to_owned(), bytes)?)
}

/// The current snapshot with its bytes.
pub(crate) fn current(txn: &ReadTransaction) -> Result<Option<(SnapshotRecord, Vec<u8>)>, TxnError> {
    let Some(record) = get_meta::<SnapshotRecord>(txn, meta::SNAPSHOT)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let pieces = (record.generation, 0)..(record.generation, record.pieces);
    for piece in txn.open_table(SNAPSHOT)?.range(pieces)? {
        bytes.extend(piece?.1.value());
    }
    if bytes.len() as u64 != record.bytes {
        let found = format!("{} of {} bytes", bytes.len(), record.bytes);
        return Err(TxnError::undecodable(format!("snapshot {}", record.id), found));
    }
    Ok(Some((record, bytes)))
}

/// Drops what an unfinished attempt left, and says which generation is next.
fn begin(txn: &WriteTransaction) -> Result<u64, TxnError> {
    let current = get_meta::<SnapshotRecord>(txn, meta::SNAPSHOT)?.map_or(0, |record| record.generation);
    txn.open_table(SNAPSHOT)?.retain(|(generation, _), _| generation == current)?;
    Ok(current + 1)
}

fn make_current(txn: &WriteTransaction, record: &SnapshotRecord) -> Result<(), TxnError> {
    put_meta(txn, meta::SNAPSHOT, record)?;
    txn.open_table(SNAPSHOT)?.retain(|(generation, _), _| generation == record.generation)?;
    Ok(())
}

fn record(
    generation: u64,
    covers: AppliedRecord,
    id: String,
    bytes: &[u8],
) -> Result<SnapshotRecord, TxnError> {
    let pieces = u32::try_from(bytes.chunks(PIECE).len())
        .map_err(|error| TxnError::undecodable("a snapshot", error))?;
    Ok(SnapshotRecord { generation, pieces, bytes: bytes.len() as u64, id, covers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_lost_its_end_is_refused() {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(1u64.to_le_bytes());
        bytes.extend([2, 0, 0, 0, b'k', b'1', 1, 0, 0, 0, b'v']);
        assert_eq!(rows_in(&bytes), Some(vec![(&b"k1"[..], &b"v"[..])]));
        for end in 0..bytes.len() {
            assert_eq!(rows_in(&bytes[..end]), None, "{end}");
        }
        bytes.push(0);
        assert_eq!(rows_in(&bytes), None);
    }
}
