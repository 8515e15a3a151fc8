//! What wit-bindgen makes of `wit/since_v0.1.1`: the plugin's side of the contract, kept by `tests/bindings.rs`. The
//! rest of the crate gives it a shape that is pleasant to write against.

/// `describe`, `validate`, the shared words and what the host offers to every plugin.
#[rustfmt::skip]
pub mod about;
/// Health checks.
#[rustfmt::skip]
pub mod checker;
/// Push filters.
#[rustfmt::skip]
pub mod filter;
/// Member lookups.
#[rustfmt::skip]
pub mod lookup;
