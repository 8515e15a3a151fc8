//! `dns`: the members are what a name in DNS stands for: its SRV records, or its addresses. Made for headless services
//! of Kubernetes, and for whoever keeps names anyway.

use muster_sdk::member_lookup::*;
use muster_sdk::nacos;

/// Looks a name up again and again.
pub struct Dns;

impl MemberLookup for Dns {
    fn describe() -> Descriptor {
        Descriptor::new(
            "dns",
            env!("CARGO_PKG_VERSION"),
            "members from SRV or address records of a name in DNS",
        )
        .setting(Setting::text("name", "a full name, such as muster.default.svc.cluster.local").required())
        .setting(
            Setting::choice("records", &["srv", "address"], "which records name the members").default("srv"),
        )
        .setting(Setting::integer(
            "port",
            1,
            65_535,
            "main port of the members; without it that of the record, or the node's own",
        ))
        .setting(
            Setting::choice(
                "members",
                &["addresses", "targets"],
                "what members are called by: addresses, or the host names of SRV records",
            )
            .default("addresses"),
        )
        .setting(
            Setting::integer("interval", 1_000, 3_600_000, "milliseconds between two questions")
                .default("5000"),
        )
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !is_name(settings.text("name")) {
            problems
                .push(Problem::new("name", "must be a full name, such as muster.default.svc.cluster.local"));
        }
        if settings.text("records") == "address" && settings.text("members") == "targets" {
            problems.push(Problem::new("members", "address records have no targets"));
        }
        problems
    }

    fn find(
        _: &ThisNode,
        settings: &Settings,
        cookie: Option<&[u8]>,
        sources: &impl Sources,
    ) -> Result<Answer, Fault> {
        let next = settings.millis("interval")?.unwrap_or(Duration::from_secs(5));
        let name = settings.text("name");
        let port = settings.number("port")?;
        let found = if settings.text("records") == "address" {
            sources.addresses("name").map(|found| of_addresses(found, port))
        } else {
            let by_target = settings.text("members") == "targets";
            sources.services("name").map(|found| of_services(found, port, by_target))
        };
        let members = found.map_err(|error| Fault::internal(format!("{name}: {}", reason(error))))?;
        let written: Vec<String> =
            members.iter().map(|one| format!("{}:{}", one.address, one.port.unwrap_or_default())).collect();
        let stamp = nacos::stamp(written.join("\n").as_bytes());
        if cookie == Some(stamp.as_bytes()) {
            return Ok(Answer::same(next));
        }
        Ok(Answer::members(members, stamp, next))
    }
}

fn of_addresses(found: Vec<String>, port: Option<u16>) -> Vec<Member> {
    found.into_iter().map(|address| Member::new(address, port)).collect()
}

/// One target may have several addresses (of both families, say), but is one member: the first counts.
fn of_services(found: Vec<Service>, port: Option<u16>, by_target: bool) -> Vec<Member> {
    let mut members: Vec<Member> = Vec::new();
    for service in found {
        let address = if by_target { Some(service.target) } else { service.addresses.into_iter().next() };
        let member = address.map(|address| Member::new(address, Some(port.unwrap_or(service.port))));
        members.extend(member.filter(|member| !members.contains(member)));
    }
    members
}

fn reason(error: NameError) -> String {
    match error {
        NameError::Missing => "there are no such records".to_owned(),
        NameError::Denied => "the node does not grant it".to_owned(),
        NameError::TimedOut => "no name server answered in time".to_owned(),
        NameError::TooMany => "too many records".to_owned(),
        NameError::BadName => "is no name".to_owned(),
        NameError::Other(text) => text,
    }
}

/// Whether a text is a full name; the dot at its end may be missing.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let label = |label: &str| !label.is_empty() && label.len() <= 63 && label.chars().all(plain);
    name.len() <= 253 && name.split('.').all(label)
}

muster_sdk::export_member_lookup!(Dns);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::FakeSources;

    fn find(told: &[(&str, &str)], cookie: Option<&[u8]>, sources: &FakeSources) -> Result<Answer, Fault> {
        let node = ThisNode { address: "10.0.0.1".to_owned(), port: 8848, standalone: false };
        let told = [&[("name", "muster.example")], told].concat();
        Dns::find(&node, &Settings::with_defaults(&Dns::describe(), &told), cookie, sources)
    }

    fn members(answer: Result<Answer, Fault>) -> Vec<(String, Option<u16>)> {
        let Ok(Answer::Changed(found)) = answer else { panic!("no list: {answer:?}") };
        found.members.into_iter().map(|member| (member.address, member.port)).collect()
    }

    fn service(target: &str, port: u16, addresses: &[&str]) -> Service {
        let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        Service { target: target.to_owned(), port, priority: 1, weight: 1, addresses }
    }

    #[test]
    fn services_are_members_by_address_or_by_name() {
        let found = vec![
            service("m-0.example", 8848, &["10.0.0.1", "fd00::1"]),
            service("m-1.example", 8850, &["10.0.0.2"]),
            service("m-2.example", 8848, &["10.0.0.1"]),
        ];
        let sources = FakeSources::new().serves("name", Ok(found));
        let by_address = [("10.0.0.1".to_owned(), Some(8848)), ("10.0.0.2".to_owned(), Some(8850))];
        assert_eq!(members(find(&[], None, &sources)), by_address);
        let by_name = members(find(&[("members", "targets"), ("port", "9000")], None, &sources));
        assert_eq!(by_name[2], ("m-2.example".to_owned(), Some(9000)));
    }

    #[test]
    fn addresses_are_members_at_the_nodes_own_port_or_another() {
        let addresses = || vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
        let sources = FakeSources::new().resolves("name", Ok(addresses()));
        let told = [("records", "address")];
        assert_eq!(members(find(&told, None, &sources))[1], ("10.0.0.2".to_owned(), None));
        let at_port = [("records", "address"), ("port", "9000")];
        assert_eq!(members(find(&at_port, None, &sources))[1].1, Some(9000));
        let Ok(Answer::Changed(first)) = find(&told, None, &sources) else { panic!("no list") };
        assert_eq!(find(&told, Some(&first.cookie), &sources), Ok(Answer::Unchanged(5000)));
    }

    #[test]
    fn what_cannot_be_looked_up_is_a_fault_so_the_last_list_stays() {
        let away = FakeSources::new().serves("name", Err(NameError::TimedOut));
        let fault = find(&[], Some(b"x"), &away).unwrap_err();
        assert_eq!(fault, Fault::Internal("muster.example: no name server answered in time".to_owned()));
        assert!(
            matches!(find(&[], None, &FakeSources::new()), Err(Fault::Internal(text)) if text.contains("grant"))
        );
    }

    #[test]
    fn a_name_is_a_full_name_and_addresses_have_no_targets() {
        for name in ["muster.svc.cluster.local.", "_muster._tcp.svc.cluster.local", "m"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "a..b", "a b", "http://a", &"a".repeat(64)] {
            assert!(!is_name(name), "{name}");
        }
        let told = [("name", "a"), ("records", "address"), ("members", "targets")];
        assert_eq!(Dns::validate(&Settings::with_defaults(&Dns::describe(), &told)).len(), 1);
    }
}
