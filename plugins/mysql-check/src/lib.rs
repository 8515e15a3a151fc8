//! `MYSQL`: an instance is healthy when it is a server that takes writes, or when a statement runs on it.
//!
//! A client of MySQL 5.7 and 8 and of MariaDB, as far as a check needs one: it logs in, asks one thing and says
//! goodbye. `README.md` beside this has the table of verdicts.
//!
//! Everything a server sends is parsed here and cannot make the plugin trap: a trap is a fault of the plugin and
//! would in the end silence the checks of all other servers. `mysql_common` does the arithmetic of passwords and
//! writes the packets; its readers panic on some hostile input and are used only where they cannot.

mod auth;
mod judge;
mod login;
mod options;
mod query;
mod rsa;
mod trouble;
mod wire;

use login::Session;
use muster_sdk::health_check::*;
use options::{Mode, Options};
use query::Rows;
use trouble::Trouble;

/// The statement that Nacos's documentation gives for telling a master from a slave.
///
/// Source: Nacos `MysqlHealthCheckProcessor.CHECK_MYSQL_MASTER_SQL`.
pub const NACOS_STATEMENT: &str = "show global variables where variable_name='read_only'";

/// Asks MySQL 5.7 and 8 and MariaDB alike: a name that the server does not know is a row less, not an error.
const ROLE_STATEMENT: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN \
     ('read_only', 'super_read_only', 'innodb_read_only')";

/// Checks a MySQL or MariaDB server.
pub struct MySql;

impl HealthCheck for MySql {
    fn describe() -> Descriptor {
        Descriptor::new("MYSQL", env!("CARGO_PKG_VERSION"), "the server takes writes, or the statement runs")
            .setting(Setting::text("user", "who logs in").default(""))
            .setting(Setting::secret("pwd", "the user's password"))
            .setting(
                Setting::text("cmd", "a statement that must run; empty for the master check").default(""),
            )
            .setting(Setting::choice(
                "mode",
                &["master", "nacos"],
                "whose rules: without it `nacos` when there is a cmd, else `master`",
            ))
            .setting(
                Setting::choice(
                    "tls",
                    &["disabled", "preferred", "required"],
                    "`preferred` encrypts when the server can and goes on without when it fails",
                )
                .default("preferred"),
            )
            .setting(
                Setting::boolean("tls-verify", "whether the server's certificate must be trusted")
                    .default("false"),
            )
            .setting(
                Setting::boolean(
                    "public-key-retrieval",
                    "whether the password may be sent without TLS under a key that the server shows",
                )
                .default("false"),
            )
            .setting(Setting::integer("connect-timeout", 1, 60_000, "milliseconds for the TCP connection"))
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        options::problems(settings)
    }

    fn check(_: &Target, settings: &Settings, net: &impl Net) -> Result<Verdict, Fault> {
        let options = Options::of(settings)?;
        Ok(match options.mode {
            Mode::Master => judge::master(run(&options, &[ROLE_STATEMENT, options.command], net)),
            Mode::Nacos => judge::nacos(options.command, run(&options, &[options.command], net)),
        })
    }
}

/// What a server said about itself and to the statement.
struct Answer {
    version: String,
    rows: Rows,
}

/// Logs in, runs the statements and says goodbye. The answer is that of the first one.
fn run(options: &Options<'_>, statements: &[&str], net: &impl Net) -> Result<Answer, Trouble> {
    let password = options.password;
    let seen = login::open(options, net).and_then(|mut session| {
        let rows = run_all(&mut session, statements);
        session.quit();
        Ok(Answer { version: trouble::struck(session.version, password), rows: rows? })
    });
    seen.map_err(|trouble| trouble.without(password))
}

fn run_all(session: &mut Session<impl Connection>, statements: &[&str]) -> Result<Rows, Trouble> {
    let mut first = None;
    for statement in statements.iter().filter(|statement| !statement.is_empty()) {
        let rows = session.query(statement)?;
        first.get_or_insert(rows);
    }
    // Nacos's driver refuses an empty statement before it sends anything.
    first.ok_or(Trouble::Server { code: 1065, message: "Query was empty".to_owned() })
}

muster_sdk::export_health_check!(MySql);

#[cfg(test)]
mod tests;
