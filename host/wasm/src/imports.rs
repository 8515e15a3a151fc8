//! What the host does for a guest: one file per interface of the WIT package.

pub(crate) mod candidates;
pub(crate) mod dial;
pub(crate) mod fetch;
pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod names;
pub(crate) mod tls;

impl crate::bindings::since_v0_1_1::types::Host for crate::state::GuestState {}
