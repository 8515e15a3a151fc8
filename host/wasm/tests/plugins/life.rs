//! The life of a plugin: loading, replacing, quarantine, overload, the end of the host.

use crate::support::*;
use muster_wasm::{
    CheckCall, HostOptions, InstanceMode, LoadError, PluginError, PluginHost, PluginKind, PluginState,
    inspect,
};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_component_can_be_inspected_without_a_host() {
    let bytes = component("well_behaved").await;
    let found = inspect(&bytes).unwrap();
    assert_eq!(found.kind, PluginKind::HealthCheck);
    assert_eq!(found.world, "muster:plugin/health-check@0.1.0");
    assert!(found.imports.iter().any(|import| import == "muster:plugin/dial@0.1.0"), "{found:?}");
    assert!(!found.imports.iter().any(|import| import.starts_with("wasi:sockets")), "{found:?}");
    assert!(found.exports.iter().any(|export| export == "muster:plugin/checker@0.1.0"), "{found:?}");
    assert_eq!((found.size, found.sha256.len()), (bytes.len(), 64));
}

#[tokio::test]
async fn the_digest_the_kind_and_the_version_must_be_those_of_the_manifest() {
    let stage = Stage::new().await;
    let mut wrong = manifest();
    wrong.plugin.sha256 = Some("0".repeat(64));
    assert!(matches!(stage.load("does_nothing", wrong).await, Err(LoadError::Digest { .. })));
    let wrong = named("guest", PluginKind::PushFilter);
    assert!(matches!(stage.load("does_nothing", wrong).await, Err(LoadError::Kind { .. })));
    let mut wrong = manifest();
    wrong.plugin.api = Some("0.2".into());
    assert!(matches!(stage.load("does_nothing", wrong).await, Err(LoadError::Version { .. })));
    let mut right = manifest();
    right.plugin.sha256 = Some(inspect(&component("does_nothing").await).unwrap().sha256);
    stage.load("does_nothing", right).await.unwrap();
    stage.still_serves().await;
}

