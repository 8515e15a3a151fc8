//! One block for each guest in `tests/guests`: what it does, how it ends, and that nobody else notices.
//!
//! The macro makes the table of tested guests from the very blocks, so a guest cannot be in it without a test; the
//! last test compares the table with the folders, so a guest cannot be there without being in it.

use crate::support::*;
use muster_wasm::{FaultKind, HostOptions, LoadError, Outcome, PluginError, PluginKind, Settings};
use std::time::{Duration, Instant};

macro_rules! guests {
    ($($guest:ident { $(async fn $test:ident($stage:ident) $body:block)+ })+) => {
        $(mod $guest {
            use super::*;
            $(#[tokio::test]
            async fn $test() {
                let stage = Stage::new().await;
                let $stage = &stage;
                $body
                stage.still_serves().await;
            })+
        })+
        const TESTED: &[&str] = &[$(stringify!($guest)),+];
    };
}

#[test]
fn every_guest_on_disk_has_a_test() {
    let mut tested: Vec<_> = TESTED.iter().map(|guest| (*guest).to_owned()).collect();
    tested.sort();
    assert_eq!(tested, muster_test_guests::on_disk());
}

guests! {
    well_behaved {
        async fn tells_an_open_port_from_a_closed_one(stage) {
            let good = stage.host.health_check("good").unwrap();
            let run = run(&good, closed().await, "").await;
            assert_eq!(run.result.unwrap().outcome, Outcome::Failed);
        }
        async fn leaves_a_record_of_what_it_asked(stage) {
            let good = stage.host.health_check("good").unwrap();
            let run = good.check(muster_wasm::CheckCall { trace: true, ..call(stage.silent, "") }).await;
            let calls: Vec<_> = run.trace.iter().map(|call| (call.call, call.detail.as_str())).collect();
            assert_eq!(calls, [("dial.connect", "connected")]);
        }
    }
    chaos {
        async fn each_thing_it_is_told_ends_as_it_must(stage) {
            stage.load("chaos", named("CHAOS", PluginKind::HealthCheck)).await.unwrap();
            let chaos = stage.host.health_check("CHAOS").unwrap();
            let told = |word: u8| serve(move |mut stream| async move {
                // the guest may have gone
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, &[word]).await;
            });
            let good = told(b'g').await;
            for (word, ends) in [
                (b't', "plugin.trap"),
                (b'a', "plugin.trap"),
                (b's', "plugin.cpu"),
                (b'm', "plugin.trap"),
                (b'r', "plugin.trap"),
                (b'z', "plugin.deadline"),
                (b'n', "plugin.output-too-large"),
                (b'i', "plugin.fault.internal"),
                (b'?', "plugin.fault.unsupported"),
            ] {
                assert_eq!(code(&run(&chaos, told(word).await, "").await.result), ends, "{}", char::from(word));
                // neither five faults in a row nor half of twenty calls: no quarantine
                for _ in 0..2 {
                    assert_eq!(said(run(&chaos, good, "").await.result), "good");
                }
            }
            // it ends as it likes, in a fault or out of time, but never as a verdict
            let flood = run(&chaos, told(b'f').await, "").await.result;
            assert!(flood.is_err(), "{flood:?}");
            assert_eq!(said(run(&chaos, told(b'h').await, "").await.result), "hoards");
        }
    }
    does_nothing {
        async fn costs_less_than_a_millisecond(stage) {
            let check = stage.check("does_nothing").await;
            let mut took = Vec::new();
            for _ in 0..200 {
                took.push(run(&check, stage.silent, "").await.took);
            }
            took.sort();
            assert!(took[100] < Duration::from_millis(1), "half of the calls took more than {:?}", took[100]);
        }
    }
    endless_loop {
        async fn is_ended_when_its_cpu_is_used_up(stage) {
            let check = stage.check("endless_loop").await;
            let run = run(&check, stage.silent, "").await;
            assert_eq!(code(&run.result), "plugin.cpu");
            assert!(run.took >= Duration::from_millis(40), "ended after {:?}", run.took);
            assert!(run.took < DEADLINE, "ended after {:?}", run.took);
        }
        async fn is_ended_by_the_wall_when_it_may_use_more_cpu(stage) {
            let check = stage.check_with("endless_loop", |manifest| {
                manifest.limits.cpu = Some(Duration::from_secs(60));
            }).await;
            let run = run(&check, stage.silent, "").await;
            assert_eq!(code(&run.result), "plugin.deadline");
            assert!(run.took < DEADLINE + Duration::from_millis(300), "ended after {:?}", run.took);
        }
    }
    loops_when_described {
        async fn is_not_taken_in(stage) {
            let error = stage.load("loops_when_described", manifest()).await.unwrap_err();
            assert!(matches!(error, LoadError::Describe(PluginError::Cpu { .. })), "{error:?}");
            assert!(stage.host.health_check("guest").is_none());
        }
    }
    hangs_in_host_call {
        async fn is_the_targets_failure(stage) {
            let check = stage.check("hangs_in_host_call").await;
            for _ in 0..7 {
                let run = check.check(muster_wasm::CheckCall {
                    deadline: Duration::from_millis(100),
                    ..call(stage.silent, "")
                }).await;
                let verdict = run.result.unwrap();
                assert_eq!((verdict.outcome, verdict.code.as_str()), (Outcome::Failed, "timed-out"));
                assert!((100..400).contains(&run.took.as_millis()), "ended after {:?}", run.took);
            }
            let info = stage.host.list().into_iter().find(|info| info.name == "guest").unwrap();
            assert_eq!(info.state, muster_wasm::PluginState::Ready, "slow targets are no faults of the plugin");
            assert_eq!(info.counters.faults, [].into());
        }
    }
    sleeps {
        async fn is_its_own_fault(stage) {
            let check = stage.check("sleeps").await;
            let run = run(&check, stage.silent, "").await;
            assert_eq!(code(&run.result), "plugin.deadline");
            assert!(run.took < DEADLINE + Duration::from_millis(300), "ended after {:?}", run.took);
        }
    }
    hoards_memory {
        async fn is_given_a_new_instance_before_it_has_all(stage) {
            let check = stage.check("hoards_memory").await;
            for _ in 0..600 {
                assert!(run(&check, stage.silent, "").await.result.is_ok());
            }
        }
    }
    watches_clocks {
        async fn is_not_told_the_same_twice(stage) {
            let check = stage.check("watches_clocks").await;
            let first = said(run(&check, stage.silent, "").await.result);
            assert_ne!(first, said(run(&check, stage.silent, "").await.result));
        }
    }
    tells_secrets {
        async fn gets_nothing_of_them_into_a_trace(stage) {
            crate::traces::no_secret_is_in_a_trace(stage).await;
        }
    }
    memory_bomb {
        async fn is_stopped_at_its_own_bound(stage) {
            let check = stage.check("memory_bomb").await;
            let before = resident();
            let run = run(&check, stage.silent, "").await;
            assert_eq!(code(&run.result), "plugin.trap");
            let grown = resident().saturating_sub(before);
            assert!(grown < 64 << 20, "the process grew by {grown} bytes");
        }
        async fn may_not_have_less_than_it_starts_with(stage) {
            let mut small = manifest();
            small.limits.memory = 64 << 10;
            let error = stage.load("memory_bomb", small).await.unwrap_err();
            assert!(matches!(error, LoadError::Describe(_)), "{error:?}");
        }
    }
    panics {
        async fn is_a_trap_with_its_last_words_on_one_line(stage) {
            let check = stage.check("panics").await;
            let Err(PluginError::Trap { text, .. }) = run(&check, stage.silent, "").await.result else {
                panic!("no trap");
            };
            assert!(text.contains("the guest gave up fake log line"), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
        async fn every_way_to_break_is_a_trap(stage) {
            let check = stage.check("panics").await;
            for way in ["abort", "pointer"] {
                assert_eq!(code(&run(&check, stage.silent, way).await.result), "plugin.trap", "{way}");
            }
            assert_eq!(code(&run(&check, stage.silent, "exit").await.result), "plugin.trap", "exit");
        }
        async fn what_it_says_is_told_apart(stage) {
            let check = stage.check("panics").await;
            for (what, expected) in [
                ("internal", FaultKind::Internal),
                ("unsupported", FaultKind::Unsupported),
                ("settings", FaultKind::BadSettings),
            ] {
                let Err(PluginError::Fault { kind, .. }) = run(&check, stage.silent, what).await.result else {
                    panic!("no fault: {what}");
                };
                assert_eq!(kind, expected);
            }
        }
        async fn in_validate_it_is_an_error_too(stage) {
            let check = stage.check("panics").await;
            assert_eq!(check.validate(&settings("fine")).await.unwrap(), []);
            assert_eq!(check.validate(&settings("trap")).await.unwrap_err().code(), "plugin.trap");
        }
    }
    stack_overflow {
        async fn is_a_trap(stage) {
            let check = stage.check("stack_overflow").await;
            let Err(PluginError::Trap { text, .. }) = run(&check, stage.silent, "").await.result else {
                panic!("no trap");
            };
            assert!(text.contains("stack") || text.contains("memory"), "{text}");
        }
    }
    huge_output {
        async fn is_cut_to_what_a_verdict_holds(stage) {
            let check = stage.check("huge_output").await;
            let message = run(&check, stage.silent, "").await.result.unwrap().message;
            assert_eq!(message.len(), 256);
            let code = run(&check, stage.silent, "code").await.result.unwrap().code;
            assert_eq!(code.len(), 64);
            let facts = run(&check, stage.silent, "facts").await.result.unwrap().facts;
            assert_eq!(facts.len(), 16);
            assert!(facts.iter().all(|(key, value)| key.len() <= 256 && value.len() <= 256));
        }
        async fn of_megabytes_does_not_reach_the_host(stage) {
            let check = stage.check("huge_output").await;
            let before = resident();
            let run = run(&check, stage.silent, "too much").await;
            assert_eq!(code(&run.result), "plugin.output-too-large", "{:?}", run.result);
            assert!(resident().saturating_sub(before) < 32 << 20);
        }
        async fn of_validate_is_cut_as_well(stage) {
            let check = stage.check("huge_output").await;
            let problems = check.validate(&Settings::new()).await.unwrap();
            assert_eq!(problems.len(), 64);
            assert!(problems.iter().all(|problem| problem.key.len() <= 64 && problem.message.len() <= 256));
        }
    }
    huge_log {
        async fn is_kept_to_a_few_lines(stage) {
            let check = stage.check("huge_log").await;
            let run = check.check(muster_wasm::CheckCall { trace: true, ..call(stage.silent, "") }).await;
            assert_eq!(said(run.result), "logged");
            assert_eq!(run.trace.len(), 16);
            assert!(run.trace.iter().all(|line| line.detail.len() <= 512 && !line.detail.contains('\n')));
        }
        async fn of_megabytes_in_a_line_ends_the_call(stage) {
            let check = stage.check("huge_log").await;
            let run = run(&check, stage.silent, "huge").await;
            assert_eq!(code(&run.result), "plugin.output-too-large", "{:?}", run.result);
        }
    }
    lies_about_schema {
        async fn is_not_taken_in(stage) {
            let error = stage.load("lies_about_schema", manifest()).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "guest: its description is wrong: its default for setting 'n' must be a whole number from 1 to 5, \
                 is \"6\""
            );
            assert!(stage.host.health_check("guest").is_none());
        }
    }
    lies_about_name {
        async fn is_not_taken_in(stage) {
            let error = stage.load("lies_about_name", manifest()).await.unwrap_err();
            assert!(matches!(error, LoadError::Description { .. }), "{error}");
            assert!(stage.host.health_check("TCP").is_none());
        }
    }
    dials_elsewhere {
        async fn is_refused_by_the_name_of_its_import(stage) {
            let error = stage.load("dials_elsewhere", manifest()).await.unwrap_err();
            let LoadError::NotGranted { import, hint, .. } = error else { panic!("{error}") };
            assert!(import.starts_with("wasi:sockets/"), "{import}");
            assert!(hint.ends_with("wasi-sockets = true"), "{hint}");
        }
        async fn reaches_nothing_but_the_target_when_sockets_are_granted(stage) {
            let check = stage.check_with("dials_elsewhere", |manifest| manifest.grants.wasi_sockets = true).await;
            let other = silent().await;
            for (what, expected) in [
                (String::new(), "reached"),
                (format!("elsewhere {other}"), "PermissionDenied"),
                (format!("udp {other}"), "PermissionDenied"),
                ("listen 127.0.0.1:0".into(), "PermissionDenied"),
                ("listen 0.0.0.0:0".into(), "PermissionDenied"),
                ("elsewhere localhost:80".into(), "PermissionDenied"),
            ] {
                let told = said(run(&check, stage.silent, &what).await.result);
                let fine = told == expected || (expected != "reached" && told != "reached");
                assert!(fine, "{what}: {told}");
            }
        }
        async fn reaches_what_is_granted_beyond_the_target(_stage) {
            crate::beyond::sockets().await;
        }
        async fn counts_its_connections(stage) {
            let check = stage.check_with("dials_elsewhere", |manifest| {
                manifest.grants.wasi_sockets = true;
                manifest.limits.connections = 1;
            }).await;
            assert_eq!(said(run(&check, stage.silent, "").await.result), "reached");
            assert_ne!(said(run(&check, stage.silent, "twice").await.result), "reached");
        }
    }
    looks_around {
        async fn finds_nothing(stage) {
            let check = stage.check("looks_around").await;
            assert_eq!(said(run(&check, stage.silent, "").await.result), "");
        }
    }
    too_many_connections {
        async fn the_ninth_is_denied(stage) {
            let check = stage.check("too_many_connections").await;
            let told = said(run(&check, stage.silent, "9").await.result);
            assert!(told.starts_with("8 then") && told.contains("Denied"), "{told}");
            assert_eq!(said(run(&check, stage.silent, "8").await.result), "8 connections");
        }
        async fn the_line_that_would_allow_it_is_told(stage) {
            let check = stage.check("too_many_connections").await;
            let traced = |what| muster_wasm::CheckCall { trace: true, ..call(stage.silent, what) };
            let refused = |run: muster_wasm::CheckRun| {
                let calls = run.trace.into_iter().filter(|call| call.call == "refused");
                calls.map(|call| call.detail).collect::<Vec<_>>()
            };
            let line = "add to [limits] in the manifest: connections = 16";
            assert_eq!(refused(check.check(traced("9")).await), [line]);
            assert_eq!(refused(check.check(traced("8")).await), [""; 0]);
        }
        async fn the_operator_may_allow_less_than_the_manifest_asks_for(_stage) {
            let bounds = muster_wasm::Bounds { connections: Some(2), ..Default::default() };
            let options = HostOptions { bounds: [("guest".to_owned(), bounds)].into(), ..options() };
            let stage = Stage::with(options).await;
            let check = stage.check("too_many_connections").await;
            let run = check.check(muster_wasm::CheckCall { trace: true, ..call(stage.silent, "9") }).await;
            let refused = run.trace.iter().find(|call| call.call == "refused").map(|call| call.detail.as_str());
            assert_eq!(refused, Some("add to [plugins.grants.guest] in the node's settings: connections = 4"));
            assert!(said(run.result).starts_with("2 then"));
        }
        async fn more_handles_than_an_instance_may_hold_are_a_trap(stage) {
            let check = stage.check_with("too_many_connections", |manifest| {
                manifest.limits.connections = 1000;
            }).await;
            assert_eq!(code(&run(&check, stage.silent, "100").await.result), "plugin.trap");
            assert_eq!(said(run(&check, stage.silent, "30").await.result), "30 connections");
        }
    }
    too_much_traffic {
        async fn is_denied_in_both_directions(stage) {
            let check = stage.check("too_much_traffic").await;
            for (target, what) in [(stage.silent, "write"), (flood().await, "read")] {
                let told = said(run(&check, target, what).await.result);
                assert!(told.starts_with("1048576 then") && told.contains("Denied"), "{what}: {told}");
            }
        }
        async fn at_once_it_ends_the_call(stage) {
            let check = stage.check("too_much_traffic").await;
            let run = run(&check, stage.silent, "at once").await;
            assert_eq!(code(&run.result), "plugin.output-too-large", "{:?}", run.result);
        }
    }
    keeps_connection {
        async fn is_never_called_again_with_it(stage) {
            let check = stage.check("keeps_connection").await;
            for _ in 0..3 {
                assert_eq!(said(run(&check, stage.silent, "").await.result), "new");
            }
        }
    }
    counts_calls {
        async fn is_reused_one_call_after_the_other(stage) {
            let check = stage.check("counts_calls").await;
            for n in 1..=3 {
                assert_eq!(said(run(&check, stage.silent, "").await.result), format!("{n} from public"));
            }
        }
        async fn starts_anew_for_each_call_when_the_manifest_says_so(stage) {
            let check = stage.check_with("counts_calls", |manifest| {
                manifest.instances.mode = muster_wasm::InstanceMode::Fresh;
            }).await;
            for _ in 0..3 {
                assert_eq!(said(run(&check, stage.silent, "").await.result), "1 from public");
            }
        }
        async fn is_thrown_away_after_its_number_of_calls(stage) {
            let check = stage.check_with("counts_calls", |manifest| manifest.instances.calls = 2).await;
            let mut told = Vec::new();
            for _ in 0..4 {
                told.push(said(run(&check, stage.silent, "").await.result));
            }
            assert_eq!(told, ["1 from public", "2 from public", "1 from public", "2 from public"]);
        }
        async fn is_thrown_away_when_it_has_swollen(stage) {
            let check = stage.check("counts_calls").await;
            assert_eq!(said(run(&check, stage.silent, "swell").await.result), "1 from public");
            assert_eq!(said(run(&check, stage.silent, "").await.result), "1 from public");
        }
        async fn with_secrets_it_never_serves_two_namespaces(stage) {
            let check = stage.check("counts_calls").await;
            for (namespace, expected) in [("a", "1 from a"), ("b", "1 from b"), ("a", "2 from a"), ("b", "2 from b")] {
                let mut call = call(stage.silent, "");
                call.target.namespace = namespace.into();
                assert_eq!(said(check.check(call).await.result), expected);
            }
        }
        async fn is_not_shown_secrets_when_it_validates(stage) {
            let check = stage.check("counts_calls").await;
            let settings = Settings::from([("password".into(), "hunter2".into())]);
            let problems = check.validate(&settings).await.unwrap();
            assert_eq!(problems[0].message, "secret");
        }
        async fn the_schema_is_judged_without_it(stage) {
            let check = stage.check("counts_calls").await;
            let problems = check.validate(&[("passwrd".into(), "x".into())].into()).await.unwrap();
            assert_eq!(problems.len(), 1);
            assert!(problems[0].message.contains("no such setting"), "{:?}", problems[0]);
        }
    }
    starts_tls {
        async fn reaches_a_server_with_any_certificate_when_it_does_not_look(stage) {
            let check = stage.check("starts_tls").await;
            assert_eq!(said(run(&check, crate::traps::tls_echo().await, "").await.result), "ping");
        }
        async fn is_told_that_the_certificate_is_not_trusted(stage) {
            let check = stage.check("starts_tls").await;
            let told = said(run(&check, crate::traps::tls_echo().await, "verify").await.result);
            assert!(told.contains("Tls") && told.contains("certificate"), "{told}");
        }
        async fn a_silent_server_is_the_targets_failure(stage) {
            let check = stage.check("starts_tls").await;
            let verdict = run(&check, stage.silent, "").await.result.unwrap();
            assert_eq!((verdict.outcome, verdict.code.as_str()), (Outcome::Failed, "timed-out"));
        }
    }
    fetches {
        async fn gets_an_answer_cut_at_its_bound(stage) {
            let check = stage.check("fetches").await;
            let page = |size: usize| {
                let mut page = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n").into_bytes();
                page.resize(page.len() + size, b'x');
                page
            };
            let told = said(run(&check, answering(page(100)).await, "/health").await.result);
            assert_eq!(told, "200 with 100 bytes, cut false");
            let told = said(run(&check, answering(page(65_536)).await, "/").await.result);
            assert_eq!(told, "200 with 65536 bytes, cut false");
            let told = said(run(&check, answering(page(1_000_000)).await, "/").await.result);
            assert_eq!(told, "200 with 65536 bytes, cut true");
        }
        async fn follows_no_redirect_and_names_no_endpoint(stage) {
            let check = stage.check("fetches").await;
            let away = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
            let told = said(run(&check, answering(away.to_vec()).await, "/").await.result);
            assert_eq!(told, "302 with 0 bytes, cut false");
            let told = said(run(&check, stage.silent, "elsewhere").await.result);
            assert!(told.contains("Denied"), "{told}");
        }
        async fn survives_answers_that_are_none(stage) {
            let check = stage.check("fetches").await;
            for answer in ["", "hello\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nxx", "HTTP/1.1 999999 x\r\n\r\n"] {
                let told = said(run(&check, answering(answer.into()).await, "/").await.result);
                assert!(told.contains("BadResponse"), "{answer:?}: {told}");
            }
            let endless = format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(1 << 20));
            let told = said(run(&check, answering(endless.into()).await, "/").await.result);
            assert!(told.contains("BadResponse"), "{told}");
        }
        async fn a_silent_server_is_the_targets_failure(stage) {
            let check = stage.check("fetches").await;
            let verdict = run(&check, stage.silent, "/").await.result.unwrap();
            assert_eq!((verdict.outcome, verdict.code.as_str()), (Outcome::Failed, "timed-out"));
        }
    }
    reaches_beyond {
        async fn reaches_what_both_sides_allow(_stage) {
            crate::beyond::both_sides().await;
        }
        async fn is_granted_more_and_less_while_it_is_loaded(_stage) {
            crate::beyond::changed_while_loaded().await;
        }
        async fn a_name_is_judged_by_what_it_stands_for_when_it_is_dialled(_stage) {
            crate::beyond::names().await;
        }
        async fn an_endpoint_that_hangs_is_not_the_targets_failure(stage) {
            crate::beyond::hangs(stage).await;
        }
        async fn a_fault_for_want_of_a_grant_names_it_and_does_not_count(stage) {
            crate::beyond::gives_up(stage).await;
        }
        async fn sends_a_secret_that_it_never_sees(stage) {
            crate::beyond::sealed(stage).await;
        }
        async fn a_secret_that_is_not_sealed_is_not_filled_in(stage) {
            crate::beyond::not_sealed(stage).await;
        }
    }
    asks_for_more {
        async fn is_refused_by_the_name_of_its_import(stage) {
            let error = stage.load("asks_for_more", manifest()).await.unwrap_err();
            let LoadError::NotGranted { import, .. } = &error else { panic!("{error}") };
            assert_eq!(import, "muster:plugin/files@0.1.0");
            assert!(error.to_string().contains("no grant gives this to a health-check"), "{error}");
        }
    }
    huge_cookie {
        async fn is_too_large(stage) {
            crate::lookups::huge_cookie(stage).await;
        }
    }
    reads_around {
        async fn gets_what_was_granted_and_nothing_else(stage) {
            crate::lookups::reads_around(stage).await;
        }
        async fn is_refused_without_its_grants(stage) {
            let error = stage.load("reads_around", named("guest", PluginKind::MemberLookup)).await.unwrap_err();
            assert!(matches!(error, LoadError::NotGranted { .. }), "{error}");
        }
    }
    wrong_indices {
        async fn are_not_passed_on(stage) {
            crate::filters::wrong_indices(stage).await;
        }
    }
    zone_filter {
        async fn keeps_the_subscribers_zone(stage) {
            crate::filters::zone_filter(stage).await;
        }
    }
    tells_time {
        async fn the_same_time_each_time(stage) {
            crate::filters::tells_time(stage).await;
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_component_are_refused() {
    let stage = Stage::new().await;
    let good = component("well_behaved").await;
    let mut broken = good.to_vec();
    let middle = broken.len() / 2;
    broken[middle..].fill(0xff);
    for bytes in
        [Vec::new(), b"\0asm".to_vec(), b"\x7fELF and so on".to_vec(), good[..middle].to_vec(), broken]
    {
        let error = stage.host.load(bytes.into(), manifest()).await.unwrap_err();
        let unreadable = matches!(error, LoadError::NotAComponent(_) | LoadError::Compile { .. });
        assert!(unreadable, "{error}");
    }
    stage.still_serves().await;
}

#[tokio::test]
async fn a_thousand_broken_calls_leave_no_trace() {
    let stage = Stage::new().await;
    let check = stage.check("panics").await;
    let began = Instant::now();
    let mut ends = std::collections::BTreeMap::new();
    for _ in 0..1000 {
        *ends.entry(code(&run(&check, stage.silent, "abort").await.result)).or_insert(0) += 1;
    }
    assert_eq!(ends, [("plugin.trap", 5), ("plugin.quarantined", 995)].into(), "after {:?}", began.elapsed());
    stage.still_serves().await;
}
