//! Processes: starting them, and what the kernel says they used.

use anyhow::Context;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
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
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// where it listens
    pub(crate) address: SocketAddr,
    grpc: Option<SocketAddr>,
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
        let named = |name| ready.split_whitespace().find_map(|word| word.strip_prefix(name));
        let address = named("http=").with_context(|| format!("no http= in {ready:?}"))?.parse()?;
        let grpc = named("grpc=").map(str::parse).transpose()?;
        Ok(Self { child, input, output, address, grpc, took })
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

    /// Where it listens for gRPC.
    ///
    /// # Errors
    /// Nowhere.
    pub(crate) fn grpc(&self) -> anyhow::Result<SocketAddr> {
        self.grpc.context("it has no gRPC port")
    }

    /// Tells it a line.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("its input is piped")?;
        writeln!(input, "{line}")?;
        Ok(input.flush()?)
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

/// CPU time that the threads of a process have used so far, each for itself: a thread that ends takes its time with
/// it.
#[derive(Debug)]
pub(crate) struct CpuTime(BTreeMap<String, u64>);

impl CpuTime {
    /// Of a process; `self` for this one.
    ///
    /// # Errors
    /// There is no such process, or the kernel does not account for it (`CONFIG_SCHED_INFO`).
    pub(crate) fn of(process: impl std::fmt::Display) -> anyhow::Result<Self> {
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let thread = thread?;
            // It may end between the two looks.
            let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let ran = text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok());
            let ran = ran.context("unreadable schedstat")?;
            threads.insert(thread.file_name().to_string_lossy().into_owned(), ran);
        }
        let sum: u64 = threads.values().sum();
        anyhow::ensure!(sum > 0, "the kernel does not say what process {process} used");
        Ok(Self(threads))
    }

    /// What was used since `before`, in nanoseconds.
    pub(crate) fn since(&self, before: &Self) -> u64 {
        let used = |(thread, ns): (&String, &u64)| ns.saturating_sub(*before.0.get(thread).unwrap_or(&0));
        self.0.iter().map(used).sum()
    }
}

/// CPU time that all threads of a process have used so far, in nanoseconds. `self` for this one.
///
/// # Errors
/// As [`CpuTime::of`].
pub(crate) fn cpu_ns(process: impl std::fmt::Display) -> anyhow::Result<u64> {
    Ok(CpuTime::of(process)?.0.values().sum())
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

/// Lets this process, and those that it starts, open as many files as it may; how many that are.
///
/// # Errors
/// The system does not allow what it says it does.
pub(crate) fn open_files() -> anyhow::Result<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)))
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
