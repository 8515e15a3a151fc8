//! One call of a plugin for its author: recorded from the live host, or answered from a trace.

use super::{
    format::{CheckQuestion, End, FindQuestion, Head, Question, SelectQuestion, Step, TRACE_VERSION, Trace},
    tape::{Divergence, Tape},
    words::{Bytes, Word},
};
use crate::{
    Candidate, Candidates, CheckCall, Column, FilterCall, FilterSubscriber, LookupAnswer, LookupCall,
    LookupFiles, LookupNames, PluginError, PluginHost, Selection, Settings, Target, ThisNode, Verdict,
    call::{Failure, Report},
    health_check,
    host::{Registry, slot},
    member_lookup,
    plugin::Plugin,
    push_filter,
    world::World,
};
use muster_core::{ServiceKey, plugin::PluginKind};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// What a secret setting holds in a trace.
const WITHHELD: &str = "withheld";

/// A call that the live host answers.
#[derive(Clone)]
pub enum LiveCall {
    /// of a health check
    Check(CheckCall),
    /// of a member lookup
    Find(LookupCall),
    /// of a push filter
    Select(FilterCall),
}

/// How a call went.
#[derive(Clone, Debug)]
pub struct Trial {
    /// everything that happened; of a replay what happened now
    pub trace: Trace,
    /// wall time of the call, without the wait for a place
    pub took: Duration,
    /// what it cost
    pub cost: Cost,
    /// the first thing that a replay did otherwise
    pub diverged: Option<Divergence>,
    /// a secret setting can be read in the answer, the error, or what was logged
    pub shows_secret: bool,
    /// where to add which line, to allow the first thing that was refused for want of a grant or a limit
    pub refused: Option<String>,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// time in which the guest computed, start of its instance included
    pub computing: Duration,
    /// bytes of linear memory of the instance when the call ended
    pub memory: u64,
    /// bytes that went to the target and came from it
    pub traffic: u64,
    /// connections and HTTP exchanges
    pub connections: u32,
}

/// A call that could not be tried at all.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// nothing of that name and kind is loaded
    #[error("no {} is called {plugin:?}", kind.world())]
    Unknown {
        /// the name
        plugin: String,
        /// the kind
        kind: PluginKind,
    },
    /// it has sockets of its own
    #[error(
        "{plugin}: has the grant wasi-sockets; what goes over its own sockets does not pass through the host, so it \
         can be neither recorded nor replayed; use `dial` instead"
    )]
    Sockets {
        /// the plugin
        plugin: String,
    },
    /// a number in the trace that cannot be read
    #[error("the trace's {0} cannot be read")]
    Field(&'static str),
    /// the host is being stopped
    #[error(transparent)]
    Plugin(#[from] PluginError),
}

impl PluginHost {
    /// Makes one call and writes down all that happens in it. The call is not counted, and quarantine does not hold
    /// it up. `reuse`: in an instance that may have served such calls before, and may serve more.
    ///
    /// # Errors
    /// [`TrialError`]. A call that failed is a [`Trial`] too: its end says how.
    pub async fn record(&self, plugin: &str, call: LiveCall, reuse: bool) -> Result<Trial, TrialError> {
        let mut seed = [0; 16];
        rand::RngCore::fill_bytes(&mut rand::rng(), &mut seed);
        let seed = u128::from_le_bytes(seed);
        let scene = Scene { reuse, tape: move |secrets| Tape::record(secrets, seed), seed, expected: None };
        self.play(plugin, call, scene).await
    }

    /// Makes the call of a trace again, with the answers of the trace.
    ///
    /// # Errors
    /// [`TrialError`]. A call that went otherwise is a [`Trial`] too: it says where it [`diverged`](Trial::diverged).
    pub async fn replay(&self, plugin: &str, trace: &Trace) -> Result<Trial, TrialError> {
        let (steps, withheld, seed) =
            (trace.steps.clone(), !trace.head.withheld.is_empty(), seed(&trace.head)?);
        let tape_of = if trace.head.scripted { Tape::script } else { Tape::replay };
        let tape = move |_| tape_of(steps, withheld, seed);
        let scene = Scene { reuse: false, tape, seed, expected: Some(&trace.end) };
        self.play(plugin, call_of(trace)?, scene).await
    }

    /// Makes the call of a trace again, with the answers of the trace as far as they fit what is asked. For traces
    /// that were changed: the plugin may do what it likes, as long as it does not break.
    ///
    /// # Errors
    /// [`TrialError`].
    pub async fn improvise(&self, plugin: &str, trace: &Trace) -> Result<Trial, TrialError> {
        let (steps, withheld, seed) =
            (trace.steps.clone(), !trace.head.withheld.is_empty(), seed(&trace.head)?);
        let tape = move |_| Tape::improvise(steps, withheld, seed);
        self.play(plugin, call_of(trace)?, Scene { reuse: false, tape, seed, expected: None }).await
    }

    async fn play<T: FnOnce(Vec<String>) -> Tape + Clone>(
        &self,
        name: &str,
        call: LiveCall,
        scene: Scene<'_, T>,
    ) -> Result<Trial, TrialError> {
        let host = self.inner();
        match call {
            LiveCall::Check(call) => {
                let plugin = find(&host.checks, name)?;
                let (tape, head) = scene.set(&plugin, check_question(&call), call.deadline);
                let (its, reuse) = (tape.clone(), scene.reuse);
                let run = async move { health_check::taped(&plugin, call, its, reuse).await };
                Ok(scene.close(head, &tape, host.run(name, run).await?, verdict))
            }
            LiveCall::Find(call) => {
                let plugin = find(&host.lookups, name)?;
                let (tape, head) = scene.set(&plugin, find_question(&call), call.deadline);
                let (its, reuse) = (tape.clone(), scene.reuse);
                let run = async move { member_lookup::taped(&plugin, call, its, reuse).await };
                Ok(scene.close(head, &tape, host.run(name, run).await?, members))
            }
            LiveCall::Select(call) => {
                let plugin = find(&host.filters, name)?;
                let (tape, head) = scene.set(&plugin, select_question(&call), call.deadline);
                let (its, reuse) = (tape.clone(), scene.reuse);
                let run = async move { push_filter::taped(&plugin, call, its, reuse).await };
                Ok(scene.close(head, &tape, host.run(name, run).await?, selection))
            }
        }
    }
}

fn find<W: World>(registry: &Registry<W>, name: &str) -> Result<Arc<Plugin<W>>, TrialError> {
    let unknown = || TrialError::Unknown { plugin: name.to_owned(), kind: W::KIND };
    let plugin = slot(registry, name).ok_or_else(unknown)?.current();
    if plugin.manifest.grants.wasi_sockets {
        return Err(TrialError::Sockets { plugin: name.to_owned() });
    }
    Ok(plugin)
}

/// Where the answers come from, and what the end should be.
struct Scene<'a, T> {
    reuse: bool,
    tape: T,
    seed: u128,
    expected: Option<&'a End>,
}

