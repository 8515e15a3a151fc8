//! A member lookup, in core's words.

use crate::{
    LookupAnswer, PluginError, SettingProblem,
    bindings::since_v0_1_1::member_lookup::exports::muster::plugin::lookup as wit,
    call::{self, Export, Failure, Report, Request, Trouble},
    host::{HostInner, Slot},
    imports::{fetch, files::Folder, names::Names},
    plugin::Plugin,
    state::{GuestState, Reach},
    text,
    trace::Tape,
    validate,
    world::LookupWorld,
};
use muster_core::{
    Millis,
    plugin::{Descriptor, FoundMember, Settings},
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use wasmtime::Store;

/// Servers that one answer may name.
const MAX_MEMBERS: usize = 1024;
/// Bytes that are given back on the next call.
const MAX_COOKIE: usize = 4 << 10;
/// Bounds of the time until the next call, in milliseconds.
const SOONEST: u32 = 1000;
const LATEST: u32 = 3_600_000;
/// Bytes of an address, a key or a value.
const MAX_TEXT: usize = 1024;
/// Metadata pairs of one server.
const MAX_METADATA: usize = 64;

/// A loaded member lookup. Follows the plugin's newest version.
#[derive(Clone)]
pub struct MemberLookup {
    host: Arc<HostInner>,
    slot: Arc<Slot<LookupWorld>>,
}

/// The node that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThisNode {
    /// the address that other members know it by
    pub address: String,
    /// its main port
    pub port: u16,
    /// whether it was started to be alone
    pub standalone: bool,
}

/// A folder, and the files in it that may be read if the manifest names them too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupFiles {
    /// nothing outside is read, wherever links lead
    pub folder: PathBuf,
    /// paths relative to it
    pub names: Vec<String>,
}

/// Names that may be looked up in DNS, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LookupNames {
    /// keys of the settings that hold them, if the manifest names those too
    pub keys: Vec<String>,
    /// the server to ask; none means those of `/etc/resolv.conf`
    pub server: Option<SocketAddr>,
}

/// One question.
#[derive(Clone, Debug)]
pub struct LookupCall {
    /// who asks
    pub node: ThisNode,
    /// settings with their secrets resolved; defaults need not be filled in
    pub settings: Arc<Settings>,
    /// what the last answer gave
    pub cookie: Option<Vec<u8>>,
    /// files that may be read
    pub files: LookupFiles,
    /// keys of the settings whose URL may be asked if the manifest names them too
    pub endpoints: Vec<String>,
    /// names that may be looked up
    pub names: LookupNames,
    /// wall time; the manifest may allow less
    pub deadline: Duration,
}

impl MemberLookup {
    pub(crate) fn new(host: Arc<HostInner>, slot: Arc<Slot<LookupWorld>>) -> Self {
        Self { host, slot }
    }

    /// What the plugin says it is.
    pub fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.slot.current().descriptor)
    }

    /// What is wrong with the settings: first by the schema, then by the plugin itself. Secrets are not shown to it.
    ///
    /// # Errors
    /// [`PluginError`]: the plugin could not be asked, or broke.
    pub async fn validate(&self, settings: &Settings) -> Result<Vec<SettingProblem>, PluginError> {
        validate::validate(&self.host, self.slot.current(), settings).await
    }

    /// Asks which servers form the cluster.
    ///
    /// # Errors
    /// [`PluginError`]: there is no answer, and the member list stays as it is.
    pub async fn find(&self, call: LookupCall) -> Result<LookupAnswer, PluginError> {
        let plugin = self.slot.current();
        let name = Arc::clone(&plugin.name);
        self.host.run(&name, async move { find(&plugin, call).await }).await?
    }
}

async fn find(plugin: &Plugin<LookupWorld>, call: LookupCall) -> Result<LookupAnswer, PluginError> {
    let report = ask(plugin, call, None, false).await;
    report.result.map_err(|failure| match failure {
        Failure::Plugin(error) => error,
        Failure::OutsideTooSlow | Failure::EndpointTooSlow => plugin.endpoint_timed_out(report.took),
    })
}

