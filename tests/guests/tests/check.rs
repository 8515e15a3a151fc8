//! `muster plugin check` on plugins that break a rule: the check of that rule must say so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// The binary that cargo built beside this test.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("muster")
}

/// The checks by name, with why they failed; and whether the command said that all went well.
fn check(guest: &str, kind: &str, settings: &str) -> (BTreeMap<String, Option<String>>, bool) {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("guest.wasm");
    std::fs::write(&component, muster_test_guests::component(guest)).unwrap();
    let name = if guest == "well_behaved" { "good" } else { "guest" };
    let grants = match kind {
        "health-check" => "dial = true",
        "member-lookup" => "fetch = [\"url\"]\nfiles = [\"list\"]",
        _ => "",
    };
    let manifest = format!("[plugin]\nname = \"{name}\"\nkind = \"{kind}\"\n[grants]\n{grants}\n");
    std::fs::write(component.with_extension("toml"), manifest).unwrap();
    let output = Command::new(binary())
        .args(["plugin", "check", "--json", "--settings", settings])
        .arg(&component)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text} {}", String::from_utf8_lossy(&output.stderr));
    });
    assert_eq!(report["ok"], output.status.success(), "{report}");
    let one = |check: &Value| {
        (check["check"].as_str().unwrap().to_owned(), check["why"].as_str().map(str::to_owned))
    };
    (report["checks"].as_array().unwrap().iter().map(one).collect(), output.status.success())
}

#[track_caller]
fn breaks(guest: &str, kind: &str, settings: &str, rules: &[(&str, &str)]) {
    let (checks, ok) = check(guest, kind, settings);
    assert!(!ok, "{guest}: {checks:?}");
    for (rule, why) in rules {
        let said = checks.get(*rule).unwrap_or_else(|| panic!("{guest}: no check {rule}: {checks:?}"));
        assert!(said.as_ref().is_some_and(|said| said.contains(why)), "{guest}: {rule}: {said:?}");
    }
}

#[test]
fn each_rule_is_broken_by_a_plugin_and_found() {
    let health = "health-check";
    breaks("does_nothing", health, "{}", &[("closed-port", "passed"), ("describes-settings", "summary")]);
    breaks(
        "endless_loop",
        health,
        "{}",
        &[("closed-port", "plugin.cpu"), ("honours-deadline", "plugin.cpu")],
    );
    breaks("sleeps", health, "{}", &[("honours-deadline", "plugin.deadline")]);
    breaks("memory_bomb", health, "{}", &[("noise", "plugin.trap")]);
    breaks("hoards_memory", health, "{}", &[("bounded-memory", "it grew")]);
    breaks("panics", health, "{}", &[("target-hangs-up", "plugin.trap")]);
    breaks("panics", health, r#"{"what":"trap"}"#, &[("accepts-settings", "trapped")]);
    breaks("well_behaved", health, "{}", &[("own-errors", "denied")]);
    breaks("tells_secrets", health, "{}", &[("keeps-secrets", "closed port")]);
    breaks("tells_secrets", health, r#"{"what":"log"}"#, &[("keeps-secrets", "closed port")]);
    breaks("huge_output", health, "{}", &[("closed-port", "warning"), ("accepts-settings", "")]);
    breaks("lies_about_name", health, "{}", &[("loads", "calls itself")]);
    breaks("lies_about_schema", health, "{}", &[("loads", "default")]);
    breaks("loops_when_described", health, "{}", &[("loads", "described")]);
    breaks("asks_for_more", health, "{}", &[("loads", "files")]);
    breaks(
        "wrong_indices",
        "push-filter",
        r#"{"what":"twice"}"#,
        &[("many-instances", "plugin.wrong-answer")],
    );
    breaks("huge_cookie", "member-lookup", "{}", &[("without-sources", "plugin.output-too-large")]);
}

#[test]
fn rules_that_are_kept_are_not_said_to_be_broken() {
    let (checks, _) = check("well_behaved", "health-check", "{}");
    for rule in ["closed-port", "honours-deadline", "noise", "replays", "bounded-memory", "refuses-unknown"] {
        assert_eq!(checks[rule], None, "{rule}");
    }
    let (checks, _) = check("watches_clocks", "health-check", "{}");
    assert_eq!(checks["replays"], None, "time and chance are replayed");
}

#[test]
fn the_bundled_plugins_conform() {
    for (name, settings) in [
        ("TCP", "{}"),
        ("HTTP", "{}"),
        ("MYSQL", r#"{"user":"probe"}"#),
        ("file", "{}"),
        ("address-server", "{}"),
        ("dns", r#"{"name":"muster.example"}"#),
        ("standalone", "{}"),
        ("same-cluster-first", "{}"),
        ("canary", "{}"),
        ("version-match", "{}"),
        ("subset", r#"{"size":"1"}"#),
    ] {
        let check =
            Command::new(binary()).args(["plugin", "check", name, "--settings", settings]).output().unwrap();
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    }
}

/// `chaos` passes when its target says one certain byte, and breaks at nearly every other.
#[test]
fn fuzzing_finds_what_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let (component, trace) = (folder.path().join("chaos.wasm"), folder.path().join("good.trace"));
    std::fs::write(&component, muster_test_guests::component("chaos")).unwrap();
    let manifest = "[plugin]\nname = \"CHAOS\"\nkind = \"health-check\"\n[grants]\ndial = true\n";
    std::fs::write(component.with_extension("toml"), manifest).unwrap();
    let target = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = target.local_addr().unwrap().to_string();
    let answers = std::thread::spawn(move || {
        let (mut stream, _) = target.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"g").unwrap();
    });
    let plugin = |words: &[&str]| {
        let output = Command::new(binary()).arg("plugin").args(words).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), said.concat())
    };
    let [component, trace] = [&component, &trace].map(|path| path.to_str().unwrap());
    let (code, said) = plugin(&["record", component, "--target", &address, "--out", trace]);
    assert_eq!(code, Some(0), "{said}");
    answers.join().unwrap();
    let (code, said) = plugin(&["fuzz", component, trace, "--runs", "12", "--seed", "3", "--json"]);
    assert_eq!(code, Some(1), "{said}");
    let report: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let broken = report["broken"].as_array().unwrap();
    assert!(broken.iter().any(|one| one["what"] == "target noise"), "{report}");
    assert!(broken.iter().any(|one| one["what"].as_str().unwrap().starts_with("run ")), "{report}");
}
