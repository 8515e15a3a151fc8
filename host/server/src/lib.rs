//! The Muster node: a thin shell of tasks around the rules in `muster-core`.
//!
//! Each module is declared by whoever writes it, in alphabetical order.
