use super::*;

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("", "", name)
}

fn id() -> Arc<str> {
    "1_a_1".into()
}

fn watch(
    watches: &mut Watches,
    pattern: &str,
    received: &[&str],
    init: bool,
    services: &[ServiceKey],
) -> Watched {
    let received = received.iter().map(|key| (*key).to_owned()).collect();
    watches.watch(Millis(0), &id(), Pattern::parse(pattern).unwrap(), &received, init, services.iter())
}

fn types(due: &[(Arc<str>, Arc<WatchMessage>)]) -> Vec<(String, usize, usize, usize)> {
    let each = due.iter().map(|(_, message)| match &**message {
        WatchMessage::Sync { sync_type, contexts, total_batch, current_batch, .. } => {
            ((*sync_type).to_owned(), contexts.len(), *total_batch, *current_batch)
        }
        WatchMessage::Change { changed_type, .. } => ((*changed_type).to_owned(), 0, 0, 0),
    });
    each.collect()
}

#[test]
fn n278_patterns_match_ends_and_the_namespace_exactly() {
    let matches = |pattern: &str, name: &str| Pattern::parse(pattern).unwrap().matches(&key(name));
    for (pattern, yes, no) in [
        ("public>>*>>*", "orders", ""),
        ("public>>DEFAULT_GROUP>>ord*", "orders", "xord"),
        ("public>>DEFAULT_GROUP>>*ers", "orders", "ersx"),
        ("public>>DEFAULT_GROUP>>*rde*", "orders", "stock"),
        ("public>>DEFAULT_GROUP>>orders", "orders", "orders2"),
    ] {
        assert!(matches(pattern, yes), "{pattern}");
        assert!(no.is_empty() || !matches(pattern, no), "{pattern}");
    }
    assert!(!matches("pub*>>*>>*", "orders") && !matches("public>>G>>*", "orders"));
    assert!(Pattern::parse("public>>a").is_none() && Pattern::parse("a>>b>>c>>d").is_none());
}

#[test]
fn n270_n271_n272_matches_come_in_tens_and_the_finish_after_the_last_acknowledgement() {
    let mut watches = Watches::default();
    let services: Vec<ServiceKey> = (0..23).map(|n| key(&format!("s{n}"))).collect();
    assert_eq!(watch(&mut watches, "public>>*>>*", &[], true, &services), Watched::Yes);
    assert!(watches.due(Millis(999)).is_empty());
    let due = watches.due(Millis(1_000));
    let init = |n, current| (INIT.to_owned(), n, 3, current);
    assert_eq!(types(&due), [init(10, 1), init(10, 2), init(3, 3)]);
    due[..2].iter().for_each(|(id, message)| watches.acknowledged(Millis(1_100), id, message));
    assert_eq!(watches.next_deadline(), None);
    watches.acknowledged(Millis(1_200), &id(), &due[2].1);
    assert_eq!(types(&watches.due(Millis(1_700))), [(FINISH.to_owned(), 0, 1, 1)]);
}

#[test]
fn n273_n274_n275_only_the_difference_is_sent() {
    let mut watches = Watches::default();
    watch(&mut watches, "public>>*>>none*", &[], true, &[key("a")]);
    assert_eq!(types(&watches.due(Millis(1_000))), [(FINISH.to_owned(), 0, 1, 1)]);
    let known = "public@@DEFAULT_GROUP@@a";
    watch(&mut watches, "public>>*>>a*", &[known], false, &[key("a")]);
    assert!(watches.due(Millis(9_000)).is_empty());
    watch(&mut watches, "public>>*>>a*", &[known], false, &[]);
    let due = watches.due(Millis(9_000));
    let WatchMessage::Sync { contexts, sync_type, .. } = &*due[0].1 else { unreachable!() };
    assert_eq!((*sync_type, &contexts[0]), (DIFF, &context(known, DELETE)));
}

#[test]
fn n276_n277_n279_changes_reach_watchers_until_they_cancel() {
    let mut watches = Watches::default();
    watch(&mut watches, "public>>*>>a*", &[], true, &[]);
    assert_eq!(types(&watches.changed(&key("abc"), true))[0].0, ADD);
    assert_eq!(types(&watches.changed(&key("abc"), false))[0].0, DELETE);
    assert!(watches.changed(&key("b"), true).is_empty());
    watches.cancel(&id(), "public>>*>>a*");
    assert!(watches.changed(&key("abc"), true).is_empty());
    assert!(watches.due(Millis(9_000)).is_empty());
}

#[test]
fn n280_a_21st_pattern_is_refused_until_one_is_dropped() {
    let mut watches = Watches::default();
    for n in 0..MAX_PATTERNS {
        assert_eq!(watch(&mut watches, &format!("public>>*>>p{n}*"), &[], true, &[]), Watched::Yes);
    }
    assert_eq!(watch(&mut watches, "public>>*>>more", &[], true, &[]), Watched::TooMany);
    assert_eq!(watch(&mut watches, "public>>*>>p1*", &[], true, &[]), Watched::Yes);
    watches.forget(&id());
    assert_eq!(watch(&mut watches, "public>>*>>more", &[], true, &[]), Watched::Yes);
}

#[test]
fn n281_a_full_pattern_is_watched_with_500_and_deletes_nothing() {
    let mut watches = Watches::default();
    let services: Vec<ServiceKey> = (0..600).map(|n| key(&format!("s{n}"))).collect();
    let gone = "public@@DEFAULT_GROUP@@gone";
    assert_eq!(watch(&mut watches, "public>>*>>*", &[gone], false, &services), Watched::Full);
    let due = watches.due(Millis(1_000));
    assert_eq!(due.len(), 50);
}

#[test]
fn a_message_that_was_not_taken_is_sent_again_while_it_is_wanted() {
    let mut watches = Watches::default();
    watch(&mut watches, "public>>*>>*", &[], true, &[key("a")]);
    let due = watches.due(Millis(1_000));
    watches.failed(Millis(6_000), &id(), due[0].1.clone());
    assert_eq!(watches.due(Millis(7_000)).len(), 1);
    watches.forget(&id());
    watches.failed(Millis(8_000), &id(), due[0].1.clone());
    assert_eq!(watches.next_deadline(), None);
}
