//! Calls that are recorded and made again from what was written down.

use crate::support::*;
use muster_wasm::{CheckCall, End, LiveCall, Settings, Step, Trace, Trial};
use serde_json::json;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// The name that a guest goes by.
fn name(guest: &str) -> &'static str {
    if guest == "well_behaved" { "good" } else { "guest" }
}

async fn record(stage: &Stage, guest: &str, reach: SocketAddr, what: &str) -> Trial {
    let name = name(guest);
    if name == "guest" {
        stage.check(guest).await;
    }
    stage.host.record(name, LiveCall::Check(call(reach, what)), false).await.unwrap()
}

/// Through the text, as a file would bring it back.
async fn replay(stage: &Stage, trial: &Trial) -> Trial {
    let trace = Trace::parse(&trial.trace.to_text()).unwrap();
    assert_eq!(trace, trial.trace);
    stage.host.replay(&trace.head.plugin, &trace).await.unwrap()
}

fn calls(trace: &Trace) -> Vec<&str> {
    trace.steps.iter().map(|step| step.call.as_str()).collect()
}

async fn does_the_same_again(guest: &str, reach: impl AsyncFn(&Stage) -> SocketAddr, what: &str) -> Trial {
    let stage = Stage::new().await;
    let reach = reach(&stage).await;
    let trial = record(&stage, guest, reach, what).await;
    let again = replay(&stage, &trial).await;
    assert_eq!(again.diverged, None, "{guest}");
    assert_eq!(again.trace.end, trial.trace.end);
    assert_eq!(calls(&again.trace), calls(&trial.trace));
    stage.still_serves().await;
    trial
}

#[tokio::test]
async fn a_call_is_made_again_without_its_target() {
    let trial = does_the_same_again("well_behaved", async |stage| stage.silent, "").await;
    assert_eq!(calls(&trial.trace), ["dial.connect"]);
    assert!(
        matches!(&trial.trace.end, End::Answer(said) if said["outcome"] == "passed"),
        "{:?}",
        trial.trace.end
    );
    assert!(trial.cost.memory > 64 << 10 && trial.cost.connections == 1, "{:?}", trial.cost);
    assert!(trial.cost.computing > Duration::ZERO && trial.cost.computing <= trial.took, "{:?}", trial.cost);
}

#[tokio::test]
async fn a_call_that_ended_in_a_wait_ends_there_again() {
    let trial = does_the_same_again("hangs_in_host_call", async |stage| stage.silent, "").await;
    assert_eq!(trial.trace.end, End::TimedOut);
    assert_eq!(trial.trace.steps.last().unwrap().output, None);
}

#[tokio::test]
async fn a_call_that_broke_breaks_again() {
    let broken = |trial: &Trial, code: &str| {
        assert!(matches!(&trial.trace.end, End::Error { code: c, .. } if c == code))
    };
    broken(&does_the_same_again("panics", async |_| closed().await, "").await, "plugin.trap");
    broken(
        &does_the_same_again("panics", async |_| closed().await, "internal").await,
        "plugin.fault.internal",
    );
    broken(&does_the_same_again("endless_loop", async |_| closed().await, "").await, "plugin.cpu");
    broken(&does_the_same_again("memory_bomb", async |_| closed().await, "").await, "plugin.trap");
}

#[tokio::test]
async fn time_and_chance_come_from_the_tape() {
    // its verdict holds the time of both clocks and a hash with a random seed
    let trial = does_the_same_again("watches_clocks", async |_| closed().await, "").await;
    assert!(calls(&trial.trace).contains(&"wasi.wall-clock"), "{:?}", calls(&trial.trace));
}

#[tokio::test]
async fn an_http_exchange_is_made_again_without_its_server() {
    let page = b"HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello".to_vec();
    let trial = does_the_same_again("fetches", async move |_| answering(page.clone()).await, "/").await;
    assert_eq!(calls(&trial.trace).last(), Some(&"fetch.send"));
}

