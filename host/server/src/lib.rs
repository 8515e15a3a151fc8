//! The Muster node: a thin shell of tasks around the rules in `muster-core`.
//!
//! Each module is declared by whoever writes it, in alphabetical order.

pub mod cli;
pub mod clock;
pub mod cluster;
pub mod filters;
pub mod grants;
pub mod grpc;
pub mod http;
pub mod lists;
pub mod lookup;
pub mod naming;
pub mod node;
pub mod opinions;
pub mod plugins;
pub mod probe;
mod remembered;
pub mod rollout;
pub mod secrets;
pub mod settings;
pub mod ship;
pub mod tasks;
pub mod trust;
pub mod udp;
pub mod wire;
