//! Conversations with scripted servers.

mod server;

use super::*;
use muster_sdk::fake::{FakeNet, Script};
use server::*;

const READ_ONLY: &str = NACOS_STATEMENT;

fn check(pairs: &[(&str, &str)], net: &FakeNet) -> Verdict {
    let login = [("user", "probe"), ("pwd", PASSWORD)];
    let settings = Settings::with_defaults(&MySql::describe(), &[pairs, &login].concat());
    let verdict = MySql::check(&Target::at("10.0.0.1", 3306), &settings, net).unwrap();
    let told = format!("{verdict:?} {:?}", muster_sdk::fake::logged());
    assert!(!told.contains(PASSWORD), "the password is told: {told}");
    verdict
}

fn of(verdict: &Verdict) -> (Outcome, &str) {
    (verdict.outcome, &verdict.code)
}

fn fact<'a>(verdict: &'a Verdict, key: &str) -> Option<&'a str> {
    verdict.facts.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
}

/// A server with `mysql_native_password` that answers one statement with `answer` and hears the goodbye.
fn native(statement: &'static str, answer: Vec<u8>) -> FakeNet {
    FakeNet::new().accepts(
        Script::new()
            .send(greeting("8.0.36", "mysql_native_password", CAPABILITIES))
            .answer(|login| {
                assert_eq!(Login::parse(login, 1).proof, NATIVE_PROOF);
                ok(2)
            })
            .answer(move |query| {
                assert_eq!(query, packet(0, &[&[3], statement.as_bytes()].concat()));
                answer
            })
            .expect(QUIT),
    )
}

fn roles(rows: &[[&str; 2]]) -> FakeNet {
    native(ROLE_STATEMENT, result(rows))
}

#[test]
fn a_server_that_takes_writes_is_a_healthy_primary() {
    let net = roles(&[["innodb_read_only", "OFF"], ["read_only", "OFF"], ["super_read_only", "OFF"]]);
    let verdict = check(&[], &net);
    assert_eq!(of(&verdict), (Outcome::Passed, ""));
    assert_eq!((fact(&verdict, "role"), fact(&verdict, "version")), (Some("primary"), Some("8.0.36")));
    assert_eq!((net.unplayed(), net.connections()), (0, 1), "one connection, closed with COM_QUIT");
}

#[test]
fn any_kind_of_read_only_is_a_replica_and_counts_to_the_threshold() {
    for (rows, which) in [
        (vec![["read_only", "ON"], ["super_read_only", "OFF"]], "read_only"),
        (vec![["read_only", "ON"], ["super_read_only", "ON"]], "read_only, super_read_only"),
        (vec![["innodb_read_only", "ON"], ["read_only", "OFF"]], "innodb_read_only"),
        (vec![["read_only", "1"]], "read_only"),
        (vec![["read_only", "NO_LOCK_NO_ADMIN"]], "read_only"),
    ] {
        let verdict = check(&[], &roles(&rows));
        assert_eq!(of(&verdict), (Outcome::Failed, "mysql.read-only"));
        assert_eq!((fact(&verdict, "role"), fact(&verdict, "read-only")), (Some("replica"), Some(which)));
    }
}

#[test]
fn mariadb_lacks_two_of_the_variables() {
    let verdict = check(&[], &roles(&[["read_only", "OFF"]]));
    assert_eq!((of(&verdict).0, fact(&verdict, "role")), (Outcome::Passed, Some("primary")));
}

#[test]
fn a_server_without_any_of_them_is_not_judged() {
    assert_eq!(of(&check(&[], &roles(&[]))), (Outcome::Inconclusive, "mysql.role-unknown"));
}

#[test]
fn n295_read_only_by_nacos_statement_is_a_soft_failure() {
    let verdict = check(&[("cmd", READ_ONLY)], &native(READ_ONLY, result(&[["read_only", "ON"]])));
    assert_eq!(of(&verdict), (Outcome::Failed, "mysql.read-only"));
    assert_eq!(verdict.message, "current node is slave!");
    let verdict = check(&[("cmd", READ_ONLY)], &native(READ_ONLY, result(&[["read_only", "OFF"]])));
    assert_eq!((of(&verdict).0, fact(&verdict, "role")), (Outcome::Passed, Some("primary")));
}

