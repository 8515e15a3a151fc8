//! The last verdicts of one target: like ones in a row are one entry, so that a few entries reach far back and a steady
//! target costs one.

use crate::plugin::{Outcome, Verdict};
use crate::time::Millis;
use std::collections::VecDeque;

/// Entries kept for one target.
pub const HISTORY: usize = 8;

/// Verdicts in a row that said the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streak {
    /// what they concluded
    pub outcome: Outcome,
    /// with which code
    pub code: Box<str>,
    /// how many they were
    pub count: u64,
    /// when the first came
    pub since: Millis,
    /// when the last came
    pub until: Millis,
}

/// The last streaks, the newest at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(VecDeque<Streak>);

impl History {
    /// The streaks that are kept, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Streak> {
        self.0.iter().rev()
    }

    pub(super) fn note(&mut self, now: Millis, verdict: &Verdict) {
        if let Some(last) = self.0.back_mut()
            && last.outcome == verdict.outcome
            && *last.code == *verdict.code
        {
            last.count += 1;
            last.until = now;
            return;
        }
        if self.0.len() >= HISTORY {
            self.0.pop_front();
        }
        let (outcome, code) = (verdict.outcome, verdict.code.as_str().into());
        self.0.push_back(Streak { outcome, code, count: 1, since: now, until: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_verdicts_are_one_entry_and_old_entries_go() {
        let mut history = History::default();
        let mut note =
            |at: u64, outcome, code: &str| history.note(Millis(at), &Verdict::of_host(outcome, code, ""));
        for at in 0..100 {
            note(at, Outcome::Passed, "tcp.connected");
        }
        note(100, Outcome::Failed, "tcp.timed-out");
        note(101, Outcome::Failed, "tcp.unreachable");
        for at in 0..5 {
            note(200 + at, if at % 2 == 0 { Outcome::Passed } else { Outcome::Failed }, "x");
        }
        let mut seen: Vec<_> =
            history.newest_first().map(|s| (&*s.code, s.count, s.since.0, s.until.0)).collect();
        assert_eq!(seen.len(), HISTORY);
        assert_eq!(seen.pop(), Some(("tcp.connected", 100, 0, 99)));
        assert_eq!(seen.pop(), Some(("tcp.timed-out", 1, 100, 100)));
        assert_eq!(seen.pop(), Some(("tcp.unreachable", 1, 101, 101)));
        history.note(Millis(300), &Verdict::of_host(Outcome::Inconclusive, "", ""));
        assert_eq!(history.newest_first().last().unwrap().code.as_ref(), "tcp.timed-out");
    }
}
