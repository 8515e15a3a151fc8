//! What request and grant come to together, as operators are shown it.

use super::{HostRule, Place, special};
use ipnet::IpNet;

/// Every place that both sides allow, with the ports that both allow.
///
/// A name on one side and a network on the other is the name as long as it stands for an address within the network.
pub fn in_force(requested: &[HostRule], granted: &[HostRule]) -> Vec<String> {
    let pairs = requested.iter().flat_map(|one| granted.iter().map(move |other| (one, other)));
    let mut all: Vec<String> = pairs.filter_map(|(one, other)| both(one, other)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn both(one: &HostRule, other: &HostRule) -> Option<String> {
    let (low, high) = (one.low.max(other.low), one.high.min(other.high));
    if low > high {
        return None;
    }
    let rule = |place: &Place| HostRule { place: place.clone(), low, high }.to_string();
    match (&one.place, &other.place) {
        (Place::Name(name), Place::Name(same)) => (name == same).then(|| rule(&one.place)),
        (Place::Network(net), Place::Network(other)) => {
            overlap(net, other).map(|net| rule(&Place::Network(net)))
        }
        (Place::Name(_), Place::Network(net)) => {
            named(net).then(|| format!("{} within {net}", rule(&one.place)))
        }
        (Place::Network(net), Place::Name(_)) => {
            named(net).then(|| format!("{} within {net}", rule(&other.place)))
        }
    }
}

/// The narrower one, unless it is a special place that the other does not name.
fn overlap(one: &IpNet, other: &IpNet) -> Option<IpNet> {
    let narrow = if one.contains(other) {
        other
    } else if other.contains(one) {
        one
    } else {
        return None;
    };
    let is_named = place_of(narrow).is_none_or(|special| special.contains(one) && special.contains(other));
    is_named.then_some(*narrow)
}

/// Whether a name may lead into this network.
fn named(net: &IpNet) -> bool {
    place_of(net).is_none()
}

/// The special place that the whole network lies in.
fn place_of(net: &IpNet) -> Option<IpNet> {
    special(net.addr()).filter(|special| special.contains(net))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(requested: &[&str], granted: &[&str]) -> Vec<String> {
        let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        in_force(&rules(requested), &rules(granted))
    }

    #[test]
    fn what_both_sides_allow_is_the_narrower_of_the_two() {
        assert_eq!(of(&["10.0.0.0/8:443"], &["10.1.0.0/16:*", "10.2.3.4:80"]), ["10.1.0.0/16:443"]);
        assert_eq!(of(&["auth.example:1-500"], &["auth.example:443-1000"]), ["auth.example:443-500"]);
        assert_eq!(of(&["auth.example:443"], &["10.0.0.0/8:443"]), ["auth.example:443 within 10.0.0.0/8"]);
        assert!(of(&["10.0.0.0/8:443"], &["11.0.0.0/8:443", "10.0.0.0/8:80", "[fd00::/8]:443"]).is_empty());
        assert!(of(&[], &["10.0.0.0/8:443"]).is_empty() && of(&["10.0.0.0/8:443"], &[]).is_empty());
    }

    #[test]
    fn a_special_place_is_in_force_where_both_name_it() {
        assert_eq!(of(&["127.0.0.0/8:80"], &["127.0.0.1:80"]), ["127.0.0.1:80"]);
        assert!(of(&["0.0.0.0/0:80"], &["127.0.0.1:80"]).is_empty());
        assert!(of(&["localhost:80"], &["127.0.0.1:80"]).is_empty());
    }
}