impl<T: FnOnce(Vec<String>) -> Tape + Clone> Scene<'_, T> {
    fn set<W: World>(&self, plugin: &Plugin<W>, question: Question, deadline: Duration) -> (Tape, Head) {
        let secrets: Vec<&str> = plugin.descriptor.secrets().collect();
        let given = question.settings().clone();
        let known = |key: &&&str| given.get(**key).is_some_and(|value| !value.is_empty());
        let withheld: Vec<String> = secrets.iter().filter(known).map(|key| (*key).to_owned()).collect();
        let values = withheld.iter().filter_map(|key| given.get(key).cloned()).collect();
        let head = Head {
            muster_trace: TRACE_VERSION,
            scripted: false,
            plugin: plugin.name.to_string(),
            version: plugin.descriptor.version.clone(),
            sha256: plugin.inspection.sha256.clone(),
            deadline_ms: u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX),
            seed: format!("{:032x}", self.seed),
            question: without_secrets(question, &withheld),
            withheld,
        };
        ((self.tape.clone())(values), head)
    }

    fn close<A>(&self, head: Head, tape: &Tape, report: Report<A>, words: impl FnOnce(&A) -> Value) -> Trial {
        let end = match &report.result {
            Ok(answer) => End::Answer(words(answer)),
            Err(Failure::OutsideTooSlow) => End::TimedOut,
            // without the time that it took, which is never the same again
            Err(Failure::EndpointTooSlow) => End::Error {
                code: "plugin.endpoint-timed-out".to_owned(),
                message: format!("{}: was still waiting for an endpoint beyond its target", head.plugin),
            },
            Err(Failure::Plugin(error)) => {
                End::Error { code: error.code().to_owned(), message: error.to_string() }
            }
        };
        let said = serde_json::to_string(&end).unwrap_or_default();
        let shows_secret = tape.shows_secret(&said) || tape.logged_secret();
        let (steps, off) = tape.finish(matches!(end, End::Answer(_)));
        let diverged = off.or_else(|| ends_otherwise(&steps, self.expected?, &end));
        let end = if shows_secret { struck(tape, &said, end) } else { end };
        Trial {
            trace: Trace { head, steps, end },
            took: report.took,
            cost: report.cost,
            diverged,
            shows_secret,
            refused: report.refused,
        }
    }
}

fn ends_otherwise(steps: &[Step], expected: &End, found: &End) -> Option<Divergence> {
    let text = |end: &End| crate::text::one_line(&serde_json::to_string(end).unwrap_or_default(), 400);
    let differs = expected != found;
    differs.then(|| Divergence { step: steps.len() + 1, expected: text(expected), found: text(found) })
}

/// The end without the secret that it shows.
fn struck(tape: &Tape, said: &str, end: End) -> End {
    let code = if let End::Error { code, .. } = end { code } else { "answer".to_owned() };
    let fallback = End::Error { code, message: "shows a secret".to_owned() };
    serde_json::from_str(&tape.strike_text(said)).unwrap_or(fallback)
}

