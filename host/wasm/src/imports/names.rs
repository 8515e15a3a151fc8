//! `names`: DNS records of the names that settings hold and the manifest grants.

use super::tls::AbortOnDrop;
use crate::{
    bindings::since_v0_1_1::names::{Host, NameError, Service},
    dns::{self, DnsError},
    state::{GuestState, Reach},
    text::one_line,
    trace::{Turn, words::Word},
};
use muster_core::plugin::Settings;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Records that one call gives.
const MAX_RECORDS: usize = 1024;
/// Targets of services that are looked up because their addresses did not come along.
const MAX_TARGETS: usize = 64;

/// Names that a lookup may ask for, by the setting that holds them, and whom it asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) by_key: BTreeMap<String, String>,
    pub(crate) server: Option<SocketAddr>,
}

impl Names {
    /// The settings that the manifest and the caller both name.
    pub(crate) fn new(
        granted: &[String],
        asked: &[String],
        settings: &Settings,
        server: Option<SocketAddr>,
    ) -> Arc<Self> {
        let both = granted.iter().filter(|key| asked.contains(key));
        let named = both.filter_map(|key| Some((key.clone(), settings.get(key)?.trim().to_owned())));
        Arc::new(Self { by_key: named.filter(|(_, name)| !name.is_empty()).collect(), server })
    }
}

type Answer<T> = Result<T, NameError>;

impl Host for GuestState {
    async fn addresses(&mut self, key: String) -> wasmtime::Result<Answer<Vec<String>>> {
        self.look_up("names.addresses", key, |server, name| async move {
            let servers = dns::servers(server).await?;
            let found = dns::addresses(&servers, &name).await?;
            bounded(found.iter().map(ToString::to_string).collect())
        })
        .await
    }

    async fn services(&mut self, key: String) -> wasmtime::Result<Answer<Vec<Service>>> {
        self.look_up("names.services", key, |server, name| async move {
            let servers = dns::servers(server).await?;
            services(&servers, &name).await
        })
        .await
    }
}

impl GuestState {
    async fn look_up<T, F>(
        &mut self,
        call: &'static str,
        key: String,
        ask: impl FnOnce(Option<SocketAddr>, String) -> F + Send,
    ) -> wasmtime::Result<Answer<Vec<T>>>
    where
        T: Send + Clone + 'static,
        F: Future<Output = Answer<Vec<T>>> + Send + 'static,
        Answer<Vec<T>>: Word,
    {
        let began = Instant::now();
        let pending = match self.call.turn(call, |_| json!({"key": key}))? {
            Turn::Played(answer) => return Ok(answer),
            Turn::Live(pending) => pending,
        };
        let answer = match self.allowed(&key) {
            Err(error) => Err(error),
            Ok((name, server)) => {
                let limit = self.call.remaining() + Duration::from_secs(1);
                // in a task of its own: messages are taken apart on more stack than a fiber has (trap 9)
                #[allow(
                    clippy::disallowed_methods,
                    reason = "ends with the guest's call, which has a deadline"
                )]
                let task = AbortOnDrop(tokio::spawn(ask(server, name)));
                match self.call.wait(tokio::time::timeout(limit, task.finish())).await {
                    Err(_) => Err(NameError::TimedOut),
                    Ok(None) => Err(NameError::Other("broken off".into())),
                    Ok(Some(answer)) => answer,
                }
            }
        };
        self.call.note(call, began, || match &answer {
            Ok(found) => format!("{}: {} records", one_line(&key, 64), found.len()),
            Err(error) => format!("{}: {error}", one_line(&key, 64)),
        });
        self.call.done(&pending, began, || answer.clone());
        Ok(answer)
    }

    /// The name in a setting, and whom to ask. Counts as a connection of the call.
    fn allowed(&mut self, key: &str) -> Answer<(String, Option<SocketAddr>)> {
        let Reach::Lookup(_, _, names) = &self.call.reach else { return Err(NameError::Denied) };
        let Some(name) = names.by_key.get(key).cloned() else {
            let granted = names.by_key.keys().cloned().collect();
            self.call.refuse_name("names", granted, key);
            return Err(NameError::Denied);
        };
        let server = names.server;
        self.call.take_connection().ok_or(NameError::Denied)?;
        Ok((name, server))
    }
}

async fn services(servers: &[SocketAddr], name: &str) -> Answer<Vec<Service>> {
    let found = dns::services(servers, name).await?;
    let mut known: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for (target, address) in found.along {
        known.entry(target).or_default().insert(address);
    }
    let targets: BTreeSet<&str> = found.services.iter().map(|service| service.target.as_str()).collect();
    let unknown: Vec<&str> = targets.into_iter().filter(|target| !known.contains_key(*target)).collect();
    if found.services.len() > MAX_RECORDS || unknown.len() > MAX_TARGETS {
        return Err(NameError::TooMany);
    }
    for target in unknown {
        let addresses = dns::addresses(servers, target).await.map_err(|error| match error {
            DnsError::Missing => NameError::Other(one_line(&format!("{target} has no address"), 256)),
            other => other.into(),
        })?;
        known.insert(target.to_owned(), addresses.into_iter().collect());
    }
    let service = |one: dns::Service| Service {
        addresses: known.get(&one.target).into_iter().flatten().map(ToString::to_string).collect(),
        target: one.target,
        port: one.port,
        priority: one.priority,
        weight: one.weight,
    };
    bounded(found.services.into_iter().map(service).collect())
}

fn bounded<T>(records: Vec<T>) -> Answer<Vec<T>> {
    if records.len() > MAX_RECORDS { Err(NameError::TooMany) } else { Ok(records) }
}

impl From<DnsError> for NameError {
    fn from(error: DnsError) -> Self {
        match error {
            DnsError::Missing => Self::Missing,
            DnsError::TimedOut => Self::TimedOut,
            DnsError::BadName => Self::BadName,
            DnsError::Other(text) => Self::Other(one_line(&text, 256)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_needs_both_the_manifest_and_the_caller_and_must_be_there() {
        let settings = [("a", "a.example"), ("b", "b.example"), ("empty", " ")];
        let settings = settings.map(|(key, name)| (key.to_owned(), name.to_owned())).into();
        let given = |granted: &[&str], asked: &[&str]| {
            let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
            Names::new(&owned(granted), &owned(asked), &settings, None).by_key.len()
        };
        assert_eq!(given(&["a", "b", "empty"], &["a", "empty"]), 1);
        assert_eq!(given(&["a"], &["b"]), 0);
        assert_eq!(given(&["absent"], &["absent"]), 0);
    }
}
