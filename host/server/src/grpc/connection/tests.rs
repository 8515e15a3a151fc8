use super::outbox::QUEUE;
use super::*;
use muster_core::ServiceKey;

fn connection() -> Connection {
    Connection::new(Millis(1_700_000_000_000), "10.0.0.9:55123".parse().unwrap(), Source::Sdk)
}

fn push(connection: &Connection, name: &str, revision: u64) {
    let service = ServiceKey::new("", "", name);
    let list = List { service, rest: revision.to_string().into(), since: Millis(revision) };
    connection.push(Millis(revision), Arc::new(list));
}

fn next(connection: &Connection) -> Option<(u64, u64)> {
    match connection.next(Millis(0), Waker::noop()) {
        Some(Some(Outgoing::Push(id, list))) => {
            Some((id, std::str::from_utf8(&list.rest).unwrap().parse().unwrap()))
        }
        _ => None,
    }
}

#[test]
fn n207_the_id_is_made_of_time_address_and_port() {
    assert_eq!(&*connection().id, "1700000000000_10.0.0.9_55123");
    let mapped = Connection::new(Millis(1), "[::ffff:10.0.0.9]:1".parse().unwrap(), Source::Sdk);
    assert_eq!(&*mapped.id, "1_10.0.0.9_1");
}

#[test]
fn a_slow_receiver_gets_the_newest_state_once_per_service() {
    let connection = connection();
    for revision in 1..=1_000 {
        push(&connection, "a", revision);
        push(&connection, "b", revision);
    }
    assert_eq!(next(&connection), Some((1, 1_000)));
    assert_eq!(next(&connection), Some((2, 1_000)));
    assert_eq!(next(&connection), None);
}

#[test]
fn n264_n229_ids_are_distinct_and_answered_once() {
    let connection = connection();
    push(&connection, "a", 1);
    push(&connection, "b", 1);
    let (first, second) = (next(&connection).unwrap().0, next(&connection).unwrap().0);
    assert_ne!(first, second);
    assert!(connection.acknowledged(first).is_some());
    assert!(connection.acknowledged(first).is_none());
    assert!(connection.acknowledged(99).is_none());
    assert_eq!(connection.overdue(Millis(5_000), Millis(5_000)).len(), 1);
    assert!(connection.acknowledged(second).is_none());
}

#[test]
fn n218_a_second_setup_changes_nothing() {
    let connection = connection();
    assert!(connection.register(Setup { agent: "a".into(), ..Setup::default() }));
    assert!(!connection.register(Setup { agent: "b".into(), ..Setup::default() }));
    assert_eq!(&*connection.setup().unwrap().agent, "a");
}

#[test]
fn who_takes_nothing_is_disconnected() {
    let connection = connection();
    for _ in 0..=QUEUE {
        connection.send(Millis(0), Message::Asked(Question::Detection));
    }
    assert!(connection.close.is_cancelled());
}

#[test]
fn a_stream_that_takes_nothing_for_300_s_is_stuck_and_one_that_takes_is_not() {
    let connection = connection();
    assert!(!connection.is_stuck(Millis(9_000_000)));
    push(&connection, "a", 1_000);
    push(&connection, "a", 200_000);
    push(&connection, "b", 200_000);
    assert!(!connection.is_stuck(Millis(301_000)) && connection.is_stuck(Millis(301_001)));
    next(&connection).unwrap();
    assert!(!connection.is_stuck(Millis(300_000)) && connection.is_stuck(Millis(300_001)));
    next(&connection).unwrap();
    assert!(!connection.is_stuck(Millis(9_000_000)));
}

#[test]
fn words_of_clients_are_cut_and_addresses_are_read_whole() {
    assert_eq!((&*word("abc"), word(&"ä".repeat(1_000)).chars().count()), ("abc", LONGEST_WORD));
    let there = Elsewhere { ip: "10.0.0.2".into(), port: "8848".into() };
    assert_eq!(Elsewhere::parse(" 10.0.0.2:8848"), Some(there));
    assert!(["", ":1", "a", "a:b", "a:70000"].iter().all(|text| Elsewhere::parse(text).is_none()));
}