#[tokio::test]
async fn a_new_version_takes_over_and_calls_in_flight_finish_on_the_old_one() {
    let stage = Stage::new().await;
    let check = stage.check("hangs_in_host_call").await;
    let (slow, target) = (check.clone(), stage.silent);
    let in_flight = tokio::spawn(async move { run(&slow, target, "").await });
    let began = Instant::now();
    while stage.host.list().iter().all(|info| info.name != "guest")
        && began.elapsed() < Duration::from_secs(5)
    {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    stage.check("counts_calls").await;
    assert_eq!(
        said(run(&check, stage.silent, "").await.result),
        "1 from public",
        "the same handle, the new version"
    );
    assert_eq!(in_flight.await.unwrap().result.unwrap().code, "timed-out");
    stage.still_serves().await;
}

#[tokio::test]
async fn a_version_is_called_beside_the_active_one_and_takes_its_place_and_leaves_it_again() {
    let stage = Stage::new().await;
    let check = stage.check("counts_calls").await;
    let message = async || said(run(&check, stage.silent, "").await.result);
    let new = stage.host.prepare(component("does_nothing").await, manifest()).await.unwrap();
    let beside = new.health_check().unwrap();
    assert_eq!(said(run(&beside, stage.silent, "").await.result), "");
    assert_eq!(message().await, "1 from public", "nobody else calls it");
    assert_eq!(new.info().counters.verdicts, [("passed", 1)].into());
    let former = stage.host.activate(&new).unwrap();
    assert_eq!(message().await, "");
    assert!(stage.host.activate(&new).is_none(), "it is active already");
    drop(stage.host.activate(&former));
    assert_eq!(message().await, "1 from public", "what was idle is gone");
    assert_eq!(message().await, "2 from public", "and is kept again");
}

#[tokio::test]
async fn a_version_that_is_called_off_is_not_called_until_it_is_let() {
    let stage = Stage::new().await;
    let check = stage.check("counts_calls").await;
    let active = stage.host.active(PluginKind::HealthCheck, "guest").unwrap();
    active.call_off(true);
    for _ in 0..10 {
        assert_eq!(code(&run(&check, stage.silent, "").await.result), "plugin.called-off");
    }
    assert_eq!(active.info().state, PluginState::CalledOff);
    active.call_off(false);
    assert_eq!(said(run(&check, stage.silent, "").await.result), "1 from public");
    assert_eq!(active.info().state, PluginState::Ready, "it was no fault of its own");
}

#[tokio::test]
async fn a_version_that_is_refused_leaves_the_former_one_in_place() {
    let stage = Stage::new().await;
    let check = stage.check("counts_calls").await;
    assert_eq!(said(run(&check, stage.silent, "").await.result), "1 from public");
    assert!(stage.load("lies_about_schema", manifest()).await.is_err());
    assert_eq!(said(run(&check, stage.silent, "").await.result), "2 from public");
    assert_eq!(stage.host.names(PluginKind::HealthCheck), ["good", "guest"]);
}

#[tokio::test]
async fn repeated_faults_put_a_plugin_in_quarantine_and_no_other() {
    let stage = Stage::new().await;
    let check = stage.check("panics").await;
    for _ in 0..5 {
        assert_eq!(code(&run(&check, stage.silent, "").await.result), "plugin.trap");
    }
    let Err(PluginError::Quarantined { retry_in, .. }) = run(&check, stage.silent, "nothing").await.result
    else {
        panic!("it was called");
    };
    assert!(retry_in > Duration::from_secs(25) && retry_in <= Duration::from_secs(30), "{retry_in:?}");
    let info = stage.host.list().into_iter().find(|info| info.name == "guest").unwrap();
    assert!(matches!(info.state, PluginState::Quarantined { .. }));
    assert_eq!(info.counters.faults, [("plugin.trap", 5), ("plugin.quarantined", 1)].into());
    stage.check("panics").await;
    assert_eq!(said(run(&check, stage.silent, "nothing").await.result), "", "a new version starts anew");
    stage.still_serves().await;
}

#[tokio::test]
async fn bad_settings_of_one_service_do_not_take_the_plugin_from_the_others() {
    let stage = Stage::new().await;
    let check = stage.check("panics").await;
    for _ in 0..30 {
        assert_eq!(code(&run(&check, stage.silent, "settings").await.result), "plugin.fault.bad-settings");
    }
    assert_eq!(said(run(&check, stage.silent, "nothing").await.result), "");
}

#[tokio::test]
async fn more_calls_than_a_plugin_may_have_are_overload_and_not_its_fault() {
    let stage = Stage::new().await;
    let check = stage.check_with("hangs_in_host_call", |manifest| manifest.limits.in_flight = 2).await;
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let (check, target) = (check.clone(), stage.silent);
            let deadline = Duration::from_millis(200);
            tokio::spawn(async move { check.check(CheckCall { deadline, ..call(target, "") }).await.result })
        })
        .collect();
    let mut overloaded = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(verdict) => assert_eq!(verdict.code, "timed-out"),
            Err(PluginError::Overloaded { .. }) => overloaded += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((2..=4).contains(&overloaded), "{overloaded} of 6 calls were too many");
    let info = stage.host.list().into_iter().find(|info| info.name == "guest").unwrap();
    assert_eq!(info.state, PluginState::Ready);
    stage.still_serves().await;
}

