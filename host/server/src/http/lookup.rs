//! `/v1/core/cluster/switch/lookup`, `/v2/core/cluster/lookup`, `/v3/admin/core/cluster/lookup`: another source of
//! the member list while the node runs. Source: Nacos `NacosClusterController`, `NacosClusterControllerV2`, `…V3`.
//!
//! The call names the lookup, the settings file says all about it: an address that anybody could send would have this
//! node ask wherever that is, and the next start would find other members than this one has.

use super::call::Call;
use super::error::ApiError;
use super::reply;
use super::router::{Family, Outcome, POST, PUT, Run, Table, Version};
use crate::lookup::{LookupError, SwitchError};
use serde::Deserialize;
use serde_json::Value;

/// Adds the routes.
pub(super) fn routes(table: &mut Table, v1: Family, v2: Family, v3: Family) {
    let families = [
        (v1, POST, "/v1/core/cluster/switch/lookup"),
        (v2, PUT, "/v2/core/cluster/lookup"),
        (v3, PUT, "/v3/admin/core/cluster/lookup"),
    ];
    for (family, method, path) in families {
        table.add(family, method, path, Run::Later(|call| Box::pin(switch(call))));
    }
}

/// The type, where it is not a parameter.
#[derive(Default, Deserialize)]
struct Asked {
    #[serde(rename = "type")]
    kind: Option<String>,
}

async fn switch(call: &Call<'_>) -> Outcome {
    let asked: Asked = serde_json::from_slice(call.body).unwrap_or_default();
    let kind = call.params.get("type").or(asked.kind.as_deref()).map(str::trim);
    let kind = kind.filter(|kind| !kind.is_empty()).ok_or_else(|| ApiError::missing("type"))?;
    call.app.lookup.switch(kind).await?;
    if call.version == Version::V1 { reply::rest(&Value::Null) } else { reply::data(&true) }
}

impl From<SwitchError> for ApiError {
    fn from(error: SwitchError) -> Self {
        match error {
            SwitchError::Settings(_) | SwitchError::Secret(_) => Self::illegal(
                "the settings file is not accepted as it is; the log of this node and `muster check-config` say why",
            ),
            SwitchError::NoFile
            | SwitchError::Plugins(_)
            | SwitchError::NotWritten { .. }
            | SwitchError::Standalone
            | SwitchError::Lookup(
                LookupError::Unknown { .. } | LookupError::Settings { .. } | LookupError::Secret { .. },
            )
            | SwitchError::Alone { .. } => Self::illegal(error.to_string()),
            SwitchError::Lookup(LookupError::Plugin { .. } | LookupError::NoMembers(_))
            | SwitchError::NoAnswer { .. }
            | SwitchError::Nobody { .. }
            | SwitchError::TimedOut { .. }
            | SwitchError::Busy
            | SwitchError::Stopping => Self::unavailable(&error),
        }
    }
}
