//! The command line: what can be asked of `muster`, and with which exit code it answers.

mod check_config;
mod explain;
mod node_api;
mod plugin;
mod probe;
mod raft;
mod serve;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit codes, as `muster --help` lists them.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// Something went wrong while it ran; `raft doctor`: there are findings.
    pub const FAILED: u8 = 1;
    /// The command line or the settings are wrong. The same as clap's.
    pub const USAGE: u8 = 2;
    /// `probe run`: the verdict is failed or failed-now.
    pub const PROBE_FAILED: u8 = 3;
    /// `probe run`: the check could not tell.
    pub const PROBE_INCONCLUSIVE: u8 = 4;
    /// Told to stop a second time, so ended at once.
    pub const CUT_OFF: u8 = 130;
}

const EXIT_CODES: &str = "\
Exit codes:
  0    all went well; probe run: passed or warning
  1    something went wrong while it ran; raft doctor: there are findings
  2    the command line or the settings are wrong; raft: the data cannot be used, or a node runs on them
  3    probe run: failed or failed-now
  4    probe run: inconclusive
  130  told to stop a second time, ended at once

Environment:
  MUSTER_CONFIG           the settings file of serve
  MUSTER_LOG              log level or directives, over log.level of the settings
  MUSTER_SECTION__KEY     any setting, over the file: MUSTER_HTTP__BIND=0.0.0.0:8848";

/// A service registry that speaks Nacos's protocols and checks health with WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "muster", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node
    ///
    /// Prints one line on standard output when the node is ready, `muster ready http=IP:PORT udp=IP:PORT
    /// grpc=IP:PORT`, and keeps it in DATA-DIR/muster.ready for as long as that is true. The log goes to standard
    /// error. SIGTERM and SIGINT stop it: what was accepted is answered within http.grace. A second signal ends it
    /// at once.
    Serve {
        /// The settings; host/server/reference.toml documents every key
        #[arg(long, value_name = "FILE", env = "MUSTER_CONFIG")]
        config: PathBuf,
    },
    /// Check a settings file, and say all that is wrong with it
    ///
    /// Opens no port and touches no data. Reads the environment, the files of [secrets] and those of [grpc.tls] as
    /// serve would, and loads the plugins that the settings name.
    CheckConfig {
        /// The settings
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Ask a running node why: why an instance is healthy or not, why a subscriber sees the list it sees
    Explain {
        #[command(subcommand)]
        command: explain::Command,
    },
    /// Run a health check by hand
    Probe {
        #[command(subcommand)]
        command: probe::Command,
    },
    /// Write, build, look at, try and test plugins
    Plugin {
        #[command(subcommand)]
        command: plugin::Command,
    },
    /// Look after the durable data: of a running node, and of a stopped one
    Raft {
        #[command(subcommand)]
        command: raft::Command,
    },
}

/// Why a command failed, with its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl std::fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }

    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// Does what the command line says.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Serve { config } => serve::run(&config),
        Command::CheckConfig { file } => check_config::run(&file),
        Command::Explain { command } => explain::run(command),
        Command::Probe { command } => probe::run(command),
        Command::Plugin { command } => plugin::run(command),
        Command::Raft { command } => raft::run(command),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(Failure { code, message }) => {
            eprint_line(&format!("muster: {message}"));
            ExitCode::from(code)
        }
    }
}

/// Writes to standard output. A reader that has gone away (`muster … | head`) is no fault of ours.
pub(crate) fn print_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

pub(crate) fn eprint_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A runtime for commands that are over soon.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| Failure::new(exit::FAILED, format!("cannot start: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
