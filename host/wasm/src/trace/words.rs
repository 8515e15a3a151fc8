//! What passes between host and guest, as JSON.

use crate::bindings::since_v0_1_1::{
    candidates::{Column, Instance},
    dial::DialError,
    fetch::{FetchError, Response},
    files::{Content, FileError},
    names::{NameError, Service},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Something that can be written into a trace and read from it.
pub(crate) trait Word: Sized {
    fn write(&self) -> Value;
    fn read(value: &Value) -> Option<Self>;
}

/// `{"ok": …}` or `{"error": …}`.
impl<T: Word, E: Word> Word for Result<T, E> {
    fn write(&self) -> Value {
        match self {
            Ok(value) => json!({"ok": value.write()}),
            Err(error) => json!({"error": error.write()}),
        }
    }

    fn read(value: &Value) -> Option<Self> {
        match (value.get("ok"), value.get("error")) {
            (Some(value), None) => T::read(value).map(Ok),
            (None, Some(error)) => E::read(error).map(Err),
            _ => None,
        }
    }
}

/// Nothing goes wrong with this call.
#[derive(Debug)]
pub(crate) enum Never {}

impl Word for Never {
    fn write(&self) -> Value {
        match *self {}
    }

    fn read(_: &Value) -> Option<Self> {
        None
    }
}

impl Word for () {
    fn write(&self) -> Value {
        Value::Bool(true)
    }

    fn read(value: &Value) -> Option<Self> {
        (*value == Value::Bool(true)).then_some(())
    }
}

macro_rules! plain_words {
    ($($type:ty),+) => {
        $(impl Word for $type {
            fn write(&self) -> Value {
                // numbers, texts and lists of them: nothing that JSON lacks
                serde_json::to_value(self).unwrap_or_default()
            }

            fn read(value: &Value) -> Option<Self> {
                serde_json::from_value(value.clone()).ok()
            }
        })+
    };
}

plain_words!(u32, u64, String, Option<String>, Vec<String>, Vec<u16>, Vec<u32>, Vec<f64>);

/// Bytes: as text when they are readable text, else as base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Word for Bytes {
    fn write(&self) -> Value {
        let readable = |c: char| !c.is_control() || matches!(c, '\r' | '\n' | '\t');
        match std::str::from_utf8(&self.0) {
            Ok(text) if text.chars().all(readable) => Value::from(text),
            _ => json!({"base64": STANDARD.encode(&self.0)}),
        }
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self(text.clone().into_bytes())),
            other => STANDARD.decode(other.get("base64")?.as_str()?).ok().map(Self),
        }
    }
}

macro_rules! error_words {
    ($type:ident: $($word:literal = $variant:ident),+; $($named:literal = $with:ident),*) => {
        impl Word for $type {
            fn write(&self) -> Value {
                match self {
                    $(Self::$variant => Value::from($word),)+
                    $(Self::$with(text) => json!({$named: text}),)*
                }
            }

            fn read(value: &Value) -> Option<Self> {
                match value.as_str() {
                    $(Some($word) => return Some(Self::$variant),)+
                    _ => {}
                }
                $(if let Some(text) = value.get($named) {
                    return Some(Self::$with(text.as_str()?.to_owned()));
                })*
                None
            }
        }
    };
}

error_words! {
    DialError: "refused" = Refused, "timed-out" = TimedOut, "unreachable" = Unreachable, "closed" = Closed,
        "denied" = Denied; "tls" = Tls, "other" = Other
}
error_words! {
    FetchError: "refused" = Refused, "timed-out" = TimedOut, "unreachable" = Unreachable, "denied" = Denied;
        "bad-response" = BadResponse, "tls" = Tls, "other" = Other
}
error_words! {
    FileError: "missing" = Missing, "denied" = Denied, "too-large" = TooLarge, "unreadable" = Unreadable;
}
error_words! {
    NameError: "missing" = Missing, "denied" = Denied, "timed-out" = TimedOut, "too-many" = TooMany, "bad-name" = BadName;
        "other" = Other
}

impl Word for Vec<Service> {
    fn write(&self) -> Value {
        let service = |one: &Service| {
            json!({
                "target": one.target, "port": one.port, "priority": one.priority, "weight": one.weight,
                "addresses": one.addresses,
            })
        };
        self.iter().map(service).collect()
    }

