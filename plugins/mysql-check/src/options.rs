//! The settings of one check.

use muster_sdk::health_check::*;

/// Whose rules turn what was seen into a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// a server that takes writes is healthy; what says nothing about the server is inconclusive
    Master,
    /// what Nacos concludes
    Nacos,
}

/// When the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    Disabled,
    Preferred,
    Required,
}

/// The settings, parsed. No `Debug`: it holds the password.
#[derive(Clone, Copy)]
pub(crate) struct Options<'a> {
    pub(crate) mode: Mode,
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) command: &'a str,
    pub(crate) tls: Tls,
    pub(crate) verify: bool,
    pub(crate) key_retrieval: bool,
    pub(crate) connect_timeout: Option<Duration>,
}

impl<'a> Options<'a> {
    pub(crate) fn of(settings: &'a Settings) -> Result<Self, Problem> {
        Ok(Self {
            mode: mode(settings)?,
            user: settings.text("user"),
            password: settings.text("pwd"),
            command: command(settings),
            tls: tls(settings)?,
            verify: settings.flag("tls-verify")?,
            key_retrieval: settings.flag("public-key-retrieval")?,
            connect_timeout: settings.millis("connect-timeout")?,
        })
    }
}

/// A `null` of Nacos's JSON says the same as nothing.
fn command(settings: &Settings) -> &str {
    if settings.text("cmd").trim().is_empty() { "" } else { settings.text("cmd") }
}

fn mode(settings: &Settings) -> Result<Mode, Problem> {
    match settings.get("mode") {
        Some("master") => Ok(Mode::Master),
        Some("nacos") => Ok(Mode::Nacos),
        Some(_) => Err(Problem::new("mode", "must be master or nacos")),
        None if command(settings).is_empty() => Ok(Mode::Master),
        None => Ok(Mode::Nacos),
    }
}

fn tls(settings: &Settings) -> Result<Tls, Problem> {
    match settings.get("tls") {
        Some("disabled") => Ok(Tls::Disabled),
        None | Some("preferred") => Ok(Tls::Preferred),
        Some("required") => Ok(Tls::Required),
        Some(_) => Err(Problem::new("tls", "must be disabled, preferred or required")),
    }
}

/// Settings that each fit, but not together.
pub(crate) fn problems(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    if settings.get("mode") == Some("nacos") && command(settings).is_empty() {
        problems.push(Problem::new("cmd", "mode nacos needs a statement"));
    }
    if settings.flag("tls-verify") == Ok(true) && tls(settings) != Ok(Tls::Required) {
        problems.push(Problem::new("tls-verify", "is of use only with tls = required"));
    }
    problems
}
