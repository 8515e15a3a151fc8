//! Medians, and rounds of two sides in turn.

/// The middle of `values`; of an even number of them the mean of the two in the middle. NaN for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// What one side did in one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    /// requests, probes or calls a second
    pub(crate) rate: f64,
    /// CPU time of the side that is judged, for one of them, in microseconds
    pub(crate) cpu_us: f64,
}

impl Round {
    /// `count` things done in `seconds` with `cpu_ns` nanoseconds of CPU.
    pub(crate) fn new(count: u64, seconds: f64, cpu_ns: u64) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "counts and nanoseconds of a round are far below 2^52")]
        let (count, cpu_ns) = (count as f64, cpu_ns as f64);
        Self { rate: count / seconds, cpu_us: cpu_ns / count / 1_000.0 }
    }
}

/// Rounds of the baseline and of Muster, in turn, each pair under the same conditions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paired {
    baseline: Vec<Round>,
    muster: Vec<Round>,
}

impl Paired {
    /// Adds a pair.
    pub(crate) fn push(&mut self, baseline: Round, muster: Round) {
        self.baseline.push(baseline);
        self.muster.push(muster);
    }

    /// The median of Muster's rate over the baseline's, pair by pair.
    pub(crate) fn rate_ratio(&self) -> f64 {
        self.ratio(|round| round.rate)
    }

    /// The median of Muster's CPU time over the baseline's, pair by pair.
    pub(crate) fn cpu_ratio(&self) -> f64 {
        self.ratio(|round| round.cpu_us)
    }

    /// The smallest and the largest of the pairs' ratios of rate.
    pub(crate) fn rate_spread(&self) -> (f64, f64) {
        let ratios = self.ratios(|round| round.rate);
        (ratios.iter().copied().fold(f64::MAX, f64::min), ratios.iter().copied().fold(f64::MIN, f64::max))
    }

    /// The medians of both sides: the baseline's, Muster's.
    pub(crate) fn medians(&self, what: impl Fn(&Round) -> f64) -> (f64, f64) {
        let of = |rounds: &[Round]| median(&rounds.iter().map(&what).collect::<Vec<_>>());
        (of(&self.baseline), of(&self.muster))
    }

    fn ratio(&self, what: impl Fn(&Round) -> f64) -> f64 {
        median(&self.ratios(what))
    }

    fn ratios(&self, what: impl Fn(&Round) -> f64) -> Vec<f64> {
        self.muster
            .iter()
            .zip(&self.baseline)
            .map(|(muster, baseline)| what(muster) / what(baseline))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn ratios_are_made_pair_by_pair() {
        let mut paired = Paired::default();
        for (baseline, muster) in [(100.0, 50.0), (10.0, 9.0), (20.0, 16.0)] {
            paired.push(Round { rate: baseline, cpu_us: 1.0 }, Round { rate: muster, cpu_us: 2.0 });
        }
        assert_eq!((paired.rate_ratio(), paired.cpu_ratio()), (0.8, 2.0));
        assert_eq!(paired.rate_spread(), (0.5, 0.9));
        assert_eq!(paired.medians(|round| round.rate), (20.0, 16.0));
    }

    #[test]
    fn a_round_counts_time_for_each() {
        let round = Round::new(1_000, 2.0, 5_000_000);
        assert_eq!((round.rate, round.cpu_us), (500.0, 5.0));
    }
}
