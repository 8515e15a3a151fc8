//! `muster raft`: what an operator asks of the durable data, of a running node and of a stopped one.

mod doctor;
mod export;
mod recover;
mod status;

use super::{Failure, exit};
use crate::node::{DataDir, DataDirError};
use crate::settings::Settings;
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Ask a running node what Raft does there: role, leader, log, members, quarantine
    Status(status::Status),
    /// Look for what is wrong with the data of a stopped node; nothing is written to them
    ///
    /// Checks all checksums, the log (readable, without gaps), snapshot, rows and log against each other, every row, the
    /// membership and the quarantine, and says for each finding what to do. A node that was killed is no finding: the
    /// next start repairs its file. Exit code 0: all is good. 1: there are findings. 2: it could not look.
    Doctor(doctor::Doctor),
    /// Write all durable rows of a stopped node as JSON, one a line; nothing is written to its data
    ///
    /// Each line is {"kind":…,"namespace":…,"group":…,"service":…,"id":…,"value":{…}}, sorted. kind is switches (no
    /// other field but value), service (metadata; no id), instance (persistent; id is IP:PORT) or overlay (what an
    /// operator laid over an instance; id is IP:PORT:CLUSTER). value is as the node keeps it.
    Export(export::Export),
    /// Go on with the data of one node when the majority of its cluster is gone for ever
    ///
    /// Makes the stopped node the only member of a new Raft group that has everything this node has, after a copy of
    /// the file was made beside it. What the lost members had acknowledged and this node had not received is lost; what
    /// this node had received is kept, acknowledged or not. Run it on one node only: the one whose last log entry is of
    /// the highest term, and of several the one with the highest entry (`muster raft doctor` shows both). Then start
    /// that node, and all others with empty data directories: they are let in and get everything. Never use it while a
    /// majority can still be started.
    Recover(recover::Recover),
}

pub(super) fn run(command: Command) -> Result<u8, Failure> {
    match command {
        Command::Status(status) => status::run(&status),
        Command::Doctor(doctor) => doctor::run(&doctor),
        Command::Export(export) => export::run(&export),
        Command::Recover(recover) => recover::run(&recover),
    }
}

/// Whose data.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct Place {
    /// Settings of the node: its data are in node.data-dir
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of the node
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// The data of a node that does not run, and does not start while this is there.
struct Held {
    file: PathBuf,
    /// frees the directory when dropped
    _directory: DataDir,
}

impl Place {
    fn hold(&self) -> Result<Held, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::new(exit::USAGE, error);
        let path = match (&self.data_dir, &self.config) {
            (Some(path), _) => path.clone(),
            (None, Some(config)) => Settings::load(config).map_err(|error| usage(&error))?.node.data_dir,
            (None, None) => return Err(usage(&"--config or --data-dir is needed")),
        };
        let file = path.join("muster.redb");
        if !file.is_file() {
            return Err(usage(&format!("{}: no data of a node: there is no muster.redb", path.display())));
        }
        let directory = DataDir::open(&path).map_err(|error| match error {
            DataDirError::Taken { path, pid } => {
                let pid = pid.map(|pid| format!(" as process {pid}")).unwrap_or_default();
                let path = path.display();
                let text = "stop it first, or ask it with `muster raft status`";
                usage(&format!("{path}: a node is running on these data{pid}; {text}"))
            }
            error @ DataDirError::Unusable { .. } => usage(&error),
        })?;
        Ok(Held { file, _directory: directory })
    }
}

/// An index, or that there is none.
fn shown(index: Option<u64>) -> String {
    index.map_or_else(|| "none".into(), |index| index.to_string())
}
