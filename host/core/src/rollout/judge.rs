//! Whose verdict counts while two versions run, and which targets they share.

use crate::plugin::{Outcome, Target};

/// What follows from a verdict. Two verdicts with the same effect agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// counts for the target
    Up,
    /// counts against it
    Down,
    /// turns it at once
    DownNow,
    /// nothing
    Nothing,
}

impl From<Outcome> for Effect {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Passed | Outcome::Warning => Self::Up,
            Outcome::Failed => Self::Down,
            Outcome::FailedNow => Self::DownNow,
            Outcome::Inconclusive => Self::Nothing,
        }
    }
}

/// What a canary's verdict is worth by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// it counts
    Counts,
    /// the active version is asked, too, and its verdict counts
    AskActive,
}

/// What the verdict of a candidate in canary is worth; none is a call without an answer.
///
/// What it says for a target was compared in shadow. What it says against one would turn an instance, and a call
/// without an answer says nothing: both times the active version decides.
pub fn worth(candidate: Option<Outcome>) -> Worth {
    match candidate.map(Effect::from) {
        Some(Effect::Up) => Worth::Counts,
        Some(Effect::Down | Effect::DownNow | Effect::Nothing) | None => Worth::AskActive,
    }
}

/// Whether both judged alike; none when one of them gave no answer.
pub fn settled(candidate: Option<Outcome>, active: Option<Outcome>) -> Option<bool> {
    Some(Effect::from(candidate?) == Effect::from(active?))
}

/// Whether a target belongs to the first `permille` of a thousand parts. The same target is in every larger share,
/// too, and is on every node.
pub fn in_share(target: &Target, permille: u16) -> bool {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for part in [&target.namespace, &target.group, &target.service, &target.cluster, &target.address] {
        add(part.as_bytes());
    }
    add(&target.port.to_be_bytes());
    // FNV's low bits depend on little; this mixes them. Source: the finalizer of MurmurHash3
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (hash ^ (hash >> 33)) % 1000 < u64::from(permille)
}
