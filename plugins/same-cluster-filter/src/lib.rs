//! `same-cluster-first`: subscribers get the instances near them, and all of them when too few are healthy there.

use muster_sdk::push_filter::*;

/// Keeps what is where the subscriber is.
pub struct SameClusterFirst;

/// The word in `key` that means the cluster's name instead of a metadata key.
const CLUSTER: &str = "cluster";

impl PushFilter for SameClusterFirst {
    fn describe() -> Descriptor {
        Descriptor::new(
            "same-cluster-first",
            env!("CARGO_PKG_VERSION"),
            "instances of the subscriber's own cluster, all when too few of those are healthy",
        )
        .setting(Setting::text("label", "label of the subscriber that says where it is").default(CLUSTER))
        .setting(
            Setting::text("key", "`cluster` for the instance's cluster, else a metadata key of it")
                .default(CLUSTER),
        )
        .setting(
            Setting::integer("min-healthy", 0, 1_000_000, "fewer healthy ones than this spill over to all")
                .default("1"),
        )
        .setting(
            Setting::integer("min-healthy-percent", 0, 100, "a smaller healthy share of them does so too")
                .default("0"),
        )
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let empty = |key: &&str| settings.get(key).is_some_and(str::is_empty);
        ["label", "key"]
            .iter()
            .filter(|key| empty(key))
            .map(|key| Problem::new(key, "must not be empty"))
            .collect()
    }

    fn select(
        _: &Service,
        who: &impl Subscriber,
        among: &impl View,
        settings: &Settings,
    ) -> Result<Selection, Fault> {
        let label = settings.get("label").unwrap_or(CLUSTER);
        let Some(place) = who.label(label).filter(|place| !place.is_empty()) else {
            return Ok(Selection::All);
        };
        let column = match settings.get("key") {
            None | Some(CLUSTER) => among.clusters(),
            Some(key) => among.metadata(key),
        };
        let Some(code) = column.code(&place) else { return Ok(Selection::All) };
        let floor = Floor {
            count: settings.number("min-healthy")?.unwrap_or(1),
            percent: settings.number("min-healthy-percent")?.unwrap_or(0),
        };
        Ok(near(&column, code, &among.states(), floor))
    }
}

/// How many healthy instances are enough.
#[derive(Clone, Copy)]
struct Floor {
    count: u64,
    percent: u64,
}

/// The indices with `code`, or all.
fn near(column: &Column, code: u32, states: &[u8], floor: Floor) -> Selection {
    let chosen = column.rows(|its| its == code);
    let (mut serving, mut healthy) = (0_u64, 0_u64);
    for &index in &chosen {
        let state = states.get(index as usize).copied().unwrap_or_default();
        serving += u64::from(state & ENABLED != 0);
        healthy += u64::from(state & (ENABLED | HEALTHY) == ENABLED | HEALTHY);
    }
    let too_few = healthy < floor.count || healthy * 100 < floor.percent * serving;
    if too_few || chosen.len() == column.codes.len() { Selection::All } else { Selection::Only(chosen) }
}

muster_sdk::export_push_filter!(SameClusterFirst);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::{FakeSubscriber, FakeView, Row};

    fn select(labels: &[(&str, &str)], rows: Vec<Row>, pairs: &[(&str, &str)]) -> Selection {
        let settings = Settings::with_defaults(&SameClusterFirst::describe(), pairs);
        let who = FakeSubscriber::with(labels);
        SameClusterFirst::select(&Service::named("web"), &who, &FakeView::new(rows), &settings).unwrap()
    }

    fn two_in_each() -> Vec<Row> {
        vec![
            Row::new("10.0.0.1", 80, "BJ"),
            Row::new("10.0.0.2", 80, "SH"),
            Row::new("10.0.0.3", 80, "BJ"),
            Row::new("10.0.0.4", 80, "SH"),
        ]
    }

    fn is(selection: &Selection, expected: &[u32]) -> bool {
        matches!(selection, Selection::Only(indices) if indices == expected)
    }

    #[test]
    fn a_subscriber_gets_its_own_cluster_in_order() {
        assert!(is(&select(&[("cluster", "SH")], two_in_each(), &[]), &[1, 3]));
        assert!(is(&select(&[("cluster", "BJ")], two_in_each(), &[]), &[0, 2]));
    }

    #[test]
    fn who_is_nowhere_or_alone_gets_all() {
        for labels in [&[][..], &[("cluster", "")], &[("cluster", "GZ")], &[("zone", "SH")]] {
            assert!(matches!(select(labels, two_in_each(), &[]), Selection::All), "{labels:?}");
        }
    }

    #[test]
    fn all_in_one_place_is_all() {
        let rows = vec![Row::new("10.0.0.1", 80, "BJ"), Row::new("10.0.0.2", 80, "BJ")];
        assert!(matches!(select(&[("cluster", "BJ")], rows, &[]), Selection::All));
    }

    #[test]
    fn too_few_healthy_ones_spill_over() {
        let mut rows = two_in_each();
        rows[1] = rows[1].clone().unhealthy();
        let at = &[("cluster", "SH")];
        assert!(is(&select(at, rows.clone(), &[]), &[1, 3]), "one is enough by default");
        assert!(matches!(select(at, rows.clone(), &[("min-healthy", "2")]), Selection::All));
        assert!(matches!(select(at, rows.clone(), &[("min-healthy-percent", "51")]), Selection::All));
        assert!(is(&select(at, rows.clone(), &[("min-healthy-percent", "50")]), &[1, 3]));
        rows[3] = rows[3].clone().disabled();
        assert!(matches!(select(at, rows, &[]), Selection::All), "out of service is not healthy");
    }

    #[test]
    fn a_metadata_key_may_say_where_an_instance_is() {
        let rows = vec![
            Row::new("10.0.0.1", 80, "DEFAULT").metadata("zone", "a"),
            Row::new("10.0.0.2", 80, "DEFAULT"),
            Row::new("10.0.0.3", 80, "DEFAULT").metadata("zone", "b"),
            Row::new("10.0.0.4", 80, "DEFAULT").metadata("zone", "b"),
        ];
        let settings = &[("key", "zone"), ("label", "zone")];
        assert!(is(&select(&[("zone", "b")], rows, settings), &[2, 3]));
    }

    #[test]
    fn nothing_but_the_label_is_asked_of_the_subscriber() {
        let who = FakeSubscriber::with(&[("cluster", "SH")]);
        let settings = Settings::with_defaults(&SameClusterFirst::describe(), &[]);
        SameClusterFirst::select(&Service::named("web"), &who, &FakeView::new(two_in_each()), &settings)
            .unwrap();
        assert_eq!(who.asked(), ["label cluster"]);
    }

    #[test]
    fn empty_words_are_refused_when_they_are_stored() {
        let settings = Settings::from([("label", ""), ("key", "zone")].as_slice());
        let problems = SameClusterFirst::validate(&settings);
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["label"]);
    }
}
