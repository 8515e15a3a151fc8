//! `/v1|v2/core/ops/raft` and `/v3/admin/core/ops/raft`: an operator's commands to the Raft group.
//! Source: Nacos `CoreOpsController`, `JRaftOps`.

use super::call::Call;
use super::error::ApiError;
use super::reply;
use super::router::{Family, Outcome, POST, Run, Table, Version};
use muster_raft::{MembersError, Store};
use serde::Deserialize;
use serde_json::Value;

/// Adds the routes.
pub(super) fn routes(table: &mut Table, v1: Family, v2: Family, v3: Family) {
    let families = [(v1, "/v1/core/ops/raft"), (v2, "/v2/core/ops/raft"), (v3, "/v3/admin/core/ops/raft")];
    for (family, path) in families {
        table.add(family, POST, path, Run::Later(|call| Box::pin(command(call))));
    }
}

/// What is asked. `groupId` is accepted and not needed: one log holds what Nacos keeps in several.
#[derive(Deserialize)]
struct Asked {
    command: String,
    #[serde(default)]
    value: String,
}

async fn command(call: &Call<'_>) -> Outcome {
    let asked: Asked = serde_json::from_slice(call.body)
        .map_err(|error| ApiError::illegal(format!("the body is no JSON with a command: {error}")))?;
    let store = &call.app.store;
    match asked.command.as_str() {
        "removePeer" | "removePeers" => remove(store, &asked.value).await?,
        "doSnapshot" => store.snapshot_now().await.map_err(|error| ApiError::fault(&error))?,
        // A group changes one member at a time and elects whom it wants: see the README of host/raft.
        other @ ("transferLeader" | "restRaftCluster" | "changePeers" | "resetPeers") => {
            return Err(ApiError::illegal(format!(
                "{other} is not available; stop the leader to have another elected"
            )));
        }
        other => {
            let text = format!("'{other}' is no command; there are removePeer, removePeers and doSnapshot");
            return Err(ApiError::illegal(text));
        }
    }
    if call.version == Version::V1 { reply::rest(&Value::Null) } else { reply::data(&Value::Null) }
}

/// Takes the members at these addresses out, one after the other.
async fn remove(store: &Store, addresses: &str) -> Result<(), ApiError> {
    let known = store.status().members;
    let mut ids = Vec::new();
    for address in addresses.split(',').map(str::trim) {
        let member =
            known.iter().find(|member| member.address == address || member.id.to_string() == address);
        let member = member.ok_or_else(|| {
            let all: Vec<&str> = known.iter().map(|member| member.address.as_str()).collect();
            ApiError::illegal(format!("'{address}' is not in the group, which has {}", all.join(", ")))
        })?;
        ids.push(member.id);
    }
    for id in ids {
        store.expel(id).await.map_err(|error| match &error {
            MembersError::NotLeader { leader: Some(leader) } => {
                let leader = known.iter().find(|member| member.id == *leader);
                let at = leader.map_or("another member", |member| member.address.as_str());
                ApiError::illegal(format!("this node does not lead the group, {at} does: ask that one"))
            }
            MembersError::Unknown { .. } | MembersError::NotLeader { .. } => {
                ApiError::illegal(error.to_string())
            }
            MembersError::Founded { .. } | MembersError::Timeout { .. } | MembersError::Refused { .. } => {
                ApiError::fault(&error)
            }
        })?;
        tracing::warn!(member = id, "taken out of the raft group by an operator");
    }
    Ok(())
}
