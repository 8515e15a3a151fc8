//! What a plugin author sees: one trait and one export macro per plugin kind.
//!
//! A probe, whole:
//!
//! ```
//! use muster_sdk::health_check::*;
//!
//! struct Greets;
//!
//! impl HealthCheck for Greets {
//!     fn describe() -> Descriptor {
//!         Descriptor::new("GREETS", "0.1.0", "the server says something first")
//!     }
//!
//!     fn check(_: &Target, _: &Settings, net: &impl Net) -> Result<Verdict, Fault> {
//!         Ok(match net.connect(None).map(|mut c| c.read(&mut [0; 64])) {
//!             Ok(Ok(1..)) => Verdict::passed(),
//!             Ok(_) => Verdict::failed("greets.silent", "connected, but nothing came"),
//!             Err(error) => Verdict::failed("greets.no-connection", error.reason()),
//!         })
//!     }
//! }
//!
//! muster_sdk::export_health_check!(Greets);
//! # fn main() {}
//! ```
//!
//! Built with `cargo build --target wasm32-wasip2`, the crate (a `cdylib`) is a component that a node loads.
//! Built for the machine itself, its logic runs in ordinary unit tests against [`fake`].

#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::panic,
    clippy::unwrap_used,
    reason = "generated: the component ABI is raw pointers, and the documentation is in the WIT"
)]
#[doc(hidden)]
pub mod bindings;
mod describe;
pub mod fake;
pub mod health_check;
pub mod log;
pub mod member_lookup;
pub mod nacos;
mod net;
pub mod push_filter;
#[allow(unsafe_code, reason = "allocates for the component ABI, which is raw pointers")]
#[doc(hidden)]
pub mod rt;
mod settings;
mod verdict;

/// What the export macros check in a native build.
#[doc(hidden)]
pub mod assert_part {
    use crate::bindings;

    pub const fn about<T: bindings::about::exports::muster::plugin::about::Guest>() {}
    pub const fn checker<T: bindings::checker::exports::muster::plugin::checker::Guest>() {}
    pub const fn lookup<T: bindings::lookup::exports::muster::plugin::lookup::Guest>() {}
    pub const fn filter<T: bindings::filter::exports::muster::plugin::filter::Guest>() {}
}
