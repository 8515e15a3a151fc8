//! A list of instances and a subscriber that a test wrote.

use crate::push_filter::{Column, ENABLED, EPHEMERAL, HEALTHY, Instance, Subscriber, View};
use std::cell::RefCell;

/// One instance, healthy, enabled and ephemeral until said otherwise.
#[derive(Clone, Debug)]
pub struct Row(Instance);

impl Row {
    /// An instance of `cluster`.
    pub fn new(address: &str, port: u16, cluster: &str) -> Self {
        Self(Instance {
            id: format!("{address}#{port}#{cluster}"),
            address: address.to_owned(),
            port,
            cluster: cluster.to_owned(),
            weight: 1.0,
            state: HEALTHY | ENABLED | EPHEMERAL,
            metadata: Vec::new(),
        })
    }

    /// The same, unhealthy.
    #[must_use]
    pub fn unhealthy(mut self) -> Self {
        self.0.state &= !HEALTHY;
        self
    }

    /// The same, out of service.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.0.state &= !ENABLED;
        self
    }

    /// The same with metadata.
    #[must_use]
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        self.0.metadata.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// A list of instances.
#[derive(Clone, Debug, Default)]
pub struct FakeView(Vec<Instance>);

impl FakeView {
    /// These instances, in this order.
    pub fn new(rows: impl IntoIterator<Item = Row>) -> Self {
        Self(rows.into_iter().map(|row| row.0).collect())
    }
}

/// Codes `values` as the host does: the first value seen is 1.
fn column<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Column {
    let mut column = Column { values: Vec::new(), codes: Vec::new() };
    for value in values {
        let code = value.map_or(0, |value| {
            column.code(value).unwrap_or_else(|| {
                column.values.push(value.to_owned());
                u32::try_from(column.values.len()).unwrap_or(u32::MAX)
            })
        });
        column.codes.push(code);
    }
    column
}

impl View for FakeView {
    fn count(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    fn metadata(&self, key: &str) -> Column {
        column(self.0.iter().map(|i| i.metadata.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())))
    }

    fn clusters(&self) -> Column {
        column(self.0.iter().map(|i| Some(i.cluster.as_str())))
    }

    fn addresses(&self) -> Vec<String> {
        self.0.iter().map(|i| i.address.clone()).collect()
    }

    fn ports(&self) -> Vec<u16> {
        self.0.iter().map(|i| i.port).collect()
    }

    fn weights(&self) -> Vec<f64> {
        self.0.iter().map(|i| i.weight).collect()
    }

    fn states(&self) -> Vec<u8> {
        self.0.iter().map(|i| i.state).collect()
    }

    fn instance(&self, index: u32) -> Option<Instance> {
        self.0.get(usize::try_from(index).ok()?).cloned()
    }
}

/// Someone with labels. Notes what was asked.
#[derive(Debug, Default)]
pub struct FakeSubscriber {
    address: Option<String>,
    labels: Vec<(String, String)>,
    asked: RefCell<Vec<String>>,
}

impl FakeSubscriber {
    /// Someone with these labels.
    pub fn with(labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { labels, ..Self::default() }
    }

    /// The same at this address; without it at 127.0.0.1.
    #[must_use]
    pub fn at(mut self, address: &str) -> Self {
        self.address = Some(address.to_owned());
        self
    }

    /// What the filter asked: the host tells subscribers apart by just these.
    pub fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    fn note(&self, what: &str) {
        self.asked.borrow_mut().push(what.to_owned());
    }
}

impl Subscriber for FakeSubscriber {
    fn address(&self) -> String {
        self.note("address");
        self.address.clone().unwrap_or_else(|| "127.0.0.1".to_owned())
    }

    fn app(&self) -> String {
        self.note("app");
        String::new()
    }

    fn agent(&self) -> String {
        self.note("agent");
        String::new()
    }

    fn label(&self, key: &str) -> Option<String> {
        self.note(&format!("label {key}"));
        self.labels.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone())
    }
}
