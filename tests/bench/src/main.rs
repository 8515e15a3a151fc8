//! Benchmarks of Muster. One command starts everything it needs, prints a table and writes JSON; every figure
//! of speed is a ratio to a baseline that was measured in the same run, in turn with it.
//!
//! What each figure means is written in `tests/bench/README.md`.

#![allow(unreachable_pub, reason = "one program: pub means \"for the other files\"")]

mod baseline;
mod cluster;
mod grpc;
mod list;
mod load;
mod memory;
mod node;
mod plugins;
mod process;
mod report;
mod start;
mod stats;
mod swap;
mod targets;
mod write;

use clap::{Parser, Subcommand};
use load::Shape;
use report::Report;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The node's allocator, for the baselines and for its own parts that are measured in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Muster against baselines, in one run and on one machine.
#[derive(Debug, Parser)]
#[command(name = "muster-bench", version)]
struct Arguments {
    /// Fewer and shorter rounds: shows that everything runs, not how fast
    #[arg(long)]
    quick: bool,
    /// Only this benchmark; may be given several times
    #[arg(long, value_name = "NAME", value_parser = NAMES)]
    only: Vec<String>,
    /// Rounds of each comparison
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Connections of the load generator
    #[arg(long, value_name = "N", default_value_t = 32)]
    connections: usize,
    /// The node's binary; built when not given
    #[arg(long, value_name = "PATH")]
    muster: Option<PathBuf>,
    /// Where the JSON goes
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What this program is when it is started by itself.
#[derive(Debug, Subcommand)]
enum Role {
    /// A bare hyper server: the bytes of FILE, or `ok`
    #[command(hide = true)]
    ServeBaseline {
        /// what to answer
        file: Option<PathBuf>,
    },
    /// A bare tonic server: answers and sends the payload of FILE
    #[command(hide = true)]
    ServeTonic {
        /// what to answer
        file: Option<PathBuf>,
    },
    /// Many gRPC clients
    #[command(hide = true)]
    Crowd {
        /// of which server
        address: SocketAddr,
        /// how many
        count: usize,
        /// what they do
        manner: grpc::Manner,
    },
    /// Clients that come back again and again
    #[command(hide = true)]
    Storm {
        /// how many
        count: usize,
        /// registrations and subscriptions of each
        each: usize,
    },
    /// Holds instances in the rules alone
    #[command(hide = true)]
    HoldInstances {
        /// how many
        count: usize,
    },
    /// Holds probes that hang
    #[command(hide = true)]
    HoldProbes {
        /// how many
        count: u32,
    },
    /// Accepts connections and closes them
    #[command(hide = true)]
    AcceptConnections,
    /// Answers HTTP requests
    #[command(hide = true)]
    AnswerHttp,
    /// Logs in whoever comes, as a MySQL server does
    #[command(hide = true)]
    AnswerMysql,
    /// Answers lines
    #[command(hide = true)]
    AnswerLines,
}

/// What a benchmark is given.
#[derive(Debug)]
struct Context {
    binary: PathBuf,
    quick: bool,
    shape: Shape,
    report: Report,
}

const NAMES: [&str; 13] = [
    list::NAME,
    write::NAME,
    plugins::NAME,
    targets::NAME,
    start::NAME,
    memory::NAME,
    grpc::UNARY,
    grpc::FANOUT,
    grpc::CONNECTIONS,
    grpc::STORM,
    cluster::NAME,
    plugins::LANGUAGES,
    swap::NAME,
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    process::open_files()?;
    match arguments.role {
        Some(Role::ServeBaseline { file }) => baseline::serve(file),
        Some(Role::ServeTonic { file }) => grpc::serve(file),
        Some(Role::Crowd { address, count, manner }) => grpc::crowd(address, count, manner),
        Some(Role::Storm { count, each }) => grpc::clients(count, each),
        Some(Role::HoldInstances { count }) => memory::hold(count),
        Some(Role::HoldProbes { count }) => plugins::hold(count),
        Some(Role::AcceptConnections) => plugins::accept(),
        Some(Role::AnswerHttp) => plugins::answer_http(),
        Some(Role::AnswerMysql) => plugins::answer_mysql(),
        Some(Role::AnswerLines) => plugins::answer(),
        None => measure(arguments),
    }
}

fn measure(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { quick, only, rounds, connections, muster, json, .. } = arguments;
    let rounds = rounds.unwrap_or(if quick { 2 } else { 5 }).max(1);
    let round = Duration::from_millis(if quick { 200 } else { 2_000 });
    let json = match json {
        Some(path) => path,
        None => process::build_folder()?.with_file_name("bench").join("result.json"),
    };
    let mut context = Context {
        binary: node::binary(muster)?,
        quick,
        shape: Shape { connections, round, rounds },
        report: Report::new(quick, rounds),
    };
    report::heading();
    // the probes of other languages need tools that few have
    let by_itself = |name: &str| only.is_empty() && name != plugins::LANGUAGES;
    for name in NAMES.iter().filter(|name| by_itself(name) || only.iter().any(|wanted| wanted == *name)) {
        match *name {
            list::NAME => list::run(&mut context)?,
            write::NAME => write::run(&mut context)?,
            plugins::NAME => plugins::run(&mut context)?,
            targets::NAME => targets::run(&mut context)?,
            start::NAME => start::run(&mut context)?,
            grpc::UNARY => grpc::unary(&mut context)?,
            grpc::FANOUT => grpc::fanout(&mut context)?,
            grpc::CONNECTIONS => grpc::connections(&mut context)?,
            grpc::STORM => grpc::storm(&mut context)?,
            cluster::NAME => cluster::run(&mut context)?,
            plugins::LANGUAGES => plugins::languages(&mut context)?,
            swap::NAME => swap::run(&mut context)?,
            _ => memory::run(&mut context)?,
        }
    }
    context.report.finish(&json)
}
