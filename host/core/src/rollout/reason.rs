//! Why a candidate was given up.

/// Why a candidate was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// a step before its first call went wrong
    #[error("{0}")]
    Refused(String),
    /// it broke
    #[error("trapped in {traps} of {runs} calls")]
    Traps {
        /// how often
        traps: u64,
        /// of how many calls
        runs: u64,
    },
    /// it used up its time or its CPU
    #[error("was not done in time in {deadlines} of {runs} calls")]
    Deadlines {
        /// how often
        deadlines: u64,
        /// of how many calls
        runs: u64,
    },
    /// it gave no answer
    #[error("gave no answer in {faults} of {runs} calls")]
    Faults {
        /// how often
        faults: u64,
        /// of how many calls
        runs: u64,
    },
    /// it judges otherwise than the active version
    #[error("judged {disagreed} of {compared} targets otherwise than the active version")]
    Mismatch {
        /// how often
        disagreed: u64,
        /// of how many comparisons
        compared: u64,
    },
    /// it is slow
    #[error("99 of 100 calls took up to {p99_us} us, those of the active version up to {active_p99_us} us")]
    Latency {
        /// its own, microseconds
        p99_us: u64,
        /// that of the active version, microseconds
        active_p99_us: u64,
    },
    /// an operator said so
    #[error("an operator rolled it back")]
    Operator,
    /// another member found it out
    #[error("member {node}: {why}")]
    Member {
        /// its id
        node: u64,
        /// what it said
        why: String,
    },
    /// another version came before it was done
    #[error("another version was installed")]
    Replaced,
}

impl Reason {
    /// The words of metrics.
    pub const WORDS: [&'static str; 9] =
        ["refused", "trap", "deadline", "fault", "mismatch", "latency", "operator", "replaced", "member"];

    /// The word of metrics and of the API.
    pub const fn word(&self) -> &'static str {
        let at = match self {
            Self::Refused(_) => 0,
            Self::Traps { .. } => 1,
            Self::Deadlines { .. } => 2,
            Self::Faults { .. } => 3,
            Self::Mismatch { .. } => 4,
            Self::Latency { .. } => 5,
            Self::Operator => 6,
            Self::Replaced => 7,
            Self::Member { .. } => 8,
        };
        Self::WORDS[at]
    }
}
