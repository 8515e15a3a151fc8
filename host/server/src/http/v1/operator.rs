//! `/v1/ns/operator`, also reached as `/v1/ns/ops`.

use super::{ADMIN, CLIENT};
use crate::http::call::Call;
use crate::http::core;
use crate::http::ops::operator as ops;
use crate::http::reply;
use crate::http::router::{GET, Outcome, PUT, Run, Table};
use serde_json::json;

pub(super) fn routes(table: &mut Table) {
    for base in ["/v1/ns/operator", "/v1/ns/ops"] {
        let path = |end: &str| format!("{base}/{end}");
        table.add(ADMIN, GET, path("switches"), Run::Now(|call| reply::json(&*ops::switches(call))));
        table.add(ADMIN, PUT, path("switches"), Run::Later(|call| Box::pin(set_switch(call))));
        table.add(CLIENT, GET, path("metrics"), Run::Later(|call| Box::pin(metrics(call))));
        table.add(ADMIN, GET, path("distro/client"), Run::Now(|call| reply::json(&ops::responsible(call))));
        table.add(ADMIN, GET, path("distro/server"), Run::Now(|call| reply::json(&ops::responsible(call))));
        table.add(ADMIN, GET, path("servers"), Run::Now(servers));
        table.add(ADMIN, GET, path("push/state"), Run::Now(push_state));
        table.add(ADMIN, GET, path("server/status"), Run::Now(|_| Ok(reply::ok())));
    }
}

async fn set_switch(call: &Call<'_>) -> Outcome {
    ops::set_switch(call).await?;
    Ok(reply::ok())
}

async fn metrics(call: &Call<'_>) -> Outcome {
    reply::json(&ops::metrics(call).await?)
}

fn servers(call: &Call<'_>) -> Outcome {
    let healthy = call.params.flag("healthy", call.spelling())?.unwrap_or(false);
    let members = core::members(call, |member| !healthy || core::is_up(member));
    reply::json(&json!({ "servers": members }))
}

/// How pushes by UDP went since the start. Source: Nacos 1.x `OperatorController.pushState`.
fn push_state(call: &Call<'_>) -> Outcome {
    let pushes = call.app.pushes.counters();
    #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
    let ratio = pushes.succeeded as f64 / pushes.total.max(1) as f64;
    reply::json(&json!({
        "succeed": pushes.succeeded, "total": pushes.total, "ratio": ratio, "failed": pushes.failed,
        "replaced": pushes.replaced, "resent": pushes.resent, "pending": pushes.pending,
    }))
}
