//! The other members: one authenticated connection to each, reports over it, and what the rules of naming tell
//! each other about ephemeral data. What any of it means is decided in `muster_core::cluster`.
//!
//! A connection is a Noise session (`NNpsk0_25519_ChaChaPoly_SHA256`) whose key is the shared secret: both ends
//! prove that they have it, everything is encrypted, nothing can be replayed, and a stolen secret does not open
//! what was sent before. It has a port of its own; no other port takes anything from a member.

mod dial;
mod frame;
mod group;
mod hub;
mod link;
mod links;
mod secure;

pub(crate) use frame::Look;
pub(crate) use group::{raft_address, raft_info};
pub(crate) use hub::PORT_OFFSET;
pub use hub::{Hub, HubOptions};
pub use links::{LinkCounters, Links};
pub use secure::{Psk, SecretTooShort};