#[tokio::test]
async fn an_exhausted_pool_is_overload_and_one_plugin_cannot_take_it_all() {
    let stage = Stage::with(HostOptions { pool: 16, max_in_flight: 16, ..options() }).await;
    let check = stage.check("hangs_in_host_call").await;
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let (check, target) = (check.clone(), stage.silent);
            tokio::spawn(async move { run(&check, target, "").await.result })
        })
        .collect();
    let mut ends = std::collections::BTreeMap::new();
    for call in calls {
        let end = call.await.unwrap().map_or_else(|error| error.code().to_owned(), |verdict| verdict.code);
        *ends.entry(end).or_insert(0) += 1;
    }
    assert_eq!(ends.keys().collect::<Vec<_>>(), ["plugin.overloaded", "timed-out"], "{ends:?}");
    stage.still_serves().await;
}

/// The pool has 16 slots, 12 of them for calls: if one plugin's idle instances took more than the other 4, the calls of
/// another one would find none.
#[tokio::test]
async fn idle_instances_do_not_stand_in_the_way_of_another_plugins_calls() {
    let stage = Stage::with(HostOptions { pool: 16, max_in_flight: 12, ..options() }).await;
    let check = stage.check("hangs_in_host_call").await;
    let flood = flood().await;
    for target in [flood, stage.silent] {
        // the first round leaves as many idle instances as it may, the second holds all places for calls
        let calls: Vec<_> = (0..12)
            .map(|_| {
                let check = check.clone();
                tokio::spawn(async move { run(&check, target, "").await.result })
            })
            .collect();
        for call in calls {
            assert!(call.await.unwrap().is_ok());
        }
        let good = stage.host.health_check("good").unwrap();
        assert_eq!(said(run(&good, stage.silent, "").await.result), "connected");
        let other = PluginHost::clone(&stage.host);
        let mut manifest = named("guest", PluginKind::MemberLookup);
        manifest.grants.files = vec!["list".into()];
        manifest.grants.fetch = vec!["url".into()];
        other.load(component("reads_around").await, manifest).await.unwrap();
    }
    stage.still_serves().await;
}

#[tokio::test]
async fn a_caller_that_goes_away_blocks_nothing() {
    let stage = Stage::new().await;
    let check = stage.check_with("hangs_in_host_call", |manifest| manifest.limits.in_flight = 1).await;
    for _ in 0..3 {
        let gone = tokio::time::timeout(Duration::from_millis(20), run(&check, stage.silent, "")).await;
        assert!(gone.is_err());
    }
    tokio::time::sleep(DEADLINE + Duration::from_millis(200)).await;
    stage.check_with("counts_calls", |manifest| manifest.limits.in_flight = 1).await;
    assert_eq!(said(run(&check, stage.silent, "").await.result), "1 from public");
    stage.still_serves().await;
}

#[tokio::test]
async fn a_host_dropped_in_async_code_ends_its_threads() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let names = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok()).collect::<Vec<_>>()
    };
    let stage = Stage::new().await;
    let handle = stage.host.health_check("good").unwrap();
    let Stage { host, silent } = stage;
    drop(host);
    assert_eq!(said(run(&handle, silent, "").await.result), "connected", "a handle keeps the host");
    let before = threads();
    drop(handle);
    let began = Instant::now();
    // other tests of this process come and go: only a host's worth of threads must be gone
    while threads() + 3 > before && began.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(threads() < before, "still there: {:?}", names());
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused() {
    for wrong in [
        HostOptions { pool: 1, max_in_flight: 1, ..options() },
        HostOptions { pool: muster_wasm::MAX_POOL + 1, ..options() },
        HostOptions { max_in_flight: 0, ..options() },
        HostOptions { max_in_flight: 129, ..options() },
    ] {
        assert!(PluginHost::new(wrong).is_err());
    }
}

#[tokio::test]
async fn a_fresh_instance_knows_nothing_of_the_call_before() {
    let stage = Stage::new().await;
    let check =
        stage.check_with("counts_calls", |manifest| manifest.instances.mode = InstanceMode::Fresh).await;
    for namespace in ["a", "b", "c"] {
        let mut call = call(stage.silent, "");
        call.target.namespace = namespace.into();
        assert_eq!(said(check.check(call).await.result), format!("1 from {namespace}"));
    }
}
