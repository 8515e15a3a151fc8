//! Writing a push filter: which instances of a service a subscriber gets.

use crate::bindings::filter::muster::plugin::candidates;
use crate::bindings::{about, filter};
use std::marker::PhantomData;

pub use crate::bindings::about::muster::plugin::types::{Descriptor, Fault, Kind, Problem, Setting};
pub use crate::bindings::filter::exports::muster::plugin::filter::{Selection, Service};
pub use crate::log;
pub use crate::settings::Settings;
pub use candidates::{Column, Instance};

/// Bit of [`View::states`]: the instance is healthy.
pub const HEALTHY: u8 = 1;
/// Bit of [`View::states`]: the instance takes traffic.
pub const ENABLED: u8 = 2;
/// Bit of [`View::states`]: the instance lives as long as its client.
pub const EPHEMERAL: u8 = 4;

/// One way to narrow a list. The same list, settings and subscriber must always give the same selection: the
/// host gives an answer again to subscribers that are alike in what was asked of them.
pub trait PushFilter {
    /// The word that selects it, and the settings that it takes.
    fn describe() -> Descriptor;

    /// What is wrong with settings that each fit their description.
    fn validate(settings: &Settings) -> Vec<Problem> {
        let _ = settings;
        Vec::new()
    }

    /// Chooses from `among` what `who` is sent.
    ///
    /// # Errors
    /// It could not choose; the manifest says whether everything or nothing is sent then.
    fn select(
        service: &Service,
        who: &impl Subscriber,
        among: &impl View,
        settings: &Settings,
    ) -> Result<Selection, Fault>;
}

/// Who is sent the list. Ask only what matters: each answer splits the subscribers into more groups.
pub trait Subscriber {
    /// Its IP address.
    fn address(&self) -> String;
    /// The application name it gave.
    fn app(&self) -> String;
    /// Its client library.
    fn agent(&self) -> String;
    /// A label it gave, such as `cluster` or `zone`.
    fn label(&self, key: &str) -> Option<String>;
}

/// The instances of a service, column by column: a column costs about a nanosecond an instance,
/// [`instance`](Self::instance) some two hundred.
pub trait View {
    /// How many there are.
    fn count(&self) -> u32;
    /// One metadata key of all.
    fn metadata(&self, key: &str) -> Column;
    /// The cluster names of all.
    fn clusters(&self) -> Column;
    /// The addresses of all.
    fn addresses(&self) -> Vec<String>;
    /// The ports of all.
    fn ports(&self) -> Vec<u16>;
    /// The weights of all.
    fn weights(&self) -> Vec<f64>;
    /// [`HEALTHY`], [`ENABLED`] and [`EPHEMERAL`] of all.
    fn states(&self) -> Vec<u8>;
    /// One whole instance; none past the end.
    fn instance(&self, index: u32) -> Option<Instance>;
}

impl Subscriber for candidates::Subscriber {
    fn address(&self) -> String {
        Self::address(self)
    }

    fn app(&self) -> String {
        Self::app(self)
    }

    fn agent(&self) -> String {
        Self::agent(self)
    }

    fn label(&self, key: &str) -> Option<String> {
        Self::label(self, key)
    }
}

impl View for candidates::View {
    fn count(&self) -> u32 {
        Self::count(self)
    }

    fn metadata(&self, key: &str) -> Column {
        Self::metadata(self, key)
    }

    fn clusters(&self) -> Column {
        Self::clusters(self)
    }

    fn addresses(&self) -> Vec<String> {
        Self::addresses(self)
    }

    fn ports(&self) -> Vec<u16> {
        Self::ports(self)
    }

    fn weights(&self) -> Vec<f64> {
        Self::weights(self)
    }

    fn states(&self) -> Vec<u8> {
        Self::states(self)
    }

    fn instance(&self, index: u32) -> Option<Instance> {
        Self::instance(self, index)
    }
}

