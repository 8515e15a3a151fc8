//! The Muster node: a thin shell of tasks around the rules in `muster-core`.

