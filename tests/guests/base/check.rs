//! What a health check is when it behaves; a guest overrides the one thing that it does wrong.

#![allow(dead_code, unused_imports, reason = "each guest uses a part of it")]

wit_bindgen::generate!({ path: "../../wit/since_v0.1.0", world: "muster:plugin/health-check" });

pub use exports::muster::plugin::checker::{Outcome, Target, Verdict};
pub use muster::plugin::{
    dial, fetch, host,
    types::{Descriptor, Fault, Kind, Problem, Setting},
};

pub type Settings = Vec<(String, String)>;

pub trait Behaviour {
    fn describe() -> Descriptor {
        describe(vec![text("what")])
    }
    fn validate(_: Settings) -> Vec<Problem> {
        Vec::new()
    }
    fn check(target: Target, settings: Settings) -> Result<Verdict, Fault>;
}

pub fn describe(settings: Vec<Setting>) -> Descriptor {
    Descriptor { name: "guest".into(), version: "1.0.0".into(), summary: "misbehaves".into(), settings }
}

pub fn text(key: &str) -> Setting {
    Setting { key: key.into(), kind: Kind::Text, required: false, default: None, summary: String::new() }
}

pub fn passed(message: impl Into<String>) -> Result<Verdict, Fault> {
    let message = message.into();
    Ok(Verdict { outcome: Outcome::Passed, code: "guest.passed".into(), message, facts: vec![] })
}

pub fn failed(message: impl Into<String>) -> Result<Verdict, Fault> {
    let message = message.into();
    Ok(Verdict { outcome: Outcome::Failed, code: "guest.failed".into(), message, facts: vec![] })
}

/// The setting `what`; empty when it was not given.
pub fn what(settings: &Settings) -> &str {
    settings.iter().find(|(key, _)| key == "what").map_or("", |(_, value)| value)
}

#[macro_export]
macro_rules! guest {
    ($behaviour:ty) => {
        struct Component;
        impl $crate::base::exports::muster::plugin::about::Guest for Component {
            fn describe() -> $crate::base::Descriptor {
                <$behaviour as $crate::base::Behaviour>::describe()
            }
            fn validate(settings: $crate::base::Settings) -> Vec<$crate::base::Problem> {
                <$behaviour as $crate::base::Behaviour>::validate(settings)
            }
        }
        impl $crate::base::exports::muster::plugin::checker::Guest for Component {
            fn check(
                target: $crate::base::Target,
                settings: $crate::base::Settings,
            ) -> Result<$crate::base::Verdict, $crate::base::Fault> {
                <$behaviour as $crate::base::Behaviour>::check(target, settings)
            }
        }
        $crate::base::export!(Component with_types_in $crate::base);
    };
}
