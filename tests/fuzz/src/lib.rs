//! What the fuzz targets share: literal requests, edits that a generator chooses, and a node without ports.

pub mod edit;
pub mod node;
pub mod payload;
