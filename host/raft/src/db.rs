//! The file: opening it, one transaction at a time, closing it.
//!
//! **The prefix rule**, on which everything else rests: transactions are strictly one after the other, and
//! what a crash leaves in the file is the state after *some* transaction, not before the last one that was
//! committed as [`Durability::Immediate`]. Log and rows are in the same file, so a transaction that need not
//! be durable by itself may be committed as [`Durability::None`], which costs no fsync: after a crash it is
//! either there or cleanly missing together with everything that came later.

use crate::OpenError;
use crate::tables::{self, FORMAT, META, meta};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, TableHandle,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Why the file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DbError {
    #[error("{path}: {source}")]
    Redb { path: String, source: Box<redb::Error> },
    #[error("{path}: {what} cannot be decoded: {reason}; was it written by a newer version?")]
    Undecodable { path: String, what: String, reason: String },
    #[error("{path} is closed")]
    Closed { path: String },
    #[error("{path}: work on the file ended early: {reason}")]
    Interrupted { path: String, reason: String },
}

/// A failure inside a transaction, before the name of the file is added.
#[derive(Debug)]
pub(crate) enum TxnError {
    Redb(Box<redb::Error>),
    Undecodable { what: String, reason: String },
}

impl<E: Into<redb::Error>> From<E> for TxnError {
    fn from(error: E) -> Self {
        Self::Redb(Box::new(error.into()))
    }
}

impl TxnError {
    pub(crate) fn undecodable(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Undecodable { what: what.into(), reason: reason.to_string() }
    }
}

/// Bytes of the file kept in memory. Rows are read from it when they change and at a start, no query does:
/// redb's own default of 1 GiB would only grow with the file.
const CACHE: usize = 64 << 20;

/// Ids that are drawn are below this, so that every reader of JSON keeps all their digits.
const NODE_IDS: u64 = 1 << 53;

/// The open file, shared by the log, the rows and the snapshots.
#[derive(Debug)]
pub(crate) struct Db {
    path: PathBuf,
    /// none once closed
    database: RwLock<Option<Database>>,
    /// commands in quarantine, as they were last counted
    quarantined: AtomicU64,
}

impl Db {
    /// Opens the file at `path`, or creates it. Answers whose file it is: that of `node`, or, where none is named,
    /// that of whoever wrote it.
    pub(crate) fn open(path: &Path, node: Option<u64>, verify: bool) -> Result<(Self, u64), OpenError> {
        let is_new = !path.exists();
        let database = Database::builder()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(verify)
            .create(path)
            .map_err(|error| OpenError::from_redb(path, error))?;
        if is_new {
            sync_directory(path)?;
        }
        let db = Self {
            path: path.to_owned(),
            database: RwLock::new(Some(database)),
            quarantined: AtomicU64::new(0),
        };
        let node = db.check_format(node)?;
        Ok((db, node))
    }

