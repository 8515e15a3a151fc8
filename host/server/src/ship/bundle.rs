//! Several plugins in one tar file: an OCI image layout (OCI image specification 1.1, "Image layout"), which registry
//! tools read as well.

use super::artifact::{
    Artifact, ArtifactError, Descriptor, MANIFEST_TYPE, MAX_IMAGE_MANIFEST, Named, Shipped,
};
use super::reference::Digest;
use bytes::Bytes;
use muster_wasm::Inspection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use tar::{Archive, Builder, EntryType, Header};

/// Bytes of the largest bundle that is read; all of it is in memory.
pub const MAX_BUNDLE: u64 = 256 << 20;
/// Plugins of one bundle.
const MAX_PLUGINS: usize = 256;
/// In front of every name: the version of the layout.
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const LAYOUT_FILE: &str = "oci-layout";
const INDEX_FILE: &str = "index.json";
const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Why a bundle cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The tar file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is not such a bundle.
    #[error("it is no bundle: {0}")]
    Other(String),
    /// It holds something that is no plugin.
    #[error("{name}: {source}")]
    Artifact {
        /// its name in the bundle
        name: String,
        /// why
        #[source]
        source: ArtifactError,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
}

/// Writes plugins, each with what was found of its component. The same plugins make the same bytes.
///
/// # Errors
/// [`BundleError`].
pub fn write(plugins: &[(Named, Inspection)], out: impl Write) -> Result<Vec<Digest>, BundleError> {
    if plugins.len() > MAX_PLUGINS {
        return Err(BundleError::Other(format!("{} plugins, at most {MAX_PLUGINS}", plugins.len())));
    }
    let (mut blobs, mut manifests) = (BTreeMap::new(), Vec::new());
    for (plugin, inspection) in plugins {
        let failed = |source| BundleError::Artifact { name: plugin.name.clone(), source };
        let artifact = Artifact::of(plugin, inspection).map_err(failed)?;
        let mut entry = Descriptor::of(MANIFEST_TYPE, &artifact.manifest);
        entry.annotations.insert(REF_NAME.to_owned(), plugin.name.clone());
        manifests.push(entry);
        for blob in artifact.blobs().into_iter().chain([&artifact.manifest]) {
            blobs.insert(blob_path(&Digest::of(blob)), blob.clone());
        }
    }
    let digests = manifests.iter().map(|one| one.digest.clone()).collect();
    let index = Index { schema_version: 2, media_type: Some(INDEX_TYPE.into()), manifests };
    let index = serde_json::to_vec(&index).map_err(io::Error::from)?;
    let mut tar = Builder::new(out);
    append(&mut tar, LAYOUT_FILE, LAYOUT.as_bytes())?;
    append(&mut tar, INDEX_FILE, &index)?;
    for (path, blob) in &blobs {
        append(&mut tar, path, blob)?;
    }
    tar.into_inner()?.flush()?;
    Ok(digests)
}

fn append(tar: &mut Builder<impl Write>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, path, bytes)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a bundle. Every blob is compared with its digest; signatures are for the caller to judge.
///
/// # Errors
/// [`BundleError`].
pub fn read(input: impl Read) -> Result<Vec<Named>, BundleError> {
    let files = files(input)?;
    let other = |why: String| BundleError::Other(why);
    let index = files.get(INDEX_FILE).ok_or_else(|| other(format!("it holds no {INDEX_FILE}")))?;
    let index: Index = serde_json::from_slice(index).map_err(|error| other(error.to_string()))?;
    if index.manifests.is_empty() || index.manifests.len() > MAX_PLUGINS {
        return Err(other(format!("{} plugins, from 1 to {MAX_PLUGINS} are read", index.manifests.len())));
    }
    let plugin = |entry: &Descriptor| {
        let name = entry.annotations.get(REF_NAME).cloned().unwrap_or_else(|| entry.digest.to_string());
        let blob = |digest: &Digest| {
            let missing = || ArtifactError::Other(format!("the bundle does not hold {digest}"));
            files.get(&blob_path(digest)).cloned().ok_or_else(missing)
        };
        let read = || {
            let manifest = blob(&entry.digest)?;
            entry.digest.check(&manifest)?;
            if manifest.len() > MAX_IMAGE_MANIFEST {
                return Err(ArtifactError::Other("its image manifest is too large".into()));
            }
            let shipped = Shipped::read(&manifest)?;
            let component = blob(shipped.component())?;
            shipped.with(component)
        };
        read().map_err(|source| BundleError::Artifact { name, source })
    };
    index.manifests.iter().map(plugin).collect()
}

