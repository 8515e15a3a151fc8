//! Conformance and end-to-end tests of the muster binary.
