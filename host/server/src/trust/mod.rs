//! Whose plugins a node takes: signatures over component and manifest, and the operator's policy.
//!
//! What is signed is a [`Statement`]: the digests of the component and of the manifest's bytes as they are, so that what
//! the node will enforce is what was signed. [`Trust::admit`] is the one place where a plugin that is not part of this
//! program is judged; whoever brings bytes into a node asks it before anything is compiled. Bundled plugins are part of
//! the program and need no signature.
//!
//! | file | owns |
//! |---|---|
//! | `key` | keys: how they are written, read and made |
//! | `statement` | what exactly is signed |
//! | `signature` | the file NAME.sig |
//! | `policy` | who is trusted, and what becomes of the rest |
//! | `package` | the three files of a plugin |
//! | `capabilities` | what a version asks for beside another, and who has to approve it |

mod capabilities;
mod key;
mod package;
mod policy;
mod signature;
mod statement;

pub use capabilities::{Capabilities, Difference, NotApproved, Way, differences, upgrade};
pub use key::{KeyError, KeyFileError, PublicKey, SigningKey, TrustKey};
pub use package::{MAX_MANIFEST, Package, PackageError};
pub use policy::{Source, Standing, Trust, TrustError, Unsigned};
pub use signature::{MAX_SIGNATURES, Signature, SignatureError, Signatures};
pub use statement::Statement;
pub(crate) use statement::sha256;
