//! A push filter, in core's words.

use crate::{
    OnFault, PluginError, Selection, SettingProblem,
    bindings::since_v0_1_1::push_filter::exports::muster::plugin::filter as wit,
    call::{self, Export, Failure, Report, Request, Trouble},
    host::{HostInner, Slot},
    imports::candidates::FilterView,
    plugin::Plugin,
    sealed::Sealed,
    state::{GuestState, Reach},
    trace::Tape,
    validate,
    world::FilterWorld,
};
use muster_core::{
    ServiceKey,
    plugin::{Descriptor, Settings},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use wasmtime::{Store, component::Resource};

/// Labels that one answer may depend on.
const MAX_LABELS: usize = 64;

/// A loaded push filter. Follows the plugin's newest version.
#[derive(Clone)]
pub struct PushFilter {
    host: Arc<HostInner>,
    slot: Arc<Slot<FilterWorld>>,
}

/// A column of a list: values once, then one code per instance. Code 0 has no value, code n has `values[n - 1]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// the distinct values
    pub values: Vec<String>,
    /// one for each instance, in the list's order
    pub codes: Vec<u32>,
}

/// One instance of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// instance id
    pub id: String,
    /// address
    pub address: String,
    /// port
    pub port: u16,
    /// cluster
    pub cluster: String,
    /// weight
    pub weight: f64,
    /// bit 0 healthy, bit 1 enabled, bit 2 ephemeral
    pub state: u8,
    /// metadata, overlay included
    pub metadata: Vec<(String, String)>,
}

/// The instances of one service, column by column. Columns come in `Arc`s so that they can be made once for a
/// snapshot and kept with it.
pub trait Candidates: Send + Sync {
    /// how many there are
    fn count(&self) -> u32;
    /// one metadata key of all instances
    fn metadata(&self, key: &str) -> Arc<Column>;
    /// clusters of all instances
    fn clusters(&self) -> Arc<Column>;
    /// addresses of all instances
    fn addresses(&self) -> Arc<[String]>;
    /// ports of all instances
    fn ports(&self) -> Arc<[u16]>;
    /// weights of all instances
    fn weights(&self) -> Arc<[f64]>;
    /// states of all instances: bit 0 healthy, bit 1 enabled, bit 2 ephemeral
    fn states(&self) -> Arc<[u8]>;
    /// one whole instance; none past the end
    fn instance(&self, index: u32) -> Option<Candidate>;
}

/// Who will be sent the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterSubscriber {
    /// IP address
    pub address: String,
    /// application name, may be empty
    pub app: String,
    /// client and version, may be empty
    pub agent: String,
    /// labels of the subscriber
    pub labels: BTreeMap<String, String>,
}

/// What the filter wanted to know of the subscriber, with the answers it got: to any subscriber of which the same is
/// true it would have answered the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Asked {
    /// the address, if it was asked
    pub address: Option<String>,
    /// the application, if it was asked
    pub app: Option<String>,
    /// the agent, if it was asked
    pub agent: Option<String>,
    /// the labels that were asked
    pub labels: BTreeMap<String, Option<String>>,
}

impl Asked {
    /// Whether `subscriber` would have given the same answers.
    pub fn same_for(&self, subscriber: &FilterSubscriber) -> bool {
        let same = |asked: &Option<String>, is: &String| asked.as_ref().is_none_or(|asked| asked == is);
        same(&self.address, &subscriber.address)
            && same(&self.app, &subscriber.app)
            && same(&self.agent, &subscriber.agent)
            && self.labels.iter().all(|(key, asked)| subscriber.labels.get(key) == asked.as_ref())
    }

    pub(crate) fn note_label(&mut self, key: String, answer: Option<String>) -> wasmtime::Result<()> {
        if self.labels.len() >= MAX_LABELS && !self.labels.contains_key(&key) {
            return Err(wasmtime::format_err!("more than {MAX_LABELS} labels were asked for"));
        }
        self.labels.insert(key, answer);
        Ok(())
    }
}

/// One question.
#[derive(Clone)]
pub struct FilterCall {
    /// whose list it is
    pub service: ServiceKey,
    /// who will be sent it
    pub subscriber: FilterSubscriber,
    /// the list
    pub candidates: Arc<dyn Candidates>,
    /// settings; defaults need not be filled in
    pub settings: Arc<Settings>,
    /// wall time; the manifest may allow less
    pub deadline: Duration,
}

impl PushFilter {
    pub(crate) fn new(host: Arc<HostInner>, slot: Arc<Slot<FilterWorld>>) -> Self {
        Self { host, slot }
    }

    /// What the plugin says it is.
    pub fn descriptor(&self) -> Arc<Descriptor> {
        Arc::clone(&self.slot.current().descriptor)
    }

    /// What the operator wants to be pushed when the filter fails.
    pub fn on_fault(&self) -> OnFault {
        self.slot.current().manifest.faults.on_fault
    }

    /// Whether an answer may be given again to a subscriber of which [`Asked::same_for`] is true.
    pub fn memoise(&self) -> bool {
        self.slot.current().manifest.faults.memoise
    }

    /// What is wrong with the settings: first by the schema, then by the plugin itself. Secrets are not shown to it.
    ///
    /// # Errors
    /// [`PluginError`]: the plugin could not be asked, or broke.
    pub async fn validate(&self, settings: &Settings) -> Result<Vec<SettingProblem>, PluginError> {
        validate::validate(&self.host, self.slot.current(), settings).await
    }

    /// Asks which instances the subscriber gets. Indices are ascending, none twice, all in range.
    ///
    /// # Errors
    /// [`PluginError`]: there is no answer; [`Self::on_fault`] says what follows.
    pub async fn select(&self, call: FilterCall) -> Result<(Selection, Asked), PluginError> {
        let plugin = self.slot.current();
        let name = Arc::clone(&plugin.name);
        self.host.run(&name, async move { select(&plugin, call).await }).await?
    }

