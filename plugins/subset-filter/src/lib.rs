//! `subset`: each subscriber gets a few of many instances, always the same ones, so that nobody holds connections to all.

use muster_sdk::push_filter::*;
use std::cmp::Reverse;

/// Keeps the instances that rank highest for the subscriber.
pub struct Subset;

impl PushFilter for Subset {
    fn describe() -> Descriptor {
        Descriptor::new(
            "subset",
            env!("CARGO_PKG_VERSION"),
            "a few of the healthy instances for each subscriber, by hash, spread evenly",
        )
        .setting(Setting::integer("size", 1, 1_000_000, "how many each subscriber gets").default("20"))
        .setting(
            Setting::choice("by", &["address", "app"], "who gets the same: an address or an application")
                .default("address"),
        )
    }

    fn select(
        service: &Service,
        who: &impl Subscriber,
        among: &impl View,
        settings: &Settings,
    ) -> Result<Selection, Fault> {
        let size: usize = settings.number("size")?.unwrap_or(20);
        let states = among.states();
        let serving = states.iter().filter(|state| serves(**state)).count();
        // with so few healthy ones everybody has to take what there is
        if serving <= size {
            return Ok(Selection::All);
        }
        let name = if settings.get("by") == Some("app") { who.app() } else { who.address() };
        let who = spread(&[&service.namespace, &service.group, &service.name, &name]).to_string();
        let each = among.addresses().into_iter().zip(among.ports()).zip(states).zip(0_u32..);
        let mut ranked: Vec<(Reverse<u64>, u32)> = each
            .filter(|((_, state), _)| serves(*state))
            .map(|(((address, port), _), index)| {
                (Reverse(spread(&[&who, &address, &port.to_string()])), index)
            })
            .collect();
        // one that comes or goes changes the list of those only for whom it is among the highest
        ranked.select_nth_unstable(size);
        ranked.truncate(size);
        let mut chosen: Vec<u32> = ranked.into_iter().map(|(_, index)| index).collect();
        chosen.sort_unstable();
        Ok(Selection::Only(chosen))
    }
}

muster_sdk::export_push_filter!(Subset);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::{FakeSubscriber, FakeView, Row};

    fn rows(ports: std::ops::Range<u16>) -> Vec<Row> {
        ports.map(|port| Row::new("10.0.0.1", port, "DEFAULT")).collect()
    }

    fn select(address: &str, rows: &[Row], size: &str) -> Option<Vec<u32>> {
        let settings = Settings::with_defaults(&Subset::describe(), &[("size", size)]);
        let who = FakeSubscriber::with(&[]).at(address);
        match Subset::select(&Service::named("web"), &who, &FakeView::new(rows.to_vec()), &settings).unwrap()
        {
            Selection::All => None,
            Selection::Only(indices) => Some(indices),
        }
    }

    #[test]
    fn each_subscriber_gets_its_own_few_and_the_load_is_spread() {
        let rows = rows(0..50);
        let mut load = [0_u32; 50];
        for n in 0..500 {
            let chosen = select(&format!("10.1.{}.{}", n / 250, n % 250), &rows, "10").unwrap();
            assert_eq!(chosen.len(), 10);
            assert!(chosen.is_sorted());
            chosen.iter().for_each(|index| load[*index as usize] += 1);
        }
        assert!(load.iter().all(|count| (60..145).contains(count)), "100 each on average: {load:?}");
        assert_eq!(select("10.1.0.1", &rows, "10"), select("10.1.0.1", &rows, "10"));
    }

    #[test]
    fn one_that_fails_is_replaced_and_the_others_stay() {
        let mut rows = rows(0..50);
        let before = select("10.1.0.1", &rows, "10").unwrap();
        let gone = before[3];
        rows[gone as usize] = rows[gone as usize].clone().unhealthy();
        let after = select("10.1.0.1", &rows, "10").unwrap();
        assert_eq!(after.len(), 10);
        assert!(!after.contains(&gone));
        assert_eq!(before.iter().filter(|index| after.contains(index)).count(), 9);
    }

    #[test]
    fn where_few_are_healthy_everybody_gets_all() {
        assert_eq!(select("10.1.0.1", &rows(0..10), "10"), None);
        let mut sick = rows(0..20);
        for row in sick.iter_mut().take(10) {
            *row = row.clone().disabled();
        }
        assert_eq!(select("10.1.0.1", &sick, "10"), None);
    }

    #[test]
    fn a_small_service_asks_nothing_of_anybody() {
        let who = FakeSubscriber::with(&[]);
        let settings = Settings::with_defaults(&Subset::describe(), &[]);
        Subset::select(&Service::named("web"), &who, &FakeView::new(rows(0..20)), &settings).unwrap();
        assert_eq!(who.asked(), [""; 0]);
    }
}
