//! `candidates`: the instances of one service and the subscriber they are for, as the server holds them.
//!
//! A filter can only be given the one list and the one subscriber of its call, so the handles carry nothing: every
//! function answers from the running call.

use crate::{
    Asked, Candidates, FilterSubscriber,
    bindings::since_v0_1_1::candidates::{Column as WitColumn, Host, HostSubscriber, HostView, Instance},
    state::{GuestState, Reach},
    trace::{
        Turn,
        words::{Never, Word},
    },
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;
use wasmtime::component::Resource;

/// Handle type of the list.
#[allow(unreachable_pub, reason = "the generated traits that name it are `pub`")]
pub enum View {}
/// Handle type of the subscriber.
#[allow(unreachable_pub, reason = "the generated traits that name it are `pub`")]
pub enum Subscriber {}

/// What a filter's call looks at.
pub(crate) struct FilterView {
    pub(crate) candidates: Arc<dyn Candidates>,
    pub(crate) subscriber: FilterSubscriber,
    pub(crate) asked: Asked,
}

impl GuestState {
    fn filter(&mut self) -> wasmtime::Result<&mut FilterView> {
        match &mut self.call.reach {
            Reach::Filter(view) => Ok(view),
            _ => Err(wasmtime::format_err!("there is no list outside of `select`")),
        }
    }

    /// Answers from the list, or from the trace that is replayed.
    fn ask<T: Word + Clone>(
        &mut self,
        call: &'static str,
        input: impl FnOnce() -> Value,
        answer: impl FnOnce(&mut FilterView) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let began = Instant::now();
        match self.call.turn::<Result<T, Never>>(call, |_| input())? {
            Turn::Played(Ok(answer)) => Ok(answer),
            Turn::Played(Err(never)) => match never {},
            Turn::Live(pending) => {
                let answer = answer(self.filter()?)?;
                self.call.done(&pending, began, || Ok::<_, Never>(answer.clone()));
                Ok(answer)
            }
        }
    }
}

impl Host for GuestState {}

fn column(column: &crate::Column) -> WitColumn {
    WitColumn { values: column.values.clone(), codes: column.codes.clone() }
}

impl HostView for GuestState {
    fn count(&mut self, _: Resource<View>) -> wasmtime::Result<u32> {
        self.ask("candidates.count", || Value::Null, |view| Ok(view.candidates.count()))
    }

    fn clusters(&mut self, _: Resource<View>) -> wasmtime::Result<WitColumn> {
        self.ask("candidates.clusters", || Value::Null, |view| Ok(column(&view.candidates.clusters())))
    }

    fn addresses(&mut self, _: Resource<View>) -> wasmtime::Result<Vec<String>> {
        self.ask("candidates.addresses", || Value::Null, |view| Ok(view.candidates.addresses().to_vec()))
    }

    fn ports(&mut self, _: Resource<View>) -> wasmtime::Result<Vec<u16>> {
        self.ask("candidates.ports", || Value::Null, |view| Ok(view.candidates.ports().to_vec()))
    }

    fn weights(&mut self, _: Resource<View>) -> wasmtime::Result<Vec<f64>> {
        self.ask("candidates.weights", || Value::Null, |view| Ok(view.candidates.weights().to_vec()))
    }

    fn states(&mut self, _: Resource<View>) -> wasmtime::Result<Vec<u8>> {
        self.ask("candidates.states", || Value::Null, |view| Ok(States(view.candidates.states().to_vec())))
            .map(|states| states.0)
    }

    fn metadata(&mut self, _: Resource<View>, key: String) -> wasmtime::Result<WitColumn> {
        let input = || json!({"key": key});
        self.ask("candidates.metadata", input, |view| Ok(column(&view.candidates.metadata(&key))))
    }

    fn instance(&mut self, _: Resource<View>, index: u32) -> wasmtime::Result<Option<Instance>> {
        self.ask(
            "candidates.instance",
            || json!({"index": index}),
            |view| Ok(view.candidates.instance(index).map(instance)),
        )
    }

    fn drop(&mut self, _: Resource<View>) -> wasmtime::Result<()> {
        Ok(())
    }
}

fn instance(found: crate::Candidate) -> Instance {
    Instance {
        id: found.id,
        address: found.address,
        port: found.port,
        cluster: found.cluster,
        weight: found.weight,
        state: found.state,
        metadata: found.metadata,
    }
}

/// A list of small numbers, which is not bytes.
#[derive(Clone)]
struct States(Vec<u8>);

impl Word for States {
    fn write(&self) -> Value {
        self.0.iter().copied().collect()
    }

    fn read(value: &Value) -> Option<Self> {
        serde_json::from_value(value.clone()).ok().map(Self)
    }
}

impl HostSubscriber for GuestState {
    fn address(&mut self, _: Resource<Subscriber>) -> wasmtime::Result<String> {
        self.ask(
            "subscriber.address",
            || Value::Null,
            |view| {
                view.asked.address = Some(view.subscriber.address.clone());
                Ok(view.subscriber.address.clone())
            },
        )
    }

    fn app(&mut self, _: Resource<Subscriber>) -> wasmtime::Result<String> {
        self.ask(
            "subscriber.app",
            || Value::Null,
            |view| {
                view.asked.app = Some(view.subscriber.app.clone());
                Ok(view.subscriber.app.clone())
            },
        )
    }

    fn agent(&mut self, _: Resource<Subscriber>) -> wasmtime::Result<String> {
        self.ask(
            "subscriber.agent",
            || Value::Null,
            |view| {
                view.asked.agent = Some(view.subscriber.agent.clone());
                Ok(view.subscriber.agent.clone())
            },
        )
    }

    fn label(&mut self, _: Resource<Subscriber>, key: String) -> wasmtime::Result<Option<String>> {
        let input = json!({"key": key});
        self.ask(
            "subscriber.label",
            || input,
            |view| {
                let answer = view.subscriber.labels.get(&key).cloned();
                view.asked.note_label(key, answer.clone())?;
                Ok(answer)
            },
        )
    }

    fn drop(&mut self, _: Resource<Subscriber>) -> wasmtime::Result<()> {
        Ok(())
    }
}
