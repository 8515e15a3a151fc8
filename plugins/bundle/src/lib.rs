//! The bundled plugins, compiled to components when this crate is built.

/// A plugin that comes with the node.
#[derive(Clone, Copy, Debug)]
pub struct Bundled {
    /// The word that selects it, such as `TCP`.
    pub name: &'static str,
    /// Its WIT world: `health-check`, `member-lookup` or `push-filter`.
    pub kind: &'static str,
    /// The component.
    pub wasm: &'static [u8],
    /// Its `plugin.toml`: what it may reach and use.
    pub manifest: &'static str,
}

static PLUGINS: &[Bundled] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// All of them, in the order of their folders' names.
pub fn plugins() -> &'static [Bundled] {
    PLUGINS
}
