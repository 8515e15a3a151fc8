//! How busy the machine and this process are, from `/proc`; zeros where there is none.

use std::fs;

/// Three numbers that Nacos shows among its metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// share of the machine's processors in use over the last minute, 0 to 1
    pub(crate) cpu: f64,
    /// load average of one minute
    pub(crate) load: f64,
    /// share of the machine's memory in use, 0 to 1
    pub(crate) memory: f64,
}

/// The numbers as they are now.
pub(crate) fn read() -> Load {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let load = load_average(&text("/proc/loadavg"));
    #[allow(clippy::cast_precision_loss, reason = "machines have fewer than 2^52 processors")]
    let cpu = (load / processors as f64).min(1.0);
    Load { cpu, load, memory: memory(&text("/proc/meminfo")) }
}

fn load_average(text: &str) -> f64 {
    text.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
}

fn memory(text: &str) -> f64 {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    match (field("MemTotal:"), field("MemAvailable:")) {
        (Some(total), Some(available)) if total > 0.0 => 1.0 - available / total,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_kernel_are_understood() {
        assert_eq!(load_average("0.52 0.58 0.59 1/467 12345\n"), 0.52);
        assert_eq!(memory("MemTotal:   1000 kB\nMemFree: 1 kB\nMemAvailable:    250 kB\n"), 0.75);
        assert_eq!((load_average(""), memory("")), (0.0, 0.0));
    }
}
