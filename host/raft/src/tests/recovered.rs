//! A group of one, made of what a member of a lost group has.

use super::cluster::{Member, Memory, write};
use crate::Role;
use crate::offline::{self, Recovered};
use muster_core::persist::MemoryRows;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_has_all_rows_leads_and_takes_new_members_and_the_old_ones_are_strangers() {
    let directory = tempfile::tempdir().unwrap();
    let (network, mut model) = (Memory::default(), MemoryRows::default());
    let first = Member::start(&network, directory.path(), 1).await;
    let second = Member::start(&network, directory.path(), 2).await;
    let mut third = Member::start(&network, directory.path(), 3).await;
    for id in [2, 3] {
        first.store.admit(id, &format!("10.0.0.{id}:7848")).await.unwrap();
    }
    write(&first.store, &mut model, "of three").await;
    third.reaches(&model).await;
    let lost = first.store.group().unwrap();
    for member in [first, second, third] {
        member.stop(&network).await;
    }

    let file = directory.path().join("3.redb");
    let before = std::fs::read(&file).unwrap();
    let Recovered { backup, node, members, group, last, .. } = offline::recover(&file).unwrap();
    assert_eq!((node, members.len()), (3, 3));
    assert!(std::fs::read(backup).unwrap() == before);
    assert_ne!(group, lost);
    let seen = offline::examine(&file).unwrap();
    assert!(seen.findings.is_empty(), "{:?}", seen.findings);
    assert_eq!(
        (seen.facts.applied, seen.facts.last_log, seen.facts.snapshot),
        (Some(last), None, Some(last))
    );

    // It leads at once, alone, with all rows; and is still there after a restart.
    for name in ["of one", "of one again"] {
        let mut third = Member::start(&network, directory.path(), 3).await;
        third.reaches_at_once(&model);
        assert_eq!((third.store.status().role, third.store.group()), (Role::Leader, Some(group)));
        write(&third.store, &mut model, name).await;
        third.stop(&network).await;
    }

    // The old ones come back together, and have a majority of the old group: two groups, which do not mix.
    let mut old = model.clone();
    let mut third = Member::start(&network, directory.path(), 3).await;
    let first = Member::start(&network, directory.path(), 1).await;
    let mut second = Member::start(&network, directory.path(), 2).await;
    old.0.retain(|key, _| !format!("{key:?}").contains("of one"));
    second.reaches(&old).await;
    let led = async {
        while first.store.status().leader.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), led).await.expect("the old ones have a leader");
    write(&first.store, &mut old, "of the old two").await;
    write(&third.store, &mut model, "of the new one").await;
    third.reaches(&model).await;
    second.reaches(&old).await;
    assert_eq!((first.store.group(), third.store.group()), (Some(lost), Some(group)));
    assert_eq!((first.store.status().members.len(), third.store.status().members.len()), (3, 1));

    let mut fourth = Member::start(&network, directory.path(), 4).await;
    third.store.admit(4, "10.0.0.4:7848").await.unwrap();
    write(&fourth.store, &mut model, "of the new two").await;
    fourth.reaches(&model).await;
    for member in [first, second, third, fourth] {
        member.stop(&network).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_whose_commit_it_never_heard_of_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let (network, mut model) = (Memory::default(), MemoryRows::default());
    let first = Member::start(&network, directory.path(), 1).await;
    let mut second = Member::start(&network, directory.path(), 2).await;
    first.store.admit(2, "10.0.0.2:7848").await.unwrap();
    write(&first.store, &mut model, "of two").await;
    second.reaches(&model).await;
    // what a kill leaves: the end of the log is durable, the rows and what is committed lag behind
    let file = directory.path().join("killed.redb");
    std::fs::copy(directory.path().join("2.redb"), &file).unwrap();
    first.stop(&network).await;
    second.stop(&network).await;
    let killed = offline::examine(&file).unwrap().facts;
    assert!(killed.applied < killed.last_log, "this test needs rows that lag: {killed:?}");
    let recovered = offline::recover(&file).unwrap();
    assert!(Some(recovered.last) == killed.last_log && recovered.unconfirmed > 0, "{recovered:?}");
    std::fs::rename(&file, directory.path().join("2.redb")).unwrap();
    let mut second = Member::start(&network, directory.path(), 2).await;
    second.reaches_at_once(&model);
    second.stop(&network).await;
}
