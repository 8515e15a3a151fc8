//! `muster plugin check`: the conformance kit that an author runs in CI. No node and no real target is needed: the plugin
//! runs in the real runtime against listeners that this command opens on loopback and that misbehave on purpose.

mod filter;
mod health;
mod lookup;
mod scene;
mod settings;

use super::ask::Loaded;
use super::{Failure, pretty};
use crate::cli::probe::flattened;
use crate::cli::{exit, print_line, runtime};
use muster_core::plugin::PluginKind;
use serde_json::{Value, json};

pub(super) use settings::complete;

/// A target that accepts connections and closes them: whatever a plugin asks, it need not wait.
pub(super) async fn brief_target() -> std::io::Result<std::net::SocketAddr> {
    scene::open(scene::Manner::HangsUp).await
}

/// A check that went well has nothing to say, one that failed says why.
type Found = Result<(), String>;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Check {
    /// Name of a bundled plugin, a project, or a component file
    plugin: String,
    /// Settings to call it with; required ones that are left out are made up
    #[arg(long, value_name = "JSON", default_value = "{}")]
    settings: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was checked, in order.
#[derive(Debug, Default)]
struct Report(Vec<(&'static str, &'static str, Found)>);

impl Report {
    fn add(&mut self, name: &'static str, rule: &'static str, found: Found) {
        self.0.push((name, rule, found));
    }

    fn failed(&self) -> usize {
        self.0.iter().filter(|(_, _, found)| found.is_err()).count()
    }

    fn as_text(&self) -> String {
        let line = |(name, rule, found): &(&str, &str, Found)| match found {
            Ok(()) => format!("ok      {name:<20} {rule}"),
            Err(why) => format!("FAILED  {name:<20} {rule}\n        {why}"),
        };
        self.0.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn as_json(&self, plugin: &str) -> Value {
        let one = |(name, rule, found): &(&str, &str, Found)| json!({"check": name, "rule": rule, "ok": found.is_ok(), "why": found.as_ref().err()});
        let checks: Vec<Value> = self.0.iter().map(one).collect();
        json!({"plugin": plugin, "ok": self.failed() == 0, "checks": checks})
    }
}

pub(super) fn run(check: &Check) -> Result<u8, Failure> {
    let given = flattened(&check.settings).map_err(super::usage)?;
    let (name, report) = runtime()?.block_on(async {
        let mut report = Report::default();
        let rule = "it is a component of a known version, asks for no more than its manifest grants, and says what it is";
        let loaded = match Loaded::new(&check.plugin).await {
            Ok(loaded) => loaded,
            Err(failure) if failure.code() == exit::USAGE => return Err(failure),
            Err(failure) => {
                report.add("loads", rule, Err(failure.message().to_owned()));
                return Ok((check.plugin.clone(), report));
            }
        };
        report.add("loads", rule, Ok(()));
        let told = complete(&loaded.descriptor, given);
        settings::check(&loaded, &told, &mut report).await;
        match loaded.kind {
            PluginKind::HealthCheck => health::check(&loaded, &told, &mut report).await?,
            PluginKind::MemberLookup => lookup::check(&loaded, &told, &mut report).await?,
            PluginKind::PushFilter => filter::check(&loaded, &told, &mut report).await?,
        }
        Ok((loaded.name().to_owned(), report))
    })?;
    if check.json {
        print_line(&pretty(&report.as_json(&name)));
    } else {
        print_line(&report.as_text());
        let (failed, all) = (report.failed(), report.0.len());
        let end =
            if failed == 0 { "conforms".to_owned() } else { format!("{failed} of {all} checks failed") };
        print_line(&format!("{name}: {end}"));
    }
    Ok(if report.failed() == 0 { exit::OK } else { exit::FAILED })
}
