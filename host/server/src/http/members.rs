//! The member list as operators and other nodes are shown it.

use serde::Serialize;
use std::collections::BTreeMap;

/// How a member is doing. Source: Nacos `NodeState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MemberState {
    /// not serving yet
    Starting,
    /// serving
    Up,
    /// failed a report
    Suspicious,
    /// failed too many
    Down,
    /// taken out by an operator
    Isolation,
}

impl MemberState {
    /// The state of that name, in any case.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Starting, Self::Up, Self::Suspicious, Self::Down, Self::Isolation];
        all.into_iter().find(|state| state.word().eq_ignore_ascii_case(word))
    }

    /// Nacos's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Up => "UP",
            Self::Suspicious => "SUSPICIOUS",
            Self::Down => "DOWN",
            Self::Isolation => "ISOLATION",
        }
    }
}

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
}

impl Member {
    /// A member of this version at `ip:port`.
    pub fn new(ip: &str, port: u16, state: MemberState) -> Self {
        let version = serde_json::Value::from(concat!("muster-", env!("CARGO_PKG_VERSION")));
        Self {
            ip: ip.to_owned(),
            port,
            state,
            extend_info: BTreeMap::from([("version".to_owned(), version)]),
            address: format!("{ip}:{port}"),
            fail_access_cnt: 0,
            abilities: serde_json::json!({
                "remoteAbility": {"supportRemoteConnection": false, "grpcReportEnabled": false},
                "configAbility": {"supportRemoteMetrics": false},
                "namingAbility": {"supportJraft": false},
            }),
            grpc_report_enabled: false,
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
    fn states_are_read_in_any_case() {
        assert_eq!(MemberState::of_word("suspicious"), Some(MemberState::Suspicious));
        assert_eq!(MemberState::of_word("fine"), None);
    }
}
