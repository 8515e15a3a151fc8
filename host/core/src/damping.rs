//! Flap damping: an instance that keeps turning is held unhealthy until it has been steady.
//!
//! As routers do it (RFC 2439): every turn to unhealthy adds 1 to a penalty, which halves with every half-life.
//! A penalty that reaches `suppress` holds the instance; below `reuse` it is let go. Nacos has nothing like it, so it is
//! off unless a half-life is set.
//!
//! Damping only ever delays a turn to healthy. It never makes a turn to unhealthy: an instance that its checks call
//! healthy and that has not turned before has no penalty.

use crate::plugin::Outcome;
use crate::time::Millis;

/// Penalty that holds an instance, unless a rule says otherwise: the third turn to unhealthy within half a half-life.
pub const FLAP_SUPPRESS: f64 = 2.5;
/// Penalty below which it is let go, unless a rule says otherwise.
pub const FLAP_REUSE: f64 = 1.0;
/// No penalty is higher than this many times `suppress`, which bounds how long an instance that became steady is held:
/// with the numbers above for 2.3 half-lives.
const CEILING: f64 = 2.0;

/// The numbers of one rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Numbers {
    /// after this long half of the penalty is left; 0 switches damping off
    pub half_life: Millis,
    /// a penalty from this on holds
    pub suppress: f64,
    /// a penalty below this lets go
    pub reuse: f64,
}

/// What is kept for one instance, by the member that checks it. Another member that takes over begins anew.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Damping {
    penalty: f64,
    /// when the penalty was this
    at: Millis,
    /// how the checks turned last
    last: Option<bool>,
    held: bool,
}

impl Damping {
    /// Whether the instance is kept unhealthy although its checks may call it healthy.
    pub fn held(&self) -> bool {
        self.held
    }

    /// What the checks alone say of an instance that is `healthy` for readers: verdicts are counted against this.
    pub fn believed(&self, healthy: bool) -> bool {
        if self.held { self.last.unwrap_or(healthy) } else { healthy }
    }

    /// The penalty at `now`.
    pub fn penalty(&self, now: Millis, numbers: &Numbers) -> f64 {
        if numbers.half_life == Millis(0) {
            return 0.0;
        }
        self.penalty * 0.5_f64.powf(as_f64(now.since(self.at)) / as_f64(numbers.half_life))
    }

    /// How long it would still be held if it did not turn again; none when it is not held.
    pub fn held_for(&self, now: Millis, numbers: &Numbers) -> Option<Millis> {
        if !self.held {
            return None;
        }
        let halvings = (self.penalty(now, numbers) / numbers.reuse).log2().max(0.0);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few half-lives, never negative"
        )]
        let left = (halvings * as_f64(numbers.half_life)).ceil() as u64;
        Some(Millis(left))
    }

    /// Other members did not confirm the last turn to unhealthy: there was none.
    pub fn contested(&mut self) {
        if self.last == Some(false) {
            self.penalty = (self.penalty - 1.0).max(0.0);
            self.last = Some(true);
            // they are asked about instances that are healthy for readers, and no such instance was held before
            self.held = false;
        }
    }

    /// Takes in what a verdict led to, counted against [`Self::believed`], and answers what is to become of an instance
    /// that is `healthy` for readers now.
    pub fn turn(
        &mut self,
        now: Millis,
        healthy: bool,
        outcome: Outcome,
        turned: Option<bool>,
        numbers: &Numbers,
    ) -> Option<bool> {
        if numbers.half_life == Millis(0) {
            *self = Self::default();
            return turned;
        }
        if outcome == Outcome::Inconclusive {
            return turned;
        }
        self.penalty = self.penalty(now, numbers);
        self.at = now;
        // a turn that is proposed again because the former proposal was lost is not another turn
        if turned == Some(false) && self.last != Some(false) {
            self.penalty = (self.penalty + 1.0).min(numbers.suppress * CEILING);
            self.held |= self.penalty >= numbers.suppress;
        }
        self.last = turned.or(self.last);
        if !self.held {
            return turned;
        }
        let passed = matches!(outcome, Outcome::Passed | Outcome::Warning);
        if self.penalty >= numbers.reuse {
            return (healthy && !passed && self.last == Some(false)).then_some(false);
        }
        self.held = false;
        if self.last == Some(true) && passed { (!healthy).then_some(true) } else { turned }
    }
}

fn as_f64(time: Millis) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "times between two checks are far below 2^52 ms")]
    let time = time.0 as f64;
    time
}

#[cfg(test)]
mod tests;
