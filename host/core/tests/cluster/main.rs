//! Several nodes under a virtual clock and network, from one seed: loss, delay, doubling, reordering, partition,
//! crash and restart. A failing seed is printed, and is the
//! same run again in `World::new(seed, plan)`. `pair` holds scenarios of two nodes, message by message.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod pair;
mod world;

use world::{Plan, World};

/// Seeds of an ordinary run; `SEEDS` at build time asks for more.
fn seeds() -> std::ops::Range<u64> {
    let wanted = option_env!("SEEDS").and_then(|text| text.parse().ok());
    0..wanted.unwrap_or(300)
}

/// Runs every seed and says which one failed.
fn all(plan: impl Fn(u64) -> Plan) {
    for seed in seeds() {
        let plan = plan(seed);
        let outcome = std::panic::catch_unwind(|| World::new(seed, plan).run());
        assert!(outcome.is_ok(), "seed {seed} failed; see above");
    }
}

const CALM: Plan = Plan { nodes: 3, loss: 0, partitions: false, crashes: false, blackouts: false };

#[test]
fn nodes_on_a_good_network_become_equal_and_lose_no_accepted_write() {
    all(|_| CALM);
}

#[test]
fn nodes_on_a_bad_network_become_equal_and_lose_no_accepted_write() {
    all(|seed| Plan { nodes: 2 + seed as usize % 4, loss: 20, ..CALM });
}

#[test]
fn after_partitions_heal_all_nodes_are_equal_and_lose_no_accepted_write() {
    all(|seed| Plan { nodes: 2 + seed as usize % 4, loss: 5, partitions: true, ..CALM });
}

#[test]
fn after_crashes_and_restarts_all_nodes_are_equal_and_lose_no_accepted_write() {
    all(|seed| Plan { nodes: 3 + seed as usize % 3, loss: 5 * (seed % 2), crashes: true, ..CALM });
}

#[test]
fn partitions_and_crashes_together_end_equal_too() {
    all(|seed| Plan { nodes: 3 + seed as usize % 3, loss: 10, partitions: true, crashes: true, ..CALM });
}

#[test]
fn when_all_nodes_restart_at_once_no_list_becomes_empty_by_that() {
    all(|seed| Plan { nodes: 1 + seed as usize % 5, blackouts: true, ..CALM });
}
