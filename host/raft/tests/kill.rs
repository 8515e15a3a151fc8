//! `kill -9` at any moment loses no acknowledged write.
//!
//! The program runs itself as a writer: eight tasks that propose one command after the other and print each
//! acknowledgement. It is killed, mostly while it writes, sometimes while it opens what the last kill left.
//! A copy of the file is then opened and compared: for each task the rows must be exactly those after its
//! last printed command, or after the next one, which may have been on its way. The next writer goes on with
//! the killed file itself.
//!
//! `MUSTER_KILL_ROUNDS` (220) and `MUSTER_KILL_SEED` (random, printed) may be set. The seed decides commands
//! and moments; the scheduler has its say in what is going on at the moment.
#![allow(clippy::print_stdout, reason = "a writer tells what is acknowledged, and a test how it went")]
#![allow(clippy::disallowed_methods, reason = "own tasks, own settings; nothing else reads them")]

mod support;

use anyhow::Context;
use muster_core::persist::{Command, HealthFlip, MemoryRows};
use muster_core::{Instance, Overlay};
use muster_raft::{RaftOptions, Store};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use support::{Node, RowMap, options, service};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::sync::mpsc;

const WRITERS: usize = 8;
const LANES: u64 = 2;

/// Small numbers from a seed; enough to choose by.
struct Random(u64);

impl Random {
    fn of(parts: [u64; 3]) -> Self {
        let mut random = Self(0);
        for part in parts {
            random.0 ^= part;
            random.below(1);
        }
        random
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.0 ^= z >> 31;
        (z ^ (z >> 31)) % end
    }
}

/// The command of a writer: the same for the process that writes and the one that checks.
fn command(seed: u64, writer: usize, number: u64) -> Command {
    let mut random = Random::of([seed, writer as u64, number]);
    let service = service(&format!("writer-{writer}"));
    let port = u16::try_from(random.below(20)).unwrap_or_default();
    let address = format!("10.0.0.1:{port}");
    match random.below(10) {
        0..5 => {
            let instance =
                Instance { weight: number as f64, ephemeral: false, ..Instance::new("10.0.0.1", port) };
            Command::RegisterInstance { service, instance }
        }
        5..7 => Command::DeregisterInstance { service, address },
        7..9 => {
            let healthy = random.below(2) == 0;
            Command::SetHealth { flips: vec![HealthFlip { service, address, healthy }] }
        }
        _ => {
            let overlay = Overlay { weight: Some(number as f64), ..Overlay::default() };
            Command::SetOverlay { service, metadata_id: address, overlay: Some(overlay) }
        }
    }
}

fn store_options(path: &Path) -> RaftOptions {
    RaftOptions { snapshot_after: 60, keep_entries: 10, ..options(path) }
}

/// The writing process. Ends only by being killed.
async fn write(path: PathBuf, seed: u64, from: Vec<u64>) -> anyhow::Result<()> {
    let (sender, mut committed) = mpsc::channel(64);
    let (store, _) = Store::open(store_options(&path), sender).await?;
    for (writer, from) in from.into_iter().enumerate() {
        let store = store.clone();
        tokio::spawn(async move {
            for number in from.. {
                match store.propose(command(seed, writer, number)).await {
                    Ok(_) => println!("{writer} {number}"),
                    Err(error) => println!("failed {error}"),
                }
            }
        });
    }
    while committed.recv().await.is_some() {}
    anyhow::bail!("the store stopped by itself")
}

/// What one file has seen so far.
struct Lane {
    directory: tempfile::TempDir,
    seed: u64,
    random: Random,
    /// per writer: commands known to be in the rows
    done: Vec<u64>,
    model: MemoryRows,
    tally: Tally,
}

#[derive(Debug, Default)]
struct Tally {
    rounds: u64,
    acknowledged: u64,
    /// kills before the first acknowledgement: while opening
    before_any: u64,
    /// writes found though their acknowledgement was never seen
    unseen: u64,
    /// rounds after which there was a snapshot newer than before
    with_snapshot: u64,
    snapshot: Option<u64>,
}

impl Lane {
    fn new(seed: u64) -> anyhow::Result<Self> {
        Ok(Self {
            directory: tempfile::tempdir()?,
            seed,
            random: Random::of([seed, 1, 2]),
            done: vec![0; WRITERS],
            model: MemoryRows::default(),
            tally: Tally::default(),
        })
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("muster.redb")
    }

    async fn round(&mut self) -> anyhow::Result<()> {
        let (mut child, lines) = self.spawn()?;
        let moment = match self.random.below(5) {
            0 => Moment::AfterStart(Duration::from_micros(self.random.below(20_000))),
            _ => Moment::AfterFirst(Duration::from_micros(self.random.below(150_000))),
        };
        let seen = acknowledgements(&mut child, lines, moment).await?;
        self.tally.rounds += 1;
        self.tally.acknowledged += seen.len() as u64;
        self.tally.before_any += u64::from(seen.is_empty());
        for (writer, number) in seen {
            anyhow::ensure!(number == self.done[writer], "writer {writer} skipped to {number}");
            self.carry_out(writer);
        }
        self.check().await
    }

