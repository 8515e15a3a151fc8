//! Processes: starting them, and what the kernel says they used.

use anyhow::Context;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;

/// A running process that says when it is ready; killed when dropped.
///
/// The benchmark's own ones also end when their input does, so that none outlives a benchmark that was killed.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    _input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// where it listens
    pub(crate) address: SocketAddr,
    /// from its start to that line
    pub(crate) took: Duration,
}

impl Server {
    /// Starts a process and waits for a line that holds `ready` and `http=ADDRESS`.
    ///
    /// # Errors
    /// It cannot be started, or ends before it says so.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let began = Instant::now();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {command:?}"))?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().context("its output is piped")?);
        let Some(ready) = ready_line(&mut output)? else {
            let status = child.wait()?;
            anyhow::bail!("{command:?} ended before it was ready: {status}");
        };
        let took = began.elapsed();
        let address = ready.split_whitespace().find_map(|word| word.strip_prefix("http="));
        let address = address.with_context(|| format!("no http= in {ready:?}"))?.parse()?;
        Ok(Self { child, _input: input, output, address, took })
    }

    /// This program again, in another role.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub(crate) fn ourselves(arguments: &[&OsStr]) -> anyhow::Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).args(arguments))
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says; none after its end.
    ///
    /// # Errors
    /// The pipe is broken.
    pub(crate) fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut line = String::new();
        Ok((self.output.read_line(&mut line)? > 0).then(|| line.trim_end().to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ready_line(output: &mut impl BufRead) -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 {
        if line.contains("ready ") && line.contains("http=") {
            return Ok(Some(line.trim_end().to_owned()));
        }
        line.clear();
    }
    Ok(None)
}

/// CPU time that all threads of a process have used so far, in nanoseconds. `self` for this one.
///
/// # Errors
/// There is no such process, or the kernel does not account for it (`CONFIG_SCHED_INFO`).
pub(crate) fn cpu_ns(process: impl std::fmt::Display) -> anyhow::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may end between the two looks.
        let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
        let ran = text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok());
        sum += ran.context("unreadable schedstat")?;
    }
    anyhow::ensure!(sum > 0, "the kernel does not say what process {process} used");
    Ok(sum)
}

/// Resident memory of a process, in bytes. `self` for this one.
///
/// # Errors
/// There is no such process.
pub(crate) fn resident(process: impl std::fmt::Display) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is not a number")?;
    Ok(kib * 1024)
}

/// `bytes` in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "memory sizes are below 2^52")]
    let bytes = bytes as f64;
    bytes / 1024.0 / 1024.0
}

/// The folder of the build that this program belongs to, such as `target/release`.
///
/// # Errors
/// This program has no path.
pub(crate) fn build_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(own.parent().context("this program is in no folder")?.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_this_process_used() {
        let before = cpu_ns("self").unwrap();
        let mut sum = 0u64;
        while cpu_ns("self").unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(resident("self").unwrap() > 100_000);
        assert!(cpu_ns(u32::MAX).is_err());
    }

    #[test]
    fn a_process_that_never_gets_ready_is_an_error() {
        let error = Server::start(Command::new("echo").arg("muster hello")).unwrap_err().to_string();
        assert!(error.contains("before it was ready"), "{error}");
    }
}
