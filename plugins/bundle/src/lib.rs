//! The bundled plugins, compiled to components when this crate is built.