    fn spawn(&self) -> anyhow::Result<(Child, Lines<BufReader<ChildStdout>>)> {
        let from: Vec<String> = self.done.iter().map(u64::to_string).collect();
        let mut child = tokio::process::Command::new(std::env::current_exe()?)
            .args(["write", &self.path().display().to_string(), &self.seed.to_string(), &from.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow::anyhow!("no stdout"))?;
        Ok((child, BufReader::new(stdout).lines()))
    }

    /// The command of `writer` after those that are done.
    fn carry_out(&mut self, writer: usize) {
        self.model.run(&command(self.seed, writer, self.done[writer]));
        self.done[writer] += 1;
    }

    /// Opens a copy of what the kill left, and compares.
    async fn check(&mut self) -> anyhow::Result<()> {
        if !self.path().exists() {
            return Ok(()); // killed before it was created
        }
        let copy = self.directory.path().join("copy.redb");
        std::fs::copy(self.path(), &copy)?;
        let mut node = Node::open(store_options(&copy)).await;
        let found = node.rows().clone();
        let snapshot = node.store.status().snapshot_index;
        node.shutdown().await;
        std::fs::remove_file(&copy)?;
        for writer in 0..WRITERS {
            if of_writer(&found, writer) != of_writer(&self.model.0, writer) {
                self.carry_out(writer);
                self.tally.unseen += 1;
            }
        }
        anyhow::ensure!(found == self.model.0, "rows differ\nfound {found:#?}\nexpected {:#?}", self.model.0);
        self.tally.with_snapshot += u64::from(snapshot > self.tally.snapshot);
        self.tally.snapshot = snapshot;
        Ok(())
    }
}

fn of_writer(rows: &RowMap, writer: usize) -> RowMap {
    use muster_core::persist::RowKey;
    let service = service(&format!("writer-{writer}"));
    let mine = |key: &RowKey| match key {
        RowKey::Switches | RowKey::Plugin(..) => false,
        RowKey::Service(of) | RowKey::Instance(of, _) | RowKey::Overlay(of, _) => *of == service,
    };
    rows.iter().filter(|(key, _)| mine(key)).map(|(key, row)| (key.clone(), row.clone())).collect()
}

/// When a writer is killed.
#[derive(Clone, Copy)]
enum Moment {
    /// so long after it was started, whether or not it got anything done
    AfterStart(Duration),
    /// so long after its first acknowledgement. What an early kill left may need an election first, which takes
    /// longer than all of the writing: without waiting for it, a file would never get beyond that state.
    AfterFirst(Duration),
}

/// Lets the writer run until `moment`, kills it, and answers all it had acknowledged.
async fn acknowledgements(
    child: &mut Child,
    mut lines: Lines<BufReader<ChildStdout>>,
    moment: Moment,
) -> anyhow::Result<Vec<(usize, u64)>> {
    let mut seen = Vec::new();
    let patience = match moment {
        Moment::AfterStart(patience) => patience,
        Moment::AfterFirst(patience) => {
            let first = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await??;
            seen.push(parse(&first.context("the writer ended by itself")?)?);
            patience
        }
    };
    let deadline = tokio::time::Instant::now() + patience;
    while let Ok(line) = tokio::time::timeout_at(deadline, lines.next_line()).await {
        match line? {
            Some(line) => seen.push(parse(&line)?),
            None => anyhow::bail!("the writer ended by itself: {:?}", child.wait().await?),
        }
    }
    child.kill().await?;
    // what was printed before the end is in the pipe
    while let Some(line) = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await?? {
        seen.push(parse(&line)?);
    }
    Ok(seen)
}

fn parse(line: &str) -> anyhow::Result<(usize, u64)> {
    let parsed =
        line.split_once(' ').and_then(|(writer, number)| Some((writer.parse().ok()?, number.parse().ok()?)));
    parsed.ok_or_else(|| anyhow::anyhow!("the writer says: {line}"))
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

async fn lane(seed: u64, rounds: u64) -> anyhow::Result<Tally> {
    let mut lane = Lane::new(seed)?;
    for round in 0..rounds {
        let outcome = lane.round().await;
        outcome.map_err(|error| error.context(format!("seed {seed}, round {round}")))?;
    }
    let tally = lane.tally;
    anyhow::ensure!(tally.acknowledged > rounds, "hardly anything was written: {tally:?}");
    anyhow::ensure!(tally.with_snapshot > 0, "no snapshot came in between: {tally:?}");
    Ok(tally)
}

async fn rounds() -> anyhow::Result<()> {
    let rounds = setting("MUSTER_KILL_ROUNDS").unwrap_or(220);
    let seed =
        setting("MUSTER_KILL_SEED").unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 16);
    println!("kill: {rounds} rounds, MUSTER_KILL_SEED={seed}");
    let lanes: Vec<_> =
        (0..LANES).map(|number| tokio::spawn(lane(seed + number, rounds.div_ceil(LANES)))).collect();
    for lane in lanes {
        println!("kill: {:?}", lane.await??);
    }
    println!("kill: nothing acknowledged was lost");
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["write", path, seed, from] => {
            let from = from.split(',').map(str::parse).collect::<Result<_, _>>()?;
            runtime.block_on(write(path.into(), seed.parse()?, from))
        }
        _ => runtime.block_on(rounds()),
    }
}
