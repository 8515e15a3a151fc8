//! From what was seen to a verdict, by two sets of rules.

use crate::query::Rows;
use crate::trouble::Trouble;
use crate::{Answer, NACOS_STATEMENT};
use muster_sdk::health_check::*;

/// The master check: a server that takes writes is healthy. What says nothing about the server - a wrong
/// password, no free connection - changes nothing.
pub(crate) fn master(seen: Result<Answer, Trouble>) -> Verdict {
    match seen {
        Ok(answer) => role(&answer),
        Err(trouble) => {
            let (outcome, code) = of_trouble(&trouble);
            verdict(outcome, code, words(&trouble))
        }
    }
}

fn role(answer: &Answer) -> Verdict {
    let variables: Vec<(String, bool)> = answer.rows.iter().filter_map(|row| variable(row)).collect();
    let read_only: Vec<&str> = variables.iter().filter(|(_, on)| *on).map(|(name, _)| &**name).collect();
    let verdict = match (variables.is_empty(), read_only.is_empty()) {
        (true, _) => {
            Verdict::inconclusive("mysql.role-unknown", "the server does not tell whether it is read-only")
        }
        (false, true) => Verdict::passed().fact("role", "primary"),
        (false, false) => {
            let which = read_only.join(", ");
            Verdict::failed("mysql.read-only", format!("the server is read-only: {which}"))
                .fact("role", "replica")
                .fact("read-only", which)
        }
    };
    verdict.fact("version", &*answer.version)
}

/// A variable and whether it is on. MariaDB 12 has more words than `ON` for it.
fn variable(row: &[Option<Vec<u8>>]) -> Option<(String, bool)> {
    let [Some(name), Some(value), ..] = row else { return None };
    let name = crate::wire::line(name, 32).to_ascii_lowercase();
    let off = value.eq_ignore_ascii_case(b"OFF") || value == b"0";
    Some((name, !off))
}

/// Nacos's conclusions. Source: `MysqlHealthCheckProcessor`.
pub(crate) fn nacos(statement: &str, seen: Result<Answer, Trouble>) -> Verdict {
    match seen {
        Ok(answer) if statement == NACOS_STATEMENT => read_only_row(&answer.rows),
        Ok(_) => Verdict::passed(),
        Err(trouble @ Trouble::Dial(DialError::Denied)) => {
            // The node's own limits; Nacos has none.
            verdict(Outcome::Inconclusive, of_trouble(&trouble).1, words(&trouble))
        }
        Err(trouble) => verdict(Outcome::FailedNow, of_trouble(&trouble).1, words(&trouble)),
    }
}

fn read_only_row(rows: &Rows) -> Verdict {
    match rows.first().map(|row| row.get(1)) {
        Some(Some(Some(value))) if value == b"ON" => {
            Verdict::failed("mysql.read-only", "current node is slave!").fact("role", "replica")
        }
        Some(Some(_)) => Verdict::passed().fact("role", "primary"),
        // The driver reports a column that is not there, and every error of the driver is one at once.
        _ => Verdict::failed_now("mysql.no-row", "the server does not tell whether it is read-only"),
    }
}

/// What follows from a trouble, and its code.
fn of_trouble(trouble: &Trouble) -> (Outcome, &'static str) {
    match trouble {
        Trouble::Dial(error) => of_dial(error),
        Trouble::Server { code, .. } => of_error(*code),
        Trouble::Protocol(_) => (Outcome::Failed, "mysql.protocol"),
        Trouble::NoTls => (Outcome::Inconclusive, "mysql.no-tls"),
        Trouble::TlsNeeded(_) => (Outcome::Inconclusive, "mysql.tls-needed"),
        Trouble::UnknownAuth(_) => (Outcome::Inconclusive, "mysql.unknown-auth"),
    }
}

const fn of_dial(error: &DialError) -> (Outcome, &'static str) {
    match error {
        DialError::Refused => (Outcome::FailedNow, "mysql.refused"),
        DialError::TimedOut => (Outcome::Failed, "mysql.timed-out"),
        DialError::Unreachable => (Outcome::Failed, "mysql.unreachable"),
        DialError::Closed => (Outcome::Failed, "mysql.closed"),
        DialError::Denied => (Outcome::Inconclusive, "mysql.denied"),
        DialError::Tls(_) => (Outcome::Inconclusive, "mysql.tls-failed"),
        DialError::Other(_) => (Outcome::Failed, "mysql.failed"),
    }
}

/// Source of the numbers: the server error references of MySQL 8.4 and MariaDB.
const fn of_error(code: u16) -> (Outcome, &'static str) {
    match code {
        // too many connections, of all users or of this one; a resource limit of the user
        1040 | 1203 | 1226 => (Outcome::Inconclusive, "mysql.too-many-connections"),
        // wrong name or password, no right, host not allowed or blocked, account locked, password expired
        1044 | 1045 | 1129 | 1130 | 1142 | 1143 | 1227 | 1698 | 1820 | 1862 | 3118 | 4151 => {
            (Outcome::Inconclusive, "mysql.access-denied")
        }
        // only encrypted connections are taken
        3159 => (Outcome::Inconclusive, "mysql.tls-needed"),
        // a way of logging in that one side lacks
        1251 | 1275 | 1524 => (Outcome::Inconclusive, "mysql.unknown-auth"),
        1053 => (Outcome::FailedNow, "mysql.shutting-down"),
        _ => (Outcome::Failed, "mysql.error"),
    }
}

fn words(trouble: &Trouble) -> String {
    match trouble {
        Trouble::Dial(error) => error.reason(),
        Trouble::Server { code, message } => format!("error {code}: {message}"),
        Trouble::Protocol(what) | Trouble::TlsNeeded(what) => (*what).to_owned(),
        Trouble::NoTls => "TLS is required, and the server has none".to_owned(),
        Trouble::UnknownAuth(name) => format!("the server wants to log in by {name}, which is not supported"),
    }
}

fn verdict(outcome: Outcome, code: &str, message: String) -> Verdict {
    let mut verdict = Verdict::failed(code, message);
    verdict.outcome = outcome;
    verdict
}
