//! What is signed. The text begins with what it is and its version, so that a signature over it is good for nothing
//! else, and has one form only: whoever has the two files can write it.

use sha2::{Digest, Sha256};
use std::fmt;

/// The digests of a component and its manifest, in the form that is signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Statement(String);

impl Statement {
    /// Of these bytes, as they are.
    pub fn of(wasm: &[u8], manifest: &[u8]) -> Self {
        Self::of_digests(&sha256(wasm), &sha256(manifest))
    }

    /// Of the bytes that have these digests, in lower-case hex.
    pub fn of_digests(component: &str, manifest: &str) -> Self {
        Self(format!(
            "muster plugin statement v1\ncomponent sha256:{component}\nmanifest sha256:{manifest}\n"
        ))
    }

    /// What is signed.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// One digest for component and manifest together, `sha256:HEX`: what an upgrade is approved by.
    pub fn digest(&self) -> String {
        format!("sha256:{}", sha256(self.bytes()))
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_end())
    }
}

/// Lower-case hex digits of the digest.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Signatures that were given out must stay good: this text never changes.
    #[test]
    fn the_text_is_fixed() {
        let statement = Statement::of(b"", b"abc");
        assert_eq!(
            statement.bytes(),
            b"muster plugin statement v1\n\
              component sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n\
              manifest sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n"
        );
        assert_ne!(statement, Statement::of(b"abc", b""), "the two are not interchangeable");
    }
}
