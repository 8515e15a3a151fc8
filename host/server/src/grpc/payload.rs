//! What travels in a frame: a type name, headers, and JSON in the place of a protobuf message.
//! Source: Nacos `nacos_grpc_service.proto`.

use bytes::Bytes;
use prost::encoding::{encode_varint, encoded_len_varint};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

/// `Payload` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Payload {
    /// what the body is
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<Metadata>,
    /// the body
    #[prost(message, optional, tag = "3")]
    pub body: Option<Any>,
}

/// `Metadata` of the protocol.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metadata {
    /// simple class name of the body, such as `InstanceRequest`
    #[prost(string, tag = "3")]
    pub r#type: String,
    /// request headers: tokens, application name
    #[prost(map = "string, string", tag = "7")]
    pub headers: HashMap<String, String>,
    /// the client's idea of its address
    #[prost(string, tag = "8")]
    pub client_ip: String,
}

/// `google.protobuf.Any`, with JSON inside and no type URL.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Any {
    /// empty
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// UTF-8 JSON
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

impl Payload {
    /// A payload of the server: a type and a body, nothing else.
    pub(super) fn new(kind: &str, body: impl Into<Bytes>) -> Self {
        let metadata = Metadata { r#type: kind.to_owned(), ..Metadata::default() };
        let body = Any { type_url: String::new(), value: body.into() };
        Self { metadata: Some(metadata), body: Some(body) }
    }

    /// A payload whose body is `body` as JSON.
    pub(super) fn json<T: Serialize>(kind: &str, body: &T) -> Self {
        // Bodies are our own structs of text, numbers and lists, which always encode.
        Self::new(kind, serde_json::to_vec(body).unwrap_or_default())
    }

    /// As it is sent, with its length before it. For payloads of the server.
    pub(super) fn framed(&self) -> Bytes {
        let value = self.body.as_ref().map_or(&[][..], |body| &body.value);
        let mut message = start(self.kind(), value.len(), value.len());
        message.extend_from_slice(value);
        message.into()
    }

    /// The type name; blank when there is none.
    pub(super) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.r#type)
    }

    /// A header, in whichever case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.metadata.as_ref()?.headers;
        headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// The decoder's own. An array is none of ours: it would be read as the fields in their order.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let json = self.body.as_ref().map_or(&b"{}"[..], |body| &body.value);
        if json.trim_ascii_start().first() == Some(&b'[') {
            return Err(serde::de::Error::custom("invalid type: sequence, expected an object"));
        }
        serde_json::from_slice(json)
    }
}

/// Everything of a framed payload that goes before its body of `length` bytes, with room for `more` bytes.
pub(super) fn start(kind: &str, length: usize, more: usize) -> Vec<u8> {
    let field = |length: usize| 1 + encoded_len_varint(length as u64) + length;
    let (metadata, body) = (field(kind.len()), field(length));
    let whole = field(metadata) + field(body);
    let mut out = Vec::with_capacity(5 + whole - length + more);
    out.push(0);
    // A longer one cannot be said; lists of services that fit into memory are not that long.
    out.extend_from_slice(&u32::try_from(whole).unwrap_or(u32::MAX).to_be_bytes());
    let mut tag = |tag: u8, length: usize, content: &str| {
        out.push(tag);
        encode_varint(length as u64, &mut out);
        out.extend_from_slice(content.as_bytes());
    };
    // the fields above: metadata (2) of type (3), body (3) of value (2)
    tag(0x12, metadata, "");
    tag(0x1a, kind.len(), kind);
    tag(0x1a, body, "");
    tag(0x12, length, "");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    /// The worked example of the specification.
    const SERVER_CHECK: [u8; 60] = [
        0x12, 0x14, 0x1a, 0x12, 0x53, 0x65, 0x72, 0x76, 0x65, 0x72, 0x43, 0x68, 0x65, 0x63, 0x6b, 0x52, 0x65,
        0x71, 0x75, 0x65, 0x73, 0x74, 0x1a, 0x24, 0x12, 0x22, 0x7b, 0x22, 0x68, 0x65, 0x61, 0x64, 0x65, 0x72,
        0x73, 0x22, 0x3a, 0x7b, 0x7d, 0x2c, 0x22, 0x6d, 0x6f, 0x64, 0x75, 0x6c, 0x65, 0x22, 0x3a, 0x22, 0x69,
        0x6e, 0x74, 0x65, 0x72, 0x6e, 0x61, 0x6c, 0x22, 0x7d,
    ];

    #[test]
    fn n203_n205_the_documented_bytes_decode_and_encode() {
        let payload = <Payload as Message>::decode(&SERVER_CHECK[..]).unwrap();
        assert_eq!(payload.kind(), "ServerCheckRequest");
        assert_eq!(payload.body.as_ref().unwrap().value, &br#"{"headers":{},"module":"internal"}"#[..]);
        assert_eq!(payload.encode_to_vec(), SERVER_CHECK);
    }

    #[test]
    fn n203_frames_are_what_the_codec_makes() {
        for length in [1, 2, 100, 127, 128, 10_000, 20_000, 3_000_000] {
            let payload = Payload::new("NotifySubscriberRequest", vec![b'x'; length]);
            let framed = payload.framed();
            assert_eq!(
                framed[..5],
                [&[0], &u32::try_from(framed.len() - 5).unwrap().to_be_bytes()[..]].concat()
            );
            assert_eq!(framed[5..], payload.encode_to_vec());
            assert_eq!(framed.len(), start("NotifySubscriberRequest", length, 0).len() + length);
        }
    }

    #[test]
    fn n204_metadata_uses_its_documented_field_numbers() {
        let headers = HashMap::from([("a".to_owned(), "b".to_owned())]);
        let metadata = Metadata { r#type: "T".into(), headers, client_ip: "1.1.1.1".into() };
        let bytes = metadata.encode_to_vec();
        assert_eq!(bytes, b"\x1a\x01T\x3a\x06\x0a\x01a\x12\x01b\x42\x071.1.1.1");
    }
}
