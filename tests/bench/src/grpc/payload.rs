//! What travels: payloads as SDKs of 2.x send them, framed once and sent often.

use crate::node;
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use std::collections::HashMap;

/// `Payload` of the protocol. Source: Nacos `nacos_grpc_service.proto`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Payload {
    /// what the body is
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<Metadata>,
    /// the body
    #[prost(message, optional, tag = "3")]
    pub body: Option<Any>,
}

/// `Metadata` of the protocol.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metadata {
    /// name of the type
    #[prost(string, tag = "3")]
    pub r#type: String,
    /// request headers
    #[prost(map = "string, string", tag = "7")]
    pub headers: HashMap<String, String>,
    /// the client's idea of its address
    #[prost(string, tag = "8")]
    pub client_ip: String,
}

/// `google.protobuf.Any` with JSON inside.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    /// empty
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// JSON
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

impl Payload {
    /// A payload of type `kind`.
    pub(crate) fn new(kind: &str, body: impl Into<Bytes>) -> Self {
        let metadata = Metadata { r#type: kind.into(), ..Metadata::default() };
        Self { metadata: Some(metadata), body: Some(Any { type_url: String::new(), value: body.into() }) }
    }

    /// The type.
    pub(crate) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.r#type)
    }

    /// With the five bytes that go before a message.
    pub(crate) fn framed(&self) -> Bytes {
        let length = self.encoded_len();
        let mut frame = BytesMut::with_capacity(length + 5);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        frame.extend_from_slice(&self.encode_to_vec());
        frame.freeze()
    }
}

/// A request as Java clients send it: with two headers and an address.
fn request(kind: &str, body: String) -> Bytes {
    let mut payload = Payload::new(kind, body);
    if let Some(metadata) = &mut payload.metadata {
        metadata.headers =
            HashMap::from([("app".into(), "unknown".into()), ("charset".into(), "UTF-8".into())]);
        metadata.client_ip = "127.0.0.1".into();
    }
    payload.framed()
}

/// The first message of a stream. It asks for an answer, so that it is known when the connection may be used.
pub(crate) fn setup() -> Bytes {
    let body = r#"{"headers":{},"clientVersion":"Nacos-Java-Client:v2.5.1","tenant":"","labels":{"source":"sdk","module":"naming","AppName":"bench"},"abilityTable":{},"module":"internal"}"#;
    request("ConnectionSetupRequest", body.into())
}

fn service_ref(service: &str) -> String {
    format!(
        r#""headers":{{}},"namespace":"public","serviceName":"{service}","groupName":"DEFAULT_GROUP","module":"naming""#
    )
}

/// A query of a service.
pub(crate) fn query(service: &str) -> Bytes {
    let of = service_ref(service);
    request("ServiceQueryRequest", format!(r#"{{{of},"cluster":"","healthyOnly":false,"udpPort":0}}"#))
}

/// A subscription.
pub(crate) fn subscribe(service: &str) -> Bytes {
    let of = service_ref(service);
    request("SubscribeServiceRequest", format!(r#"{{{of},"subscribe":true,"clusters":""}}"#))
}

/// The `index`th instance of a service.
fn instance(service: &str, index: usize, weight: usize) -> String {
    let ip = node::address(index);
    format!(
        r#"{{"ip":"{ip}","port":8080,"weight":{weight}.0,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","serviceName":"DEFAULT_GROUP@@{service}","metadata":{{"version":"2.5.1","zone":"az-1"}},"instanceHeartBeatInterval":5000,"instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000}}"#
    )
}

/// A registration of one instance. `weight` tells one from the next of the same instance.
pub(crate) fn register(service: &str, index: usize, weight: usize) -> Bytes {
    let (of, instance) = (service_ref(service), instance(service, index, weight));
    request("InstanceRequest", format!(r#"{{{of},"type":"registerInstance","instance":{instance}}}"#))
}

/// A registration of `count` instances at once.
pub(crate) fn register_all(service: &str, count: usize, weight: usize) -> Bytes {
    let of = service_ref(service);
    let instances: Vec<_> = (0..count).map(|index| instance(service, index, weight)).collect();
    let instances = instances.join(",");
    request(
        "BatchInstanceRequest",
        format!(r#"{{{of},"type":"batchRegisterInstance","instances":[{instances}]}}"#),
    )
}

/// What a client says of something the server sent over the stream.
pub(crate) fn taken(kind: &str, id: &str) -> Bytes {
    let body = format!(r#"{{"resultCode":200,"errorCode":0,"requestId":"{id}","success":true}}"#);
    Payload::new(&kind.replace("Request", "Response"), body).framed()
}

/// The text between `before` and the next `after` near the start of a message.
pub(crate) fn between<'a>(text: &'a [u8], before: &[u8], after: u8) -> Option<&'a [u8]> {
    let from = find(text, before)? + before.len();
    let rest = &text[from..];
    Some(&rest[..rest.iter().position(|byte| *byte == after)?])
}

/// Where `wanted` begins.
pub(crate) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_payloads_with_json() {
        for frame in [setup(), query("a"), subscribe("a"), register("a", 1, 2), register_all("a", 3, 1)] {
            assert_eq!(frame[..5], [&[0], &u32::to_be_bytes(frame.len() as u32 - 5)[..]].concat());
            let payload = Payload::decode(&frame[5..]).unwrap();
            assert!(payload.kind().ends_with("Request"));
            let json: serde_json::Value = serde_json::from_slice(&payload.body.unwrap().value).unwrap();
            assert!(json["module"].is_string(), "{json}");
        }
    }

    #[test]
    fn ids_are_found() {
        assert_eq!(between(br#"{"requestId":"12","#, br#""requestId":""#, b'"'), Some(&b"12"[..]));
        assert_eq!(between(b"{}", b"a", b'b'), None);
    }
}
