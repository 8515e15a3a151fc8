//! `/v3/admin/muster`: what Nacos has no words for.

use super::{V3, explain};
use crate::http::router::{GET, Run, Table};

pub(super) fn routes(table: &mut Table) {
    table.add(V3, GET, "/v3/admin/muster/explain", Run::Later(|call| Box::pin(explain::instance(call))));
    let subscriber = "/v3/admin/muster/explain/subscriber";
    table.add(V3, GET, subscriber, Run::Later(|call| Box::pin(explain::subscriber(call))));
}
