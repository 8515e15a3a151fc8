//! Which cluster a file belongs to.

use crate::db::{Db, DbError, blocking, get_meta, put_meta};
use crate::tables::meta;
use redb::Durability;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A group of nodes that share one log: a number drawn when it was founded, written into the file of every node
/// that belongs to it, and never changed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Group(NonZeroU64);

impl Group {
    /// A new one.
    pub(crate) fn draw() -> Self {
        Self(rand::random())
    }

    /// A number that is not zero.
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The group of this node's file, once it has one.
#[derive(Debug)]
pub(crate) struct Belonging {
    db: Arc<Db>,
    /// 0: none
    number: AtomicU64,
}

impl Belonging {
    pub(crate) async fn read(db: Arc<Db>) -> Result<Arc<Self>, DbError> {
        let kept = blocking(&db, |db| db.read(|txn| get_meta::<Group>(txn, meta::GROUP))).await?;
        let number = AtomicU64::new(kept.map_or(0, |group| group.0.get()));
        Ok(Arc::new(Self { db, number }))
    }

    pub(crate) fn get(&self) -> Option<Group> {
        Group::new(self.number.load(Ordering::Acquire))
    }

    /// From now on and for good. To be called for a file that has none.
    pub(crate) async fn set(&self, group: Group) -> Result<(), DbError> {
        let write =
            move |db: &Arc<Db>| db.write(Durability::Immediate, |txn| put_meta(txn, meta::GROUP, &group));
        blocking(&self.db, write).await?;
        self.number.store(group.0.get(), Ordering::Release);
        Ok(())
    }
}
