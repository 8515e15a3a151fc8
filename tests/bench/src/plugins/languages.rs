//! `languages`: one probe in several languages (`examples/probes`), each beside native code that does the same.
//!
//! Builds the probes, so it is run only when it is asked for.

use super::listener::{DEADLINE, calls, listen};
use crate::Context;
use crate::process::{Server, build_folder, cpu_ns};
use crate::report::Goal;
use crate::stats::{Round, median};
use anyhow::Context as _;
use bytes::Bytes;
use muster_core::plugin::Outcome;
use muster_wasm::{CheckCall, HealthCheck, HostOptions, InstanceMode, Manifest, PluginHost};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// As `--only` names it.
pub(crate) const NAME: &str = "languages";
struct Probe {
    name: String,
    wasm: Bytes,
    manifest: Manifest,
}

/// Runs it.
///
/// # Errors
/// A probe cannot be built, does not load, or does not pass.
pub(crate) fn run(context: &mut Context) -> anyhow::Result<()> {
    let probes = build()?;
    let server = Server::ourselves(&[OsStr::new("answer-lines")])?;
    let runtime = crate::load::runtime()?;
    runtime.block_on(async {
        let calls = calls(server.address.port());
        let guests = host(None)?;
        let of = |count| {
            let (calls, guests) = (calls.clone(), guests.guest_runtime());
            async move { guests.spawn(native(calls, count)).await? }
        };
        let native = rounds(context, of).await?;
        add(context, "native tokio", &native, &native, &[])?;
        for probe in probes {
            measure(context, &probe, &calls, &native).await?;
        }
        anyhow::Ok(())
    })
}

/// Builds all probes as their README says, and reads them.
fn build() -> anyhow::Result<Vec<Probe>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = build_folder()?.parent().context("target/<profile>")?.to_path_buf();
    let mut command = Command::new(root.join("examples/probes/build"));
    let built = command.env("CARGO_TARGET_DIR", &target).status()?;
    anyhow::ensure!(built.success(), "examples/probes/build: {built}");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(target.join("probes/plugins"))? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension() == Some(OsStr::new("wasm")));
    files.sort();
    files.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> anyhow::Result<Probe> {
    let manifest = Manifest::parse(&std::fs::read_to_string(path.with_extension("toml"))?)?;
    Ok(Probe { name: manifest.plugin.name.clone(), wasm: std::fs::read(path)?.into(), manifest })
}

async fn measure(
    context: &mut Context,
    probe: &Probe,
    calls: &[CheckCall],
    native: &Measured,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    // made by the host, with the mode that it wants
    let cache = folder.path().join("compiled");
    let compile_ms = load_ms(probe, &cache).await?;
    let mut cached = Vec::new();
    for _ in 0..context.shape.rounds {
        cached.push(load_ms(probe, &cache).await?);
    }
    let mut measured = Vec::new();
    for mode in [InstanceMode::Reuse, InstanceMode::Fresh] {
        let host = host(None)?;
        let mut manifest = probe.manifest.clone();
        manifest.instances.mode = mode;
        host.load(probe.wasm.clone(), manifest).await?;
        let plugin = host.health_check(&probe.name).context("not loaded")?;
        let of = |count| {
            let (plugin, calls, guests) = (plugin.clone(), calls.to_vec(), host.guest_runtime());
            async move { guests.spawn(checks(plugin, calls, count)).await? }
        };
        measured.push(rounds(context, of).await?);
    }
    #[allow(clippy::cast_precision_loss, reason = "components are far smaller than 2^52 bytes")]
    let size = probe.wasm.len() as f64 / 1e3;
    let details = [
        ("size-kb", size),
        ("compile-ms", compile_ms),
        ("load-ms", median(&cached)),
        ("fresh-us", measured[1].wall_us),
        ("fresh-cpu-us", measured[1].cpu_us),
    ];
    add(context, &probe.name, &measured[0], native, &details)
}

fn host(cache: Option<&Path>) -> anyhow::Result<PluginHost> {
    let cache_dir = cache.map(Path::to_path_buf);
    Ok(PluginHost::new(HostOptions {
        cache_dir,
        pool: 64,
        guest_threads: 1,
        max_in_flight: 32,
        ..HostOptions::default()
    })?)
}

/// From the bytes to a plugin that has said what it is: compiled when the cache does not have it, else read from there.
async fn load_ms(probe: &Probe, cache: &Path) -> anyhow::Result<f64> {
    let host = host(Some(cache))?;
    let began = Instant::now();
    host.load(probe.wasm.clone(), probe.manifest.clone()).await?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

/// What one check takes.
struct Measured {
    wall_us: f64,
    cpu_us: f64,
}

async fn rounds<F>(context: &Context, check: impl Fn(u32) -> F) -> anyhow::Result<Measured>
where
    F: Future<Output = anyhow::Result<Round>>,
{
    let count = if context.quick { 100 } else { 2_000 };
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for round in 0..=context.shape.rounds {
        let done = check(count).await?;
        if round > 0 {
            wall.push(1e6 / done.rate);
            cpu.push(done.cpu_us);
        }
    }
    Ok(Measured { wall_us: median(&wall), cpu_us: median(&cpu) })
}

fn add(
    context: &mut Context,
    name: &str,
    measured: &Measured,
    native: &Measured,
    details: &[(&'static str, f64)],
) -> anyhow::Result<()> {
    let mut all = vec![("cpu-us", measured.cpu_us), ("of-native-cpu", measured.cpu_us / native.cpu_us)];
    all.extend_from_slice(details);
    let value = (measured.wall_us, "us");
    context.report.add(NAME, format!("a check, reused instance: {name}"), value, Goal::Reported, &all)
}

/// Checks one after the other, on the guests' threads.
async fn checks(plugin: HealthCheck, calls: Vec<CheckCall>, count: u32) -> anyhow::Result<Round> {
    let (began, before) = (Instant::now(), cpu_ns("self")?);
    for call in calls.iter().cycle().take(count as usize) {
        let verdict = plugin.check_here(call.clone()).await.result?;
        anyhow::ensure!(verdict.outcome == Outcome::Passed, "{}: {}", verdict.code, verdict.message);
    }
    Ok(Round::new(count.into(), began.elapsed().as_secs_f64(), cpu_ns("self")? - before))
}

/// The same in Rust without a plugin: a line there, a line back, the end of the connection.
async fn native(calls: Vec<CheckCall>, count: u32) -> anyhow::Result<Round> {
    let (began, before) = (Instant::now(), cpu_ns("self")?);
    for call in calls.iter().cycle().take(count as usize) {
        let answer = timeout(DEADLINE, ask(call.reach)).await??;
        anyhow::ensure!(answer.starts_with(b"+PONG"), "{answer:?}");
    }
    Ok(Round::new(count.into(), began.elapsed().as_secs_f64(), cpu_ns("self")? - before))
}

async fn ask(address: SocketAddr) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\n").await?;
    let mut answer = Vec::with_capacity(200);
    while !answer.contains(&b'\n') && stream.read_buf(&mut answer).await? > 0 {}
    Ok(answer)
}

/// Answers each line with `+PONG`, until the input of this process ends.
///
/// # Errors
/// No port.
pub(crate) fn answer() -> anyhow::Result<()> {
    listen(|stream| async move {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        // a prober that goes away is none of our business
        while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
            if stream.write_all(b"+PONG\r\n").await.is_err() {
                return;
            }
            line.clear();
        }
    })
}