/// A number made of `words`: the same on every node, in every release and for every plugin that asks, and spread evenly.
/// For shares and subsets, not for secrets.
pub fn spread(words: &[&str]) -> u64 {
    // FNV-1a, each word with its length so that ("ab", "c") is not ("a", "bc"), …
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    for word in words {
        word.bytes().for_each(&mut eat);
        word.len().to_le_bytes().iter().take(4).for_each(|byte| eat(*byte));
    }
    // … and MurmurHash3's finalizer, since its low bits alone are poor
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Whether an instance with this state of [`View::states`] is healthy and takes traffic.
pub const fn serves(state: u8) -> bool {
    state & (HEALTHY | ENABLED) == HEALTHY | ENABLED
}

/// Whether one of `rows` serves, by the states of [`View::states`].
pub fn any_serves(rows: &[u32], states: &[u8]) -> bool {
    rows.iter().any(|row| states.get(*row as usize).copied().is_some_and(serves))
}

impl Column {
    /// The code that stands for `value`; none when no instance has it.
    pub fn code(&self, value: &str) -> Option<u32> {
        let place = self.values.iter().position(|known| known == value)?;
        u32::try_from(place + 1).ok()
    }

    /// The indices of the instances whose codes are wanted, ascending.
    pub fn rows(&self, wanted: impl Fn(u32) -> bool) -> Vec<u32> {
        /// A guest is looked at in every turn of a loop, so a turn does much.
        const BLOCK: usize = 16;
        let mut rows = Vec::new();
        let (blocks, rest) = self.codes.as_chunks::<BLOCK>();
        let mut first = 0;
        for block in blocks {
            let mut found = 0_u32;
            for (bit, code) in block.iter().enumerate() {
                found |= u32::from(wanted(*code)) << bit;
            }
            while found != 0 {
                rows.push(first + found.trailing_zeros());
                found &= found - 1;
            }
            first += 16;
        }
        rows.extend((first..).zip(rest).filter(|(_, code)| wanted(**code)).map(|(row, _)| row));
        rows
    }
}

impl Service {
    /// A service of the default namespace and group, for tests.
    pub fn named(name: &str) -> Self {
        Self { namespace: "public".to_owned(), group: "DEFAULT_GROUP".to_owned(), name: name.to_owned() }
    }
}

/// Joins a [`PushFilter`] to the component's exports.
#[doc(hidden)]
#[derive(Debug)]
pub struct Plugin<T>(PhantomData<T>);

impl<T: PushFilter> about::exports::muster::plugin::about::Guest for Plugin<T> {
    fn describe() -> Descriptor {
        T::describe()
    }

    fn validate(settings: Vec<(String, String)>) -> Vec<Problem> {
        T::validate(&settings.into())
    }
}

impl<T: PushFilter> filter::exports::muster::plugin::filter::Guest for Plugin<T> {
    fn select(
        service: Service,
        who: &candidates::Subscriber,
        among: &candidates::View,
        settings: Vec<(String, String)>,
    ) -> Result<Selection, Fault> {
        T::select(&service, who, among, &settings.into())
    }
}

/// Makes the crate a push filter component. Built for the machine itself it only checks the type.
#[macro_export]
macro_rules! export_push_filter {
    ($filter:ty) => {
        const _: () = {
            #[allow(dead_code, reason = "native builds export nothing")]
            type Exported = $crate::push_filter::Plugin<$filter>;
            $crate::export_part!(about, Exported);
            $crate::export_part!(filter, Exported);
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_spread_evenly_and_the_same_for_ever() {
        assert_eq!(spread(&[]), 0xefd0_1f60_ba99_2926);
        assert_ne!(spread(&["ab", "c"]), spread(&["a", "bc"]));
        let mut shares = [0_u32; 10];
        for n in 0..10_000 {
            let share = spread(&["orders", &format!("10.0.{}.{}", n / 250, n % 250)]) % 10;
            shares[usize::try_from(share).unwrap_or(0)] += 1;
        }
        assert!(shares.iter().all(|count| (900..1_100).contains(count)), "{shares:?}");
    }

    #[test]
    fn rows_are_found_in_every_place_of_a_block_and_after_the_last_one() {
        for count in [0, 1, 15, 16, 17, 32, 100] {
            let codes: Vec<u32> = (0..count).map(|n| n * 7 % 5).collect();
            let column = Column { values: Vec::new(), codes };
            let expected: Vec<u32> = (0..count).filter(|n| n * 7 % 5 == 2).collect();
            assert_eq!(column.rows(|code| code == 2), expected, "{count}");
            assert_eq!(column.rows(|_| true), (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn one_row_that_serves_is_enough() {
        let states = [HEALTHY, HEALTHY | ENABLED];
        let cases: [(&[u32], bool); 4] = [(&[], false), (&[0], false), (&[0, 1], true), (&[7], false)];
        for (rows, expected) in cases {
            assert_eq!(any_serves(rows, &states), expected, "{rows:?}");
        }
    }

    #[test]
    fn only_what_is_healthy_and_enabled_serves() {
        let all = [0, HEALTHY, ENABLED, HEALTHY | ENABLED, EPHEMERAL, HEALTHY | ENABLED | EPHEMERAL];
        assert_eq!(all.map(serves), [false, false, false, true, false, true]);
    }
}
