//! The member list as operators and other nodes are shown it.

pub use muster_core::cluster::MemberState;
use muster_core::cluster::NodeId;
use serde::Serialize;
use std::collections::BTreeMap;

/// From the main port down to the one that Nacos shows for Raft. Source: Nacos `MemberUtil`.
const RAFT_OFFSET: u16 = 1_000;

/// One server of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// IP address or host name
    pub ip: String,
    /// main port
    pub port: u16,
    /// how it is doing
    pub state: MemberState,
    /// free key/value pairs: `version`, `raftPort` …
    pub extend_info: BTreeMap<String, serde_json::Value>,
    /// `ip:port`
    pub address: String,
    /// reports to it that failed in a row
    pub fail_access_cnt: u32,
    /// what it can do
    pub abilities: serde_json::Value,
    /// whether it reports over gRPC
    pub grpc_report_enabled: bool,
    /// who it is, once it was reached; not shown: clients know members by their addresses
    #[serde(skip)]
    pub id: Option<NodeId>,
}

impl Member {
    /// A member of this version at `ip:port`.
    pub fn new(ip: &str, port: u16, state: MemberState) -> Self {
        let version = serde_json::Value::from(concat!("muster-", env!("CARGO_PKG_VERSION")));
        let raft_port = port.checked_sub(RAFT_OFFSET).filter(|port| *port > 0);
        let mut extend_info = BTreeMap::from([("version".to_owned(), version)]);
        extend_info.extend(raft_port.map(|port| ("raftPort".to_owned(), port.to_string().into())));
        Self {
            ip: ip.to_owned(),
            port,
            state,
            extend_info,
            address: format!("{ip}:{port}"),
            fail_access_cnt: 0,
            abilities: serde_json::json!({
                "remoteAbility": {"supportRemoteConnection": false, "grpcReportEnabled": false},
                "configAbility": {"supportRemoteMetrics": false},
                "namingAbility": {"supportJraft": false},
            }),
            grpc_report_enabled: false,
            id: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_written_as_nacos_writes_it() {
        let json = serde_json::to_value(Member::new("10.0.0.1", 8848, MemberState::Up)).unwrap();
        assert_eq!((&json["state"], &json["address"]), (&"UP".into(), &"10.0.0.1:8848".into()));
        for field in ["ip", "port", "extendInfo", "failAccessCnt", "abilities", "grpcReportEnabled"] {
            assert!(json.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn n321_the_raft_port_is_a_thousand_below_as_text() {
        let raft = |port| Member::new("h", port, MemberState::Up).extend_info.get("raftPort").cloned();
        assert_eq!((raft(8848), raft(1_000)), (Some("7848".into()), None));
    }
}
