//! Plugins on their way: one form, an OCI artifact in the layout of CNCF's WebAssembly working group
//! (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>), in a registry or in a tar file.
//!
//! An artifact has one layer, the component, so that other tools can pull and run it; the plugin's manifest and its
//! signatures are annotations. It has no date, so the same three files are the same artifact wherever it is made, with the
//! same digest in a bundle and in a registry.
//!
//! None of this is used by a node that starts or checks: only by an operator who packs, pushes, pulls or unpacks.
//!
//! | file | owns |
//! |---|---|
//! | `artifact` | a plugin as an image manifest, and back |
//! | `bundle` | several of them in a tar file (OCI image layout) |
//! | `reference` | where one is: registry, repository, tag, digest |
//! | `registry`, `challenge`, `transport` | the part of the OCI distribution protocol that push and pull need |

mod artifact;
mod bundle;
mod challenge;
mod error;
mod reference;
mod registry;
mod transport;

pub use artifact::{Artifact, ArtifactError, Named, Shipped};
pub use bundle::{BundleError, MAX_BUNDLE, read, write};
pub use error::RegistryError;
pub use reference::{Digest, Reference, ReferenceError};
pub use registry::{Credentials, Registry, RegistryOptions};