#[tokio::test]
async fn another_plugin_diverges_at_the_step_that_it_does_otherwise() {
    let stage = Stage::new().await;
    let trial = record(&stage, "well_behaved", stage.silent, "").await;
    stage.check("hangs_in_host_call").await;
    let other = stage.host.replay("guest", &trial.trace).await.unwrap();
    let diverged = other.diverged.unwrap();
    assert_eq!(diverged.step, 2, "{diverged}");
    assert!(diverged.found.starts_with("dial.read") && diverged.expected == "the end", "{diverged}");
    stage.check("does_nothing").await;
    let other = stage.host.replay("guest", &trial.trace).await.unwrap().diverged.unwrap();
    assert_eq!((other.step, other.found.as_str()), (1, "end"), "{other}");
    stage.still_serves().await;
}

#[tokio::test]
async fn another_answer_of_the_target_is_another_end() {
    let stage = Stage::new().await;
    let mut trial = record(&stage, "well_behaved", stage.silent, "").await;
    trial.trace.steps[0].output = Some(json!({"error": "refused"}));
    let other = stage.host.replay("good", &trial.trace).await.unwrap();
    assert!(other.diverged.unwrap().found.contains("Refused"));
    stage.still_serves().await;
}

#[tokio::test]
async fn improvising_answers_what_the_trace_does_not_have() {
    let stage = Stage::new().await;
    let mut trial = record(&stage, "hangs_in_host_call", stage.silent, "").await;
    trial.trace.steps.truncate(1);
    let other = stage.host.improvise("guest", &trial.trace).await.unwrap();
    assert!(
        matches!(&other.trace.end, End::Answer(said) if said["message"] == "0 bytes"),
        "{:?}",
        other.trace.end
    );
    stage.still_serves().await;
}

#[tokio::test]
async fn trials_are_not_counted_and_cause_no_quarantine() {
    let stage = Stage::new().await;
    let check = stage.check("panics").await;
    for _ in 0..20 {
        let trial = stage.host.record("guest", LiveCall::Check(call(stage.silent, "")), false).await.unwrap();
        assert!(matches!(trial.trace.end, End::Error { .. }));
    }
    let info = stage.host.list().into_iter().find(|info| info.name == "guest").unwrap();
    assert_eq!((info.counters.calls, info.state), (0, muster_wasm::PluginState::Ready));
    assert_eq!(said(run(&check, stage.silent, "nothing").await.result), "");
}

/// `tells_secrets` shows its password in the verdict, in the log or on standard error, or sends it.
pub async fn no_secret_is_in_a_trace(stage: &Stage) {
    stage.check("tells_secrets").await;
    for (what, shown) in [("", true), ("log", true), ("stderr", true), ("quiet", false)] {
        let mut settings = Settings::from([("password".to_owned(), "correct horse".to_owned())]);
        settings.insert("what".into(), what.into());
        let echo = serve(|mut stream| async move {
            let (mut reader, mut writer) = stream.split();
            // the guest goes away when it likes
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        })
        .await;
        let call = CheckCall { settings: Arc::new(settings), ..call(echo, "") };
        let trial = stage.host.record("guest", LiveCall::Check(call), false).await.unwrap();
        assert_eq!(trial.shows_secret, shown, "{what}");
        let text = trial.trace.to_text();
        assert!(!text.contains("correct horse"), "{what}: {text}");
        assert_eq!(trial.trace.head.withheld, ["password"]);
        if what == "quiet" {
            let sent: Vec<&Step> =
                trial.trace.steps.iter().filter(|step| step.call == "dial.write").collect();
            assert_eq!(sent[0].input["bytes"], json!({"withheld": true}));
            assert!(text.contains("*************"), "what came back is struck out: {text}");
            let again = stage.host.replay("guest", &trial.trace).await.unwrap();
            assert_eq!(again.diverged, None);
        }
    }
}

#[tokio::test]
async fn a_plugin_with_sockets_of_its_own_is_not_recorded() {
    let stage = Stage::new().await;
    stage.check_with("dials_elsewhere", |manifest| manifest.grants.wasi_sockets = true).await;
    let error = stage.host.record("guest", LiveCall::Check(call(stage.silent, "")), false).await.unwrap_err();
    assert!(error.to_string().contains("wasi-sockets"), "{error}");
    let error =
        stage.host.record("nobody", LiveCall::Check(call(stage.silent, "")), false).await.unwrap_err();
    assert_eq!(error.to_string(), "no health-check is called \"nobody\"");
}