    fn read(value: &Value) -> Option<Self> {
        let service = |value: &Value| {
            let number = |key: &str| u16::try_from(value.get(key)?.as_u64()?).ok();
            Some(Service {
                target: value.get("target")?.as_str()?.to_owned(),
                port: number("port")?,
                priority: number("priority")?,
                weight: number("weight")?,
                addresses: Word::read(value.get("addresses")?)?,
            })
        };
        value.as_array()?.iter().map(service).collect()
    }
}

impl Word for Response {
    fn write(&self) -> Value {
        let body = Bytes(self.body.clone()).write();
        json!({"status": self.status, "headers": self.headers, "body": body, "cut": self.cut})
    }

    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            status: u16::try_from(value.get("status")?.as_u64()?).ok()?,
            headers: serde_json::from_value(value.get("headers")?.clone()).ok()?,
            body: Bytes::read(value.get("body")?)?.0,
            cut: value.get("cut")?.as_bool()?,
        })
    }
}

impl Word for Content {
    fn write(&self) -> Value {
        json!({"bytes": Bytes(self.bytes.clone()).write(), "stamp": self.stamp})
    }

    fn read(value: &Value) -> Option<Self> {
        let stamp = value.get("stamp")?.as_str()?.to_owned();
        Some(Self { bytes: Bytes::read(value.get("bytes")?)?.0, stamp })
    }
}

impl Word for Column {
    fn write(&self) -> Value {
        json!({"values": self.values, "codes": self.codes})
    }

    fn read(value: &Value) -> Option<Self> {
        Some(Self { values: Vec::read(value.get("values")?)?, codes: Vec::read(value.get("codes")?)? })
    }
}

impl Word for Option<Instance> {
    fn write(&self) -> Value {
        let Some(found) = self else { return Value::Null };
        json!({
            "id": found.id, "address": found.address, "port": found.port, "cluster": found.cluster,
            "weight": found.weight, "state": found.state, "metadata": found.metadata,
        })
    }

    fn read(value: &Value) -> Option<Self> {
        if value.is_null() {
            return Some(None);
        }
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        let number = |key: &str| value.get(key)?.as_u64();
        Some(Some(Instance {
            id: text("id")?,
            address: text("address")?,
            port: u16::try_from(number("port")?).ok()?,
            cluster: text("cluster")?,
            weight: value.get("weight")?.as_f64()?,
            state: u8::try_from(number("state")?).ok()?,
            metadata: serde_json::from_value(value.get("metadata")?.clone()).ok()?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again<T: Word>(word: &T) -> Value {
        let written = word.write();
        T::read(&written).map(|read| read.write()).filter(|again| *again == written).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(again(&Bytes(b"PING\r\n".to_vec())), json!("PING\r\n"));
        assert_eq!(again(&Bytes(vec![0, 255])), json!({"base64": "AP8="}));
        assert_eq!(again(&Ok::<_, DialError>(7_u32)), json!({"ok": 7}));
        assert_eq!(again(&Err::<u32, _>(DialError::TimedOut)), json!({"error": "timed-out"}));
        assert_eq!(again(&Err::<(), _>(FetchError::Tls("no".into()))), json!({"error": {"tls": "no"}}));
        assert_eq!(again(&Ok::<_, FileError>(())), json!({"ok": true}));
        again(&Response { status: 200, headers: vec![("a".into(), "b".into())], body: vec![1], cut: false });
        again(&Content { bytes: b"x".to_vec(), stamp: "s".into() });
        let addresses = vec!["10.0.0.1".into()];
        let service = Service { target: "a".into(), port: 1, priority: 2, weight: 3, addresses };
        again(&Ok::<_, NameError>(vec![service]));
        again(&Err::<Vec<String>, _>(NameError::Other("no".into())));
        again(&Column { values: vec!["a".into()], codes: vec![0, 1] });
    }

    #[test]
    fn what_is_wrong_is_not_read() {
        assert!(Result::<u32, DialError>::read(&json!({"error": "nonsense"})).is_none());
        assert!(Result::<u32, DialError>::read(&json!({"ok": "text"})).is_none());
        assert!(Result::<u32, DialError>::read(&json!({})).is_none());
        assert!(Bytes::read(&json!({"base64": "?"})).is_none());
    }
}
