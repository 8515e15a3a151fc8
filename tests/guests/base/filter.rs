//! What a push filter is when it behaves.

#![allow(dead_code, unused_imports, reason = "each guest uses a part of it")]

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "muster:plugin/push-filter" });

pub use exports::muster::plugin::filter::{Selection, Service};
pub use muster::plugin::{
    candidates::{Subscriber, View},
    host,
    types::{Descriptor, Fault, Kind, Problem, Setting},
};

pub type Settings = Vec<(String, String)>;

pub trait Behaviour {
    fn select(who: &Subscriber, among: &View, settings: Settings) -> Result<Selection, Fault>;
}

pub fn describe() -> Descriptor {
    let what = Setting {
        key: "what".into(),
        kind: Kind::Text,
        required: false,
        default: None,
        summary: String::new(),
    };
    Descriptor {
        name: "guest".into(),
        version: "1.0.0".into(),
        summary: "misbehaves".into(),
        settings: vec![what],
    }
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
        impl $crate::base::exports::muster::plugin::filter::Guest for Component {
            fn select(
                _: $crate::base::Service,
                who: &$crate::base::Subscriber,
                among: &$crate::base::View,
                settings: $crate::base::Settings,
            ) -> Result<$crate::base::Selection, $crate::base::Fault> {
                <$behaviour as $crate::base::Behaviour>::select(who, among, settings)
            }
        }
        $crate::base::export!(Component with_types_in $crate::base);
    };
}
