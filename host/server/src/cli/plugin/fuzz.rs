//! `muster plugin fuzz`: a health check against a target that answers in many wrong ways, made from one good trace.
//!
//! Two rules. Whatever comes, the plugin must not break: no trap, no fault, no deadline or CPU of its own. And a target
//! that is plainly dead must not pass: nothing accepts, nothing answers, or nothing but noise does. Of all other changes
//! (flipped bits, cuts, repeats) a plugin may rightly pass some, so these are counted and shown.

use super::ask::Loaded;
use super::run::read;
use super::{Failure, failed, pretty, usage};
use crate::cli::{exit, print_line, runtime};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use muster_wasm::{End, Question, Step, Trace};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Fuzz {
    /// Name of a bundled plugin, a project, or a component file
    plugin: String,
    /// A trace in which the target passed
    trace: PathBuf,
    /// How many changed traces are tried beside the dead ones
    #[arg(long, default_value_t = 1000)]
    runs: u32,
    /// What the changes follow from; the same number makes the same changes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A dead target that this plugin may pass, because it does not look at what is sent
    #[arg(long, value_name = "WAY", value_enum)]
    may_pass: Vec<Dead>,
    /// Keep the first trace that broke a rule here
    #[arg(long, value_name = "FILE")]
    keep: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Ways in which a target is plainly dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Dead {
    /// no connection is accepted
    Refuses,
    /// connections time out
    TimesOut,
    /// connections are accepted and closed
    Closes,
    /// every answer is noise of the same length
    Noise,
}

impl Dead {
    const ALL: [Self; 4] = [Self::Refuses, Self::TimesOut, Self::Closes, Self::Noise];

    const fn word(self) -> &'static str {
        match self {
            Self::Refuses => "refuses",
            Self::TimesOut => "times-out",
            Self::Closes => "closes",
            Self::Noise => "noise",
        }
    }
}

/// A rule that was broken.
struct Broken {
    what: String,
    why: String,
    trace: Trace,
}

pub(super) fn run(fuzz: &Fuzz) -> Result<u8, Failure> {
    let trace = read(&fuzz.trace)?;
    let passed = |end: &End| matches!(end, End::Answer(said) if said["outcome"] == "passed" || said["outcome"] == "warning");
    if !matches!(trace.head.question, Question::Check(_)) || !passed(&trace.end) {
        return Err(usage(format!("{}: must be of a health check that passed", fuzz.trace.display())));
    }
    let mut chance = StdRng::seed_from_u64(fuzz.seed);
    let mut changed: Vec<(String, bool, Trace)> = Vec::new();
    for way in Dead::ALL {
        let may_pass = fuzz.may_pass.contains(&way) || !touches(way, &trace);
        changed.push((format!("target {}", way.word()), may_pass, dead(&trace, way, &mut chance)));
    }
    for nth in 0..fuzz.runs {
        let (what, trace) = change(&trace, &mut chance);
        changed.push((format!("run {nth}: {what}"), true, trace));
    }
    let (ends, broken) = runtime()?.block_on(try_all(fuzz, changed, passed))?;
    if let (Some(file), Some(first)) = (&fuzz.keep, broken.first()) {
        let text = first.trace.to_text();
        std::fs::write(file, text).map_err(|error| failed(format!("{}: {error}", file.display())))?;
    }
    print_line(&if fuzz.json {
        as_json(&ends, &broken, fuzz.seed)
    } else {
        as_text(&ends, &broken, fuzz.seed)
    });
    Ok(if broken.is_empty() { exit::OK } else { exit::FAILED })
}

type Ends = BTreeMap<String, u32>;

async fn try_all(
    fuzz: &Fuzz,
    changed: Vec<(String, bool, Trace)>,
    passed: impl Fn(&End) -> bool,
) -> Result<(Ends, Vec<Broken>), Failure> {
    let loaded = Loaded::new(&fuzz.plugin).await?;
    let (mut ends, mut broken) = (Ends::new(), Vec::new());
    for (what, may_pass, trace) in changed {
        let trial = loaded.host.improvise(loaded.name(), &trace).await.map_err(failed)?;
        let (word, why) = match &trial.trace.end {
            End::Error { code, message } => (code.clone(), Some(message.clone())),
            End::TimedOut => ("timed-out".to_owned(), None),
            End::Answer(said) => {
                let word = said["outcome"].as_str().unwrap_or("nothing").to_owned();
                let accident = passed(&trial.trace.end) && !may_pass;
                (word, accident.then(|| "it passed".to_owned()))
            }
        };
        *ends.entry(word).or_default() += 1;
        if let Some(why) = why {
            broken.push(Broken { what, why, trace });
        }
    }
    Ok((ends, broken))
}

/// Whether the trace has something that a target that is dead in this way does otherwise.
fn touches(way: Dead, trace: &Trace) -> bool {
    let of_target = |step: &Step| match way {
        Dead::Refuses | Dead::TimesOut => matches!(step.call.as_str(), "dial.connect" | "fetch.send"),
        Dead::Closes | Dead::Noise => matches!(step.call.as_str(), "dial.read" | "fetch.send"),
    };
    trace.steps.iter().any(of_target)
}

