//! Child processes that cannot outlive the tests.

use crate::wait::{eventually, hold};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Everything a process has written so far.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// The text so far.
    pub fn text(&self) -> String {
        self.0.lock().map(|text| text.clone()).unwrap_or_default()
    }

    /// The text from this byte on.
    pub fn since(&self, from: usize) -> String {
        self.0.lock().map(|text| text.get(from..).unwrap_or_default().to_owned()).unwrap_or_default()
    }

    /// The first complete line with this start.
    pub fn line(&self, start: &str) -> Option<String> {
        let text = self.text();
        text.split_inclusive('\n')
            .find(|l| l.starts_with(start) && l.ends_with('\n'))
            .map(|l| l.trim_end().into())
    }

    fn follow(&self, source: impl Read + Send + 'static) -> JoinHandle<()> {
        let log = self.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(lines.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                if let Ok(mut text) = log.0.lock() {
                    text.push_str(&String::from_utf8_lossy(&line));
                }
                line.clear();
            }
        })
    }
}

/// A child process with its output; killed when dropped, and also when the test process ends
/// without dropping it (nodes shared by many tests live in statics).
#[derive(Debug)]
pub struct Process {
    child: Child,
    guard: Child,
    // the guard waits for the end of this pipe, which the system closes with the test process
    _guard_pipe: Option<ChildStdin>,
    readers: [JoinHandle<()>; 2],
    /// what it wrote to both outputs
    pub log: Log,
}

impl Process {
    /// Starts the command. `scratch` is removed if the tests end without dropping this.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command, scratch: Option<&Path>) -> Self {
        Self::start_reading(command, Stdio::null(), scratch)
    }

    /// As [`Process::start`], with an input that [`Process::input`] gives, and always a `scratch`.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[track_caller]
    pub fn start_with_input(command: &mut Command, scratch: &Path) -> Self {
        Self::start_reading(command, Stdio::piped(), Some(scratch))
    }

    #[track_caller]
    fn start_reading(command: &mut Command, input: Stdio, scratch: Option<&Path>) -> Self {
        let child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        assert!(child.is_ok(), "{command:?}: {child:?}");
        let mut child = child.expect("just checked");
        let log = Log::default();
        let out = log.follow(child.stdout.take().expect("stdout is piped"));
        let err = log.follow(child.stderr.take().expect("stderr is piped"));
        let mut guard = guard(child.id(), scratch);
        let pipe = guard.stdin.take();
        Self { child, guard, _guard_pipe: pipe, readers: [out, err], log }
    }

    /// Where to write to the process; once.
    pub fn input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `SIGKILL`, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks for an orderly end (`SIGTERM`).
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|s| s.success()), "kill -TERM {}", self.id());
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it is still running at the deadline.
    #[track_caller]
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        eventually(deadline, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("still running: {other:?}; {}", self.log.text())),
        })
    }

    /// Waits for the end of the process and of its outputs: how it ended, and all that it wrote.
    ///
    /// # Panics
    /// When it is still running at the deadline, or what it started holds its outputs.
    #[track_caller]
    pub fn finish(&mut self, deadline: Duration) -> (ExitStatus, String) {
        let status = self.wait(deadline);
        let is_read = || self.readers.iter().all(JoinHandle::is_finished);
        eventually(deadline, || hold(is_read(), || "its outputs are open".to_owned()));
        (status, self.log.text())
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // the guard first: later the process id may belong to somebody else
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        self.kill();
    }
}

/// A shell that waits for the end of its input and then ends the process.
fn guard(id: u32, scratch: Option<&Path>) -> Child {
    let script = "cat >/dev/null; kill -9 \"$1\" 2>/dev/null; [ -z \"$2\" ] || rm -rf \"$2\"";
    Command::new("sh")
        .args(["-c", script, "sh", &id.to_string()])
        .arg(scratch.map(Path::to_path_buf).unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell starts")
}

/// Runs a command to its end and gives what it wrote, both outputs together.
///
/// # Panics
/// When it fails, or is not done at the deadline.
#[track_caller]
pub fn run(command: &mut Command, deadline: Duration) -> String {
    let mut process = Process::start(command, None);
    let status = process.wait(deadline);
    assert!(status.success(), "{command:?}: {status}: {}", process.log.text());
    process.log.text()
}

/// The folder of the build that this test belongs to, such as `target/release`.
///
/// # Panics
/// When the tests are not where cargo puts them.
pub fn build_folder() -> PathBuf {
    let own = std::env::current_exe().expect("this program has a path");
    let folder = own.parent().expect("target/<profile>");
    // tests are in `deps`, other programs beside what they start
    let folder = if folder.ends_with("deps") { folder.parent().expect("target/<profile>") } else { folder };
    folder.to_path_buf()
}

/// The folder for what is kept between runs, `target/tmp/muster`.
///
/// # Panics
/// When it cannot be created.
pub fn kept_folder() -> PathBuf {
    let folder = build_folder().parent().expect("target/<profile>").join("tmp").join("muster");
    std::fs::create_dir_all(&folder).expect("target is writable");
    folder
}

/// Waits until a log holds a line with this start.
///
/// # Panics
/// When it does not before the deadline.
#[track_caller]
pub fn line_of(log: &Log, start: &str, deadline: Duration) -> String {
    eventually(deadline, || log.line(start).ok_or_else(|| format!("no {start:?} in: {}", log.text())))
}

/// Whether the path appears in time.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn wait_for_file(path: &Path, deadline: Duration) {
    eventually(deadline, || hold(path.exists(), || format!("no {}", path.display())));
}
