//! The data directory: one node at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error(
        "node.data-dir {}: another Muster node uses it{}; stop that one, or give this one a directory of its own",
        path.display(),
        pid.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    Taken {
        /// the directory
        path: PathBuf,
        /// the other process, as far as it said
        pid: Option<String>,
    },
    /// It cannot be made or written to.
    #[error("node.data-dir {}: {source}", path.display())]
    Unusable {
        /// the directory or the file in it
        path: PathBuf,
        /// why
        #[source]
        source: io::Error,
    },
}

/// The data directory, ours until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    lock: File,
}

impl DataDir {
    /// Makes the directory where it is missing, and takes it. Blocks for as long as the disk does.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Unusable { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unusable)?;
        let file = path.join("muster.lock");
        let mut options = File::options();
        let mut lock =
            options.read(true).write(true).create(true).truncate(false).open(file).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message: the lock alone decides.
                let _ = lock.read_to_string(&mut pid);
                let pid = Some(pid.trim().to_owned()).filter(|pid| !pid.is_empty());
                return Err(DataDirError::Taken { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        lock.set_len(0).map_err(unusable)?;
        lock.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(unusable)?;
        Ok(Self { path: path.to_owned(), lock })
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing the file frees it as well.
        let _ = self.lock.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_node_is_told_who_has_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).unwrap_err().to_string();
        let pid = std::process::id();
        let expected = format!(
            "node.data-dir {}: another Muster node uses it (process {pid}); stop that one, or give this one a directory of its own",
            path.display()
        );
        assert_eq!(error, expected);
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_path_that_cannot_be_a_directory_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let error = DataDir::open(&path.join("data")).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("node.data-dir {}/file/data: ", folder.path().display())),
            "{error}"
        );
    }
}
