//! Guests in the real runtime: every misbehaving one, the ten traps of wasmtime, the compiled-code cache, the life of
//! a plugin. Each test ends with a good plugin that is still served.

#![allow(clippy::disallowed_methods, reason = "tests keep their own time and their own tasks")]
#![allow(unreachable_pub, reason = "one binary of a few files")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod beyond;
mod cache;
mod filters;
mod guests;
mod life;
mod lookups;
mod museum;
mod support;
mod traces;
mod traps;
