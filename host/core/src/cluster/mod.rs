//! What several nodes do together, without the network between them.
//!
//! [`members`] holds the member list and how each member is doing; [`owner`] says which of them judges a client;
//! the rest is Distro, the copying of ephemeral data: every node holds everything and answers reads from it.
//!
//! The unit that is copied is one *publication*, what a client has in a service ([`record`]). Every write gets a
//! [`version`]; of two versions of a publication the higher one counts on every node, so that records may arrive
//! late, twice, or in any order. What was removed leaves a tombstone in the [`ledger`] for longer than anything
//! late can still be under way. An [`outbox`] per member repeats what was not acknowledged, and a digest per
//! writer, compared every few seconds, finds what was lost all the same.

pub mod ledger;
pub mod members;
pub mod message;
pub mod outbox;
pub mod owner;
pub mod record;
pub mod version;

pub use members::{MemberState, Members};
pub use message::Message;
pub use owner::{NodeId, View};
pub use record::{Gone, Key, Record, State};
pub use version::Version;