#[test]
fn n295_the_statement_has_to_be_exactly_that_one() {
    let other = "show global variables where variable_name = 'read_only'";
    let verdict = check(&[("cmd", other)], &native(other, result(&[["read_only", "ON"]])));
    assert_eq!(of(&verdict), (Outcome::Passed, ""));
}

#[test]
fn n295_no_row_is_a_driver_error() {
    let verdict = check(&[("cmd", READ_ONLY)], &native(READ_ONLY, result(&[])));
    assert_eq!(of(&verdict), (Outcome::FailedNow, "mysql.no-row"));
}

/// A server that refuses the login.
fn refusing(code: u16, message: &'static str) -> FakeNet {
    FakeNet::new().accepts(
        Script::new()
            .send(greeting("5.7.44", "mysql_native_password", CAPABILITIES))
            .answer(move |_| error(2, code, message))
            .close(),
    )
}

#[test]
fn n296_a_bad_login_is_unhealthy_at_once_by_nacos_rules() {
    let net = refusing(1045, "Access denied for user 'probe'@'10.0.0.9' (using password: YES)");
    let verdict = check(&[("cmd", "select 1")], &net);
    assert_eq!(of(&verdict), (Outcome::FailedNow, "mysql.access-denied"));
    assert!(verdict.message.starts_with("error 1045: Access denied for user 'probe'"));
}

#[test]
fn a_bad_login_says_nothing_about_the_server_in_the_master_check() {
    for (code, expected) in [
        (1045, (Outcome::Inconclusive, "mysql.access-denied")),
        (3118, (Outcome::Inconclusive, "mysql.access-denied")),
        (1040, (Outcome::Inconclusive, "mysql.too-many-connections")),
        (1203, (Outcome::Inconclusive, "mysql.too-many-connections")),
        (3159, (Outcome::Inconclusive, "mysql.tls-needed")),
        (1053, (Outcome::FailedNow, "mysql.shutting-down")),
        (2000, (Outcome::Failed, "mysql.error")),
    ] {
        assert_eq!(of(&check(&[], &refusing(code, "no"))), expected);
        assert_eq!(of(&check(&[("mode", "master"), ("cmd", "select 1")], &refusing(code, "no"))), expected);
    }
}

#[test]
fn too_many_connections_may_come_before_the_greeting() {
    let early = [&[0xff, 0x10, 0x04], "Too many connections".as_bytes()].concat();
    let net = || FakeNet::new().accepts(Script::new().send(packet(0, &early)).close());
    let verdict = check(&[], &net());
    assert_eq!(of(&verdict), (Outcome::Inconclusive, "mysql.too-many-connections"));
    assert_eq!(verdict.message, "error 1040: Too many connections");
    let verdict = check(&[("cmd", "select 1")], &net());
    assert_eq!(of(&verdict), (Outcome::FailedNow, "mysql.too-many-connections"));
}

#[test]
fn without_a_connection_refusal_is_unhealthy_at_once() {
    for (error, master, nacos) in [
        (DialError::Refused, (Outcome::FailedNow, "mysql.refused"), Outcome::FailedNow),
        (DialError::TimedOut, (Outcome::Failed, "mysql.timed-out"), Outcome::FailedNow),
        (DialError::Unreachable, (Outcome::Failed, "mysql.unreachable"), Outcome::FailedNow),
        (DialError::Denied, (Outcome::Inconclusive, "mysql.denied"), Outcome::Inconclusive),
    ] {
        assert_eq!(of(&check(&[], &FakeNet::new().fails(error.clone()))), master);
        let verdict = check(&[("cmd", "select 1")], &FakeNet::new().fails(error));
        assert_eq!(of(&verdict), (nacos, master.1));
    }
}

