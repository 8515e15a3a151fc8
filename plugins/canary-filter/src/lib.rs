//! `canary`: a share of the subscribers gets the instances of a new version, all others the rest.

use muster_sdk::push_filter::*;

/// Keeps the canaries, or all but them.
pub struct Canary;

/// Values of the subscriber's label that settle it.
const ALWAYS: &str = "always";
const NEVER: &str = "never";

impl PushFilter for Canary {
    fn describe() -> Descriptor {
        Descriptor::new(
            "canary",
            env!("CARGO_PKG_VERSION"),
            "the canaries for a share of the subscribers, the rest for all others",
        )
        .setting(Setting::text("key", "metadata key that marks a canary").default("canary"))
        .setting(Setting::text("value", "its value for canaries").default("true"))
        .setting(
            Setting::integer("percent", 0, 100, "share of the subscribers that gets canaries").default("5"),
        )
        .setting(
            Setting::choice(
                "by",
                &["address", "app"],
                "what the share is taken of: addresses or applications",
            )
            .default("address"),
        )
        .setting(
            Setting::text("label", "label of a subscriber that is `always` or `never` among them")
                .default("canary"),
        )
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let empty = |key: &&str| settings.get(key).is_some_and(str::is_empty);
        let empty = ["key", "value", "label"].into_iter().filter(empty);
        empty.map(|key| Problem::new(key, "must not be empty")).collect()
    }

    fn select(
        service: &Service,
        who: &impl Subscriber,
        among: &impl View,
        settings: &Settings,
    ) -> Result<Selection, Fault> {
        let column = among.metadata(settings.get("key").unwrap_or("canary"));
        let Some(mark) = column.code(settings.get("value").unwrap_or("true")) else {
            return Ok(Selection::All);
        };
        let states = among.states();
        let part = |canaries: bool| Part::of(&column, &states, |code| (code == mark) == canaries);
        let (wanted, other) = match gets_canaries(service, who, settings)? {
            true => (part(true), part(false)),
            false => (part(false), part(true)),
        };
        // neither the canaries nor the others may be the reason that somebody sees nothing that serves
        Ok(match (wanted.serving, other.serving) {
            (true, _) => Selection::Only(wanted.indices),
            (false, true) => Selection::Only(other.indices),
            (false, false) => Selection::All,
        })
    }
}

/// Whether the subscriber is one of the share. Asks for its address or application only where that matters, so that
/// as many as possible are alike.
fn gets_canaries(service: &Service, who: &impl Subscriber, settings: &Settings) -> Result<bool, Fault> {
    match who.label(settings.get("label").unwrap_or("canary")).as_deref() {
        Some(ALWAYS) => return Ok(true),
        Some(NEVER) => return Ok(false),
        _ => {}
    }
    let percent: u64 = settings.number("percent")?.unwrap_or(5);
    if percent == 0 || percent >= 100 {
        return Ok(percent > 0);
    }
    let name = if settings.get("by") == Some("app") { who.app() } else { who.address() };
    Ok(spread(&[&service.namespace, &service.group, &service.name, &name]) % 10_000 < percent * 100)
}

/// Some of the instances.
struct Part {
    indices: Vec<u32>,
    /// whether one of them is healthy and takes traffic
    serving: bool,
}

impl Part {
    fn of(column: &Column, states: &[u8], keep: impl Fn(u32) -> bool) -> Self {
        let indices = column.rows(keep);
        let serving = any_serves(&indices, states);
        Self { indices, serving }
    }
}

muster_sdk::export_push_filter!(Canary);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::{FakeSubscriber, FakeView, Row};

    fn rows() -> Vec<Row> {
        let row = |port| Row::new("10.0.0.1", port, "DEFAULT");
        vec![row(1), row(2).metadata("canary", "true"), row(3), row(4).metadata("canary", "no")]
    }

    fn select(who: &FakeSubscriber, rows: Vec<Row>, pairs: &[(&str, &str)]) -> Option<Vec<u32>> {
        let settings = Settings::with_defaults(&Canary::describe(), pairs);
        match Canary::select(&Service::named("web"), who, &FakeView::new(rows), &settings).unwrap() {
            Selection::All => None,
            Selection::Only(indices) => Some(indices),
        }
    }

    fn labelled(value: &str) -> FakeSubscriber {
        FakeSubscriber::with(&[("canary", value)])
    }

    #[test]
    fn the_share_gets_canaries_and_the_others_the_rest() {
        let mut share = 0;
        for n in 0..1_000 {
            let who = FakeSubscriber::with(&[]).at(&format!("10.1.{}.{}", n / 250, n % 250));
            let chosen = select(&who, rows(), &[("percent", "20")]).unwrap();
            assert!(chosen == [1] || chosen == [0, 2, 3], "{chosen:?}");
            assert_eq!(select(&who, rows(), &[("percent", "20")]).unwrap(), chosen, "the same each time");
            share += u32::from(chosen == [1]);
        }
        assert!((160..240).contains(&share), "{share} of 1000");
    }

    #[test]
    fn a_larger_share_keeps_who_was_in_it() {
        for n in 0..200 {
            let who = FakeSubscriber::with(&[]).at(&format!("10.1.0.{n}"));
            let of = |percent: &str| select(&who, rows(), &[("percent", percent)]).unwrap() == [1];
            assert!(!of("10") || of("30"), "{n} fell out");
        }
    }

    #[test]
    fn a_label_settles_it_and_then_nothing_else_is_asked() {
        let (always, never) = (labelled("always"), labelled("never"));
        assert_eq!(select(&always, rows(), &[("percent", "1")]), Some(vec![1]));
        assert_eq!(select(&never, rows(), &[("percent", "99")]), Some(vec![0, 2, 3]));
        assert_eq!(always.asked(), ["label canary"]);
        let none = labelled("perhaps");
        assert_eq!(select(&none, rows(), &[("percent", "0")]), Some(vec![0, 2, 3]));
        assert_eq!(none.asked(), ["label canary"], "the address does not matter to a share of none");
        let by_app = labelled("perhaps");
        select(&by_app, rows(), &[("by", "app")]);
        assert_eq!(by_app.asked(), ["label canary", "app"]);
    }

    #[test]
    fn nobody_is_left_without_an_instance_that_serves() {
        let mut sick = rows();
        sick[1] = sick[1].clone().unhealthy();
        assert_eq!(select(&labelled("always"), sick.clone(), &[]), Some(vec![0, 2, 3]), "the canary is sick");
        for row in [0, 2, 3] {
            sick[row] = sick[row].clone().disabled();
        }
        assert_eq!(select(&labelled("never"), sick.clone(), &[]), None, "all are");
        let canaries = vec![rows()[1].clone(), rows()[0].clone().unhealthy()];
        assert_eq!(select(&labelled("never"), canaries, &[]), Some(vec![0]), "the others are sick");
        assert_eq!(select(&labelled("always"), vec![rows()[0].clone()], &[]), None, "there is none");
    }

    #[test]
    fn empty_words_are_refused() {
        let settings = Settings::from([("key", ""), ("value", "x")].as_slice());
        assert_eq!(Canary::validate(&settings).iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["key"]);
    }
}
