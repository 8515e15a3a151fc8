//! Quarantine: a plugin that keeps failing is called off for a while.
//!
//! Pure: time is an argument, in milliseconds since any fixed moment.

use muster_core::Millis;

/// Faults in a row that open it.
const IN_A_ROW: u32 = 5;
/// Calls within the window below which their share of faults says nothing.
const ENOUGH_CALLS: u32 = 20;
/// Length of the window in which the share of faults is watched.
const WINDOW: Millis = Millis::from_secs(60);
/// The window is counted in this many parts.
const PARTS: usize = 6;
/// First quarantine; each further one is twice as long.
const FIRST: Millis = Millis::from_secs(30);
/// Longest quarantine.
const LONGEST: Millis = Millis::from_secs(600);

/// How a call ended, as far as the breaker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Good,
    Fault,
    /// says nothing about the plugin
    Neither,
}

/// Opens after repeated faults and lets one trial call through when its time is over.
#[derive(Debug)]
pub(crate) struct Breaker {
    in_a_row: u32,
    parts: [Part; PARTS],
    state: State,
    next: Millis,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    began: Millis,
    calls: u32,
    faults: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Millis,
    },
    /// a trial call is on its way
    Trial,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { in_a_row: 0, parts: [Part::default(); PARTS], state: State::Closed, next: FIRST }
    }
}

impl Breaker {
    /// Whether a call may begin; otherwise how long to wait.
    pub(crate) fn admit(&mut self, now: Millis) -> Result<(), Millis> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } if now < until => Err(until.since(now)),
            State::Open { .. } => {
                self.state = State::Trial;
                Ok(())
            }
            State::Trial => Err(Millis(1000)),
        }
    }

    /// A call ended. True when this opened the breaker.
    pub(crate) fn ended(&mut self, now: Millis, end: End) -> bool {
        match (self.state, end) {
            (State::Trial, End::Good) => *self = Self::default(),
            (State::Trial, End::Fault) => return self.open(now),
            // the trial said nothing: the next call is the trial
            (State::Trial, End::Neither) => self.state = State::Open { until: now },
            // a straggler from before the quarantine
            (State::Open { .. }, _) | (State::Closed, End::Neither) => {}
            (State::Closed, End::Good) => {
                self.in_a_row = 0;
                self.part(now).calls += 1;
            }
            (State::Closed, End::Fault) => {
                self.in_a_row += 1;
                let part = self.part(now);
                part.calls += 1;
                part.faults += 1;
                if self.in_a_row >= IN_A_ROW || self.half_failed(now) {
                    return self.open(now);
                }
            }
        }
        false
    }

    /// How long the quarantine lasts; none while the plugin is called.
    pub(crate) fn quarantined(&self, now: Millis) -> Option<Millis> {
        match self.state {
            State::Closed => None,
            State::Open { until } => Some(until.since(now)),
            State::Trial => Some(Millis(0)),
        }
    }

    fn open(&mut self, now: Millis) -> bool {
        self.state = State::Open { until: now + self.next };
        self.next = Millis((self.next.0 * 2).min(LONGEST.0));
        self.in_a_row = 0;
        self.parts = [Part::default(); PARTS];
        true
    }

    fn part(&mut self, now: Millis) -> &mut Part {
        let length = WINDOW.0 / PARTS as u64;
        let began = Millis(now.0 - now.0 % length);
        let part = &mut self.parts[(now.0 / length) as usize % PARTS];
        if part.began != began {
            *part = Part { began, ..Part::default() };
        }
        part
    }

    fn half_failed(&self, now: Millis) -> bool {
        let recent = self.parts.iter().filter(|part| now.since(part.began) < WINDOW);
        let (calls, faults) = recent.fold((0, 0), |(c, f), part| (c + part.calls, f + part.faults));
        calls >= ENOUGH_CALLS && faults * 2 >= calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(breaker: &mut Breaker, now: u64, ends: &[End]) -> bool {
        ends.iter().fold(false, |_, end| breaker.ended(Millis(now), *end))
    }

    #[test]
    fn five_faults_in_a_row_open_it_for_thirty_seconds() {
        let mut breaker = Breaker::default();
        assert!(!opened(&mut breaker, 0, &[End::Fault; 4]));
        assert!(!opened(&mut breaker, 0, &[End::Good]));
        assert!(opened(&mut breaker, 1000, &[End::Fault; 5]));
        assert_eq!(breaker.admit(Millis(1000)), Err(Millis(30_000)));
        assert_eq!(breaker.admit(Millis(30_999)), Err(Millis(1)));
        assert_eq!(breaker.admit(Millis(31_000)), Ok(()));
    }

    #[test]
    fn half_of_twenty_within_a_minute_open_it() {
        let mut breaker = Breaker::default();
        for round in 0..9 {
            assert!(!opened(&mut breaker, round * 1000, &[End::Good, End::Fault]));
        }
        assert!(!opened(&mut breaker, 9000, &[End::Good]));
        assert!(opened(&mut breaker, 9500, &[End::Fault]));
    }

    #[test]
    fn faults_older_than_a_minute_are_forgotten() {
        let mut breaker = Breaker::default();
        for round in 0..60 {
            let now = round * 10_000;
            assert!(!opened(&mut breaker, now, &[End::Good, End::Fault]), "at {now}");
        }
    }

    #[test]
    fn one_trial_at_a_time_and_each_quarantine_is_longer() {
        let mut breaker = Breaker::default();
        opened(&mut breaker, 0, &[End::Fault; 5]);
        let mut now = 30_000;
        for length in [60, 120, 240, 480, 600, 600] {
            assert_eq!(breaker.admit(Millis(now)), Ok(()));
            assert!(breaker.admit(Millis(now)).is_err(), "a second trial");
            assert!(breaker.ended(Millis(now), End::Fault));
            assert_eq!(breaker.quarantined(Millis(now)), Some(Millis(length * 1000)));
            now += length * 1000;
        }
        assert_eq!(breaker.admit(Millis(now)), Ok(()));
        breaker.ended(Millis(now), End::Good);
        assert_eq!(breaker.quarantined(Millis(now)), None);
        assert!(opened(&mut breaker, now, &[End::Fault; 5]));
        assert_eq!(breaker.quarantined(Millis(now)), Some(Millis(30_000)), "starts over");
    }

    #[test]
    fn a_trial_that_says_nothing_is_tried_again() {
        let mut breaker = Breaker::default();
        opened(&mut breaker, 0, &[End::Fault; 5]);
        assert_eq!(breaker.admit(Millis(30_000)), Ok(()));
        breaker.ended(Millis(30_001), End::Neither);
        assert_eq!(breaker.admit(Millis(30_002)), Ok(()));
    }

    #[test]
    fn what_says_nothing_about_the_plugin_is_not_counted() {
        let mut breaker = Breaker::default();
        assert!(!opened(&mut breaker, 0, &[End::Neither; 100]));
        assert!(!opened(&mut breaker, 0, &[End::Fault; 4]));
        assert!(!opened(&mut breaker, 0, &[End::Neither]));
        assert!(opened(&mut breaker, 0, &[End::Fault]), "nothing in between ends a row");
    }
}
