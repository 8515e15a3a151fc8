//! The `muster` program: arguments in, exit code out.

use clap::Parser;
use std::process::ExitCode;

/// Instances are many small pieces, made on one thread and freed on another. The system's allocator took a sixth of
/// the CPU time of a registration for that (`tests/bench`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    muster::cli::run(muster::cli::Cli::parse())
}