fn dead(trace: &Trace, way: Dead, chance: &mut StdRng) -> Trace {
    let mut trace = trace.clone();
    for step in &mut trace.steps {
        let answer = match (way, step.call.as_str()) {
            (Dead::Refuses, "dial.connect" | "fetch.send") => json!({"error": "refused"}),
            (Dead::TimesOut, "dial.connect" | "fetch.send") => json!({"error": "timed-out"}),
            (Dead::Closes, "dial.read") => json!({"ok": ""}),
            (Dead::Closes | Dead::Noise, "fetch.send") => json!({"error": {"bad-response": "not HTTP"}}),
            (Dead::Noise, "dial.read") => {
                let length = step.output.as_ref().and_then(bytes_of).map_or(16, |bytes| bytes.len().max(16));
                let mut noise = vec![0; length];
                chance.fill(noise.as_mut_slice());
                with_bytes(&json!({"ok": ""}), &noise)
            }
            _ => continue,
        };
        step.output = Some(answer);
    }
    trace
}

/// One of the answers that hold bytes, changed in one way.
fn change(trace: &Trace, chance: &mut StdRng) -> (String, Trace) {
    let mut trace = trace.clone();
    let holds = |step: &Step| step.output.as_ref().and_then(bytes_of).is_some_and(|bytes| !bytes.is_empty());
    let places: Vec<usize> = (0..trace.steps.len()).filter(|at| holds(&trace.steps[*at])).collect();
    if places.is_empty() {
        return ("nothing to change".to_owned(), trace);
    }
    let at = places[chance.random_range(0..places.len())];
    let output = trace.steps[at].output.clone().unwrap_or_default();
    let mut bytes = bytes_of(&output).unwrap_or_default();
    let place = chance.random_range(0..bytes.len());
    let what = match chance.random_range(0..7_u8) {
        0 => {
            bytes[place] ^= 1 << chance.random_range(0..8_u8);
            "a bit flipped"
        }
        1 => {
            bytes[place] = chance.random();
            "a byte replaced"
        }
        2 => {
            bytes.truncate(place);
            "cut off"
        }
        3 => {
            bytes.drain(..place);
            "begins late"
        }
        4 => {
            let again = bytes[place..].to_vec();
            bytes.extend(again);
            "its end repeated"
        }
        5 => {
            let mut noise = [0; 32];
            chance.fill(&mut noise);
            bytes.splice(place..place, noise);
            "noise put in"
        }
        _ => {
            let edge = [0, 0x7f, 0x80, 0xff][chance.random_range(0..4_usize)];
            let end = (place + 4).min(bytes.len());
            bytes[place..end].fill(edge);
            "four bytes at an edge of their range"
        }
    };
    trace.steps[at].output = Some(with_bytes(&output, &bytes));
    (format!("{} at step {}", what, at + 1), trace)
}

/// The bytes that came from the target: of a read, or the body of a response.
fn bytes_of(output: &Value) -> Option<Vec<u8>> {
    let ok = output.get("ok")?;
    read_bytes(ok).or_else(|| read_bytes(ok.get("body")?))
}

fn read_bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        other => STANDARD.decode(other.get("base64")?.as_str()?).ok(),
    }
}

fn with_bytes(output: &Value, bytes: &[u8]) -> Value {
    let written = json!({"base64": STANDARD.encode(bytes)});
    let mut output = output.clone();
    if output["ok"].get("body").is_some() {
        output["ok"]["body"] = written;
    } else {
        output["ok"] = written;
    }
    output
}

fn as_text(ends: &Ends, broken: &[Broken], seed: u64) -> String {
    let mut lines: Vec<String> = ends.iter().map(|(end, count)| format!("{count:>8}  {end}")).collect();
    lines.extend(broken.iter().take(20).map(|one| format!("BROKEN    {}: {}", one.what, one.why)));
    lines.push(match broken.len() {
        0 => format!("nothing broke, and no dead target passed (seed {seed})"),
        count => format!("{count} broken (seed {seed})"),
    });
    lines.join("\n")
}

fn as_json(ends: &Ends, broken: &[Broken], seed: u64) -> String {
    let broken: Vec<Value> = broken.iter().map(|one| json!({"what": one.what, "why": one.why})).collect();
    pretty(&json!({"ok": broken.is_empty(), "seed": seed, "ends": ends, "broken": broken}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_changed_where_they_are() {
        let read = json!({"ok": "+PONG"});
        assert_eq!(bytes_of(&read).unwrap(), b"+PONG");
        assert_eq!(bytes_of(&with_bytes(&read, b"\xff")).unwrap(), b"\xff");
        let fetched = json!({"ok": {"status": 200, "headers": [], "body": "yes", "cut": false}});
        let changed = with_bytes(&fetched, b"no");
        assert_eq!((bytes_of(&changed).unwrap(), &changed["ok"]["status"]), (b"no".to_vec(), &json!(200)));
        assert_eq!(bytes_of(&json!({"error": "refused"})), None);
    }
}
