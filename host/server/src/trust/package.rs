//! The three files of a plugin, as their bytes are: nothing is read twice, so what was verified is what is used.

use super::signature::MAX_FILE;
use super::statement::Statement;
use bytes::Bytes;
use muster_wasm::{LoadError, MAX_COMPONENT, Manifest};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes of the largest manifest.
pub const MAX_MANIFEST: usize = 64 << 10;

/// A component, its manifest, and its signatures if there are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// `NAME.wasm`
    pub wasm: Bytes,
    /// `NAME.toml`, as it was written
    pub manifest: Bytes,
    /// `NAME.sig`
    pub signature: Option<Bytes>,
}

/// Why the files of a plugin cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: io::Error,
    },
    /// A file is larger than any of its kind.
    #[error("{} has more than {max} bytes", path.display())]
    TooLarge {
        /// the file
        path: PathBuf,
        /// bytes that are accepted
        max: usize,
    },
    /// A component without its manifest.
    #[error("{} has no manifest; write {}", component.display(), manifest.display())]
    NoManifest {
        /// the component
        component: PathBuf,
        /// where its manifest should be
        manifest: PathBuf,
    },
}

impl Package {
    /// Reads the component at `path`, and what is beside it.
    ///
    /// # Errors
    /// [`PackageError`].
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let manifest = path.with_extension("toml");
        let component = || path.to_owned();
        let found = bounded(&manifest, MAX_MANIFEST)?;
        let Some(text) = found else {
            return Err(PackageError::NoManifest { component: component(), manifest });
        };
        let not_there = || io::Error::from(io::ErrorKind::NotFound);
        let wasm = bounded(path, MAX_COMPONENT)?;
        let wasm = wasm.ok_or_else(|| PackageError::Unreadable { path: component(), source: not_there() })?;
        let signature = bounded(&path.with_extension("sig"), MAX_FILE)?;
        Ok(Self { wasm, manifest: text, signature })
    }

    /// The manifest, read.
    ///
    /// # Errors
    /// [`LoadError::Manifest`].
    pub fn parse_manifest(&self) -> Result<Manifest, LoadError> {
        let text = std::str::from_utf8(&self.manifest);
        Manifest::parse(text.map_err(|error| LoadError::Manifest(format!("not UTF-8: {error}")))?)
    }

    /// What a signature of it is over.
    pub fn statement(&self) -> Statement {
        Statement::of(&self.wasm, &self.manifest)
    }
}

/// The bytes of a file of at most `max`; none when there is no such file.
fn bounded(path: &Path, max: usize) -> Result<Option<Bytes>, PackageError> {
    let unreadable = |source| PackageError::Unreadable { path: path.to_owned(), source };
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(unreadable)?,
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(max).unwrap_or(u64::MAX);
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > max {
        return Err(PackageError::TooLarge { path: path.to_owned(), max });
    }
    Ok(Some(bytes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_they_are_and_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wasm");
        assert!(matches!(Package::read(&path), Err(PackageError::NoManifest { .. })));
        std::fs::write(folder.path().join("a.toml"), b"\xff").unwrap();
        assert!(matches!(Package::read(&path), Err(PackageError::Unreadable { .. })));
        std::fs::write(&path, b"wasm").unwrap();
        let package = Package::read(&path).unwrap();
        assert!(package.manifest == b"\xff"[..] && package.signature.is_none());
        assert!(package.parse_manifest().unwrap_err().to_string().contains("UTF-8"));
        std::fs::write(folder.path().join("a.sig"), vec![b'x'; MAX_FILE + 1]).unwrap();
        let error = Package::read(&path).unwrap_err().to_string();
        assert!(error.ends_with("a.sig has more than 4096 bytes"), "{error}");
    }
}
