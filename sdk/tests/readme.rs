//! The probe of `README.md`, word for word.

use muster_sdk::health_check::*;

/// Asks a Redis server for its role.
pub struct Redis;

impl HealthCheck for Redis {
    fn describe() -> Descriptor {
        Descriptor::new("REDIS", "0.1.0", "answers ROLE")
            .setting(Setting::boolean("need-master", "a replica is unhealthy").default("false"))
    }

    fn check(_: &Target, settings: &Settings, net: &impl Net) -> Result<Verdict, Fault> {
        let mut connection = match net.connect(None) {
            Ok(connection) => connection,
            // refused, timed out, not allowed by the node ...: each has its own outcome
            Err(error) => return Ok(error.verdict("redis")),
        };
        let mut answer = [0; 512];
        let asked = connection.write_all(b"ROLE\r\n").and_then(|()| connection.read(&mut answer));
        let length = match asked {
            Ok(length) => length,
            Err(error) => return Ok(DialError::from(error).verdict("redis")),
        };
        let role =
            if answer[..length].windows(6).any(|word| word == b"master") { "master" } else { "replica" };
        if role == "replica" && settings.flag("need-master")? {
            return Ok(Verdict::failed("redis.replica", "a replica").fact("role", role));
        }
        Ok(Verdict::passed().fact("role", role))
    }
}

muster_sdk::export_health_check!(Redis);

#[test]
fn a_replica_is_unhealthy_when_a_master_is_needed() {
    use muster_sdk::fake::{FakeNet, Script};
    let settings = Settings::with_defaults(&Redis::describe(), &[("need-master", "true")]);
    let net = FakeNet::new().accepts(Script::new().expect(*b"ROLE\r\n").send(*b"*5\r\n$5\r\nslave\r\n"));
    let verdict = Redis::check(&Target::at("10.0.0.1", 6379), &settings, &net).unwrap();
    assert_eq!((verdict.outcome, verdict.code.as_str()), (Outcome::Failed, "redis.replica"));
}

#[test]
fn a_master_passes_and_refusal_is_unhealthy_at_once() {
    use muster_sdk::fake::{FakeNet, Script};
    let check =
        |net: FakeNet| Redis::check(&Target::at("10.0.0.1", 6379), &Settings::default(), &net).unwrap();
    let master = check(FakeNet::new().accepts(Script::new().send(*b"*3\r\n$6\r\nmaster\r\n")));
    assert_eq!(master, Verdict::passed().fact("role", "master"));
    assert_eq!(check(FakeNet::new().fails(DialError::Refused)).outcome, Outcome::FailedNow);
}

#[test]
fn the_readme_shows_this_very_code() {
    let readme = include_str!("../README.md");
    let here = include_str!("readme.rs");
    let blocks: Vec<_> =
        readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        let block = block.trim_start_matches("// src/lib.rs\n");
        assert!(here.contains(block), "{block}");
    }
}
