//! Whether a history of reads and writes of one register is linearizable: whether every operation can be given one
//! moment between its start and its end so that each read sees the write before it.
//!
//! The search of Wing and Gong with Lowe's memory of states that led nowhere.

use std::collections::HashSet;
use std::time::Duration;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// wrote this; every write of a history has its own value
    Write(u64),
    /// saw this; none before the first write
    Read(Option<u64>),
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// when it was asked for
    pub start: Duration,
    /// when it was answered; none where it is not known whether it happened, or still will
    pub end: Option<Duration>,
    /// what was done
    pub action: Action,
}

/// Finds an order, or says up to where one was found.
///
/// # Errors
/// The operations that fit nowhere.
pub fn linearizable(history: &[Operation]) -> Result<(), String> {
    let mut history = history.to_vec();
    // A read that was not answered says nothing.
    history.retain(|one| one.end.is_some() || matches!(one.action, Action::Write(_)));
    history.sort_by_key(|one| one.start);
    let mut search =
        Search { done: vec![false; history.len()], seen: HashSet::new(), best: 0, history: &history };
    if search.go(None, 0) {
        return Ok(());
    }
    let around = search.best.saturating_sub(4)..(search.best + 8).min(history.len());
    Err(format!(
        "no order beyond {} of {} operations; around there: {:#?}",
        search.best,
        history.len(),
        &history[around]
    ))
}

struct Search<'a> {
    history: &'a [Operation],
    done: Vec<bool>,
    seen: HashSet<(Vec<bool>, Option<u64>)>,
    best: usize,
}

impl Search<'_> {
    /// `first`: everything before it is done.
    fn go(&mut self, value: Option<u64>, first: usize) -> bool {
        let first = (first..self.done.len()).find(|at| !self.done[*at]).unwrap_or(self.done.len());
        self.best = self.best.max(first);
        let open = || (first..self.history.len()).filter(|at| !self.done[*at]);
        // Nothing that began after this may come before what ended then.
        let Some(bound) = open().filter_map(|at| self.history[at].end).min() else { return true };
        // What is before `first` is done, so the rest tells states apart.
        if !self.seen.insert((self.done[first..].to_vec(), value)) {
            return false;
        }
        let candidates: Vec<usize> = open().take_while(|at| self.history[*at].start <= bound).collect();
        for at in candidates {
            let next = match self.history[at].action {
                Action::Write(new) => Some(new),
                Action::Read(seen) if seen == value => value,
                Action::Read(_) => continue,
            };
            self.done[at] = true;
            if self.go(next, first) {
                return true;
            }
            self.done[at] = false;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(start: u64, end: u64, action: Action) -> Operation {
        let end = (end > 0).then(|| Duration::from_millis(end));
        Operation { start: Duration::from_millis(start), end, action }
    }

    #[test]
    fn what_overlaps_may_have_happened_in_any_order() {
        use Action::{Read, Write};
        let both = |first, second| {
            let history = [
                op(0, 10, Write(1)),
                op(20, 40, Write(2)),
                op(20, 40, Write(3)),
                op(41, 42, Read(Some(first))),
                op(43, 44, Read(Some(second))),
            ];
            linearizable(&history)
        };
        assert!(both(2, 2).is_ok());
        assert!(both(3, 3).is_ok());
        assert!(both(2, 3).is_err(), "both writes were over");
        assert!(both(1, 1).is_err());
    }

    #[test]
    fn a_read_sees_what_was_acknowledged_before_it_and_never_goes_back() {
        use Action::{Read, Write};
        let stale = [op(0, 10, Write(1)), op(20, 30, Write(2)), op(31, 40, Read(Some(1)))];
        assert!(linearizable(&stale).is_err());
        let early = [op(0, 10, Write(1)), op(20, 30, Write(2)), op(25, 40, Read(Some(1)))];
        assert!(linearizable(&early).is_ok());
        let back =
            [op(0, 10, Write(1)), op(20, 90, Write(2)), op(30, 40, Read(Some(2))), op(50, 60, Read(Some(1)))];
        assert!(linearizable(&back).is_err());
        assert!(linearizable(&[op(0, 10, Write(1)), op(20, 30, Read(None))]).is_err());
        assert!(linearizable(&[op(5, 10, Write(1)), op(0, 7, Read(None))]).is_ok());
    }

    #[test]
    fn a_write_without_an_answer_may_happen_late_or_never() {
        use Action::{Read, Write};
        let with = |value| {
            let history = [
                op(0, 10, Write(1)),
                op(20, 0, Write(2)),
                op(30, 40, Write(3)),
                op(50, 60, Read(Some(value))),
            ];
            linearizable(&history)
        };
        assert!(with(3).is_ok());
        assert!(with(2).is_ok(), "it came after 3");
        assert!(with(1).is_err());
    }
}
