//! The `muster` program: arguments in, exit code out.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    muster::cli::run(muster::cli::Cli::parse())
}
