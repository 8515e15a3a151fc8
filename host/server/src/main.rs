//! The Muster node.

fn main() {}
