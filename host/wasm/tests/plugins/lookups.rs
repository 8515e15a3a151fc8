//! Member lookups: answers that are too large, files and endpoints that were not granted.

use crate::support::*;
use muster_wasm::{
    LookupAnswer, LookupCall, LookupFiles, LookupNames, MemberLookup, PluginKind, Settings, ThisNode,
};
use std::{os::unix::fs::symlink, sync::Arc, time::Duration};

fn question(what: &str) -> LookupCall {
    LookupCall {
        node: ThisNode { address: "127.0.0.1".into(), port: 8848, standalone: false },
        settings: settings(what),
        cookie: None,
        files: LookupFiles::default(),
        endpoints: Vec::new(),
        names: LookupNames::default(),
        deadline: Duration::from_secs(5),
    }
}

async fn lookup(stage: &Stage, guest: &str, fetch: &[&str], files: &[&str]) -> MemberLookup {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut manifest = named("guest", PluginKind::MemberLookup);
    manifest.grants.fetch = owned(fetch);
    manifest.grants.files = owned(files);
    stage.load(guest, manifest).await.unwrap();
    stage.host.member_lookup("guest").unwrap()
}

pub async fn huge_cookie(stage: &Stage) {
    let lookup = lookup(stage, "huge_cookie", &[], &[]).await;
    for (what, code) in [
        ("", "plugin.output-too-large"),
        ("members", "plugin.output-too-large"),
        ("address", "plugin.wrong-answer"),
    ] {
        let error = lookup.find(question(what)).await.unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
    }
    let LookupAnswer::Changed { members, cookie, next } = lookup.find(question("fits")).await.unwrap() else {
        panic!("nothing changed");
    };
    assert_eq!(
        (members.len(), cookie.len(), next.0),
        (1, 4096, 1000),
        "asked again after a second at the soonest"
    );
    let again = LookupCall { cookie: Some(vec![0; 7200]), ..question("cookie") };
    let LookupAnswer::Unchanged(next) = lookup.find(again).await.unwrap() else { panic!("changed") };
    assert_eq!(next.0, 3_600_000, "asked again after an hour at the latest");
}

pub async fn reads_around(stage: &Stage) {
    let lookup = lookup(stage, "reads_around", &["url"], &["list", "link", "absent", "../outside"]).await;
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("conf");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("list"), "10.0.0.1").unwrap();
    std::fs::write(folder.join("other"), "not granted").unwrap();
    std::fs::write(root.path().join("outside"), "secret").unwrap();
    symlink("../outside", folder.join("link")).unwrap();
    let page = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec();
    let url = format!("http://{}/nacos/serverlist", answering(page).await);
    let mut settings = Settings::clone(&settings("list other link absent ../outside /etc/passwd"));
    settings.insert("url".into(), url.clone());
    settings.insert("other".into(), url);
    let names = ["list", "other", "link", "absent", "../outside", "/etc/passwd"];
    let call = LookupCall {
        settings: Arc::new(settings),
        files: LookupFiles { folder, names: names.map(Into::into).into() },
        endpoints: vec!["url".into(), "other".into()],
        names: LookupNames::default(),
        ..question("")
    };
    let LookupAnswer::Changed { members, next, .. } = lookup.find(call).await.unwrap() else {
        panic!("unchanged")
    };
    assert_eq!(next.0, 3_600_000);
    let got: Vec<_> = members[0].metadata.iter().map(|(what, got)| (what.as_str(), got.as_str())).collect();
    assert_eq!(
        got,
        [
            ("list", "10.0.0.1"),
            ("other", "denied"),
            ("link", "denied"),
            ("absent", "missing"),
            ("../outside", "denied"),
            ("/etc/passwd", "denied"),
            ("Some(\"url\")", "hello"),
            ("Some(\"other\")", "FetchError::Denied"),
            ("None", "FetchError::Denied"),
        ]
    );
}

#[tokio::test]
async fn a_silent_endpoint_is_no_fault_of_the_plugin() {
    let stage = Stage::new().await;
    let lookup = lookup(&stage, "reads_around", &["url"], &["list"]).await;
    let settings = Settings::from([("url".into(), format!("http://{}/", stage.silent))]);
    let call = LookupCall {
        settings: Arc::new(settings),
        endpoints: vec!["url".into()],
        names: LookupNames::default(),
        deadline: Duration::from_millis(300),
        ..question("")
    };
    assert_eq!(lookup.find(call).await.unwrap_err().code(), "plugin.endpoint-timed-out");
    stage.still_serves().await;
}

#[tokio::test]
async fn a_source_that_is_away_for_long_does_not_take_the_lookup_away() {
    let stage = Stage::new().await;
    let component = include_bytes!("../../../../tests/museum/0.1.0/member-lookup.wasm");
    let mut manifest = named("file", PluginKind::MemberLookup);
    manifest.grants.files = vec!["cluster.conf".into()];
    stage.host.load(bytes::Bytes::from_static(component), manifest).await.unwrap();
    let lookup = stage.host.member_lookup("file").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let call = || LookupCall {
        files: LookupFiles { folder: folder.path().into(), names: vec!["cluster.conf".into()] },
        settings: Arc::default(),
        ..question("")
    };
    for _ in 0..30 {
        assert_eq!(lookup.find(call()).await.unwrap_err().code(), "plugin.fault.internal");
    }
    std::fs::write(folder.path().join("cluster.conf"), "10.0.0.1").unwrap();
    assert!(matches!(lookup.find(call()).await.unwrap(), LookupAnswer::Changed { .. }));
}
