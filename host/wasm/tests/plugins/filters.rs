//! Push filters: wrong answers, what was asked of the subscriber, and that chance is the same each time.

use crate::support::*;
use muster_core::ServiceKey;
use muster_wasm::{
    Asked, Candidate, Candidates, Column, FilterCall, FilterSubscriber, PluginError, PluginKind, PushFilter,
    Selection,
};
use std::{sync::Arc, time::Duration};

/// Instances of three zones, one after the other; every fourth has none.
struct Zones {
    count: u32,
    zones: Arc<Column>,
}

fn zones(count: u32) -> Arc<Zones> {
    let values = ["a", "b", "c"].map(str::to_owned).to_vec();
    Arc::new(Zones { count, zones: Arc::new(Column { values, codes: (0..count).map(|n| n % 4).collect() }) })
}

impl Candidates for Zones {
    fn count(&self) -> u32 {
        self.count
    }
    fn metadata(&self, key: &str) -> Arc<Column> {
        if key == "zone" { Arc::clone(&self.zones) } else { Arc::default() }
    }
    fn clusters(&self) -> Arc<Column> {
        Arc::default()
    }
    fn addresses(&self) -> Arc<[String]> {
        Arc::default()
    }
    fn ports(&self) -> Arc<[u16]> {
        Arc::default()
    }
    fn weights(&self) -> Arc<[f64]> {
        Arc::default()
    }
    fn states(&self) -> Arc<[u8]> {
        Arc::default()
    }
    fn instance(&self, _: u32) -> Option<Candidate> {
        None
    }
}

fn question(zone: Option<&str>, count: u32, what: &str) -> FilterCall {
    FilterCall {
        service: ServiceKey::new("public", "DEFAULT_GROUP", "web"),
        subscriber: FilterSubscriber {
            address: "10.0.0.9".into(),
            labels: zone.map(|zone| ("zone".to_owned(), zone.to_owned())).into_iter().collect(),
            ..FilterSubscriber::default()
        },
        candidates: zones(count),
        settings: settings(what),
        deadline: Duration::from_millis(200),
    }
}

async fn filter(stage: &Stage, guest: &str) -> PushFilter {
    stage.load(guest, named("guest", PluginKind::PushFilter)).await.unwrap();
    stage.host.push_filter("guest").unwrap()
}

pub async fn wrong_indices(stage: &Stage) {
    let filter = filter(stage, "wrong_indices").await;
    let ask = async |what: &str| filter.select(question(None, 5, what)).await;
    for what in ["past the end", "twice", "descending"] {
        let error = ask(what).await.unwrap_err();
        assert!(matches!(error, PluginError::WrongAnswer { .. }), "{what}: {error}");
    }
    assert_eq!(ask("").await.unwrap(), (Selection::All, Asked::default()));
    let error = ask("many").await.unwrap_err();
    let refused = matches!(error, PluginError::WrongAnswer { .. } | PluginError::OutputTooLarge { .. });
    assert!(refused, "{error}");
}

pub async fn zone_filter(stage: &Stage) {
    let filter = filter(stage, "zone_filter").await;
    let (selection, asked) = filter.select(question(Some("b"), 10, "")).await.unwrap();
    assert_eq!(selection, Selection::Only(vec![2, 6]));
    assert_eq!(asked.labels, [("zone".to_owned(), Some("b".to_owned()))].into());
    assert_eq!((asked.address, asked.app, asked.agent), (None, None, None), "it did not ask for these");
    let (selection, asked) = filter.select(question(None, 10, "")).await.unwrap();
    assert_eq!(selection, Selection::All);
    assert!(asked.same_for(&FilterSubscriber::default()));
    let (selection, _) = filter.select(question(Some("d"), 10, "")).await.unwrap();
    assert_eq!(selection, Selection::Only(vec![]));
    let (selection, _) = filter.select(question(Some("a"), 10_000, "")).await.unwrap();
    let Selection::Only(indices) = selection else { panic!("all of them") };
    assert_eq!(indices.len(), 2500);
}

pub async fn tells_time(stage: &Stage) {
    let filter = filter(stage, "tells_time").await;
    let (first, _) = filter.select(question(None, 64, "")).await.unwrap();
    assert_ne!(first, Selection::Only(vec![]), "the guest decides nothing");
    for _ in 0..5 {
        // a new version has new instances: nothing is left of the first answer
        let filter = self::filter(stage, "tells_time").await;
        let (again, _) = filter.select(question(None, 64, "")).await.unwrap();
        assert_eq!(again, first);
    }
}
