//! What a user agent says about its client: its kind, its version, and whether it hears UDP pushes.

use muster_core::switches::Switches;

/// How Nacos servers introduce themselves to each other.
pub(crate) const SERVER_PREFIX: &str = "Nacos-Server";

/// Whether a client of this agent is told of changes by UDP. Source: Nacos `UdpPushService.canEnablePush`.
pub(crate) fn hears_udp(agent: &str, switches: &Switches) -> bool {
    if !switches.push_enabled {
        return false;
    }
    let kinds: [(&str, &str); 6] = [
        ("Nacos-Java-Client", &switches.push_java_version),
        ("Nacos-DNS", &switches.push_python_version),
        ("Nacos-C-Client", &switches.push_c_version),
        ("vip-client4cpp", &switches.push_c_version),
        ("Nacos-Go-Client", &switches.push_go_version),
        ("Nacos-CSharp-Client", &switches.push_csharp_version),
    ];
    let least = kinds.iter().find(|(prefix, _)| agent.starts_with(prefix)).map(|(_, least)| *least);
    match (least, agent.split_once(":v")) {
        (Some(least), Some((_, version))) => at_least(version, least),
        _ => false,
    }
}

/// Numeric comparison, number by number; a missing one is 0.
fn at_least(version: &str, least: &str) -> bool {
    numbers(version).cmp(numbers(least)) != std::cmp::Ordering::Less
}

fn numbers(version: &str) -> impl Iterator<Item = u32> + '_ {
    let number = |part: &str| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).map_or(part, |end| &part[..end]);
        digits.parse().unwrap_or(0)
    };
    version.split('.').map(number).chain(std::iter::repeat(0)).take(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hears(agent: &str) -> bool {
        hears_udp(agent, &Switches::default())
    }

    #[test]
    fn n191_n192_n193_only_agents_with_a_listener_hear_udp() {
        assert!(hears("Nacos-Java-Client:v1.4.3") && hears("Nacos-Go-Client:v1.0.0"));
        assert!(hears("Nacos-C-Client:v1.0.12") && !hears("Nacos-C-Client:v1.0.9"));
        for silent in ["Nacos-Python-Client:v0.1.16", "curl/8.0", "", "Nacos-Java-Client"] {
            assert!(!hears(silent), "{silent}");
        }
    }

    #[test]
    fn n179_n202_switches_decide_which_versions_hear() {
        let mut switches = Switches::default();
        switches.set("pushVersion", "java:9.9.9").unwrap();
        assert!(!hears_udp("Nacos-Java-Client:v1.4.3", &switches));
        assert!(hears_udp("Nacos-Java-Client:v10.0.0", &switches), "versions compare as numbers");
        switches.set("pushEnabled", "false").unwrap();
        assert!(!hears_udp("Nacos-Java-Client:v10.0.0", &switches));
    }
}
