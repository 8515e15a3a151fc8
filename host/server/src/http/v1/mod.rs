//! v1: grouped names, plain text.

mod catalog;
mod health;
mod instance;
mod operator;
mod service;

pub(super) use instance::beat_reply;

use super::error::Dialect;
use super::router::{Family, Gate, Table, Version};

/// What SDKs call.
const CLIENT: Family = Family {
    version: Version::V1,
    dialect: Dialect::Text,
    gate: Gate::Client,
    instead: "/v3/client/ns/instance",
};
/// What operators call.
const ADMIN: Family = CLIENT.behind(Gate::Admin, "/v3/admin/ns");

/// Adds all routes of `/v1/ns`.
pub(crate) fn routes(table: &mut Table) {
    instance::routes(table);
    service::routes(table);
    health::routes(table);
    operator::routes(table);
    catalog::routes(table);
}
