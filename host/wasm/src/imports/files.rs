//! `files`: the files that the manifest names, below one folder, read-only.

use crate::{
    bindings::since_v0_1_1::files::{Content, FileError, Host},
    state::{GuestState, Reach},
    trace::Turn,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
};
use tokio::time::Instant;

/// Bytes of the largest file that is read.
const MAX_FILE: u64 = 1 << 20;

/// A folder and the names in it that may be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) names: Vec<String>,
}

impl Host for GuestState {
    async fn read(&mut self, name: String) -> wasmtime::Result<Result<Content, FileError>> {
        let began = Instant::now();
        let pending = match self.call.turn("files.read", |_| json!({"name": name}))? {
            Turn::Played(answer) => return Ok(answer),
            Turn::Live(pending) => pending,
        };
        let answer = match &self.call.reach {
            Reach::Lookup(folder, ..) if folder.names.contains(&name) => {
                let (folder, name) = (Arc::clone(folder), name.clone());
                let reading = tokio::task::spawn_blocking(move || read_below(&folder.path, &name));
                self.call.wait(reading).await.unwrap_or(Err(FileError::Unreadable))
            }
            Reach::Lookup(folder, ..) => {
                let granted = folder.names.clone();
                self.call.refuse_name("files", granted, &name);
                Err(FileError::Denied)
            }
            _ => Err(FileError::Denied),
        };
        self.call.note("files.read", began, || match &answer {
            Ok(content) => format!("{name}: {} bytes", content.bytes.len()),
            Err(error) => format!("{name}: {error}"),
        });
        self.call.done(&pending, began, || answer.clone());
        Ok(answer)
    }
}

/// Reads `folder`/`name`, wherever symbolic links lead, as long as it is below `folder`.
fn read_below(folder: &Path, name: &str) -> Result<Content, FileError> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || name.contains('\0') {
        return Err(FileError::Denied);
    }
    let folder = folder.canonicalize().map_err(file_error)?;
    let path = folder.join(name).canonicalize().map_err(file_error)?;
    if !path.starts_with(&folder) {
        return Err(FileError::Denied);
    }
    // a pipe would never end to open
    if !path.metadata().map_err(file_error)?.is_file() {
        return Err(FileError::Unreadable);
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(file_error)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(file_error)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(FileError::TooLarge);
    }
    let stamp = crate::inspect::hex(&Sha256::digest(&bytes)[..16]);
    Ok(Content { bytes, stamp })
}

fn file_error(error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing,
        _ => FileError::Unreadable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    fn word(answer: Result<Content, FileError>) -> Result<Vec<u8>, String> {
        answer.map(|content| content.bytes).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn nothing_outside_the_folder_is_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("conf");
        fs::create_dir_all(folder.join("sub")).unwrap();
        fs::write(root.path().join("secret"), "no").unwrap();
        fs::write(folder.join("sub/list"), "yes").unwrap();
        symlink("../secret", folder.join("escape")).unwrap();
        symlink("sub/list", folder.join("inside")).unwrap();
        symlink("..", folder.join("up")).unwrap();
        let read = |name: &str| word(read_below(&folder, name));
        let denied = format!("{:?}", FileError::Denied);
        for name in ["../secret", "/etc/passwd", "escape", "up/secret", "sub/../../secret", "./sub/../list\0"]
        {
            assert_eq!(read(name), Err(denied.clone()), "{name:?}");
        }
        assert_eq!(read("sub/list"), Ok(b"yes".to_vec()));
        assert_eq!(read("inside"), Ok(b"yes".to_vec()), "a link inside the folder is the operator's own");
        assert_eq!(read("absent"), Err(format!("{:?}", FileError::Missing)));
        assert_eq!(read("sub"), Err(format!("{:?}", FileError::Unreadable)));
    }

    #[test]
    fn a_file_of_more_than_a_mebibyte_is_too_large() {
        let root = tempfile::tempdir().unwrap();
        let write = |size| fs::write(root.path().join("f"), vec![0; size]).unwrap();
        write(1 << 20);
        assert!(read_below(root.path(), "f").is_ok());
        write((1 << 20) + 1);
        assert_eq!(word(read_below(root.path(), "f")), Err(format!("{:?}", FileError::TooLarge)));
    }

    #[test]
    fn the_stamp_changes_with_the_content() {
        let root = tempfile::tempdir().unwrap();
        let stamp = |text| {
            fs::write(root.path().join("f"), text).unwrap();
            read_below(root.path(), "f").map(|content| content.stamp).ok()
        };
        assert_eq!(stamp("a"), stamp("a"));
        assert_ne!(stamp("a"), stamp("b"));
    }
}
