//! Bodies of requests and responses: lenient in what is read, complete and without nulls in what is written.
//! Source: Nacos `com.alibaba.nacos.api.naming.remote`, `…api.remote`.

use super::lenient;
use super::payload::Payload;
use muster_core::{Instance, ServiceKey};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Result codes on the wire. Source: Nacos `NacosException`, `ResponseCode`.
pub(super) mod codes {
    /// `resultCode` of success
    pub(in crate::grpc) const SUCCESS: i32 = 200;
    /// `resultCode` of failure, and an unexpected error
    pub(in crate::grpc) const FAIL: i32 = 500;
    /// the node is not ready
    pub(in crate::grpc) const STARTING: i32 = 300;
    /// no setup came before
    pub(in crate::grpc) const UNREGISTERED: i32 = 301;
    /// no handler for the type
    pub(in crate::grpc) const NO_HANDLER: i32 = 302;
    /// bad input
    pub(in crate::grpc) const INVALID: i32 = 400;
    /// the connection has gone
    pub(in crate::grpc) const DISCONNECTED: i32 = -401;
    /// undecodable, or not allowed from this side
    pub(in crate::grpc) const BAD_GATEWAY: i32 = 502;
    /// over a limit
    pub(in crate::grpc) const OVER_THRESHOLD: i32 = 503;
}

/// `ConnectionSetupRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ConnectionSetup {
    #[serde(deserialize_with = "lenient::text")]
    pub client_version: String,
    #[serde(deserialize_with = "lenient::text")]
    pub tenant: String,
    #[serde(deserialize_with = "lenient::texts")]
    pub labels: BTreeMap<String, String>,
    /// present, even when empty: the client waits for ours
    pub ability_table: Option<IgnoredAny>,
}

/// Fields that naming requests share.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServiceRef {
    #[serde(deserialize_with = "lenient::text")]
    pub namespace: String,
    #[serde(deserialize_with = "lenient::text")]
    pub service_name: String,
    #[serde(deserialize_with = "lenient::text")]
    pub group_name: String,
}

impl ServiceRef {
    /// The service; a grouped name is split, blank namespace and group take their defaults.
    pub(super) fn key(&self) -> ServiceKey {
        match muster_core::ids::split_grouped(&self.service_name) {
            Some(_) => ServiceKey::from_grouped(&self.namespace, &self.service_name),
            None => ServiceKey::new(&self.namespace, &self.group_name, &self.service_name),
        }
    }
}

/// `InstanceRequest`, `PersistentInstanceRequest`, `BatchInstanceRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InstanceRequest {
    #[serde(flatten)]
    pub service: ServiceRef,
    #[serde(rename = "type", deserialize_with = "lenient::text")]
    pub kind: String,
    pub instance: Option<InstanceBody>,
    pub instances: Option<Vec<InstanceBody>>,
}

/// An instance as clients send it. Computed fields are ignored (N026).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct InstanceBody {
    #[serde(deserialize_with = "lenient::text")]
    pub instance_id: String,
    #[serde(deserialize_with = "lenient::text")]
    pub ip: String,
    #[serde(deserialize_with = "lenient::whole")]
    pub port: i64,
    #[serde(deserialize_with = "lenient::weight")]
    pub weight: f64,
    #[serde(deserialize_with = "lenient::yes")]
    pub healthy: bool,
    #[serde(deserialize_with = "lenient::yes")]
    pub enabled: bool,
    #[serde(deserialize_with = "lenient::yes")]
    pub ephemeral: bool,
    #[serde(deserialize_with = "lenient::text")]
    pub cluster_name: String,
    #[serde(deserialize_with = "lenient::texts")]
    pub metadata: BTreeMap<String, String>,
}

impl Default for InstanceBody {
    fn default() -> Self {
        Self {
            instance_id: String::new(),
            ip: String::new(),
            port: 0,
            weight: 1.0,
            healthy: true,
            enabled: true,
            ephemeral: true,
            cluster_name: String::new(),
            metadata: BTreeMap::new(),
        }
    }
}

impl InstanceBody {
    /// The instance; none when the port is out of range. A negative weight counts as 0.
    pub(super) fn instance(&self) -> Option<Instance> {
        let cluster = self.cluster_name.trim();
        Some(Instance {
            cluster: if cluster.is_empty() {
                muster_core::ids::DEFAULT_CLUSTER.into()
            } else {
                cluster.into()
            },
            weight: if self.weight > 0.0 { self.weight } else { 0.0 },
            healthy: self.healthy,
            enabled: self.enabled,
            ephemeral: self.ephemeral,
            metadata: Arc::new(self.metadata.clone()),
            id: Some(self.instance_id.trim()).filter(|id| !id.is_empty()).map(Into::into),
            ..Instance::new(self.ip.trim(), u16::try_from(self.port).ok()?)
        })
    }
}

/// `SubscribeServiceRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SubscribeRequest {
    #[serde(flatten)]
    pub service: ServiceRef,
    #[serde(deserialize_with = "lenient::flag")]
    pub subscribe: bool,
    #[serde(deserialize_with = "lenient::text")]
    pub clusters: String,
}

/// `ServiceQueryRequest`; Python spells the flag `healthOnly`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct QueryRequest {
    #[serde(flatten)]
    pub service: ServiceRef,
    #[serde(deserialize_with = "lenient::text")]
    pub cluster: String,
    #[serde(rename = "healthyOnly", deserialize_with = "lenient::flag")]
    pub healthy_only: bool,
    #[serde(rename = "healthOnly", deserialize_with = "lenient::flag")]
    pub health_only: bool,
}

