//! Real MariaDB servers, as Debian packages them: each in its own folder and on its own loopback
//! port, none of them the system's.

use crate::process::{Process, run};
use crate::wait::eventually;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to start.
pub const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug)]
pub struct Maria {
    process: Process,
    folder: TempDir,
    /// its port on 127.0.0.1
    pub port: u16,
}

/// The server's program: Debian has it in a folder that is not in every path.
fn program(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/bin"];
    let found = places.map(|place| Path::new(place).join(name)).into_iter().find(|path| path.exists());
    assert!(found.is_some(), "no {name}: install the package mariadb-server (tests/run does)");
    found.unwrap_or_default()
}

/// The account the server runs as: it refuses to be root without being told.
fn account() -> Vec<String> {
    let id = Command::new("id").arg("-u").output();
    let root = id.is_ok_and(|out| out.stdout.starts_with(b"0"));
    if root { vec!["--user=root".into()] } else { Vec::new() }
}

impl Maria {
    /// Starts an empty server with this id and further options.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(id: u32, options: &[&str]) -> Self {
        let folder = TempDir::with_prefix("muster-maria-").expect("a temporary folder");
        let data = folder.path().join("data");
        std::fs::create_dir(folder.path().join("tmp")).expect("a temporary folder");
        run(
            Command::new(program("mariadb-install-db"))
                // servers that share a folder for temporary tables delete each other's
                .env("TMPDIR", folder.path().join("tmp"))
                .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
                .arg(format!("--datadir={}", data.display()))
                .args(account()),
            START_DEADLINE,
        );
        let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
        let process = launch(folder.path(), port, id, options);
        let server = Self { process, folder, port };
        server.wait();
        server
    }

    fn wait(&self) {
        eventually(START_DEADLINE, || {
            self.try_query("select 1").map_err(|e| format!("{e}; {}", self.process.log.text()))
        });
    }

    /// The server's own log.
    pub fn log(&self) -> String {
        self.process.log.text()
    }

    /// Runs SQL as root over the server's socket.
    ///
    /// # Panics
    /// When the server refuses it.
    #[track_caller]
    pub fn query(&self, sql: &str) -> String {
        let answer = self.try_query(sql);
        assert!(answer.is_ok(), "{sql}: {answer:?}");
        answer.unwrap_or_default()
    }

    /// Runs SQL as root over the server's socket.
    ///
    /// # Errors
    /// What the client says when the server cannot be reached or refuses.
    pub fn try_query(&self, sql: &str) -> Result<String, String> {
        let socket = self.folder.path().join("socket");
        let output = Command::new(program("mariadb"))
            .args(["--no-defaults", "--user=root", "--batch", "--connect-timeout=5"])
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--execute={sql}"))
            .output()
            .map_err(|e| e.to_string())?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The one value that a query gives.
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        self.query(sql).lines().nth(1).unwrap_or_default().to_owned()
    }

    /// Makes this server, set up like `primary` but with a history of its own, a replica of it:
    /// forgets that history and starts from what `primary` has done.
    #[track_caller]
    pub fn follow_afresh(&self, primary: &Maria) {
        let position = primary.value("select @@gtid_binlog_pos");
        self.query("reset master");
        self.query(&format!("set global gtid_slave_pos='{position}'"));
        self.follow(primary);
    }

    /// Makes this server follow `primary` by GTID, and waits until both threads run.
    ///
    /// # Panics
    /// When replication does not start.
    #[track_caller]
    pub fn follow(&self, primary: &Maria) {
        let port = primary.port;
        self.query("stop slave");
        self.query(&format!(
            "change master to master_host='127.0.0.1', master_port={port}, master_user='repl', \
             master_password='repl-pass', master_use_gtid=slave_pos, master_connect_retry=1"
        ));
        self.query("start slave");
        eventually(Duration::from_secs(30), || {
            let status = self.query("show slave status\\G");
            let runs = ["Slave_IO_Running: Yes", "Slave_SQL_Running: Yes"].iter().all(|s| status.contains(s));
            if runs { Ok(()) } else { Err(status) }
        });
    }

    /// Kills the server (`SIGKILL`).
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

fn launch(folder: &Path, port: u16, id: u32, options: &[&str]) -> Process {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(program("mariadbd"));
    command
        .arg("--no-defaults")
        .args(account())
        .arg(format!("--datadir={}", path("data")))
        .arg(format!("--socket={}", path("socket")))
        .arg(format!("--pid-file={}", path("pid")))
        .arg(format!("--tmpdir={}", path("tmp")))
        .arg("--bind-address=127.0.0.1")
        .arg(format!("--port={port}"))
        .arg(format!("--server-id={id}"))
        .args(["--log-bin=binlog", "--gtid-strict-mode=1", "--skip-name-resolve"])
        .args(["--innodb-buffer-pool-size=32M", "--performance-schema=0"])
        .args(options);
    Process::start(&mut command, Some(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_follows_its_primary_and_they_change_places() {
        let (one, two) = (Maria::start(1, &[]), Maria::start(2, &["--read-only=1"]));
        one.query("create user 'repl'@'%' identified by 'repl-pass'");
        one.query("grant replication slave on *.* to 'repl'@'%'");
        two.follow_afresh(&one);
        one.query("create database shop");
        eventually(Duration::from_secs(10), || two.try_query("use shop"));
        assert_eq!(
            (one.value("select @@read_only"), two.value("select @@read_only")),
            ("0".into(), "1".into())
        );
    }
}
