//! What a health check may reach beyond its target: places that its manifest asks for and that the operator allows.
//!
//! Only decides; nothing is looked up or opened here. What is judged is always an address and a port, the very ones
//! that are dialled next, so what a name stands for by then is of no importance.

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    str::FromStr,
};

/// Places that lead to the node itself, to its neighbours on the wire, or to the machine's own keys. No wider network
/// and no name leads there: a rule has to lie wholly within the narrowest of these that holds the address.
const SPECIAL: [IpNet; 11] = [
    // "this host", which Linux takes for the loopback. Source: RFC 1122, section 3.2.1.3.
    v4(0, 0, 0, 0, 8),
    v6([0; 8], 128),
    // loopback
    v4(127, 0, 0, 0, 8),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    // link-local
    v4(169, 254, 0, 0, 16),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    // metadata of AWS, GCP, Azure and others
    v4(169, 254, 169, 254, 32),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128),
    // of Alibaba Cloud, of Oracle Cloud's older shapes, and what Azure's machines ask for their settings
    v4(100, 100, 100, 200, 32),
    v4(192, 0, 0, 192, 32),
    v4(168, 63, 129, 16, 32),
];

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), length)
}

const fn v6(s: [u16; 8], length: u8) -> IpNet {
    IpNet::new_assert(IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7])), length)
}

/// The narrowest special network that holds `address`.
fn special(address: IpAddr) -> Option<IpNet> {
    let own = SPECIAL.into_iter().filter(|net| net.contains(&address)).max_by_key(IpNet::prefix_len);
    own.or_else(|| {
        let IpAddr::V6(outer) = address else { return None };
        // a translator on the way makes a special address of it
        special(IpAddr::V4(inner(outer)?)).map(|_| IpNet::from(address))
    })
}

/// The IPv4 address that a translator makes of an IPv6 one: NAT64 (RFC 6052), 6to4 (RFC 3056), IPv4-compatible
/// (RFC 4291).
fn inner(outer: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = outer.segments();
    let of = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

/// `NAME:PORTS`, `ADDRESS:PORTS` or `NETWORK:PORTS`, such as `auth.example:443`, `10.1.0.0/16:8000-8100`,
/// `[fd00::/8]:*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostRule {
    place: Place,
    low: u16,
    high: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// in lower case, without the dot at the end
    Name(String),
    Network(IpNet),
}

/// A text that is no [`HostRule`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a host with ports, such as \"auth.example:443\", \"10.1.0.0/16:8000-8100\" or \"[fd00::/8]:*\"{why}"
)]
pub struct NotAHost {
    text: String,
    why: &'static str,
}

impl HostRule {
    fn of_address(address: IpAddr, port: u16) -> Self {
        Self { place: Place::Network(IpNet::from(address.to_canonical())), low: port, high: port }
    }

    /// Whether it speaks of this place, as `special` as that is.
    fn matches(&self, name: Option<&str>, address: IpAddr, port: u16, special: Option<IpNet>) -> bool {
        (self.low..=self.high).contains(&port)
            && match (&self.place, special) {
                (Place::Network(net), None) => net.contains(&address),
                (Place::Network(net), Some(special)) => net.contains(&address) && special.contains(net),
                (Place::Name(known), None) => name.is_some_and(|name| plain(name) == *known),
                (Place::Name(_), Some(_)) => false,
            }
    }
}

impl FromStr for HostRule {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let wrong = |why| NotAHost { text: crate::text::one_line(text, 256), why };
        let (place, ports) = text.rsplit_once(':').ok_or_else(|| wrong(": the ports are missing"))?;
        let ports = ports_of(ports).ok_or_else(|| wrong(""))?;
        let place = place_of(place).map_err(wrong)?;
        Ok(Self { place, low: *ports.start(), high: *ports.end() })
    }
}

fn ports_of(text: &str) -> Option<RangeInclusive<u16>> {
    if text == "*" {
        return Some(1..=u16::MAX);
    }
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (low, high) = (number(low)?, number(high)?);
    (low <= high).then_some(low..=high)
}

