//! The Muster node: a thin shell of tasks around the rules in `muster-core`.
//!
//! Each module is declared by whoever writes it, in alphabetical order.

pub mod clock;
pub mod naming;
pub mod secrets;
pub mod settings;
pub mod tasks;
