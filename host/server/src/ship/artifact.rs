//! A plugin as an OCI image manifest with a WebAssembly config and one layer, and back.

use super::reference::Digest;
use crate::trust::{MAX_MANIFEST, Package};
use bytes::Bytes;
use muster_wasm::{Inspection, LoadError, MAX_COMPONENT};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Media types. Source: OCI image specification 1.1, and the WebAssembly artifact layout.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";
/// Annotations: the name, `NAME.toml` and `NAME.sig`, word for word.
const TITLE: &str = "org.opencontainers.image.title";
const PLUGIN_MANIFEST: &str = "io.github.muster-registry.plugin.manifest";
const PLUGIN_SIGNATURE: &str = "io.github.muster-registry.plugin.signature";
/// Bytes of the largest image manifest that is read. A registry need not take one of more than 4 MiB.
pub(super) const MAX_IMAGE_MANIFEST: usize = 1 << 20;
/// The layout wants a date. Another one at every push would give the same plugin another digest.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Why something is not a plugin's artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// Not an image manifest.
    #[error("it is no image manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// An image manifest of something else.
    #[error("it is no plugin for Muster: {0}")]
    Other(String),
    /// A blob is not what the manifest says.
    #[error("the content is not what its digest says: expected {expected}, is {found}")]
    Digest {
        /// in the manifest
        expected: Digest,
        /// of the bytes
        found: Digest,
    },
    /// The plugin's manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] LoadError),
    /// Its name can be no file.
    #[error(
        "plugin.name {0:?} cannot be the name of a file: use letters, digits, dots, dashes and underscores"
    )]
    Name(String),
}

/// What a manifest says of a blob.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

impl Descriptor {
    pub(super) fn of(media_type: &str, bytes: &[u8]) -> Self {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let digest = Digest::of(bytes);
        Self { media_type: media_type.into(), digest, size, annotations: BTreeMap::new() }
    }

    /// The length in memory, when it is at most `max`.
    pub(super) fn len(&self, max: usize) -> Option<usize> {
        usize::try_from(self.size).ok().filter(|size| *size <= max)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageManifest {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// `application/vnd.wasm.config.v0+json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    layer_digests: Vec<Digest>,
    component: WasmComponent<'a>,
}

#[derive(Debug, Serialize)]
struct WasmComponent<'a> {
    exports: &'a [String],
    imports: &'a [String],
    target: &'a str,
}

/// A plugin with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// what its manifest says; fit to be the name of a file
    pub name: String,
    /// its files
    pub package: Package,
}

impl Named {
    /// Takes the name from the manifest.
    ///
    /// # Errors
    /// [`ArtifactError::Manifest`], [`ArtifactError::Name`].
    pub fn new(package: Package) -> Result<Self, ArtifactError> {
        let name = package.parse_manifest()?.plugin.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.starts_with('.') || !name.chars().all(plain) {
            return Err(ArtifactError::Name(name));
        }
        Ok(Self { name, package })
    }
}

/// All that is stored of one plugin.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// the image manifest; its digest is the artifact's
    pub manifest: Bytes,
    /// `application/vnd.wasm.config.v0+json`
    pub config: Bytes,
    /// the component
    pub layer: Bytes,
}

impl Artifact {
    /// Of a plugin, whose component was inspected.
    ///
    /// # Errors
    /// [`ArtifactError::Other`], when a file is not text.
    pub fn of(plugin: &Named, inspection: &Inspection) -> Result<Self, ArtifactError> {
        let package = &plugin.package;
        let layer = Descriptor::of(LAYER_TYPE, &package.wasm);
        let config = serde_json::to_vec(&WasmConfig {
            created: CREATED,
            architecture: "wasm",
            os: "wasip2",
            layer_digests: vec![layer.digest.clone()],
            component: WasmComponent {
                exports: &inspection.exports,
                imports: &inspection.imports,
                target: &inspection.world,
            },
        })?;
        let mut annotations = BTreeMap::from([
            (TITLE.to_owned(), plugin.name.clone()),
            (PLUGIN_MANIFEST.to_owned(), text(&package.manifest)?),
        ]);
        if let Some(signature) = &package.signature {
            annotations.insert(PLUGIN_SIGNATURE.to_owned(), text(signature)?);
        }
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(MANIFEST_TYPE.into()),
            config: Descriptor::of(CONFIG_TYPE, &config),
            layers: vec![layer],
            annotations,
        };
        Ok(Self {
            manifest: serde_json::to_vec(&manifest)?.into(),
            config: config.into(),
            layer: package.wasm.clone(),
        })
    }

    /// The artifact's digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// What the manifest points at.
    pub fn blobs(&self) -> [&Bytes; 2] {
        [&self.config, &self.layer]
    }
}

fn text(bytes: &Bytes) -> Result<String, ArtifactError> {
    let text = std::str::from_utf8(bytes).map(str::to_owned);
    text.map_err(|_| {
        ArtifactError::Other("a manifest or signature that is not text cannot be shipped".into())
    })
}

/// What an image manifest says of a plugin whose component is still to come.
#[derive(Clone, Debug)]
pub struct Shipped {
    layer: Descriptor,
    manifest: Bytes,
    signature: Option<Bytes>,
}