    /// Opens what `backend` holds, with all checksums checked. It has to be a file of ours. Answers whose it is.
    pub(crate) fn over(path: &Path, backend: impl StorageBackend) -> Result<(Self, u64), OpenError> {
        let database = Database::builder()
            .set_cache_size(CACHE)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)
            .map_err(|error| OpenError::from_redb(path, error))?;
        let db = Self {
            path: path.to_owned(),
            database: RwLock::new(Some(database)),
            quarantined: AtomicU64::new(0),
        };
        if !db.read(|txn| Ok(txn.list_tables()?.any(|table| table.name() == META.name())))? {
            let reason = "a database, but of another program".to_owned();
            return Err(OpenError::Corrupt { path: path.to_owned(), reason });
        }
        let node = db.check_format(None)?;
        Ok((db, node))
    }

    /// Runs `work` in a write transaction and commits it; nothing is written when it fails.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<T, TxnError>,
    ) -> Result<T, DbError> {
        self.with(|database| {
            let mut txn = database.begin_write()?;
            txn.set_durability(durability)?;
            let value = work(&txn)?;
            txn.commit()?;
            Ok(value)
        })
    }

    /// Runs `work` on the state after the last commit.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, TxnError>,
    ) -> Result<T, DbError> {
        self.with(|database| work(&database.begin_read()?))
    }

    /// A view of the state after the last commit, which later commits do not change.
    pub(crate) fn view(self: &Arc<Self>) -> Result<View, DbError> {
        let txn = self.with(|database| Ok(database.begin_read()?))?;
        Ok(View { db: self.clone(), txn })
    }

    /// Makes everything durable and closes the file. Later calls fail, running ones are waited for.
    pub(crate) fn close(&self) -> Result<(), DbError> {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        database.map_or(Ok(()), Database::close).map_err(|error| self.name(error.into()))
    }

    pub(crate) fn quarantined(&self) -> u64 {
        self.quarantined.load(Ordering::Relaxed)
    }

    pub(crate) fn set_quarantined(&self, count: u64) {
        self.quarantined.store(count, Ordering::Relaxed);
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, TxnError>) -> Result<T, DbError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        match &*database {
            Some(database) => work(database).map_err(|error| self.name(error)),
            None => Err(DbError::Closed { path: self.path_text() }),
        }
    }

    fn name(&self, error: TxnError) -> DbError {
        let path = self.path_text();
        match error {
            TxnError::Redb(source) => DbError::Redb { path, source },
            TxnError::Undecodable { what, reason } => DbError::Undecodable { path, what, reason },
        }
    }

    fn path_text(&self) -> String {
        self.path.display().to_string()
    }

    /// Creates what a new file needs; refuses a file that is not ours to use. Answers whose it is.
    fn check_format(&self, wanted: Option<u64>) -> Result<u64, OpenError> {
        let new = wanted.unwrap_or_else(|| rand::random_range(1..NODE_IDS));
        let (format, node): (u32, u64) = self.write(Durability::Immediate, |txn| {
            txn.open_table(tables::LOG)?;
            txn.open_table(tables::ROWS)?;
            txn.open_table(tables::SNAPSHOT)?;
            txn.open_table(tables::QUARANTINE)?;
            if let Some(format) = get_meta(txn, meta::FORMAT)? {
                return Ok((format, get_meta(txn, meta::NODE)?.unwrap_or(new)));
            }
            put_meta(txn, meta::FORMAT, &FORMAT)?;
            put_meta(txn, meta::NODE, &new)?;
            Ok((FORMAT, new))
        })?;
        let path = self.path.clone();
        match wanted {
            _ if format > FORMAT => Err(OpenError::Newer { path, found: format, supported: FORMAT }),
            Some(wanted) if wanted != node => Err(OpenError::OtherNode { path, found: node, wanted }),
            _ => Ok(node),
        }
    }
}

/// The state at one moment.
#[derive(Debug)]
pub(crate) struct View {
    db: Arc<Db>,
    txn: ReadTransaction,
}

impl View {
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, TxnError>,
    ) -> Result<T, DbError> {
        work(&self.txn).map_err(|error| self.db.name(error))
    }
}

/// Runs `work`, which waits for the disk, on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    db: &Arc<Db>,
    work: impl FnOnce(&Arc<Db>) -> Result<T, DbError> + Send + 'static,
) -> Result<T, DbError> {
    let shared = db.clone();
    let done = tokio::task::spawn_blocking(move || work(&shared)).await;
    done.unwrap_or_else(|error| Err(DbError::Interrupted { path: db.path_text(), reason: error.to_string() }))
}

/// A table in which rows of `meta` can be read: of a read or of a write transaction.
pub(crate) trait Txn {
    /// The bytes under `key`.
    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, TxnError>;
}

impl Txn for WriteTransaction {
    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, TxnError> {
        Ok(self.open_table(META)?.get(key)?.map(|value| value.value().to_vec()))
    }
}

impl Txn for ReadTransaction {
    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, TxnError> {
        Ok(self.open_table(META)?.get(key)?.map(|value| value.value().to_vec()))
    }
}

/// The record under `key` of [`META`].
pub(crate) fn get_meta<T: DeserializeOwned>(txn: &impl Txn, key: &str) -> Result<Option<T>, TxnError> {
    let bytes = txn.meta(key)?;
    bytes.map(|bytes| decode(&bytes, || format!("meta/{key}"))).transpose()
}

/// Writes the record under `key` of [`META`].
pub(crate) fn put_meta<T: Serialize>(txn: &WriteTransaction, key: &str, record: &T) -> Result<(), TxnError> {
    let bytes = encode(record, || format!("meta/{key}"))?;
    txn.open_table(META)?.insert(key, bytes.as_slice())?;
    Ok(())
}

/// Reads JSON; `what` names the row in the error.
pub(crate) fn decode<T: DeserializeOwned>(
    bytes: &[u8],
    what: impl FnOnce() -> String,
) -> Result<T, TxnError> {
    serde_json::from_slice(bytes).map_err(|error| TxnError::undecodable(what(), error))
}

/// Writes JSON; `what` names the row in the error.
pub(crate) fn encode<T: Serialize>(record: &T, what: impl FnOnce() -> String) -> Result<Vec<u8>, TxnError> {
    serde_json::to_vec(record).map_err(|error| TxnError::undecodable(what(), error))
}

/// A new file is only there for good when its directory says so.
fn sync_directory(path: &Path) -> Result<(), OpenError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = std::fs::File::open(parent).and_then(|directory| directory.sync_all());
    synced.map_err(|source| OpenError::Io { path: path.to_owned(), source })
}