#[test]
fn a_statement_of_the_operator_must_run_and_no_more() {
    for answer in [ok(1), result(&[["a", "b"]]), result(&[])] {
        let verdict = check(&[("cmd", "do 1")], &native("do 1", answer));
        assert_eq!(of(&verdict), (Outcome::Passed, ""));
    }
    let verdict = check(&[("cmd", "do 1")], &native("do 1", error(1, 1064, "You have an error")));
    assert_eq!(of(&verdict), (Outcome::FailedNow, "mysql.error"));
}

#[test]
fn in_the_master_check_a_statement_comes_after_the_role() {
    let server = |answer: Vec<u8>| {
        FakeNet::new().accepts(
            Script::new()
                .send(greeting("8.0.36", "mysql_native_password", CAPABILITIES))
                .answer(|_| ok(2))
                .answer(|_| result(&[["read_only", "OFF"]]))
                .answer(|query| {
                    assert_eq!(query, packet(0, b"\x03select 1"));
                    answer
                })
                .expect(QUIT),
        )
    };
    let settings = [("mode", "master"), ("cmd", "select 1")];
    let verdict = check(&settings, &server(result(&[["1", "1"]])));
    assert_eq!((of(&verdict).0, fact(&verdict, "role")), (Outcome::Passed, Some("primary")));
    let verdict = check(&settings, &server(error(1, 1146, "Table 'a.b' doesn't exist")));
    assert_eq!(of(&verdict), (Outcome::Failed, "mysql.error"));
}

#[test]
fn the_first_packet_of_the_client_is_what_the_protocol_says() {
    let net = roles(&[["read_only", "OFF"]]);
    check(&[], &net);
    let written = net.written(0);
    let login = Login::parse(&written, 1);
    assert_eq!((login.user, login.plugin), ("probe".to_owned(), "mysql_native_password".to_owned()));
    assert_eq!(login.capabilities & CAPABILITIES, login.capabilities, "nothing that the server lacks");
    assert_eq!(login.character_set, 45);
}

#[test]
fn caching_sha2_on_its_fast_path() {
    let net = FakeNet::new().accepts(
        Script::new()
            .send(greeting("8.4.0", "caching_sha2_password", CAPABILITIES))
            .answer(|login| {
                let login = Login::parse(login, 1);
                assert_eq!((login.proof.as_slice(), &*login.plugin), (SHA2_PROOF, "caching_sha2_password"));
                [packet(2, &[1, 3]), ok(3)].concat()
            })
            .answer(|_| result(&[["read_only", "OFF"]]))
            .expect(QUIT),
    );
    assert_eq!(of(&check(&[], &net)).0, Outcome::Passed);
}

#[test]
fn caching_sha2_in_full_over_tls_sends_the_password_itself() {
    let net = FakeNet::new().accepts(
        Script::new()
            .send(greeting("8.4.0", "caching_sha2_password", CAPABILITIES | SSL))
            .expect(ssl_request(CAPABILITIES | SSL))
            .tls()
            .answer(|login| {
                assert_eq!(Login::parse(login, 2).proof, SHA2_PROOF);
                packet(3, &[1, 4])
            })
            .answer(|full| {
                assert_eq!(full, packet(4, &[PASSWORD.as_bytes(), &[0]].concat()));
                ok(5)
            })
            .answer(|_| result(&[["read_only", "OFF"]]))
            .expect(QUIT),
    );
    assert_eq!(of(&check(&[], &net)).0, Outcome::Passed);
    assert!(net.encrypted(0));
}

/// A server without TLS that has not cached the password.
fn in_full_without_tls() -> Script {
    Script::new()
        .send(greeting("8.4.0", "caching_sha2_password", CAPABILITIES))
        .answer(|_| packet(2, &[1, 4]))
}

#[test]
fn caching_sha2_in_full_without_tls_needs_leave() {
    let net = FakeNet::new().accepts(in_full_without_tls());
    assert_eq!(of(&check(&[], &net)), (Outcome::Inconclusive, "mysql.tls-needed"));
    assert_eq!(net.written(0).len(), Login::packet_length(&net.written(0)), "nothing follows the login");
}

