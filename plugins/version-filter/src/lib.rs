//! `version-match`: subscribers get the instances of their own version.

use muster_sdk::push_filter::*;

/// Keeps what has the subscriber's version.
pub struct VersionMatch;

const VERSION: &str = "version";

impl PushFilter for VersionMatch {
    fn describe() -> Descriptor {
        Descriptor::new(
            "version-match",
            env!("CARGO_PKG_VERSION"),
            "instances of the version that the subscriber is labelled with",
        )
        .setting(Setting::text("label", "label of the subscriber with its version").default(VERSION))
        .setting(Setting::text("key", "metadata key of the instances with theirs").default(VERSION))
        .setting(
            Setting::choice("match", &["exact", "minor", "major"], "how much of the version has to be equal")
                .default("exact"),
        )
        .setting(
            Setting::choice("otherwise", &["all", "none"], "what is sent when no such instance serves")
                .default("all"),
        )
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let empty = |key: &&str| settings.get(key).is_some_and(str::is_empty);
        let empty = ["label", "key"].into_iter().filter(empty);
        empty.map(|key| Problem::new(key, "must not be empty")).collect()
    }

    fn select(
        _: &Service,
        who: &impl Subscriber,
        among: &impl View,
        settings: &Settings,
    ) -> Result<Selection, Fault> {
        let own = who.label(settings.get("label").unwrap_or(VERSION)).filter(|version| !version.is_empty());
        let Some(own) = own else { return Ok(Selection::All) };
        let depth = match settings.get("match") {
            Some("major") => 1,
            Some("minor") => 2,
            _ => usize::MAX,
        };
        let column = among.metadata(settings.get("key").unwrap_or(VERSION));
        // each version once, not each instance
        let fits: Vec<bool> = column.values.iter().map(|theirs| same(&own, theirs, depth)).collect();
        let fits =
            |code: u32| (code as usize).checked_sub(1).and_then(|value| fits.get(value)) == Some(&true);
        let chosen = column.rows(fits);
        let serving = any_serves(&chosen, &among.states());
        Ok(match settings.get("otherwise") {
            _ if serving => Selection::Only(chosen),
            Some("none") => Selection::Only(Vec::new()),
            _ => Selection::All,
        })
    }
}

/// Whether the first `depth` parts of two versions are equal; a `v` in front does not matter, a part that is missing is 0.
fn same(one: &str, other: &str, depth: usize) -> bool {
    let bare = |version: &str| version.strip_prefix('v').unwrap_or(version).to_owned();
    let (one, other) = (bare(one), bare(other));
    if depth == usize::MAX {
        return one == other;
    }
    // what follows a release's number (1.2.3-rc.1+build) belongs to its last part only
    let parts = |version: &str| -> Vec<String> {
        let release = version.split(['-', '+']).next().unwrap_or_default().to_owned();
        let mut parts: Vec<_> = release.split('.').map(str::to_owned).collect();
        parts.resize(depth.max(parts.len()), "0".to_owned());
        parts.truncate(depth);
        parts
    };
    parts(&one) == parts(&other)
}

muster_sdk::export_push_filter!(VersionMatch);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::{FakeSubscriber, FakeView, Row};

    fn rows() -> Vec<Row> {
        let row = |port, version: &str| Row::new("10.0.0.1", port, "DEFAULT").metadata("version", version);
        vec![
            row(1, "1.2.3"),
            row(2, "v1.2.4"),
            row(3, "1.3.0"),
            row(4, "2.0"),
            Row::new("10.0.0.1", 5, "DEFAULT"),
        ]
    }

    fn select(version: &str, rows: Vec<Row>, pairs: &[(&str, &str)]) -> Option<Vec<u32>> {
        let settings = Settings::with_defaults(&VersionMatch::describe(), pairs);
        let who = FakeSubscriber::with(&[("version", version)]);
        let selection =
            VersionMatch::select(&Service::named("web"), &who, &FakeView::new(rows), &settings).unwrap();
        assert_eq!(who.asked(), ["label version"]);
        match selection {
            Selection::All => None,
            Selection::Only(indices) => Some(indices),
        }
    }

    #[test]
    fn as_much_of_the_version_is_compared_as_is_said() {
        assert_eq!(select("1.2.3", rows(), &[]), Some(vec![0]));
        assert_eq!(select("1.2.4", rows(), &[]), Some(vec![1]), "with a v or without");
        assert_eq!(select("1.2.9", rows(), &[("match", "minor")]), Some(vec![0, 1]));
        assert_eq!(select("v1", rows(), &[("match", "major")]), Some(vec![0, 1, 2]));
        assert_eq!(select("2.0.0-rc.1", rows(), &[("match", "minor")]), Some(vec![3]));
    }

    #[test]
    fn without_a_match_that_serves_the_settings_say_what_is_sent() {
        assert_eq!(select("3.0", rows(), &[]), None);
        assert_eq!(select("3.0", rows(), &[("otherwise", "none")]), Some(vec![]));
        let mut sick = rows();
        sick[0] = sick[0].clone().unhealthy();
        assert_eq!(select("1.2.3", sick, &[]), None);
        assert_eq!(select("", rows(), &[("otherwise", "none")]), None, "who has no version gets all");
    }

    #[test]
    fn another_key_may_hold_the_version() {
        let rows = vec![
            Row::new("10.0.0.1", 1, "DEFAULT").metadata("api", "2"),
            Row::new("10.0.0.1", 2, "DEFAULT").metadata("api", "1"),
        ];
        assert_eq!(select("1", rows, &[("key", "api")]), Some(vec![1]));
    }

    #[test]
    fn empty_words_are_refused() {
        let settings = Settings::from([("label", ""), ("key", "x")].as_slice());
        assert_eq!(VersionMatch::validate(&settings).len(), 1);
    }
}