    /// The same on the caller's threads, which must be the guests' (see `PluginHost::guest_runtime`).
    #[doc(hidden)]
    pub async fn select_here(&self, call: FilterCall) -> Result<(Selection, Asked), PluginError> {
        select(&self.slot.current(), call).await
    }
}

async fn select(plugin: &Plugin<FilterWorld>, call: FilterCall) -> Result<(Selection, Asked), PluginError> {
    let report = ask(plugin, call, None, false).await;
    let plugin = || plugin.name.to_string();
    match (report.result, report.reach) {
        (Ok(selection), Reach::Filter(view)) => Ok((selection, view.asked)),
        (Ok(_), _) => {
            Err(PluginError::WrongAnswer { plugin: plugin(), text: "the list went missing".into() })
        }
        (Err(Failure::Plugin(error)), _) => Err(error),
        // a filter has nothing outside to wait for
        (Err(Failure::OutsideTooSlow | Failure::EndpointTooSlow), _) => {
            Err(PluginError::Deadline { plugin: plugin(), after: report.took })
        }
    }
}

/// The same for the plugin's author.
pub(crate) async fn taped(
    plugin: &Plugin<FilterWorld>,
    call: FilterCall,
    tape: Tape,
    reuse: bool,
) -> Report<Selection> {
    ask(plugin, call, Some(tape), reuse).await
}

async fn ask(
    plugin: &Plugin<FilterWorld>,
    call: FilterCall,
    tape: Option<Tape>,
    reuse: bool,
) -> Report<Selection> {
    let export = Select {
        service: &call.service,
        settings: &call.settings,
        descriptor: &plugin.descriptor,
        count: call.candidates.count(),
    };
    let view =
        FilterView { candidates: call.candidates, subscriber: call.subscriber, asked: Asked::default() };
    let request = Request {
        realm: plugin.realm(call.service.namespace()),
        reach: Reach::Filter(Box::new(view)),
        deadline: call.deadline,
        cpu: None,
        unsealed: None,
        trace: false,
        tape,
        reuse,
    };
    call::call(plugin, request, &export).await
}

struct Select<'a> {
    service: &'a ServiceKey,
    settings: &'a Settings,
    descriptor: &'a Descriptor,
    count: u32,
}

impl Export<FilterWorld> for Select<'_> {
    type Answer = Selection;

    async fn call(
        &self,
        store: &mut Store<GuestState>,
        exports: &crate::bindings::since_v0_1_1::push_filter::PushFilter,
    ) -> wasmtime::Result<Result<Selection, Trouble>> {
        // a filter has no use for sealed secrets, so its manifest has none
        let nothing = Sealed::default();
        let settings = Plugin::<FilterWorld>::lower(self.descriptor, &nothing, self.settings);
        let service = wit::Service {
            namespace: self.service.namespace(),
            group: self.service.group(),
            name: self.service.name(),
        };
        // the handles carry nothing, see `imports::candidates`
        let (who, among) = (Resource::new_borrow(0), Resource::new_borrow(0));
        let answer =
            exports.muster_plugin_filter().call_select(store, service, who, among, &settings).await?;
        Ok(answer.map_err(Trouble::from).and_then(|said| checked(said, self.count)))
    }
}

fn checked(said: wit::Selection, count: u32) -> Result<Selection, Trouble> {
    let indices = match said {
        wit::Selection::All => return Ok(Selection::All),
        wit::Selection::Only(indices) => indices,
    };
    if let Some(pair) = indices.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(Trouble::Wrong(format!("index {} is followed by {}", pair[0], pair[1])));
    }
    match indices.last() {
        Some(last) if *last >= count => Err(Trouble::Wrong(format!("index {last} in a list of {count}"))),
        _ => Ok(Selection::Only(indices)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(indices: &[u32], count: u32) -> Option<String> {
        match checked(wit::Selection::Only(indices.to_vec()), count) {
            Ok(_) => None,
            Err(Trouble::Wrong(text)) => Some(text),
            Err(_) => Some("another trouble".into()),
        }
    }

    #[test]
    fn indices_must_ascend_and_be_in_range() {
        assert_eq!(ends(&[], 0), None);
        assert_eq!(ends(&[0, 2], 3), None);
        assert_eq!(ends(&[0, 0], 3).unwrap(), "index 0 is followed by 0");
        assert_eq!(ends(&[2, 1], 3).unwrap(), "index 2 is followed by 1");
        assert_eq!(ends(&[3], 3).unwrap(), "index 3 in a list of 3");
        assert_eq!(ends(&[u32::MAX], 0).unwrap(), "index 4294967295 in a list of 0");
    }

    #[test]
    fn an_answer_holds_for_whoever_is_alike_in_what_was_asked() {
        let subscriber = |address: &str, zone: Option<&str>| FilterSubscriber {
            address: address.into(),
            labels: zone.map(|zone| ("zone".to_owned(), zone.to_owned())).into_iter().collect(),
            ..FilterSubscriber::default()
        };
        let mut asked = Asked::default();
        asked.note_label("zone".into(), Some("a".into())).unwrap();
        assert!(asked.same_for(&subscriber("10.0.0.1", Some("a"))));
        assert!(asked.same_for(&subscriber("10.0.0.2", Some("a"))), "the address was not asked");
        assert!(!asked.same_for(&subscriber("10.0.0.1", Some("b"))));
        assert!(!asked.same_for(&subscriber("10.0.0.1", None)));
        asked.address = Some("10.0.0.1".into());
        assert!(!asked.same_for(&subscriber("10.0.0.2", Some("a"))));
    }
}
