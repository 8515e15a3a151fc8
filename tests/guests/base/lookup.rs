//! What a member lookup is when it behaves.

#![allow(dead_code, unused_imports, reason = "each guest uses a part of it")]

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "muster:plugin/member-lookup" });

pub use exports::muster::plugin::lookup::{Answer, Member, Members, ThisNode};
pub use muster::plugin::{
    fetch, files, host,
    types::{Descriptor, Fault, Kind, Problem, Setting},
};

pub type Settings = Vec<(String, String)>;

pub trait Behaviour {
    fn find(node: ThisNode, settings: Settings, cookie: Option<Vec<u8>>) -> Result<Answer, Fault>;
}

pub fn describe() -> Descriptor {
    let text = |key: &str| Setting {
        key: key.into(),
        kind: Kind::Text,
        required: false,
        default: None,
        summary: String::new(),
    };
    let settings = vec![text("what"), text("url"), text("other")];
    Descriptor { name: "guest".into(), version: "1.0.0".into(), summary: "misbehaves".into(), settings }
}

pub fn member(address: &str, metadata: Vec<(String, String)>) -> Member {
    Member { address: address.into(), port: Some(8848), metadata }
}

pub fn what(settings: &Settings) -> &str {
    settings.iter().find(|(key, _)| key == "what").map_or("", |(_, value)| value)
}

#[macro_export]
macro_rules! guest {
    ($behaviour:ty) => {
        struct Component;
        impl $crate::base::exports::muster::plugin::about::Guest for Component {
            fn describe() -> $crate::base::Descriptor {
                $crate::base::describe()
            }
            fn validate(_: $crate::base::Settings) -> Vec<$crate::base::Problem> {
                Vec::new()
            }
        }
        impl $crate::base::exports::muster::plugin::lookup::Guest for Component {
            fn find(
                node: $crate::base::ThisNode,
                settings: $crate::base::Settings,
                cookie: Option<Vec<u8>>,
            ) -> Result<$crate::base::Answer, $crate::base::Fault> {
                <$behaviour as $crate::base::Behaviour>::find(node, settings, cookie)
            }
        }
        $crate::base::export!(Component with_types_in $crate::base);
    };
}
