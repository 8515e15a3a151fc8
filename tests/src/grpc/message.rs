//! Messages as they go over the wire: a payload of protobuf around a body of JSON.

use prost::Message as _;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt;

/// `Payload` of the protocol. Source: `nacos_grpc_service.proto`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Payload {
    /// what it is
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<Metadata>,
    /// JSON in the place of a protobuf message
    #[prost(message, optional, tag = "3")]
    pub body: Option<Any>,
}

/// `Metadata` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metadata {
    /// simple class name
    #[prost(string, tag = "3")]
    pub kind: String,
    /// request headers
    #[prost(map = "string, string", tag = "7")]
    pub headers: HashMap<String, String>,
    /// the client's idea of its address
    #[prost(string, tag = "8")]
    pub client_ip: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Any {
    /// empty
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// the JSON
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

impl Payload {
    /// A payload as SDKs send it.
    pub fn new(kind: &str, body: &str) -> Self {
        let metadata = Metadata { kind: kind.into(), ..Metadata::default() };
        let body = Any { type_url: String::new(), value: body.into() };
        Self { metadata: Some(metadata), body: Some(body) }
    }
}

/// What the server sent: an answer, or a message on the stream.
#[derive(Clone, PartialEq)]
pub struct Message {
    /// type name
    pub kind: String,
    /// the body as it came
    pub text: String,
    /// the body
    pub json: Value,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.text)
    }
}

impl Message {
    pub(super) fn read(bytes: &[u8]) -> Self {
        let payload = Payload::decode(bytes).expect("a Payload");
        let value = payload.body.map(|body| body.value).unwrap_or_default();
        let text = String::from_utf8(value).expect("UTF-8");
        let json: Value = serde_json::from_str(&text).expect("JSON");
        assert!(!holds_null(&json), "N024: a null in {text}");
        Self { kind: payload.metadata.map(|metadata| metadata.kind).unwrap_or_default(), text, json }
    }

    /// `ip:port=healthy` of each host of its service, sorted.
    pub fn hosts(&self) -> Vec<String> {
        crate::udp::hosts(&self.json["serviceInfo"])
    }

    /// Checks type and success, and gives the body.
    #[track_caller]
    pub fn ok(&self, kind: &str) -> &Value {
        assert_eq!(self.kind, kind, "{}", self.text);
        assert_eq!(
            (&self.json["resultCode"], &self.json["errorCode"]),
            (&200.into(), &0.into()),
            "{}",
            self.text
        );
        assert_eq!(self.json["success"], true, "{}", self.text);
        &self.json
    }

    /// Checks type and codes of a failure, and gives its text.
    #[track_caller]
    pub fn fails(&self, kind: &str, result: i64, error: i64) -> &str {
        assert_eq!(self.kind, kind, "{}", self.text);
        assert_eq!(self.json["resultCode"], result, "{}", self.text);
        assert_eq!(self.json["errorCode"], error, "{}", self.text);
        assert_eq!(self.json["success"], false, "{}", self.text);
        self.json["message"].as_str().unwrap_or_default()
    }
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.iter().any(holds_null),
        Value::Object(all) => all.values().any(holds_null),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_are_found_wherever_they_are() {
        assert!(holds_null(&serde_json::json!({"a": [{"b": null}]})));
        assert!(!holds_null(&serde_json::json!({"a": [{"b": 0}]})));
    }
}
