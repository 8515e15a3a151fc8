//! `muster plugin diff`: what a version asks for that another does not.

use super::{Failure, Found, failed, load_component, locate, pretty};
use crate::cli::{exit, print_line, runtime};
use crate::plugins::Component;
use crate::trust::{Capabilities, Difference, Package, Way, differences};
use muster_wasm::PluginInfo;
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Diff {
    /// The version that is in use: a component file, a project, or the name of a bundled plugin
    old: String,
    /// The version that is to take its place
    new: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(diff: &Diff) -> Result<u8, Failure> {
    let runtime = runtime()?;
    let (_, old, old_info) = runtime.block_on(load_component(&diff.old))?;
    let (_, new, new_info) = runtime.block_on(load_component(&diff.new))?;
    let all = differences(&capabilities(&old, &old_info), &capabilities(&new, &new_info));
    let more = all.iter().any(|one| one.way == Way::More);
    let digest = digest(&diff.new)?;
    print_line(&if diff.json {
        pretty(&json!({ "more": more, "differences": as_json(&all), "package": digest }))
    } else {
        as_text(&all, more, digest.as_deref())
    });
    Ok(if more { exit::FAILED } else { exit::OK })
}

fn capabilities<'a>(component: &'a Component, info: &'a PluginInfo) -> Capabilities<'a> {
    Capabilities { manifest: &component.manifest, inspection: &info.inspection, descriptor: &info.descriptor }
}

/// What an operator approves it by; none for what has no manifest, or is part of this program.
fn digest(plugin: &str) -> Result<Option<String>, Failure> {
    match locate(plugin)? {
        Found::File(path) if path.with_extension("toml").is_file() => {
            Ok(Some(Package::read(&path).map_err(failed)?.statement().digest()))
        }
        _ => Ok(None),
    }
}

fn as_json(all: &[Difference]) -> Value {
    let way = |way| match way {
        Way::More => "more",
        Way::Less => "less",
        Way::Other => "other",
    };
    all.iter().map(|one| json!({ "way": way(one.way), "text": one.text })).collect()
}

fn as_text(all: &[Difference], more: bool, digest: Option<&str>) -> String {
    let mut lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    lines.push(match (more, all.is_empty()) {
        (_, true) => "asks for the same".into(),
        (false, _) => "asks for no more".into(),
        (true, _) => "asks for more".into(),
    });
    lines.extend(digest.map(|digest| format!("package    {digest}")));
    lines.join("\n")
}