/// The regular files of a tar file.
fn files(input: impl Read) -> Result<BTreeMap<String, Bytes>, BundleError> {
    let mut files = BTreeMap::new();
    let mut left = MAX_BUNDLE;
    let mut tar = Archive::new(input.take(MAX_BUNDLE));
    for entry in tar.entries()? {
        let entry = entry?;
        if entry.header().entry_type() == EntryType::Directory {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.strip_prefix("./").unwrap_or(&path).to_owned();
        if entry.header().entry_type() != EntryType::Regular {
            return Err(BundleError::Other(format!("{path:?} in it is no regular file")));
        }
        left = left
            .checked_sub(entry.size())
            .ok_or_else(|| BundleError::Other(format!("it has more than {MAX_BUNDLE} bytes")))?;
        let size = entry.size();
        let mut bytes = Vec::new();
        entry.take(size).read_to_end(&mut bytes)?;
        if files.insert(path.clone(), Bytes::from(bytes)).is_some() {
            return Err(BundleError::Other(format!("{path:?} is in it twice")));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::artifact::tests::plugin;
    use super::*;

    fn bundle() -> (Vec<(Named, Inspection)>, Vec<u8>) {
        let plugins = vec![plugin("one"), plugin("two")];
        let mut out = Vec::new();
        write(&plugins, &mut out).unwrap();
        (plugins, out)
    }

    #[test]
    fn a_bundle_reads_back_and_is_the_same_every_time() {
        let (plugins, bytes) = bundle();
        assert_eq!(bytes, bundle().1);
        let read = read(&bytes[..]).unwrap();
        assert_eq!(read, plugins.into_iter().map(|(plugin, _)| plugin).collect::<Vec<_>>());
    }

    #[test]
    fn a_bundle_that_was_changed_is_refused() {
        let (_, bytes) = bundle();
        let layer = bytes.windows(512).position(|block| block.starts_with(b"wasm\0")).unwrap();
        let mut changed = bytes.clone();
        changed[layer] = b'W';
        let error = read(&changed[..]).unwrap_err().to_string();
        assert!(error.contains("not what its digest says"), "{error}");
        for cut in [0, 100, 600, bytes.len() / 2] {
            assert!(read(&bytes[..cut]).is_err(), "{cut} bytes");
        }
        assert!(read(&vec![b'x'; 2048][..]).is_err());
    }

    #[test]
    fn links_and_repetitions_are_refused() {
        let tar = |entries: &[(&str, EntryType)]| {
            let mut builder = Builder::new(Vec::new());
            for (path, kind) in entries {
                let mut header = Header::new_ustar();
                header.set_entry_type(*kind);
                header.set_size(0);
                header.set_link_name("/etc/passwd").unwrap();
                builder.append_data(&mut header, path, io::empty()).unwrap();
            }
            read(&builder.into_inner().unwrap()[..]).unwrap_err().to_string()
        };
        assert!(tar(&[("index.json", EntryType::Symlink)]).contains("no regular file"));
        let twice = [("a", EntryType::Regular), ("./a", EntryType::Regular)];
        assert!(tar(&twice).contains("twice"));
        assert!(tar(&[("a", EntryType::Regular)]).contains("holds no index.json"));
    }
}
