use super::*;
use muster_core::Millis;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

type Answers = Arc<Mutex<VecDeque<Result<LookupAnswer, String>>>>;

/// Answers as told, and notes the cookies it got.
#[derive(Clone, Default)]
struct Script {
    answers: Answers,
    cookies: Arc<Mutex<Vec<Option<Vec<u8>>>>>,
}

impl Source for Script {
    async fn find(&self, cookie: Option<Vec<u8>>) -> Result<LookupAnswer, String> {
        self.cookies.lock().unwrap().push(cookie);
        self.answers.lock().unwrap().pop_front().unwrap_or_else(|| Err("no more".into()))
    }
}

fn list(addresses: &[&str], next: u64) -> Result<LookupAnswer, String> {
    let member = |address: &&str| FoundMember { address: (*address).into(), port: None, metadata: vec![] };
    let members = addresses.iter().map(member).collect();
    Ok(LookupAnswer::Changed { members, cookie: addresses.concat().into(), next: Millis(next) })
}

/// Has sources by name, and notes whether they were used.
#[derive(Clone, Default)]
struct Shelf {
    sources: Arc<Mutex<VecDeque<(String, Script)>>>,
    used: Arc<Mutex<Vec<bool>>>,
}

impl Maker for Shelf {
    type Source = Script;

    async fn make(&mut self, kind: &str) -> Result<Made<Script>, SwitchError> {
        let (name, source) = self.sources.lock().unwrap().pop_front().ok_or(SwitchError::NoFile)?;
        assert_eq!(name, kind);
        Ok(Made { source, pace: pace(kind) })
    }

    async fn settle(&mut self, used: bool) {
        self.used.lock().unwrap().push(used);
    }
}

fn pace(name: &str) -> Pace {
    Pace {
        name: name.into(),
        min_interval: Duration::from_millis(10),
        max_interval: Duration::from_millis(100),
    }
}

fn script(answers: impl IntoIterator<Item = Result<LookupAnswer, String>>) -> Script {
    let script = Script::default();
    script.answers.lock().unwrap().extend(answers);
    script
}

struct Setup {
    script: Script,
    shelf: Shelf,
    clustered: bool,
    members: Members,
    folder: tempfile::TempDir,
}

impl Setup {
    fn new(answers: impl IntoIterator<Item = Result<LookupAnswer, String>>) -> Self {
        let (members, folder) = (Members::new("n1", 8848), tempfile::tempdir().unwrap());
        Self { script: script(answers), shelf: Shelf::default(), clustered: true, members, folder }
    }

    /// Puts a source on the shelf.
    fn offer(&self, name: &str, answers: impl IntoIterator<Item = Result<LookupAnswer, String>>) {
        self.shelf.sources.lock().unwrap().push_back((name.into(), script(answers)));
    }

    fn lookup(&self) -> Lookup<Shelf> {
        let kept = self.folder.path().join("members.json");
        let options = LookupOptions { pace: pace("file"), kept, clustered: self.clustered };
        Lookup::new(self.script.clone(), self.shelf.clone(), options, self.members.clone())
    }

    fn addresses(&self) -> Vec<String> {
        self.members.list().load().iter().map(|member| member.ip.clone()).collect()
    }
}

#[tokio::test]
async fn the_plugin_says_when_within_the_bounds() {
    let setup = Setup::new([
        list(&["n1", "n2"], 50),
        list(&["n1"], 1),
        Ok(LookupAnswer::Unchanged(Millis(3_600_000))),
    ]);
    let mut lookup = setup.lookup();
    let waits = [lookup.first().await.unwrap(), lookup.once().await.unwrap(), lookup.once().await.unwrap()];
    assert_eq!(waits.map(|wait| wait.as_millis()), [50, 10, 100]);
    assert_eq!(setup.addresses(), ["n1"]);
    let cookies = setup.script.cookies.lock().unwrap().clone();
    assert_eq!(cookies, [None, Some(b"n1n2".to_vec()), Some(b"n1".to_vec())]);
}

#[tokio::test]
async fn a_start_without_the_source_uses_the_last_list() {
    let setup = Setup::new([list(&["n1", "n2"], 50)]);
    setup.lookup().first().await.unwrap();
    let again = Setup { members: Members::new("n1", 8848), ..setup };
    let mut lookup = again.lookup();
    lookup.first().await.unwrap();
    assert_eq!(again.addresses(), ["n1", "n2"]);
    assert!(lookup.progress.is_from_kept_list() && lookup.progress.failures() == 1);
    again.script.answers.lock().unwrap().push_back(list(&["n1", "n3"], 50));
    lookup.once().await.unwrap();
    assert!(!lookup.progress.is_from_kept_list() && again.addresses() == ["n1", "n3"]);
}