/// The same for the plugin's author.
pub(crate) async fn taped(
    plugin: &Plugin<LookupWorld>,
    call: LookupCall,
    tape: Tape,
    reuse: bool,
) -> Report<LookupAnswer> {
    ask(plugin, call, Some(tape), reuse).await
}

async fn ask(
    plugin: &Plugin<LookupWorld>,
    call: LookupCall,
    tape: Option<Tape>,
    reuse: bool,
) -> Report<LookupAnswer> {
    let grants = &plugin.manifest.grants;
    let names = call.files.names.into_iter().filter(|name| grants.files.contains(name)).collect();
    let folder = Arc::new(Folder { path: call.files.folder, names });
    // a default may hold the URL as well
    let settings = plugin.descriptor.with_defaults(&call.settings);
    let endpoints = fetch::endpoints(&grants.fetch, &call.endpoints, &settings);
    let LookupNames { keys, server } = &call.names;
    let names = Names::new(&grants.names, keys, &settings, *server);
    let request = Request {
        realm: None,
        reach: Reach::Lookup(folder, endpoints, names),
        deadline: call.deadline,
        cpu: None,
        unsealed: plugin.sealed.of_call(&settings),
        trace: false,
        tape,
        reuse,
    };
    let export = Find { node: &call.node, settings: &settings, cookie: call.cookie, plugin };
    call::call(plugin, request, &export).await
}

struct Find<'a> {
    node: &'a ThisNode,
    settings: &'a Settings,
    cookie: Option<Vec<u8>>,
    plugin: &'a Plugin<LookupWorld>,
}

impl Export<LookupWorld> for Find<'_> {
    type Answer = LookupAnswer;

    async fn call(
        &self,
        store: &mut Store<GuestState>,
        exports: &crate::bindings::since_v0_1_1::member_lookup::MemberLookup,
    ) -> wasmtime::Result<Result<LookupAnswer, Trouble>> {
        let settings =
            Plugin::<LookupWorld>::lower(&self.plugin.descriptor, &self.plugin.sealed, self.settings);
        let ThisNode { address, port, standalone } = self.node;
        let node = wit::ThisNode { address, port: *port, standalone: *standalone };
        let lookup = exports.muster_plugin_lookup();
        let answer = lookup.call_find(store, node, &settings, self.cookie.as_deref()).await?;
        Ok(answer.map_err(Trouble::from).and_then(checked))
    }
}

fn checked(said: wit::Answer) -> Result<LookupAnswer, Trouble> {
    let next = |ms: u32| Millis(ms.clamp(SOONEST, LATEST).into());
    let said = match said {
        wit::Answer::Unchanged(ms) => return Ok(LookupAnswer::Unchanged(next(ms))),
        wit::Answer::Changed(said) => said,
    };
    if said.cookie.len() > MAX_COOKIE {
        return Err(Trouble::TooLarge(format!("a cookie of {} bytes", said.cookie.len())));
    }
    if said.members.len() > MAX_MEMBERS {
        return Err(Trouble::TooLarge(format!("{} members", said.members.len())));
    }
    let members = said.members.into_iter().map(member).collect::<Result<_, _>>()?;
    Ok(LookupAnswer::Changed { members, cookie: said.cookie, next: next(said.next_ms) })
}

fn member(said: wit::Member) -> Result<FoundMember, Trouble> {
    let fits = |text: &str| text.len() <= MAX_TEXT && !text.chars().any(char::is_control);
    let plain = said.address.chars().all(|c| !c.is_whitespace() && c != '/');
    if said.address.is_empty() || !fits(&said.address) || !plain {
        return Err(Trouble::Wrong(format!("not an address: {:?}", text::one_line(&said.address, 64))));
    }
    if said.port == Some(0) {
        return Err(Trouble::Wrong("a member with port 0".into()));
    }
    if said.metadata.len() > MAX_METADATA || !said.metadata.iter().all(|(k, v)| fits(k) && fits(v)) {
        return Err(Trouble::TooLarge("a member's metadata".into()));
    }
    Ok(FoundMember { address: said.address, port: said.port, metadata: said.metadata })
}
