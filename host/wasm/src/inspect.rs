//! What can be said of a component without running it.

use crate::LoadError;
use muster_core::plugin::PluginKind;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wit_parser::{
    WorldItem, WorldKey,
    decoding::{DecodedWasm, decode},
};

/// Bytes of the largest component that is looked at.
pub const MAX_COMPONENT: usize = 64 << 20;
/// The versions of `muster:plugin` that this host has: same major and minor number.
pub(crate) const API: (u64, u64) = (0, 1);
/// The interface whose export makes a component a plugin of a kind.
const EXPORTS: [(&str, PluginKind); 3] = [
    ("muster:plugin/checker", PluginKind::HealthCheck),
    ("muster:plugin/lookup", PluginKind::MemberLookup),
    ("muster:plugin/filter", PluginKind::PushFilter),
];

/// A component's outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// which kind of plugin it is
    #[serde(serialize_with = "world")]
    pub kind: PluginKind,
    /// the world that it was made for, such as `muster:plugin/health-check@0.1.0`
    pub world: String,
    /// version of `muster:plugin` that it was made for
    pub api: String,
    /// interfaces that it wants from the host, in the component's order
    pub imports: Vec<String>,
    /// interfaces that it offers
    pub exports: Vec<String>,
    /// bytes of the component
    pub size: usize,
    /// lower-case hex digest of the bytes
    pub sha256: String,
}

fn world<S: serde::Serializer>(kind: &PluginKind, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(kind.world())
}

/// Reads a component's imports and exports; runs nothing of it.
///
/// # Errors
/// [`LoadError::TooLarge`], [`LoadError::NotAComponent`], [`LoadError::NoWorld`].
pub fn inspect(wasm: &[u8]) -> Result<Inspection, LoadError> {
    if wasm.len() > MAX_COMPONENT {
        return Err(LoadError::TooLarge { size: wasm.len(), max: MAX_COMPONENT });
    }
    let (imports, exports) = interfaces(wasm)?;
    let bare = |name: &str| name.split('@').next().unwrap_or(name).to_owned();
    let found = exports.iter().find_map(|export| {
        let (_, kind) = EXPORTS.iter().find(|(name, _)| *name == bare(export))?;
        Some((*kind, export.split('@').nth(1).unwrap_or("").to_owned()))
    });
    let Some((kind, api)) = found else {
        let known: Vec<_> = EXPORTS.iter().map(|(name, _)| *name).collect();
        let found = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
        return Err(LoadError::NoWorld { known: known.join(", "), found });
    };
    let world = format!("muster:plugin/{}@{api}", kind.world());
    let sha256 = hex(&Sha256::digest(wasm));
    Ok(Inspection { kind, world, api, imports, exports, size: wasm.len(), sha256 })
}

/// The imports and the exports, by name.
fn interfaces(wasm: &[u8]) -> Result<(Vec<String>, Vec<String>), LoadError> {
    let unreadable = |text: String| LoadError::NotAComponent(crate::text::one_line(&text, 512));
    if !wasm.starts_with(b"\0asm") {
        return Err(unreadable("it does not begin with the WebAssembly magic number".into()));
    }
    let (resolve, world) = match decode(wasm).map_err(|error| unreadable(format!("{error:#}")))? {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => {
            return Err(unreadable("it is a package of interfaces without code".into()));
        }
    };
    let world = &resolve.worlds[world];
    let names = |items: &wit_parser::IndexMap<WorldKey, WorldItem>| {
        items.keys().map(|key| resolve.name_world_key(key)).collect()
    };
    Ok((names(&world.imports), names(&world.exports)))
}

/// Whether a component made for version `api` runs here: same major and minor number, whatever the patch.
pub(crate) fn is_supported(api: &str) -> bool {
    let mut numbers = api.split(['.', '-', '+']).map(str::parse::<u64>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) == API)
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| char::from(DIGITS[usize::from(n)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_said_to_be_none() {
        for bytes in [&b""[..], b"\x7fELF", b"\0asm", b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0garbage"] {
            let error = inspect(bytes).unwrap_err();
            assert!(matches!(error, LoadError::NotAComponent(_) | LoadError::NoWorld { .. }), "{error}");
        }
    }

    #[test]
    fn patch_versions_are_interchangeable_and_minor_ones_are_not() {
        assert!(is_supported("0.1.0") && is_supported("0.1.7") && is_supported("0.1.0-rc1"));
        assert!(!is_supported("0.2.0") && !is_supported("1.1.0") && !is_supported("") && !is_supported("0"));
    }
}