impl Shipped {
    /// Reads an image manifest.
    ///
    /// # Errors
    /// [`ArtifactError`].
    pub fn read(image_manifest: &[u8]) -> Result<Self, ArtifactError> {
        let mut image: ImageManifest = serde_json::from_slice(image_manifest)?;
        let other = |why: String| Err(ArtifactError::Other(why));
        if image.config.media_type != CONFIG_TYPE {
            return other(format!("its config is {:?}, not {CONFIG_TYPE:?}", image.config.media_type));
        }
        let layer = match <[Descriptor; 1]>::try_from(image.layers) {
            Ok([layer]) if layer.media_type == LAYER_TYPE => layer,
            Ok([layer]) => return other(format!("its layer is {:?}, not {LAYER_TYPE:?}", layer.media_type)),
            Err(layers) => return other(format!("it has {} layers, not one", layers.len())),
        };
        if layer.len(MAX_COMPONENT).is_none() {
            return other(format!(
                "the component has {} bytes, at most {MAX_COMPONENT} are taken",
                layer.size
            ));
        }
        let Some(manifest) = image.annotations.remove(PLUGIN_MANIFEST) else {
            return other(format!("there is no annotation {PLUGIN_MANIFEST} with its manifest"));
        };
        if manifest.len() > MAX_MANIFEST {
            return other(format!("its manifest has more than {MAX_MANIFEST} bytes"));
        }
        let signature = image.annotations.remove(PLUGIN_SIGNATURE).map(Bytes::from);
        Ok(Self { layer, manifest: manifest.into(), signature })
    }

    /// The component's digest.
    pub fn component(&self) -> &Digest {
        &self.layer.digest
    }

    /// Bytes of the component.
    pub fn size(&self) -> usize {
        self.layer.len(MAX_COMPONENT).unwrap_or(MAX_COMPONENT)
    }

    /// The plugin, once the component is there.
    ///
    /// # Errors
    /// [`ArtifactError::Digest`] when it is another one; [`Named::new`].
    pub fn with(self, wasm: Bytes) -> Result<Named, ArtifactError> {
        self.layer.digest.check(&wasm)?;
        Named::new(Package { wasm, manifest: self.manifest, signature: self.signature })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use muster_wasm::PluginKind;

    pub(in crate::ship) fn plugin(name: &str) -> (Named, Inspection) {
        let manifest = format!("[plugin]\nname = \"{name}\"\nkind = \"health-check\"\n");
        let package = Package { wasm: "wasm".into(), manifest: manifest.into(), signature: Some("s".into()) };
        let inspection = Inspection {
            kind: PluginKind::HealthCheck,
            world: "muster:plugin/health-check@0.1.1".into(),
            api: "0.1.1".into(),
            imports: vec!["muster:plugin/dial@0.1.1".into()],
            exports: vec!["muster:plugin/checker@0.1.1".into()],
            size: 4,
            sha256: String::new(),
        };
        (Named::new(package).unwrap(), inspection)
    }

    #[test]
    fn an_artifact_is_laid_out_as_cncf_says_and_reads_back() {
        let (plugin, inspection) = plugin("one");
        let artifact = Artifact::of(&plugin, &inspection).unwrap();
        assert_eq!(Artifact::of(&plugin, &inspection).unwrap().digest(), artifact.digest(), "no date in it");
        let manifest: serde_json::Value = serde_json::from_slice(&artifact.manifest).unwrap();
        assert_eq!(manifest["schemaVersion"], 2);
        assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
        assert_eq!(manifest["layers"][0]["mediaType"], "application/wasm");
        assert_eq!(manifest["layers"][0]["size"], 4);
        assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "one");
        let config: serde_json::Value = serde_json::from_slice(&artifact.config).unwrap();
        assert_eq!((&config["architecture"], &config["os"]), (&"wasm".into(), &"wasip2".into()));
        assert_eq!(config["layerDigests"][0], manifest["layers"][0]["digest"]);
        assert_eq!(config["component"]["imports"][0], "muster:plugin/dial@0.1.1");
        let shipped = Shipped::read(&artifact.manifest).unwrap();
        assert_eq!(shipped.clone().with("wasm".into()).unwrap(), plugin);
        assert!(matches!(shipped.with("wasn".into()), Err(ArtifactError::Digest { .. })));
    }

    #[test]
    fn other_artifacts_are_refused() {
        let (plugin, inspection) = plugin("one");
        let artifact = Artifact::of(&plugin, &inspection).unwrap();
        let good = String::from_utf8(artifact.manifest.to_vec()).unwrap();
        for (right, wrong, says) in [
            ("vnd.wasm.config.v0", "vnd.oci.image.config.v1", "config"),
            ("application/wasm", "application/tar", "layer"),
            ("plugin.manifest", "plugin.manifesto", "annotation"),
            ("\"size\":4", "\"size\":4000000000", "bytes"),
            ("sha256:", "sha512:", "sha256"),
        ] {
            let error = Shipped::read(good.replace(right, wrong).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{says}: {error}");
        }
        let mut image: serde_json::Value = serde_json::from_str(&good).unwrap();
        image["layers"] = serde_json::json!([]);
        assert!(Shipped::read(image.to_string().as_bytes()).unwrap_err().to_string().contains("0 layers"));
    }

    #[test]
    fn a_name_stays_in_its_folder() {
        for name in ["../x", ".x", "a/b", "a b"] {
            let manifest = format!("[plugin]\nname = \"{name}\"\nkind = \"health-check\"\n");
            let package = Package { wasm: Bytes::new(), manifest: manifest.into(), signature: None };
            assert!(matches!(Named::new(package), Err(ArtifactError::Name(_))), "{name}");
        }
    }
}
