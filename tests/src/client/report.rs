//! What each SDK was seen to do: one file per SDK and feature, from which `tests/matrix` writes the
//! compatibility matrix.

use super::sdk::{self, Sdk, Transport};
use super::{Lacks, Outcome};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

/// A row of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the titles say what they are")]
pub enum Feature {
    Register,
    BatchRegister,
    Deregister,
    ClusterFilter,
    HealthFilter,
    Paging,
    Subscribe,
    Unsubscribe,
    Metadata,
    Persistent,
    Namespaces,
    Keeps,
    Dies,
    Restart,
    Cut,
    SeenByAll,
    HearsAll,
}

impl Feature {
    /// What the matrix calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Register => "register, with cluster, weight and metadata",
            Self::BatchRegister => "register several in one request",
            Self::Deregister => "deregister",
            Self::ClusterFilter => "query with cluster filter",
            Self::HealthFilter => "query with health filter",
            Self::Paging => "list services, paged",
            Self::Subscribe => "subscribe: hears changes",
            Self::Unsubscribe => "unsubscribe: hears no more",
            Self::Metadata => "subscriber sees changed metadata",
            Self::Persistent => "persistent instances",
            Self::Namespaces => "two namespaces are apart",
            Self::Keeps => "stays healthy while its client runs",
            Self::Dies => "goes when its client dies",
            Self::Restart => "same registry after a server restart",
            Self::Cut => "same registry after a cut connection",
            Self::SeenByAll => "subscribers of every SDK hear of its instances",
            Self::HearsAll => "its subscribers hear of every SDK's instances",
        }
    }
}

static VERSIONS: Mutex<BTreeMap<&str, String>> = Mutex::new(BTreeMap::new());

/// Remembers the version that the SDK's own package states.
pub(super) fn version(sdk: &Sdk, version: &str) {
    VERSIONS.lock().unwrap_or_else(PoisonError::into_inner).insert(sdk.name, version.to_owned());
}

/// Runs a scenario and writes down how it ended.
///
/// # Panics
/// As the scenario does.
#[allow(clippy::print_stderr, reason = "libtest shows it with the test")]
pub fn prove(sdk: &'static Sdk, feature: Feature, scenario: impl FnOnce(&'static Sdk) -> Outcome) {
    let ended = catch_unwind(AssertUnwindSafe(|| scenario(sdk)));
    match &ended {
        Ok(Ok(())) => write(sdk, feature, json!({"result": "works"})),
        Ok(Err(Lacks(why))) => {
            eprintln!("{} lacks it: {why}", sdk.name);
            write(sdk, feature, json!({"result": "lacks", "why": why}));
        }
        Err(_) => write(sdk, feature, json!({"result": "fails"})),
    }
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}

fn write(sdk: &Sdk, feature: Feature, mut result: Value) {
    let folder = sdk::built().join("results");
    std::fs::create_dir_all(&folder).expect("target is writable");
    let versions = VERSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    result["client"] = sdk.name.into();
    result["package"] = sdk.package.into();
    result["version"] = versions.get(sdk.name).map_or("?", String::as_str).into();
    result["transport"] = if sdk.transport == Transport::Grpc { "gRPC" } else { "HTTP" }.into();
    result["column"] = sdk::ALL.iter().position(|other| other.name == sdk.name).into();
    result["feature"] = feature.title().into();
    result["row"] = (feature as usize).into();
    let file = folder.join(format!("{}-{:02}.json", sdk.name, feature as usize));
    std::fs::write(file, result.to_string()).expect("target is writable");
}
