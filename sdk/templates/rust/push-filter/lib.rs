//! `{{name}}`: subscribers get the instances of their own zone, and all when none is healthy there.

use muster_sdk::push_filter::*;

/// Compares a label of the subscriber with a metadata key of the instances.
pub struct {{type}};

impl PushFilter for {{type}} {
    fn describe() -> Descriptor {
        Descriptor::new("{{name}}", env!("CARGO_PKG_VERSION"), "instances of the subscriber's own zone first")
            .setting(Setting::text("key", "label of the subscriber and metadata key of the instances").default("zone"))
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        if settings.text("key").is_empty() {
            return vec![Problem::new("key", "must not be empty")];
        }
        Vec::new()
    }

    fn select(
        _: &Service,
        who: &impl Subscriber,
        among: &impl View,
        settings: &Settings,
    ) -> Result<Selection, Fault> {
        let key = settings.text("key");
        let Some(zone) = who.label(key) else { return Ok(Selection::All) };
        // one column costs about a nanosecond an instance
        let zones = among.metadata(key);
        let Some(code) = zones.code(&zone) else { return Ok(Selection::All) };
        let states = among.states();
        let mut near = Vec::new();
        let mut healthy = false;
        for ((index, &its), &state) in (0_u32..).zip(&zones.codes).zip(&states) {
            if its == code {
                near.push(index);
                healthy |= state & (HEALTHY | ENABLED) == HEALTHY | ENABLED;
            }
        }
        Ok(if healthy { Selection::Only(near) } else { Selection::All })
    }
}

muster_sdk::export_push_filter!({{type}});

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::{FakeSubscriber, FakeView, Row};

    fn select(labels: &[(&str, &str)], rows: Vec<Row>) -> Selection {
        let settings = Settings::with_defaults(&{{type}}::describe(), &[]);
        let who = FakeSubscriber::with(labels);
        {{type}}::select(&Service::named("web"), &who, &FakeView::new(rows), &settings).unwrap()
    }

    fn rows() -> Vec<Row> {
        let row = |address: &str, zone: &str| Row::new(address, 80, "DEFAULT").metadata("zone", zone);
        vec![row("10.0.0.1", "a"), row("10.0.0.2", "b"), row("10.0.0.3", "a")]
    }

    #[test]
    fn a_subscriber_gets_its_own_zone() {
        assert!(matches!(select(&[("zone", "a")], rows()), Selection::Only(near) if near == [0, 2]));
    }

    #[test]
    fn who_is_nowhere_gets_all_and_so_does_who_would_get_no_healthy_one() {
        assert!(matches!(select(&[], rows()), Selection::All));
        assert!(matches!(select(&[("zone", "c")], rows()), Selection::All));
        let mut rows = rows();
        rows[1] = rows[1].clone().unhealthy();
        assert!(matches!(select(&[("zone", "b")], rows), Selection::All));
    }
}
