//! `/v1|v2/core/ops/raft` and `/v3/admin/core/ops/raft`: an operator's commands to the Raft group.
//! Source: Nacos `CoreOpsController`, `JRaftOps`. `GET` of the last one is Muster's own: what Raft is doing here.

use super::call::Call;
use super::error::ApiError;
use super::reply;
use super::router::{Family, GET, Outcome, POST, Run, Table, Version};
use muster_raft::{Member, MembersError, Quarantined, RaftStatus, Role, Store};
use serde::Deserialize;
use serde_json::{Value, json};

/// Commands in quarantine that are shown, without their text: `muster raft doctor` has all.
const SHOWN: usize = 100;

/// Adds the routes.
pub(super) fn routes(table: &mut Table, v1: Family, v2: Family, v3: Family) {
    let families = [(v1, "/v1/core/ops/raft"), (v2, "/v2/core/ops/raft"), (v3, "/v3/admin/core/ops/raft")];
    for (family, path) in families {
        table.add(family, POST, path, Run::Later(|call| Box::pin(command(call))));
    }
    table.add(v3, GET, families[2].1, Run::Later(|call| Box::pin(status(call))));
}

/// What Raft is doing on this node.
async fn status(call: &Call<'_>) -> Outcome {
    let store = &call.app.store;
    let kept = store.quarantine().await.map_err(|error| ApiError::fault(&error))?;
    reply::data(&shown(
        &store.status(),
        store.group().map(|group| group.to_string()),
        store.quarantined(),
        &kept,
    ))
}

fn shown(status: &RaftStatus, group: Option<String>, quarantined: u64, kept: &[Quarantined]) -> Value {
    let member = |member: &Member| json!({"id": member.id, "address": member.address, "voter": member.voter});
    let command = |one: &Quarantined| json!({"index": one.index, "number": one.number, "bytes": one.bytes, "reason": one.reason});
    json!({
        "id": status.node_id,
        "group": group,
        "role": word(status.role),
        "term": status.term,
        "leader": status.leader.as_ref().map(member),
        "lastLog": status.last_log,
        "lastApplied": status.last_applied,
        "snapshot": status.snapshot_index,
        "purged": status.purged,
        "members": status.members.iter().map(member).collect::<Vec<_>>(),
        "quarantined": quarantined,
        "quarantine": kept.iter().take(SHOWN).map(command).collect::<Vec<_>>(),
    })
}

const fn word(role: Role) -> &'static str {
    match role {
        Role::Learner => "learner",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Stopped => "stopped",
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
        "clearQuarantine" => {
            let cleared = store.clear_quarantine().await.map_err(|error| ApiError::fault(&error))?;
            tracing::warn!(commands = cleared, "the quarantine of this node was cleared by an operator");
        }
        // A group changes one member at a time and elects whom it wants: see the README of host/raft.
        other @ ("transferLeader" | "restRaftCluster" | "changePeers" | "resetPeers") => {
            return Err(ApiError::illegal(format!(
                "{other} is not available; stop the leader to have another elected"
            )));
        }
        other => {
            let text = format!(
                "'{other}' is no command; there are removePeer, removePeers, doSnapshot and clearQuarantine"
            );
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
