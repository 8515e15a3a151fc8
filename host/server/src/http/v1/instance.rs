//! `/v1/ns/instance`.

use super::{ADMIN, CLIENT};
use crate::http::call::Call;
use crate::http::codes;
use crate::http::forms;
use crate::http::ops::instance::{self as ops, BatchEdit, ListParams};
use crate::http::reply;
use crate::http::router::{ANY, DELETE, GET, Outcome, PATCH, POST, PUT, Run, Table};
use crate::http::views::InstanceDetail;
use muster_core::naming::BeatReply;
use serde::Serialize;

const LIST: ListParams = ListParams { clusters: "clusters", port: "udpPort", ip: "clientIP" };

pub(super) fn routes(table: &mut Table) {
    let path = "/v1/ns/instance";
    table.add(CLIENT, POST, path, Run::Later(|call| Box::pin(register(call))));
    table.add(CLIENT, DELETE, path, Run::Later(|call| Box::pin(deregister(call))));
    table.add(CLIENT, PUT, path, Run::Later(|call| Box::pin(update(call))));
    table.add(CLIENT, PATCH, path, Run::Later(|call| Box::pin(patch(call))));
    table.add(CLIENT, GET, path, Run::Now(detail));
    table.add(CLIENT, GET, "/v1/ns/instance/list", Run::Later(|call| Box::pin(list(call))));
    table.add(CLIENT, PUT, "/v1/ns/instance/beat", Run::Later(|call| Box::pin(beat(call))));
    let batch = "/v1/ns/instance/metadata/batch";
    table.add(ADMIN, PUT, batch, Run::Later(|call| Box::pin(batch_metadata(call, BatchEdit::Put))));
    table.add(ADMIN, DELETE, batch, Run::Later(|call| Box::pin(batch_metadata(call, BatchEdit::Remove))));
    table.add(ADMIN, ANY, "/v1/ns/instance/statuses", Run::Now(statuses));
}

async fn register(call: &Call<'_>) -> Outcome {
    ops::register(call).await?;
    Ok(reply::ok())
}

async fn deregister(call: &Call<'_>) -> Outcome {
    ops::deregister(call).await?;
    Ok(reply::ok())
}

async fn update(call: &Call<'_>) -> Outcome {
    ops::update(call).await?;
    Ok(reply::ok())
}

async fn patch(call: &Call<'_>) -> Outcome {
    ops::patch(call, forms::service(call)?).await?;
    Ok(reply::ok())
}

fn detail(call: &Call<'_>) -> Outcome {
    let service = forms::service(call)?;
    let instance = ops::find(call, &service)?;
    let detail = InstanceDetail::new(&instance, &service);
    reply::json(&InstanceDetail { service: Some(service.grouped()), ..detail })
}

async fn list(call: &Call<'_>) -> Outcome {
    let list = ops::list(call, &LIST).await?;
    Ok(reply::json_body(list.body(call, b"", b"")))
}

async fn beat(call: &Call<'_>) -> Outcome {
    let answer = ops::beat(call, forms::service(call)?).await?;
    beat_reply(call, answer)
}

/// The answer to a beat, always under HTTP status 200. v1 and v2 share it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BeatAnswer {
    client_beat_interval: u64,
    code: u32,
    light_beat_enabled: bool,
}

/// See [`BeatAnswer`].
pub(in crate::http) fn beat_reply(call: &Call<'_>, answer: BeatReply) -> Outcome {
    reply::json(&BeatAnswer {
        client_beat_interval: answer.interval.0,
        code: if answer.known { codes::beat::OK } else { codes::beat::RESOURCE_NOT_FOUND },
        light_beat_enabled: call.app.naming.switches().light_beat_enabled,
    })
}

async fn batch_metadata(call: &Call<'_>, edit: BatchEdit) -> Outcome {
    reply::json(&ops::batch_metadata(call, edit).await?)
}

fn statuses(call: &Call<'_>) -> Outcome {
    reply::json(&ops::statuses(call, call.params.required("key")?))
}
