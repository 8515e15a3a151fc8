//! A data file that no node has open: what an operator can find out about it and do with it.
//!
//! [`examine()`] and [`export()`] write nothing to the file, not even the repair that one needs whose node was killed: what
//! they write goes to an overlay in memory. [`recover()`] changes it, after a copy was made.
//!
//! These functions wait for the disk: they are for a command line, not for a node.

mod examine;
mod export;
mod facts;
mod overlay;
mod recover;

pub use examine::examine;
pub use export::{ExportError, Exported, export};
pub use facts::{Examination, Facts, Finding, Kind};
pub use recover::{RecoverError, Recovered, recover};

use crate::db::Db;
use crate::error::OpenError;
use overlay::Overlay;
use std::any::Any;
use std::panic::catch_unwind;
use std::path::Path;

/// Opens the file of a node that does not run, with all its checksums checked, and leaves it as it is. Answers whose it
/// is, too.
fn look_into(path: &Path) -> Result<(Db, u64), OpenError> {
    let overlay = Overlay::open(path)?;
    let owned = path.to_owned();
    // The check finds damage without a panic; should it ever not, then the file is damaged all the same.
    let opened = catch_unwind(std::panic::AssertUnwindSafe(move || Db::over(&owned, overlay)));
    opened.unwrap_or_else(|broke| {
        Err(OpenError::Corrupt { path: path.to_owned(), reason: said(broke.as_ref()) })
    })
}

fn said(broke: &(dyn Any + Send)) -> String {
    let text = broke.downcast_ref::<&str>().copied().map(str::to_owned);
    text.or_else(|| broke.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the storage broke on it".into())
}
