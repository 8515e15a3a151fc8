//! Compiled code, kept between starts.
//!
//! A `.cwasm` file is native code that this process will run, so nothing is taken from it unless this very
//! installation wrote it:
//!
//! - The folder is the node's own: mode 0700, owned by the user the node runs as, no symbolic link. Anything else
//!   and the cache is off.
//! - A file's name is the sha256 of the component and of the compiler's own compatibility hash.
//! - Each file is sealed with HMAC-SHA256 over its name and its bytes. The key is 32 random bytes in the file `key`
//!   (mode 0600) of the same folder. Who can only write or exchange a `.cwasm` file, or copy one from another node
//!   or under another name, cannot seal it. Who can read `key` is the node's own user, who could as well exchange
//!   the node.
//! - The seal is checked over the bytes in memory that are then given to wasmtime: no later change of the file
//!   reaches running code.
//! - Any mismatch deletes the file, and the component is compiled.
//!
//! Compiled code never comes from an upload, a plugin folder or another node.

use sha2::{Digest as _, Sha256};
use std::{
    fs, io,
    io::{Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};
use wasmtime::{Engine, component::Component};

const SEAL: usize = 32;

/// The folder of compiled code.
pub(crate) struct Cache {
    folder: PathBuf,
    key: [u8; 32],
}

/// Why the cache is off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("{0} is not a folder of this node's own user with mode 0700")]
    NotOurs(PathBuf),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("no random bytes for the key")]
    NoRandom,
}

impl Cache {
    /// Opens the folder, creating it and its key when they are missing.
    pub(crate) fn open(folder: &Path) -> Result<Self, CacheError> {
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        private(folder, fs::symlink_metadata(folder)?.is_dir())?;
        let key = key(&folder.join("key"))?;
        Ok(Self { folder: folder.to_owned(), key })
    }

    /// The component's compiled code, when this installation compiled it before.
    pub(crate) fn take(&self, engine: &Engine, digest: &[u8; 32]) -> Option<Component> {
        let name = file_name(engine, digest);
        let path = self.folder.join(&name);
        let bytes = match read_private(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return self.distrust(&path, &error.to_string()),
        };
        let Some(code) = self.unseal(&name, &bytes) else { return self.distrust(&path, "wrong seal") };
        match deserialize(engine, code) {
            Ok(component) => Some(component),
            Err(error) => self.distrust(&path, &error),
        }
    }

    /// Keeps `component`'s compiled code for the next start.
    pub(crate) fn keep(&self, engine: &Engine, digest: &[u8; 32], component: &Component) -> io::Result<()> {
        let name = file_name(engine, digest);
        let code = component.serialize().map_err(|error| io::Error::other(format!("{error:#}")))?;
        let seal = self.seal(&name, &code);
        let temporary = self.folder.join(format!("{name}.{}.tmp", std::process::id()));
        let written = write_private(&temporary, &[&seal, &code])
            .and_then(|()| fs::rename(&temporary, self.folder.join(&name)))
            .and_then(|()| fs::File::open(&self.folder)?.sync_all());
        if written.is_err() {
            // it may not even exist; what matters is the first error
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn distrust<T>(&self, path: &Path, why: &str) -> Option<T> {
        tracing::warn!(file = %path.display(), why, "compiled code is not taken from the cache");
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(file = %path.display(), %error, "cannot delete it");
        }
        None
    }

    fn unseal<'a>(&self, name: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (seal, code) = bytes.split_at_checked(SEAL)?;
        let expected = self.seal(name, code);
        // no early end: the time taken says nothing about the seal
        let differs = seal.iter().zip(expected).fold(0, |differs, (a, b)| differs | (a ^ b));
        (differs == 0).then_some(code)
    }

    /// HMAC-SHA256 (RFC 2104) of the name and the code.
    fn seal(&self, name: &str, code: &[u8]) -> [u8; SEAL] {
        let padded = |pad: u8| {
            let mut block = [pad; 64];
            block.iter_mut().zip(self.key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new_with_prefix(block)
        };
        let inner = padded(0x36).chain_update(name).chain_update([0]).chain_update(code).finalize();
        padded(0x5c).chain_update(inner).finalize().into()
    }
}

/// Native code from sealed bytes.
#[allow(
    unsafe_code,
    reason = "see the SAFETY comment: sealed by this installation, checked over these bytes"
)]
fn deserialize(engine: &Engine, code: &[u8]) -> Result<Component, String> {
    // SAFETY: `Component::deserialize` must only be given what `Component::serialize` gave. The caller has just
    // checked, over these very bytes in memory, a seal that only this installation can make (see above), and seals
    // are made only in `keep`, over the output of `serialize`. Wasmtime itself refuses code of another version,
    // CPU or engine setting.
    unsafe { Component::deserialize(engine, code) }.map_err(|error| format!("{error:#}"))
}

fn file_name(engine: &Engine, digest: &[u8; 32]) -> String {
    struct Into256(Sha256);
    impl std::hash::Hasher for Into256 {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Into256(Sha256::new_with_prefix(digest));
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hasher);
    format!("{}.cwasm", crate::inspect::hex(&hasher.0.finalize()))
}

/// Refuses what another user could have written.
fn private(path: &Path, right_kind: bool) -> Result<(), CacheError> {
    let found = fs::symlink_metadata(path)?;
    let ours = fs::metadata("/proc/self")?.uid();
    if right_kind && found.uid() == ours && found.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(CacheError::NotOurs(path.to_owned()))
    }
}

fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let found = fs::symlink_metadata(path)?;
    private(path, found.is_file()).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    fs::File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn write_private(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// The key of the seals; made on first use.
fn key(path: &Path) -> Result<[u8; 32], CacheError> {
    match read_private(path) {
        Ok(bytes) if bytes.len() == 32 => {
            let mut key = [0; 32];
            key.copy_from_slice(&bytes);
            return Ok(key);
        }
        Ok(_) => tracing::warn!(file = %path.display(), "the cache's key is damaged; a new one is made"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let mut key = [0; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut key)
        .map_err(|_| CacheError::NoRandom)?;
    write_private(path, &[&key])?;
    Ok(key)
}
