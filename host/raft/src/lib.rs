//! Durable, replicated rows: openraft over redb.
//!
//! A [`Store`] holds the rows of `muster_core::persist` in one file and changes them by one way only: a
//! [`Command`](muster_core::persist::Command) is proposed, committed to the Raft log, and applied. What a
//! command does to the rows is decided by [`muster_core::persist::apply`]; what happens afterwards, by whoever
//! reads the channel of [`Committed`] changes. This crate owns the file, the log, and their durability.
//!
//! # One write, step by step
//!
//! 1. [`Store::propose`] encodes the command, makes sure that it can be read back, and queues it.
//! 2. The proposer takes all that wait (up to 512) as one log entry. openraft 0.9 does one append per write
//!    and waits for it, so this is where writes come to share an fsync (group commit).
//! 3. The entry is appended to the log: one transaction, **durable** (fsync). With one voter this commits it.
//! 4. The entry is applied: one transaction that changes the rows and the id of the last applied entry
//!    together, **not durable** by itself (no fsync).
//! 5. The changes are sent to the channel, in log order, waiting for room; then the proposers are answered.
//!
//! # What is durable when, and why that is enough
//!
//! | what | commit | why |
//! |---|---|---|
//! | vote | fsync, before openraft goes on | a vote that is forgotten may be given twice |
//! | log append, truncation | fsync, before openraft goes on | an acknowledged write lives here |
//! | rows + last applied | none | repeated from the log |
//! | committed index | with the next append | only saves a restarted member some waiting |
//! | purge of the log | none | comes after the rows and the snapshot that replace it |
//! | pieces of a snapshot | none | worth nothing until the snapshot is made current |
//! | snapshot made current, snapshot installed | fsync | what was covered may be purged now |
//!
//! All of it is in one redb file, whose transactions are strictly one after the other, and a crash leaves the
//! file as it was after *some* transaction, never earlier than the last one with an fsync. So whatever is
//! missing after a crash is missing from the end: rows that lack the newest entries come with a last applied
//! id that lacks them too, and the log, written with an fsync before the rows were, still has them. Opening
//! applies them again before it answers. `tests/kill.rs` kills a writing process a few hundred times to see.
//!
//! # Failing
//!
//! Storage errors, a full disk among them, and rows that cannot be decoded stop Raft at once: every waiting and
//! later [`Store::propose`] gets [`ProposeError::Storage`], and [`Store::failed`] answers, which the node takes
//! as the end. A file that is damaged, in use, from a newer version or from another node is refused by
//! [`Store::open`] with an [`OpenError`] that names it and says what to do.
//!
//! A committed *command* that cannot be applied is its own fault, and does not stop the node: it is passed over, kept
//! in quarantine, logged as an error, and counted by [`Store::quarantined`]. The module `quarantine` says why nodes of
//! one release decide that alike, and what to do where releases differ.
//!
//! # Several nodes
//!
//! - Calls between nodes go over a [`Transport`] that the node brings along; what arrives is handed to
//!   [`Store::serve`]. Ids are for ever, addresses are not.
//! - A [`Group`] is founded once, by [`Store::found`], and later nodes are let in by the leader, by
//!   [`Store::admit`]: first as a learner, then, when it has caught up, as a voter. Nobody leaves by himself:
//!   [`Store::expel`]. A node with rows of its own never joins another group.
//! - [`Store::propose`] on a node that does not lead goes to the one that does, and waits until the write is in
//!   the rows here. While nobody leads it waits, and answers [`ProposeError::NoLeader`] at its deadline.
//! - Reads are local. [`Store::read_barrier`] makes the next one miss nothing that was acknowledged anywhere.
//! - Opening applies only what is known to be committed, and what the leader confirms later comes through the
//!   channel.
//! - Commands stay encoded in the log until they are applied, so that a node can receive and pass on what it
//!   cannot decode.
//! - A snapshot is held in memory as a whole while it is made, sent or installed.

mod db;
mod error;
mod group;
mod log_store;
mod members;
mod network;
pub mod offline;
mod options;
mod peers;
mod proposer;
mod quarantine;
mod records;
mod recover;
mod rows;
mod snapshot;
mod state_machine;
mod status;
mod store;
mod tables;
#[cfg(test)]
mod tests;
mod types;

pub use error::{Failure, MembersError, OpenError, ProposeError, ServeError, ShutdownError, SnapshotError};
pub use group::Group;
pub use network::{CallError, Carried, Transport};
pub use options::RaftOptions;
pub use quarantine::{QuarantineError, Quarantined};
pub use status::{Member, RaftStatus, Role};
pub use store::{Committed, Store};
