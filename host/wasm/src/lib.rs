//! Everything that knows wasmtime: loading, granting, calling and limiting plugins.
//!
//! [`PluginHost::load`] takes a component and the operator's [`Manifest`]; [`HealthCheck`], [`MemberLookup`] and
//! [`PushFilter`] call it, in the words of `muster_core::plugin`. A plugin is untrusted and may be broken: it reaches
//! what it was given and nothing else, its memory, CPU, time, traffic and output are bounded, and whatever it does
//! ends as a [`PluginError`], which says nothing about the target of the call.
//!
//! What is left to others: which plugin is called when and what follows from its answer (`muster`), the names and
//! values of secrets (`muster`), the interfaces themselves (`wit/`), the bundled plugins (`plugins/`).
//!
//! | file | owns |
//! |---|---|
//! | `engine` | engine settings, the epoch thread |
//! | `cache` | compiled code between starts; the one `unsafe` of the project |
//! | `manifest`, `grants` | what a plugin may reach and use; what is linked |
//! | `inspect`, `loader`, `descriptor` | from bytes to a plugin that can be called |
//! | `plugin`, `limiter`, `state` | one version of one plugin, its instances and their bounds |
//! | `version` | a version that can be called beside the active one, made active, and taken back |
//! | `network`, `sealed` | what it may reach beyond its target; secrets that it never sees |
//! | `call`, `breaker`, `meter` | one call and how it ended; quarantine; counters |
//! | `imports/` | what the host does for a guest |
//! | `trace/` | one call written down, and made again from what was written |
//! | `health_check`, `member_lookup`, `push_filter` | the three kinds |

mod bindings;
mod bounds;
mod breaker;
mod cache;
mod call;
mod descriptor;
mod dns;
mod engine;
mod error;
mod grants;
mod health_check;
mod host;
mod imports;
mod inspect;
mod limiter;
mod loader;
mod manifest;
mod member_lookup;
mod meter;
mod network;
mod plugin;
mod push_filter;
mod sealed;
mod state;
mod stderr;
mod text;
mod trace;
mod validate;
mod version;
mod world;

pub use bounds::Bounds;
pub use engine::MAX_POOL;
pub use error::{FaultKind, HostError, LoadError, PluginError};
pub use health_check::{CheckCall, CheckRun, HealthCheck};
pub use host::{HostOptions, PluginHost, PluginInfo, PluginState};
pub use inspect::{Inspection, MAX_COMPONENT, inspect};
pub use manifest::{
    Faults, Grants, InstanceMode, Instances, Limits, MAX_MEMORY, Manifest, OnFault, PluginSection,
};
pub use member_lookup::{LookupCall, LookupFiles, LookupNames, MemberLookup, ThisNode};
pub use meter::{Counters, Meter};
pub use muster_core::plugin::{
    Descriptor, FoundMember, LookupAnswer, Outcome, PluginKind, Selection, SettingProblem, Settings, Target,
    Verdict,
};
pub use network::{HostRule, NotAHost, in_force};
pub use push_filter::{Asked, Candidate, Candidates, Column, FilterCall, FilterSubscriber, PushFilter};
pub use state::HostCall;
pub use trace::{
    CheckQuestion, Cost, Divergence, End, FindQuestion, Head, LiveCall, MAX_TRACE, Question, SelectQuestion,
    Step, TRACE_VERSION, Trace, TraceError, Trial, TrialError,
};
pub use version::PluginVersion;
