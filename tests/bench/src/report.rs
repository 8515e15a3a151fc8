//! What is printed and written: every figure with its goal, met or short.

use crate::stats::Paired;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// What a figure should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// no less
    AtLeast(f64),
    /// no more
    AtMost(f64),
    /// nobody promised anything
    Reported,
}

impl Goal {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtLeast(goal) => Some(value >= goal),
            Self::AtMost(goal) => Some(value <= goal),
            Self::Reported => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(goal) => format!(">= {}", number(goal)),
            Self::AtMost(goal) => format!("<= {}", number(goal)),
            Self::Reported => "-".into(),
        }
    }
}

/// One measured number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// which benchmark, as `--only` names it
    pub(crate) benchmark: &'static str,
    /// what was measured
    pub(crate) name: String,
    /// the number
    pub(crate) value: f64,
    /// its unit; `x` for a ratio to the baseline
    pub(crate) unit: &'static str,
    /// what it should be
    pub(crate) goal: Goal,
    /// whether it is; none without a goal
    pub(crate) met: Option<bool>,
    /// the numbers that it was made of
    pub(crate) details: BTreeMap<&'static str, f64>,
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    quick: bool,
    rounds: usize,
    machine: Machine,
    figures: Vec<Figure>,
}

#[derive(Debug, Serialize)]
struct Machine {
    cores: usize,
    cpu: String,
    kernel: String,
    /// processes that wanted a core when the run began (load average of the last minute)
    load: f64,
}

impl Machine {
    fn this() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpus = read("/proc/cpuinfo");
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        let load = read("/proc/loadavg").split_whitespace().next().and_then(|load| load.parse().ok());
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            cpu: model.map(|(_, name)| name.trim().to_owned()).unwrap_or_default(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load.unwrap_or_default(),
        }
    }
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(quick: bool, rounds: usize) -> Self {
        Self { quick, rounds, machine: Machine::this(), figures: Vec::new() }
    }

    /// Adds a figure and prints its line.
    ///
    /// # Errors
    /// A number that is not finite: the benchmark did not measure anything.
    pub(crate) fn add(
        &mut self,
        benchmark: &'static str,
        name: impl Into<String>,
        (value, unit): (f64, &'static str),
        goal: Goal,
        details: &[(&'static str, f64)],
    ) -> anyhow::Result<()> {
        let name = name.into();
        let details: BTreeMap<_, _> = details.iter().copied().collect();
        for (what, value) in details.iter().map(|(key, value)| (*key, *value)).chain([("value", value)]) {
            anyhow::ensure!(value.is_finite(), "{benchmark}, {name}: {what} is {value}");
        }
        let figure = Figure { benchmark, name, value, unit, goal, met: goal.met(value), details };
        say(&figure.line());
        self.figures.push(figure);
        Ok(())
    }

    /// Adds the ratio of rates of a paired run, with both sides' rates and CPU times.
    ///
    /// # Errors
    /// As [`Report::add`].
    pub(crate) fn add_rate(
        &mut self,
        benchmark: &'static str,
        name: impl Into<String>,
        paired: &Paired,
        goal: Goal,
    ) -> anyhow::Result<()> {
        let (baseline, muster) = paired.medians(|round| round.rate);
        let (baseline_cpu, muster_cpu) = paired.medians(|round| round.cpu_us);
        let (lowest, highest) = paired.rate_spread();
        let details = [
            ("baseline-per-s", baseline),
            ("muster-per-s", muster),
            ("baseline-cpu-us", baseline_cpu),
            ("muster-cpu-us", muster_cpu),
            ("cpu-ratio", paired.cpu_ratio()),
            ("lowest-ratio", lowest),
            ("highest-ratio", highest),
        ];
        self.add(benchmark, name, (paired.rate_ratio(), "x"), goal, &details)
    }

    /// Prints what fell short and writes everything as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn finish(&self, path: &Path) -> anyhow::Result<()> {
        let with_goal = self.figures.iter().filter(|figure| figure.met.is_some()).count();
        let met = self.figures.iter().filter(|figure| figure.met == Some(true)).count();
        say(&format!("\n{met} of {with_goal} goals met; everything in {}", path.display()));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, serde_json::to_vec_pretty(self)?)?;
        Ok(())
    }
}

impl Figure {
    fn line(&self) -> String {
        let verdict = match self.met {
            Some(true) => "met",
            Some(false) => "SHORT",
            None => "",
        };
        let details: Vec<_> =
            self.details.iter().map(|(key, value)| format!("{key} {}", number(*value))).collect();
        let value = format!("{} {}", number(self.value), self.unit);
        let Self { benchmark, name, .. } = self;
        let goal = self.goal.text();
        format!("{benchmark:<10} {name:<44} {value:>14} {goal:>10} {verdict:<6}  {}", details.join("  "))
    }
}

/// The heading of the lines.
pub(crate) fn heading() {
    let (benchmark, name, value, goal) = ("benchmark", "figure", "value", "goal");
    say(&format!("{benchmark:<10} {name:<44} {value:>14} {goal:>10}"));
}

/// Prints a line.
pub(crate) fn say(line: &str) {
    // Nobody reads it any more: the numbers are still written to the file.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Three digits are all that such a measurement has.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        small if small < 10.0 => format!("{value:.2}"),
        medium if medium < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_whether_its_goal_is_met() {
        let mut report = Report::new(true, 1);
        report.add("x", "more", (0.9, "x"), Goal::AtLeast(0.8), &[("n", 12_345.6)]).unwrap();
        report.add("x", "less", (2.0, "us"), Goal::AtMost(1.5), &[]).unwrap();
        report.add("x", "any", (2.0, "MiB"), Goal::Reported, &[]).unwrap();
        let met: Vec<_> = report.figures.iter().map(|figure| figure.met).collect();
        assert_eq!(met, [Some(true), Some(false), None]);
        let line = report.figures[0].line();
        assert!(
            line.contains("0.90 x") && line.contains(">= 0.80 met") && line.ends_with("n 12346"),
            "{line}"
        );
    }

    #[test]
    fn what_is_not_a_number_is_an_error() {
        let mut report = Report::new(true, 1);
        assert!(report.add("x", "y", (f64::NAN, "x"), Goal::Reported, &[]).is_err());
        assert!(report.add("x", "y", (1.0, "x"), Goal::Reported, &[("z", f64::INFINITY)]).is_err());
    }
}