fn without_secrets(mut question: Question, withheld: &[String]) -> Question {
    let settings = match &mut question {
        Question::Check(CheckQuestion { settings, .. })
        | Question::Find(FindQuestion { settings, .. })
        | Question::Select(SelectQuestion { settings, .. }) => settings,
    };
    for key in withheld {
        settings.insert(key.clone(), WITHHELD.to_owned());
    }
    question
}

fn seed(head: &Head) -> Result<u128, TrialError> {
    u128::from_str_radix(&head.seed, 16).map_err(|_| TrialError::Field("seed"))
}

fn check_question(call: &CheckCall) -> Question {
    let Target { address, port, namespace, group, service, cluster, metadata } = call.target.clone();
    let settings = Settings::clone(&call.settings);
    Question::Check(CheckQuestion { address, port, namespace, group, service, cluster, metadata, settings })
}

fn find_question(call: &LookupCall) -> Question {
    let ThisNode { address, port, standalone } = call.node.clone();
    let cookie = call.cookie.clone().map(|cookie| Bytes(cookie).write());
    Question::Find(FindQuestion {
        address,
        port,
        standalone,
        cookie,
        settings: Settings::clone(&call.settings),
    })
}

fn select_question(call: &FilterCall) -> Question {
    Question::Select(SelectQuestion {
        namespace: call.service.namespace().to_owned(),
        group: call.service.group().to_owned(),
        service: call.service.name().to_owned(),
        count: call.candidates.count(),
        settings: Settings::clone(&call.settings),
    })
}

/// The call of a trace. What it reaches is of no importance: the tape answers.
fn call_of(trace: &Trace) -> Result<LiveCall, TrialError> {
    let recorded = Duration::from_millis(trace.head.deadline_ms.into());
    // no answer of the tape takes time, but this machine may be slower; a plugin that dawdled does so again
    let dawdled = matches!(&trace.end, End::Error { code, .. } if code == "plugin.deadline");
    let deadline = if dawdled { recorded } else { recorded * 2 + Duration::from_secs(1) };
    Ok(match trace.head.question.clone() {
        Question::Check(asked) => {
            let CheckQuestion { address, port, namespace, group, service, cluster, metadata, settings } =
                asked;
            let target = Target { address, port, namespace, group, service, cluster, metadata };
            let reach = SocketAddr::from(([0, 0, 0, 0], 0));
            LiveCall::Check(CheckCall { target, reach, settings: Arc::new(settings), deadline, trace: false })
        }
        Question::Find(FindQuestion { address, port, standalone, cookie, settings }) => {
            LiveCall::Find(LookupCall {
                node: ThisNode { address, port, standalone },
                settings: Arc::new(settings),
                cookie: match cookie {
                    None => None,
                    Some(written) => Some(Bytes::read(&written).ok_or(TrialError::Field("cookie"))?.0),
                },
                files: LookupFiles::default(),
                endpoints: Vec::new(),
                names: LookupNames::default(),
                deadline,
            })
        }
        Question::Select(SelectQuestion { namespace, group, service, count, settings }) => {
            LiveCall::Select(FilterCall {
                service: ServiceKey::new(&namespace, &group, &service),
                subscriber: FilterSubscriber::default(),
                candidates: Arc::new(Unseen(count)),
                settings: Arc::new(settings),
                deadline,
            })
        }
    })
}

fn verdict(said: &Verdict) -> Value {
    let Verdict { outcome, code, message, facts } = said;
    json!({"outcome": outcome.word(), "code": code, "message": message, "facts": facts})
}

fn members(said: &LookupAnswer) -> Value {
    match said {
        LookupAnswer::Unchanged(next) => json!({"unchanged": {"next-ms": next.0}}),
        LookupAnswer::Changed { members, cookie, next } => {
            let members: Vec<Value> = members
                .iter()
                .map(
                    |found| json!({"address": found.address, "port": found.port, "metadata": found.metadata}),
                )
                .collect();
            let cookie = Bytes(cookie.clone()).write();
            json!({"changed": {"members": members, "cookie": cookie, "next-ms": next.0}})
        }
    }
}

fn selection(said: &Selection) -> Value {
    match said {
        Selection::All => json!("all"),
        Selection::Only(indices) => json!({"only": indices}),
    }
}

/// A list of which only the length is known.
struct Unseen(u32);

impl Candidates for Unseen {
    fn count(&self) -> u32 {
        self.0
    }
    fn metadata(&self, _: &str) -> Arc<Column> {
        Arc::default()
    }
    fn clusters(&self) -> Arc<Column> {
        Arc::default()
    }
    fn addresses(&self) -> Arc<[String]> {
        Arc::default()
    }
    fn ports(&self) -> Arc<[u16]> {
        Arc::default()
    }
    fn weights(&self) -> Arc<[f64]> {
        Arc::default()
    }
    fn states(&self) -> Arc<[u8]> {
        Arc::default()
    }
    fn instance(&self, _: u32) -> Option<Candidate> {
        None
    }
}