fn place_of(text: &str) -> Result<Place, &'static str> {
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return network(inner).filter(|_| inner.contains(':')).ok_or("")?.map(Place::Network);
    }
    if text.contains(':') {
        return Err("; IPv6 goes into [ ]");
    }
    match network(text) {
        Some(network) => network.map(Place::Network),
        None if is_name(text) => Ok(Place::Name(plain(text))),
        None => Err(""),
    }
}

/// An address or a network; none when it is neither.
fn network(text: &str) -> Option<Result<IpNet, &'static str>> {
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    if net.trunc() != net {
        return Some(Err(": the address has bits beyond the length of its network"));
    }
    // an IPv4 network in the clothes of IPv6
    Some(Ok(match net.addr().to_canonical() {
        canonical @ IpAddr::V4(_) if net.addr().is_ipv6() && net.prefix_len() >= 96 => {
            IpNet::new(canonical, net.prefix_len() - 96).unwrap_or(net)
        }
        _ => net,
    }))
}

/// Letters, digits, `-` and `_` with dots between them, and nothing that a resolver could take for an address.
fn is_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        let inside = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        (1..=63).contains(&label.len()) && inside
    };
    let last_is_a_word =
        name.rsplit('.').next().is_some_and(|last| last.starts_with(|c: char| c.is_ascii_alphabetic()));
    name.len() <= 253 && last_is_a_word && name.split('.').all(label)
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Name(name) => f.write_str(name)?,
            Place::Network(net) => {
                let whole = net.prefix_len() == net.max_prefix_len();
                let text = if whole { net.addr().to_string() } else { net.to_string() };
                if net.addr().is_ipv6() { write!(f, "[{text}]")? } else { f.write_str(&text)? }
            }
        }
        match (self.low, self.high) {
            (1, u16::MAX) => f.write_str(":*"),
            (low, high) if low == high => write!(f, ":{low}"),
            (low, high) => write!(f, ":{low}-{high}"),
        }
    }
}

impl<'de> Deserialize<'de> for HostRule {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for HostRule {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.collect_str(self)
    }
}

/// What one plugin may reach beyond its target. Empty on one side means nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beyond {
    /// by its manifest
    pub(crate) requested: Vec<HostRule>,
    /// by the operator, at this moment
    pub(crate) granted: Granted,
}

/// Which of the two lacks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// the manifest
    Request,
    /// the operator's settings
    Grant,
}

impl Beyond {
    /// Whether `address` may be dialled. `name` is what was looked up to find it, if anything was.
    pub(crate) fn allows(&self, name: Option<&str>, address: IpAddr, port: u16) -> Result<(), Lacking> {
        let address = address.to_canonical();
        let special = special(address);
        let any = |rules: &[HostRule]| rules.iter().any(|rule| rule.matches(name, address, port, special));
        match (any(&self.requested), any(&self.granted.now())) {
            (false, _) => Err(Lacking::Request),
            (true, false) => Err(Lacking::Grant),
            (true, true) => Ok(()),
        }
    }

    /// The line that would allow it, with all that is allowed already.
    pub(crate) fn line(&self, lacking: Lacking, name: Option<&str>, address: IpAddr, port: u16) -> String {
        let address = address.to_canonical();
        let granted = self.granted.now();
        let there = match lacking {
            Lacking::Request => &self.requested,
            Lacking::Grant => &*granted,
        };
        let named = name.filter(|name| special(address).is_none() && is_name(name));
        let place = named.map(|name| Place::Name(plain(name)));
        let new = place.map_or_else(
            || HostRule::of_address(address, port),
            |place| HostRule { place, low: port, high: port },
        );
        let all: BTreeSet<String> = there.iter().chain([&new]).map(|rule| format!("\"{rule}\"")).collect();
        format!("hosts = [{}]", all.into_iter().collect::<Vec<_>>().join(", "))
    }
}

mod granted;
mod in_force;

pub(crate) use granted::{Granted, Operator};
pub use in_force::in_force;

#[cfg(test)]
mod tests;