#[tokio::test]
async fn a_start_without_source_and_list_fails_and_says_why() {
    let setup = Setup::new([]);
    let error = setup.lookup().first().await.unwrap_err().to_string();
    assert!(error.starts_with("lookup file: no more; and there is no list of an earlier run at "), "{error}");
    assert_eq!(setup.script.cookies.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn failures_later_keep_the_list_and_a_recovery_is_seen() {
    let failed = || Err("away".to_owned());
    let setup = Setup::new([list(&["n1", "n2"], 10), failed(), failed(), list(&["n1", "n3"], 10)]);
    let mut lookup = setup.lookup();
    let next = lookup.first().await.unwrap();
    let tasks = Tasks::new();
    lookup.start(&tasks, next);
    let deadline = Instant::now() + Duration::from_secs(5);
    while setup.addresses() != ["n1", "n3"] {
        assert!(Instant::now() < deadline && setup.addresses() == ["n1", "n2"]);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tasks.drain(deadline).await.unwrap();
}

#[tokio::test]
async fn twelve_failures_in_a_row_make_a_source_unhealthy_until_it_answers() {
    let failures = (0..12).map(|_| Err("away".to_owned()));
    let setup = Setup::new([list(&["n1", "n2"], 10)].into_iter().chain(failures));
    let mut lookup = setup.lookup();
    lookup.first().await.unwrap();
    for failed in 1..=12 {
        assert!(lookup.progress.is_healthy());
        lookup.once().await.unwrap_err();
        assert_eq!(lookup.progress.failures_in_a_row(), failed);
    }
    assert!(!lookup.progress.is_healthy() && setup.addresses() == ["n1", "n2"]);
    setup.script.answers.lock().unwrap().push_back(list(&["n1"], 10));
    lookup.once().await.unwrap();
    assert!(lookup.progress.is_healthy() && lookup.progress.failures() == 12);
}

#[tokio::test]
async fn another_source_takes_over_when_it_answers() {
    let setup = Setup::new([list(&["n1", "n2"], 50)]);
    setup.offer("dns", [list(&["n1", "n3"], 50), list(&["n1", "n4"], 50)]);
    let mut lookup = setup.lookup();
    let next = lookup.first().await.unwrap();
    let tasks = Tasks::new();
    let handle = lookup.start(&tasks, next);
    handle.switch("dns").await.unwrap();
    assert_eq!(*handle.progress().kind(), "dns");
    assert_eq!(setup.members.list().load()[0].extend_info["lookup"], "dns");
    let deadline = Instant::now() + Duration::from_secs(5);
    while setup.addresses() != ["n1", "n4"] {
        assert!(Instant::now() < deadline && setup.addresses() == ["n1", "n3"]);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(*setup.shelf.used.lock().unwrap(), [true]);
    tasks.drain(deadline).await.unwrap();
    assert!(matches!(handle.switch("dns").await, Err(SwitchError::Stopping)));
}

#[tokio::test]
async fn the_running_source_stays_when_the_new_one_is_of_no_use() {
    let setup = Setup { clustered: false, ..Setup::new([list(&["n1"], 50), list(&["n1"], 50)]) };
    setup.offer("dns", [Err("away".into())]);
    setup.offer("dns", [list(&[], 50)]);
    setup.offer("dns", [Ok(LookupAnswer::Unchanged(Millis(50)))]);
    setup.offer("dns", [list(&["n1", "n3"], 50)]);
    let mut lookup = setup.lookup();
    lookup.first().await.unwrap();
    let mut refusals = Vec::new();
    for _ in 0..5 {
        refusals.push(lookup.switch("dns").await.unwrap_err().to_string());
    }
    assert_eq!(
        refusals,
        [
            "lookup dns: away; the members stay those that file found",
            "lookup dns names no member",
            "lookup dns names no member",
            "lookup dns names other members, but this node was started alone; set cluster.secret and restart it",
            "this node was not started from a settings file",
        ]
    );
    assert_eq!(*setup.shelf.used.lock().unwrap(), [false; 5]);
    assert_eq!((setup.addresses(), lookup.pace.name.as_str()), (vec!["n1".to_owned()], "file"));
    lookup.once().await.unwrap();
    let cookies = setup.script.cookies.lock().unwrap().clone();
    assert_eq!(cookies, [None, Some(b"n1".to_vec())]);
}

#[tokio::test]
async fn a_node_that_was_started_alone_stays_alone() {
    let setup = Setup { clustered: false, ..Setup::new([list(&["n1"], 10), list(&["n1", "n2"], 10)]) };
    let mut lookup = setup.lookup();
    lookup.first().await.unwrap();
    lookup.serving = true;
    let error = lookup.once().await.unwrap_err();
    assert!(error.contains("cluster.secret") && setup.addresses() == ["n1"], "{error}");
}