#[test]
fn caching_sha2_in_full_without_tls_seals_the_password_under_the_servers_key() {
    let pem = include_bytes!("../tests/server.pub");
    let net = FakeNet::new().accepts(
        in_full_without_tls()
            .answer(|ask| {
                assert_eq!(ask, packet(3, &[2]));
                packet(4, &[&[1], pem.as_slice()].concat())
            })
            .answer(|sealed| {
                assert_eq!((sealed.len(), &sealed[..4]), (260, [0, 1, 0, 5].as_slice()));
                ok(6)
            })
            .answer(|_| result(&[["read_only", "OFF"]]))
            .expect(QUIT),
    );
    assert_eq!(of(&check(&[("public-key-retrieval", "true")], &net)).0, Outcome::Passed);
}

#[test]
fn a_key_that_is_none_is_the_servers_fault_not_ours() {
    let net = FakeNet::new().accepts(in_full_without_tls().answer(|_| packet(4, b"\x01-----BEGIN NONSENSE")));
    let verdict = check(&[("public-key-retrieval", "true")], &net);
    assert_eq!(of(&verdict), (Outcome::Failed, "mysql.protocol"));
}

fn switching(plugin: &str, capabilities: u32) -> Script {
    let switch = [b"\xfe", plugin.as_bytes(), &[0], NONCE, &[0]].concat();
    Script::new()
        .send(other_greeting("10.11.6-MariaDB", "caching_sha2_password", capabilities))
        .answer(move |_| packet(2, &switch))
}

#[test]
fn a_switch_to_another_way_has_a_challenge_of_its_own() {
    let net = FakeNet::new().accepts(
        switching("mysql_native_password", CAPABILITIES)
            .answer(|proof| {
                assert_eq!(proof, packet(3, NATIVE_PROOF));
                ok(4)
            })
            .answer(|_| result(&[["read_only", "OFF"]]))
            .expect(QUIT),
    );
    assert_eq!(of(&check(&[], &net)).0, Outcome::Passed);
}

#[test]
fn a_way_of_logging_in_that_is_not_known_is_inconclusive() {
    let net = FakeNet::new().accepts(switching("client_ed25519", CAPABILITIES));
    let verdict = check(&[], &net);
    assert_eq!(of(&verdict), (Outcome::Inconclusive, "mysql.unknown-auth"));
    assert!(verdict.message.contains("client_ed25519"));
    let old = Script::new()
        .send(greeting("5.7.44", "mysql_native_password", CAPABILITIES))
        .answer(|_| packet(2, &[0xfe]));
    let verdict = check(&[], &FakeNet::new().accepts(old));
    assert_eq!(of(&verdict), (Outcome::Inconclusive, "mysql.unknown-auth"));
}

#[test]
fn nobody_gets_the_password_by_asking_for_it_in_clear() {
    let asked = FakeNet::new().accepts(switching("mysql_clear_password", CAPABILITIES));
    assert_eq!(of(&check(&[], &asked)), (Outcome::Inconclusive, "mysql.tls-needed"));
    let written = asked.written(0);
    assert!(!written.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes()));
}

#[test]
fn tls_is_used_when_the_server_has_it_and_refused_only_when_required() {
    let plain = || greeting("8.0.36", "mysql_native_password", CAPABILITIES);
    let net = FakeNet::new().accepts(Script::new().send(plain()));
    assert_eq!(of(&check(&[("tls", "required")], &net)), (Outcome::Inconclusive, "mysql.no-tls"));
    let with_tls = greeting("8.0.36", "mysql_native_password", CAPABILITIES | SSL);
    let net = FakeNet::new().accepts(
        Script::new()
            .send(with_tls)
            .answer(|_| ok(2))
            .answer(|_| result(&[["read_only", "OFF"]]))
            .expect(QUIT),
    );
    assert_eq!(of(&check(&[("tls", "disabled")], &net)).0, Outcome::Passed);
    assert!(!net.encrypted(0));
}

