//! What clients send back.

use serde::Deserialize;

/// `{"type":"push-ack","lastRefTime":"81234567890123","data":""}`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) key: u64,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, rename = "type")]
    kind: std::borrow::Cow<'a, str>,
    #[serde(rename = "lastRefTime")]
    key: Key,
}

/// Java and Go write text, Node a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Key {
    Number(u64),
    Text(String),
}

impl Ack {
    /// None for everything that acknowledges no push.
    pub(super) fn parse(datagram: &[u8]) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_slice(datagram).ok()?;
        if wire.kind != "push-ack" {
            return None;
        }
        let key = match wire.key {
            Key::Number(number) => number,
            Key::Text(text) => text.trim().parse().ok()?,
        };
        Some(Self { key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n198_n199_keys_are_read_as_text_and_as_numbers() {
        for text in [
            r#"{"type":"push-ack","lastRefTime":"81234567890123","data":""}"#,
            r#"{"type": "push-ack", "lastRefTime": 81234567890123}"#,
        ] {
            assert_eq!(Ack::parse(text.as_bytes()), Some(Ack { key: 81_234_567_890_123 }));
        }
    }

    #[test]
    fn everything_else_is_no_acknowledgement() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"type":"unknown-ack","lastRefTime":"1"}"#,
            r#"{"type":"push-ack","lastRefTime":"x"}"#,
            r#"{"type":"push-ack","lastRefTime":-1}"#,
            r#"{"type":"push-ack"}"#,
        ] {
            assert_eq!(Ack::parse(text.as_bytes()), None, "{text}");
        }
    }
}
