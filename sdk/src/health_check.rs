//! Writing a health check: it looks at one instance once and says what it saw.

use crate::bindings::{about, checker};
use std::marker::PhantomData;

pub use crate::bindings::about::muster::plugin::types::{Descriptor, Fault, Kind, Problem, Setting};
pub use crate::bindings::checker::exports::muster::plugin::checker::{Outcome, Target, Verdict};
pub use crate::log;
pub use crate::net::{Connection, DialError, FetchError, HostNet, Net, Request, Response};
pub use crate::settings::Settings;
pub use std::io::{Read, Write};
pub use std::time::Duration;

/// One kind of health check. The type is only a name: a check keeps nothing between calls.
pub trait HealthCheck {
    /// The word that selects it, and the settings that it takes.
    fn describe() -> Descriptor;

    /// What is wrong with settings that each fit their description, such as two that exclude each other.
    fn validate(settings: &Settings) -> Vec<Problem> {
        let _ = settings;
        Vec::new()
    }

    /// Looks at the target once.
    ///
    /// # Errors
    /// The check itself could not be done. Says nothing about the target, whose health stays as it is. What
    /// a target does wrong, however strange, is a [`Verdict`].
    fn check(target: &Target, settings: &Settings, net: &impl Net) -> Result<Verdict, Fault>;
}

/// Joins a [`HealthCheck`] to the component's exports.
#[doc(hidden)]
#[derive(Debug)]
pub struct Plugin<T>(PhantomData<T>);

impl<T: HealthCheck> about::exports::muster::plugin::about::Guest for Plugin<T> {
    fn describe() -> Descriptor {
        T::describe()
    }

    fn validate(settings: Vec<(String, String)>) -> Vec<Problem> {
        T::validate(&settings.into())
    }
}

impl<T: HealthCheck> checker::exports::muster::plugin::checker::Guest for Plugin<T> {
    fn check(target: Target, settings: Vec<(String, String)>) -> Result<Verdict, Fault> {
        T::check(&target, &settings.into(), &HostNet)
    }
}

/// Makes the crate a health check component. Built for the machine itself it only checks the type.
#[macro_export]
macro_rules! export_health_check {
    ($check:ty) => {
        const _: () = {
            #[allow(dead_code, reason = "native builds export nothing")]
            type Exported = $crate::health_check::Plugin<$check>;
            $crate::export_part!(about, Exported);
            $crate::export_part!(checker, Exported);
        };
    };
}

/// One half of a world. Only for wasm: two plugins linked into one native test would export the same names.
#[doc(hidden)]
#[macro_export]
macro_rules! export_part {
    ($part:ident, $plugin:ident) => {
        #[cfg(target_family = "wasm")]
        #[allow(unsafe_code, clippy::all, reason = "generated: the component ABI")]
        const _: () = {
    $crate::bindings::$part::export!($plugin with_types_in $crate::bindings::$part);
        };
        #[cfg(not(target_family = "wasm"))]
        const _: () = $crate::assert_part::$part::<$plugin>();
    };
}
