//! A timing wheel: many timers, constant work for each.
//!
//! Entries are never taken out; an owner that no longer wants a timer ignores it when it fires. A timer
//! fires at or up to [`SLOT`] after its time, never before.

use crate::time::Millis;

/// How finely time is cut, in milliseconds.
pub const SLOT: u64 = 10;
/// Slots in one turn: 4096 × 10 ms = 41 s. Later timers wait in their slot for their turn.
const SLOTS: u64 = 4096;

/// Timers carrying a `T` each.
#[derive(Debug)]
pub struct Wheel<T> {
    slots: Vec<Vec<(u64, T)>>,
    occupied: Vec<u64>,
    /// the next slot to fire
    cursor: u64,
    /// whether time has begun; before that the cursor follows the earliest timer
    advanced: bool,
    len: usize,
}

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { slots, occupied: vec![0; (SLOTS / 64) as usize], cursor: 0, advanced: false, len: 0 }
    }
}

impl<T> Wheel<T> {
    /// Timers that have not fired.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is waiting.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fires `item` at `at`, or at the next [`Wheel::advance`] when that is past.
    pub fn insert(&mut self, at: Millis, item: T) {
        let wanted = at.0.div_ceil(SLOT);
        let slot = if self.advanced { wanted.max(self.cursor) } else { wanted };
        if !self.advanced {
            self.cursor = if self.len == 0 { slot } else { self.cursor.min(slot) };
        }
        let index = (slot % SLOTS) as usize;
        self.slots[index].push((slot, item));
        self.occupied[index / 64] |= 1 << (index % 64);
        self.len += 1;
    }

    /// When [`Wheel::advance`] has something to do; may be early by whole turns for timers far ahead.
    pub fn next_deadline(&self) -> Option<Millis> {
        let ahead = self.next_occupied((self.cursor % SLOTS) as usize)?;
        Some(Millis((self.cursor + ahead) * SLOT))
    }

    /// Takes out every timer whose time has come, oldest slot first.
    pub fn advance(&mut self, now: Millis, mut fire: impl FnMut(T)) {
        let last = now.0 / SLOT;
        while let Some(ahead) = self.next_occupied((self.cursor % SLOTS) as usize) {
            let slot = self.cursor + ahead;
            if slot > last {
                break;
            }
            self.fire_slot(slot, &mut fire);
            self.cursor = slot + 1;
        }
        self.cursor = self.cursor.max(last + 1);
        self.advanced = true;
    }

    fn fire_slot(&mut self, slot: u64, fire: &mut impl FnMut(T)) {
        let index = (slot % SLOTS) as usize;
        let entries = std::mem::take(&mut self.slots[index]);
        let (due, later): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(at, _)| *at <= slot);
        if later.is_empty() {
            self.occupied[index / 64] &= !(1 << (index % 64));
        }
        self.slots[index] = later;
        self.len -= due.len();
        due.into_iter().for_each(|(_, item)| fire(item));
    }

    /// Distance from slot `from` to the next occupied one, within one turn.
    fn next_occupied(&self, from: usize) -> Option<u64> {
        let words = self.occupied.len();
        for step in 0..=words {
            let word = (from / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (from % 64);
            } else if step == words {
                bits &= !(u64::MAX << (from % 64));
            }
            if bits != 0 {
                let index = word * 64 + bits.trailing_zeros() as usize;
                return Some(((index + SLOTS as usize - from) % SLOTS as usize) as u64);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fired(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.advance(Millis(now), |item| out.push(item));
        out
    }

    #[test]
    fn a_timer_fires_at_its_time_and_not_before() {
        let mut wheel = Wheel::default();
        wheel.insert(Millis(500), 1);
        assert_eq!(wheel.next_deadline(), Some(Millis(500)));
        assert!(fired(&mut wheel, 499).is_empty());
        assert_eq!(fired(&mut wheel, 500), [1]);
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn timers_in_the_past_fire_at_the_next_advance() {
        let mut wheel = Wheel::default();
        fired(&mut wheel, 10_000);
        wheel.insert(Millis(1), 1);
        assert_eq!(fired(&mut wheel, 10_010), [1]);
    }

    #[test]
    fn a_timer_beyond_one_turn_waits_for_its_own() {
        let mut wheel = Wheel::default();
        wheel.insert(Millis(0), 0);
        wheel.insert(Millis(100_000), 1);
        assert_eq!(fired(&mut wheel, 99_999), [0]);
        assert_eq!(fired(&mut wheel, 100_000), [1]);
    }

    proptest! {
        #[test]
        fn every_timer_fires_once_and_within_a_slot(
            times in proptest::collection::vec(0u64..200_000, 1..60),
            steps in proptest::collection::vec(1u64..30_000, 1..40),
        ) {
            let base = 1_700_000_000_000;
            let mut wheel = Wheel::default();
            for (index, at) in times.iter().enumerate() {
                wheel.insert(Millis(base + at), index);
            }
            let mut now = base;
            let mut seen = vec![0; times.len()];
            for step in steps.into_iter().chain([200_000]) {
                let before = now;
                now += step;
                wheel.advance(Millis(now), |index| {
                    seen[index] += 1;
                    let at = base + times[index];
                    assert!(at <= now && at + SLOT > before, "{at} fired between {before} and {now}");
                });
                if let Some(next) = wheel.next_deadline() {
                    assert!(next.0 > now, "{next:?} is not after {now}");
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
        }
    }
}
