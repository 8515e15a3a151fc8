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
) -> Option<Watched> {
    let received = received.iter().map(|key| (*key).to_owned()).collect();
    let pattern = Pattern::parse(pattern).unwrap();
    if !watches.watch(&id(), pattern.clone(), init) {
        return None;
    }
    Some(watches.compare(Millis(0), &id(), &pattern, &received, services.iter()))
}

/// What is due where there are all services, or none.
fn due(watches: &mut Watches, now: u64, there: bool) -> Vec<Addressed> {
    watches.due(Millis(now), |_| there)
}

fn types(due: &[Addressed]) -> Vec<(String, usize, usize, usize)> {
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
    assert_eq!(watch(&mut watches, "public>>*>>*", &[], true, &services), Some(Watched::Yes));
    assert!(due(&mut watches, 999, true).is_empty());
    let sent = due(&mut watches, 1_000, true);
    let init = |n, current| (INIT.to_owned(), n, 3, current);
    assert_eq!(types(&sent), [init(10, 1), init(10, 2), init(3, 3)]);
    sent[..2].iter().for_each(|(id, message)| watches.acknowledged(Millis(1_100), id, message));
    assert_eq!(watches.next_deadline(), None);
    watches.acknowledged(Millis(1_200), &id(), &sent[2].1);
    assert_eq!(types(&due(&mut watches, 1_700, true)), [(FINISH.to_owned(), 0, 1, 1)]);
}

#[test]
fn n273_n274_n275_only_the_difference_is_sent() {
    let mut watches = Watches::default();
    watch(&mut watches, "public>>*>>none*", &[], true, &[key("a")]);
    assert_eq!(types(&due(&mut watches, 1_000, true)), [(FINISH.to_owned(), 0, 1, 1)]);
    let known = "public@@DEFAULT_GROUP@@a";
    watch(&mut watches, "public>>*>>a*", &[known], false, &[key("a")]);
    assert!(due(&mut watches, 9_000, true).is_empty());
    watch(&mut watches, "public>>*>>a*", &[known], false, &[]);
    let sent = due(&mut watches, 9_000, false);
    let WatchMessage::Sync { contexts, sync_type, .. } = &*sent[0].1 else { unreachable!() };
    assert_eq!((*sync_type, &contexts[0]), (DIFF, &context(known, DELETE)));
    // and once more for clients that look for no deletion there
    let WatchMessage::Change { service_key, changed_type, .. } = &*sent[1].1 else { unreachable!() };
    assert_eq!((&**service_key, *changed_type, sent.len()), (known, DELETE, 2));
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
    assert!(due(&mut watches, 9_000, true).is_empty());
}

#[test]
fn n280_a_21st_pattern_is_refused_until_one_is_dropped() {
    let mut watches = Watches::default();
    for n in 0..MAX_PATTERNS {
        assert_eq!(watch(&mut watches, &format!("public>>*>>p{n}*"), &[], true, &[]), Some(Watched::Yes));
    }
    assert_eq!(watch(&mut watches, "public>>*>>more", &[], true, &[]), None);
    assert_eq!(watch(&mut watches, "public>>*>>p1*", &[], true, &[]), Some(Watched::Yes));
    watches.forget(&id());
    assert_eq!(watch(&mut watches, "public>>*>>more", &[], true, &[]), Some(Watched::Yes));
}

#[test]
fn n281_a_full_pattern_is_watched_with_500_and_deletes_nothing() {
    let mut watches = Watches::default();
    let services: Vec<ServiceKey> = (0..600).map(|n| key(&format!("s{n}"))).collect();
    let gone = "public@@DEFAULT_GROUP@@gone";
    assert_eq!(watch(&mut watches, "public>>*>>*", &[gone], false, &services), Some(Watched::Full));
    let sent = due(&mut watches, 1_000, true);
    assert_eq!(sent.len(), 50);
}

#[test]
fn a_message_that_was_not_taken_is_sent_again_while_it_is_wanted() {
    let mut watches = Watches::default();
    watch(&mut watches, "public>>*>>*", &[], true, &[key("a")]);
    let sent = due(&mut watches, 1_000, true);
    watches.failed(Millis(6_000), &id(), sent[0].1.clone());
    assert_eq!(due(&mut watches, 7_000, true).len(), 1);
    watches.forget(&id());
    watches.failed(Millis(8_000), &id(), sent[0].1.clone());
    assert_eq!(watches.next_deadline(), None);
}

#[test]
fn deletions_are_held_after_a_start_and_told_if_the_service_is_not_back() {
    let known = ["public@@DEFAULT_GROUP@@back", "public@@DEFAULT_GROUP@@lost"];
    let there = |key: &str| key.ends_with("back");
    let mut watches = Watches::holding(Millis(60_000));
    watch(&mut watches, "public>>*>>*", &known, false, &[key("new")]);
    assert_eq!(types(&due(&mut watches, 1_000, true)), [(DIFF.to_owned(), 1, 1, 1)]);
    assert_eq!(watches.next_deadline(), Some(Millis(61_000)));
    assert!(due(&mut watches, 60_999, false).is_empty());
    let told = watches.due(Millis(61_000), there);
    assert_eq!(types(&told), [(DIFF.to_owned(), 1, 1, 1), (DELETE.to_owned(), 0, 0, 0)]);
    assert_eq!(watches.next_deadline(), None);
    // after the hold, and for a watcher that has gone, nothing is held
    let pattern = Pattern::parse("public>>*>>*").unwrap();
    watches.compare(Millis(62_000), &id(), &pattern, &known.map(str::to_owned).into(), [].iter());
    assert_eq!(watches.next_deadline(), Some(Millis(63_000)));
    let mut watches = Watches::holding(Millis(60_000));
    watch(&mut watches, "public>>*>>*", &known, false, &[]);
    watches.forget(&id());
    assert_eq!(watches.next_deadline(), None);
}

#[test]
fn what_changed_before_a_difference_is_told_is_left_out_of_it() {
    let mut watches = Watches::default();
    watch(&mut watches, "public>>*>>*", &["public@@DEFAULT_GROUP@@b"], true, &[key("a")]);
    // a has gone and b has come: both were told when it happened
    let told = watches.due(Millis(1_000), |key| key.ends_with('b'));
    assert_eq!(types(&told), [(FINISH.to_owned(), 0, 1, 1)]);
    watch(&mut watches, "public>>*>>*", &[], false, &[]);
    let (who, message) = watches.changed(&key("a"), true).remove(0);
    watches.failed(Millis(2_000), &who, message);
    assert!(due(&mut watches, 9_000, false).is_empty(), "a is not there any more");
}
