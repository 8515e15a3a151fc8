//! `candidates`: the instances of one service and the subscriber they are for, as the server holds them.
//!
//! A filter can only be given the one list and the one subscriber of its call, so the handles carry nothing: every
//! function answers from the running call.

use crate::{
    Asked, Candidates, FilterSubscriber,
    bindings::since_v0_1_0::candidates::{Column as WitColumn, Host, HostSubscriber, HostView, Instance},
    state::{GuestState, Reach},
};
use std::sync::Arc;
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
}

impl Host for GuestState {}

fn column(column: &crate::Column) -> WitColumn {
    WitColumn { values: column.values.clone(), codes: column.codes.clone() }
}

impl HostView for GuestState {
    fn count(&mut self, _: Resource<View>) -> wasmtime::Result<u32> {
        Ok(self.filter()?.candidates.count())
    }

    fn metadata(&mut self, _: Resource<View>, key: String) -> wasmtime::Result<WitColumn> {
        Ok(column(&self.filter()?.candidates.metadata(&key)))
    }

    fn clusters(&mut self, _: Resource<View>) -> wasmtime::Result<WitColumn> {
        Ok(column(&self.filter()?.candidates.clusters()))
    }

    fn addresses(&mut self, _: Resource<View>) -> wasmtime::Result<Vec<String>> {
        Ok(self.filter()?.candidates.addresses().to_vec())
    }

    fn ports(&mut self, _: Resource<View>) -> wasmtime::Result<Vec<u16>> {
        Ok(self.filter()?.candidates.ports().to_vec())
    }

    fn weights(&mut self, _: Resource<View>) -> wasmtime::Result<Vec<f64>> {
        Ok(self.filter()?.candidates.weights().to_vec())
    }

    fn states(&mut self, _: Resource<View>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.filter()?.candidates.states().to_vec())
    }

    fn instance(&mut self, _: Resource<View>, index: u32) -> wasmtime::Result<Option<Instance>> {
        let found = self.filter()?.candidates.instance(index);
        Ok(found.map(|found| Instance {
            id: found.id,
            address: found.address,
            port: found.port,
            cluster: found.cluster,
            weight: found.weight,
            state: found.state,
            metadata: found.metadata,
        }))
    }

    fn drop(&mut self, _: Resource<View>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostSubscriber for GuestState {
    fn address(&mut self, _: Resource<Subscriber>) -> wasmtime::Result<String> {
        let view = self.filter()?;
        view.asked.address = Some(view.subscriber.address.clone());
        Ok(view.subscriber.address.clone())
    }

    fn app(&mut self, _: Resource<Subscriber>) -> wasmtime::Result<String> {
        let view = self.filter()?;
        view.asked.app = Some(view.subscriber.app.clone());
        Ok(view.subscriber.app.clone())
    }

    fn agent(&mut self, _: Resource<Subscriber>) -> wasmtime::Result<String> {
        let view = self.filter()?;
        view.asked.agent = Some(view.subscriber.agent.clone());
        Ok(view.subscriber.agent.clone())
    }

    fn label(&mut self, _: Resource<Subscriber>, key: String) -> wasmtime::Result<Option<String>> {
        let view = self.filter()?;
        let answer = view.subscriber.labels.get(&key).cloned();
        view.asked.note_label(key, answer.clone())?;
        Ok(answer)
    }

    fn drop(&mut self, _: Resource<Subscriber>) -> wasmtime::Result<()> {
        Ok(())
    }
}