#[test]
fn where_tls_is_only_preferred_its_failure_costs_a_second_connection() {
    let broken = || {
        Script::new()
            .send(greeting("5.7.20", "mysql_native_password", CAPABILITIES | SSL))
            .expect(ssl_request(CAPABILITIES | SSL))
            .tls_fails("protocol version")
    };
    let plain = Script::new()
        .send(greeting("5.7.20", "mysql_native_password", CAPABILITIES | SSL))
        .answer(|_| ok(2))
        .answer(|_| result(&[["read_only", "OFF"]]))
        .expect(QUIT);
    let net = FakeNet::new().accepts(broken()).accepts(plain);
    assert_eq!(of(&check(&[], &net)).0, Outcome::Passed);
    assert_eq!((net.connections(), net.unplayed()), (2, 0));
    let net = FakeNet::new().accepts(broken());
    assert_eq!(of(&check(&[("tls", "required")], &net)), (Outcome::Inconclusive, "mysql.tls-failed"));
}

#[test]
fn a_servers_words_are_told_without_the_password() {
    let net = FakeNet::new().accepts(
        Script::new()
            .send(greeting("8.0.36", "mysql_native_password", CAPABILITIES))
            .answer(|_| error(2, 2000, &format!("you said {PASSWORD}!\n"))),
    );
    assert_eq!(check(&[], &net).message, "error 2000: you said ***! ");
}

#[test]
fn whatever_a_server_says_is_a_verdict() {
    let good = greeting("8.0.36", "caching_sha2_password", CAPABILITIES);
    for length in 0..good.len() {
        let verdict = check(&[], &FakeNet::new().accepts(Script::new().send(&good[..length]).close()));
        assert_eq!(of(&verdict).0, Outcome::Failed, "cut at {length}");
    }
    let bytes: Vec<u8> = (0..=255).collect();
    for place in 4..good.len() {
        for &byte in &bytes {
            let mut bad = good.clone();
            bad[place] = byte;
            let net =
                FakeNet::new().accepts(Script::new().send(bad).answer(move |_| packet(2, &[byte, 1, 2])));
            check(&[("public-key-retrieval", "true")], &net);
        }
    }
    for head in &bytes {
        for tail in [&[][..], &[0], &[0xff; 9], &[0xfe, 0xff, 0xff], &[0xfc, 1]] {
            let packets =
                [packet(1, &[&[*head], tail].concat()), packet(2, tail), packet(3, &[*head])].concat();
            check(&[], &native(ROLE_STATEMENT, packets));
        }
    }
}

#[test]
fn something_else_on_the_port_is_told_apart() {
    let http = FakeNet::new().accepts(Script::new().send(*b"HTTP/1.1 400 Bad Request\r\n\r\n").close());
    assert_eq!(of(&check(&[], &http)), (Outcome::Failed, "mysql.protocol"));
    let silent = FakeNet::new().accepts(Script::new().wait(Duration::from_secs(1)));
    assert_eq!(of(&check(&[], &silent)), (Outcome::Failed, "mysql.timed-out"));
    let gone = FakeNet::new().accepts(Script::new().close());
    assert_eq!(of(&check(&[], &gone)), (Outcome::Failed, "mysql.closed"));
}

#[test]
fn a_long_answer_is_heard_only_so_far() {
    let long = "x".repeat(60_000);
    let rows: Vec<[&str; 2]> = vec![["a", &long]; 5];
    let mut answer = result(&rows);
    answer.truncate(answer.len() - 9); // the end of the rows never comes
    assert_eq!(of(&check(&[("cmd", "do 1")], &native("do 1", answer))).0, Outcome::Passed);
}

#[test]
fn settings_that_do_not_fit_together_are_refused_when_they_are_stored() {
    let problems = |pairs: &[(&str, &str)]| {
        let settings = Settings::with_defaults(&MySql::describe(), pairs);
        MySql::validate(&settings).into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(problems(&[("mode", "nacos")]), ["cmd"]);
    assert_eq!(problems(&[("tls-verify", "true")]), ["tls-verify"]);
    assert!(problems(&[("tls-verify", "true"), ("tls", "required")]).is_empty());
    assert!(problems(&[("cmd", READ_ONLY)]).is_empty());
    let secrets = MySql::describe().settings.into_iter().filter(|s| matches!(s.kind, Kind::Secret));
    assert_eq!(secrets.map(|s| s.key).collect::<Vec<_>>(), ["pwd"]);
}
