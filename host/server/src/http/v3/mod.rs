//! v3: what clients call, what operators call, and Muster's own additions.

mod admin;
mod client;
mod explain;
mod grants;
mod muster;
mod plugins;

use super::error::Dialect;
use super::router::{Family, Gate, Table, Version};

/// Everything of v3; never switched off.
pub(super) const V3: Family =
    Family { version: Version::V3, dialect: Dialect::Envelope, gate: Gate::Open, instead: "" };

/// Adds all routes of `/v3/client/ns`, `/v3/admin/ns` and `/v3/admin/muster`.
pub(crate) fn routes(table: &mut Table) {
    client::routes(table);
    admin::routes(table);
    muster::routes(table);
    plugins::routes(table);
    grants::routes(table);
}
