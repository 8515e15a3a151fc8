//! Writing a member lookup: it says which servers form the cluster.

use crate::bindings::checker::muster::plugin::fetch;
use crate::bindings::lookup::muster::plugin::{files, names};
use crate::bindings::{about, lookup};
use std::marker::PhantomData;

pub use crate::bindings::about::muster::plugin::types::{Descriptor, Fault, Kind, Problem, Setting};
pub use crate::bindings::lookup::exports::muster::plugin::lookup::{Answer, Member, Members, ThisNode};
pub use crate::log;
pub use crate::net::{FetchError, Request, Response};
pub use crate::settings::Settings;
pub use files::{Content, FileError};
pub use names::{NameError, Service};
pub use std::time::Duration;

/// One way to find members. The type is only a name: what must survive a call is the cookie.
pub trait MemberLookup {
    /// The word that selects it, and the settings that it takes.
    fn describe() -> Descriptor;

    /// What is wrong with settings that each fit their description.
    fn validate(settings: &Settings) -> Vec<Problem> {
        let _ = settings;
        Vec::new()
    }

    /// Looks once. `cookie` is what the last changed answer held.
    ///
    /// # Errors
    /// It could not look; the host keeps the list it has and asks again.
    fn find(
        node: &ThisNode,
        settings: &Settings,
        cookie: Option<&[u8]>,
        sources: &impl Sources,
    ) -> Result<Answer, Fault>;
}

/// What a member lookup can read: the files, the endpoints and the names in DNS that its manifest grants.
pub trait Sources {
    /// One HTTP exchange with the endpoint whose URL is in the setting `endpoint`.
    ///
    /// # Errors
    /// There was no response.
    fn fetch(&self, endpoint: &str, request: &Request) -> Result<Response, FetchError>;

    /// A file of the node's configuration folder.
    ///
    /// # Errors
    /// It cannot be read, or the manifest does not name it.
    fn read(&self, name: &str) -> Result<Content, FileError>;

    /// A and AAAA records of the name in the setting `key`, in order.
    ///
    /// # Errors
    /// There are none, or nobody could be asked.
    fn addresses(&self, key: &str) -> Result<Vec<String>, NameError>;

    /// SRV records of the name in the setting `key` with the addresses of their targets, by priority, target and port.
    ///
    /// # Errors
    /// There are none, or nobody could be asked.
    fn services(&self, key: &str) -> Result<Vec<Service>, NameError>;

    /// The time until the host ends this call.
    fn remaining(&self) -> Duration;
}

/// Files, endpoints and names as the host gives them.
#[derive(Clone, Copy, Debug)]
pub struct HostSources;

impl Sources for HostSources {
    fn fetch(&self, endpoint: &str, request: &Request) -> Result<Response, FetchError> {
        fetch::send(Some(endpoint), request)
    }

    fn read(&self, name: &str) -> Result<Content, FileError> {
        files::read(name)
    }

    fn addresses(&self, key: &str) -> Result<Vec<String>, NameError> {
        names::addresses(key)
    }

    fn services(&self, key: &str) -> Result<Vec<Service>, NameError> {
        names::services(key)
    }

    fn remaining(&self) -> Duration {
        crate::net::remaining()
    }
}

impl Member {
    /// A member without metadata; no port means the node's main port setting.
    pub fn new(address: impl Into<String>, port: Option<u16>) -> Self {
        Self { address: address.into(), port, metadata: Vec::new() }
    }
}

impl Answer {
    /// A new list. `cookie` comes back on the next call, which is due after `next`.
    pub fn members(members: Vec<Member>, cookie: impl Into<Vec<u8>>, next: Duration) -> Self {
        Self::Changed(Members { members, cookie: cookie.into(), next_ms: millis(next) })
    }

    /// The last list still holds; the next call is due after `next`.
    pub fn same(next: Duration) -> Self {
        Self::Unchanged(millis(next))
    }
}

/// Whole milliseconds.
fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// Joins a [`MemberLookup`] to the component's exports.
#[doc(hidden)]
#[derive(Debug)]
pub struct Plugin<T>(PhantomData<T>);

impl<T: MemberLookup> about::exports::muster::plugin::about::Guest for Plugin<T> {
    fn describe() -> Descriptor {
        T::describe()
    }

    fn validate(settings: Vec<(String, String)>) -> Vec<Problem> {
        T::validate(&settings.into())
    }
}

impl<T: MemberLookup> lookup::exports::muster::plugin::lookup::Guest for Plugin<T> {
    fn find(
        node: ThisNode,
        settings: Vec<(String, String)>,
        cookie: Option<Vec<u8>>,
    ) -> Result<Answer, Fault> {
        T::find(&node, &settings.into(), cookie.as_deref(), &HostSources)
    }
}

/// Makes the crate a member lookup component. Built for the machine itself it only checks the type.
#[macro_export]
macro_rules! export_member_lookup {
    ($lookup:ty) => {
        const _: () = {
            #[allow(dead_code, reason = "native builds export nothing")]
            type Exported = $crate::member_lookup::Plugin<$lookup>;
            $crate::export_part!(about, Exported);
            $crate::export_part!(lookup, Exported);
        };
    };
}