/// `ServiceListRequest`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListRequest {
    #[serde(deserialize_with = "lenient::text")]
    pub namespace: String,
    #[serde(deserialize_with = "lenient::text")]
    pub group_name: String,
    #[serde(deserialize_with = "lenient::whole")]
    pub page_no: i64,
    #[serde(deserialize_with = "lenient::whole")]
    pub page_size: i64,
}

/// `NamingFuzzyWatchRequest`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WatchRequest {
    #[serde(deserialize_with = "lenient::text")]
    pub group_key_pattern: String,
    /// what the client knows already
    pub received_group_keys: Option<BTreeSet<String>>,
    #[serde(deserialize_with = "lenient::text")]
    pub watch_type: String,
    #[serde(deserialize_with = "lenient::flag")]
    pub initializing: bool,
}

impl Default for ListRequest {
    fn default() -> Self {
        Self { namespace: String::new(), group_name: String::new(), page_no: 1, page_size: 10 }
    }
}

/// What a response on the stream says of the push it answers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Ack {
    #[serde(deserialize_with = "lenient::text")]
    pub request_id: String,
    pub result_code: Option<i64>,
    pub success: Option<bool>,
}

impl Ack {
    /// Whether the client took the push; one that does not say so did.
    pub(super) fn is_success(&self) -> bool {
        self.result_code.map_or(self.success.unwrap_or(true), |code| code == i64::from(codes::SUCCESS))
    }
}

/// A response that says nothing else.
#[derive(Serialize)]
pub(super) struct Empty {}

/// A successful response with whatever else it holds.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reply<T: Serialize> {
    result_code: i32,
    error_code: i32,
    #[serde(flatten)]
    rest: T,
    success: bool,
}

impl<T: Serialize> Reply<T> {
    /// Success.
    pub(super) fn payload(kind: &str, rest: T) -> Payload {
        Payload::json(kind, &Self { result_code: codes::SUCCESS, error_code: 0, rest, success: true })
    }
}

/// A failure: `ErrorResponse`, or the request's own response type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub result_code: i32,
    pub error_code: i32,
    pub message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FailureBody<'a> {
    result_code: i32,
    error_code: i32,
    message: &'a str,
    success: bool,
}

impl Failure {
    /// A fixed code, as the front end answers before a handler is asked.
    pub(super) fn fixed(error_code: i32, message: impl Into<String>) -> Self {
        Self { result_code: codes::FAIL, error_code, message: message.into() }
    }

    /// A coded exception of a handler: result and error code are the same.
    pub(super) fn coded(code: i32, message: impl Into<String>) -> Self {
        Self { result_code: code, error_code: code, message: message.into() }
    }

    /// A coded unchecked exception: its text carries its own code (N241).
    pub(super) fn unchecked(code: i32, message: &dyn std::fmt::Display) -> Self {
        Self::coded(code, format!("errCode: {code}, errMsg: {message} "))
    }

    /// As a payload of type `kind`.
    pub(super) fn payload(&self, kind: &str) -> Payload {
        let Self { result_code, error_code, message } = self;
        let body =
            FailureBody { result_code: *result_code, error_code: *error_code, message, success: false };
        Payload::json(kind, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n025_n026_unknown_and_computed_fields_are_ignored_and_nulls_count_as_left_out() {
        let text = r#"{"headers":{},"requestId":null,"namespace":null,"serviceName":"orders","groupName":"G",
            "type":"registerInstance","new":{"a":1},"module":"naming",
            "instance":{"instanceId":null,"ip":"10.0.0.5","port":8080,"weight":2,"clusterName":null,
            "metadata":null,"instanceHeartBeatInterval":1,"instanceIdGenerator":"simple"}}"#;
        let request: InstanceRequest = serde_json::from_str(text).unwrap();
        assert_eq!(request.service.key(), ServiceKey::new("public", "G", "orders"));
        let instance = request.instance.unwrap().instance().unwrap();
        assert_eq!(instance, Instance { weight: 2.0, ..Instance::new("10.0.0.5", 8080) });
    }

    #[test]
    fn n011_an_instance_id_of_the_client_is_kept() {
        let body: InstanceBody = serde_json::from_str(r#"{"ip":"a","port":1,"instanceId":"mine"}"#).unwrap();
        assert_eq!(body.instance().unwrap().instance_id(&ServiceKey::new("", "", "s")), "mine");
    }

    #[test]
    fn n227_failures_have_the_documented_forms() {
        let text = |failure: &Failure| {
            String::from_utf8(failure.payload("ErrorResponse").body.unwrap().value.to_vec()).unwrap()
        };
        assert_eq!(
            text(&Failure::fixed(codes::UNREGISTERED, "Connection is unregistered.")),
            r#"{"resultCode":500,"errorCode":301,"message":"Connection is unregistered.","success":false}"#
        );
        assert_eq!(Failure::unchecked(400, &"no").message, "errCode: 400, errMsg: no ");
    }

    #[test]
    fn n256_both_spellings_of_healthy_only_are_read() {
        let python: QueryRequest = serde_json::from_str(r#"{"healthOnly":true}"#).unwrap();
        let java: QueryRequest = serde_json::from_str(r#"{"healthyOnly":true}"#).unwrap();
        assert!(python.health_only && java.healthy_only);
    }
}
