//! The client against a real MariaDB, natively. `tests/run` installs Debian's `mariadb-server`. The whole way, with the component in a node and a replica, is in `tests/`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of a test")]

use muster_mysql_check::{MySql, NACOS_STATEMENT};
use muster_sdk::fake::StdNet;
use muster_sdk::health_check::*;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

struct MariaDb {
    process: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
}

impl MariaDb {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = format!("--datadir={}", folder.path().join("data").display());
        // servers that share a folder for temporary tables delete each other's
        let temporary = folder.path().join("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let installed = Command::new("mariadb-install-db")
            .env("TMPDIR", &temporary)
            .args([
                "--no-defaults",
                "--user=root",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("mariadb-install-db is of Debian's mariadb-server");
        assert!(installed.success());
        let port = TcpListener::bind((ADDRESS, 0)).unwrap().local_addr().unwrap().port();
        let process = Command::new("mariadbd")
            .env("TMPDIR", &temporary)
            .args([
                "--no-defaults",
                "--user=root",
                "--bind-address=127.0.0.1",
                "--skip-log-bin",
                "--max-connections=10",
            ])
            .arg(&data)
            .arg(format!("--port={port}"))
            .arg(format!("--socket={}", socket(folder.path())))
            .arg(format!("--pid-file={}", folder.path().join("pid").display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, folder, address: (ADDRESS, port).into() };
        server.wait();
        server.sql(
            "CREATE USER probe@'127.0.0.1' IDENTIFIED VIA mysql_native_password USING PASSWORD('s3cret-word');
             CREATE USER strange@'127.0.0.1' IDENTIFIED VIA unix_socket;",
        );
        server
    }

    /// Polls until it answers: at most 30 s.
    fn wait(&self) {
        for _ in 0..300 {
            if self.client("SELECT 1").0 {
                return;
            }
            #[allow(clippy::disallowed_methods, reason = "polls a server that is starting, with an end")]
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("mariadbd does not start");
    }

    fn client(&self, statement: &str) -> (bool, String) {
        let socket = format!("--socket={}", socket(self.folder.path()));
        let output = Command::new("mariadb")
            .args(["--no-defaults", "-uroot", "-N", "-B", &socket, "-e", statement])
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn sql(&self, statement: &str) -> String {
        let (done, answer) = self.client(statement);
        assert!(done, "{statement}");
        answer
    }

    fn check(&self, pairs: &[(&str, &str)]) -> Verdict {
        let login = [("user", "probe"), ("pwd", "s3cret-word")];
        let given: Vec<_> =
            login.into_iter().filter(|(key, _)| !pairs.iter().any(|(k, _)| k == key)).collect();
        let settings = Settings::with_defaults(&MySql::describe(), &[pairs, &given].concat());
        let net = StdNet::new(self.address, Duration::from_secs(5));
        MySql::check(&Target::at("127.0.0.1", self.address.port()), &settings, &net).unwrap()
    }
}

fn socket(folder: &Path) -> String {
    folder.join("s").display().to_string()
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may be gone already
        let _ = self.process.wait();
    }
}

fn of(verdict: &Verdict) -> (Outcome, &str) {
    (verdict.outcome, &verdict.code)
}

#[test]
fn the_checks_follow_a_real_server() {
    let server = MariaDb::start();
    let role = |verdict: &Verdict| verdict.facts.iter().find(|(k, _)| k == "role").map(|(_, v)| v.clone());

    let verdict = server.check(&[]);
    assert_eq!((of(&verdict), role(&verdict).as_deref()), ((Outcome::Passed, ""), Some("primary")));
    assert_eq!(of(&server.check(&[("cmd", NACOS_STATEMENT)])), (Outcome::Passed, ""));

    server.sql("SET GLOBAL read_only = ON");
    let verdict = server.check(&[]);
    assert_eq!(
        (of(&verdict), role(&verdict).as_deref()),
        ((Outcome::Failed, "mysql.read-only"), Some("replica"))
    );
    assert_eq!(of(&server.check(&[("cmd", NACOS_STATEMENT)])), (Outcome::Failed, "mysql.read-only")); // N295
    server.sql("SET GLOBAL read_only = OFF");
    assert_eq!(of(&server.check(&[])), (Outcome::Passed, ""));

    let wrong = [("pwd", "wrong")];
    assert_eq!(of(&server.check(&wrong)), (Outcome::Inconclusive, "mysql.access-denied"));
    let nacos = [wrong[0], ("cmd", "select 1")];
    assert_eq!(of(&server.check(&nacos)), (Outcome::FailedNow, "mysql.access-denied")); // N296
    let strange = [("user", "strange")];
    assert_eq!(server.check(&strange).outcome, Outcome::Inconclusive);

    assert_eq!(of(&server.check(&[("cmd", "do sleep(0)")])), (Outcome::Passed, ""));
    assert_eq!(of(&server.check(&[("cmd", "no such words")])), (Outcome::FailedNow, "mysql.error"));
    let many = "select repeat('x', 200) from information_schema.collations a, information_schema.collations b limit 5000";
    assert_eq!(of(&server.check(&[("cmd", many)])), (Outcome::Passed, ""));

    let aborted = server.sql(
        "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'ABORTED_CLIENTS'",
    );
    server.check(&[]);
    let after = server.sql(
        "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'ABORTED_CLIENTS'",
    );
    assert_eq!(aborted, after, "a check ends with COM_QUIT");
}

#[test]
fn a_full_server_and_none_at_all() {
    let server = MariaDb::start();
    // 10 connections, the least that MariaDB allows
    let mut held = Vec::new();
    let mut verdict = server.check(&[]);
    for _ in 0..16 {
        held.push(std::net::TcpStream::connect(server.address).unwrap());
        verdict = server.check(&[]);
        if verdict.outcome != Outcome::Passed {
            break;
        }
    }
    assert_eq!(of(&verdict), (Outcome::Inconclusive, "mysql.too-many-connections"));
    drop(held);
    let address = server.address;
    drop(server);
    let net = StdNet::new(address, Duration::from_secs(5));
    let verdict = MySql::check(&Target::at("127.0.0.1", address.port()), &Settings::default(), &net).unwrap();
    assert_eq!(of(&verdict), (Outcome::FailedNow, "mysql.refused"));
}
