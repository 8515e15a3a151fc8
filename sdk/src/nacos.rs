//! Nacos's member list format, the text of `cluster.conf` and of an address server.

use crate::member_lookup::Member;
use std::fmt;
use std::net::Ipv6Addr;

/// An entry that is no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// counted from 1
    pub line: usize,
    /// as it was written
    pub entry: String,
}

impl fmt::Display for BadEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: '{}' is no host, host:port or [v6]:port", self.line, self.entry)
    }
}

impl std::error::Error for BadEntry {}

/// Reads a list: one member a line or several with commas between them, `#` comments, an optional port each.
/// Duplicates are dropped; the order stays. A `?name=value` tail of old files is ignored.
///
/// Source: Nacos `EnvUtil.analyzeClusterConf` and `MemberUtil.singleParse`.
///
/// # Errors
/// The first entry that is no address. A list without it would be a smaller cluster than was meant.
pub fn members(text: &str) -> Result<Vec<Member>, BadEntry> {
    let mut members = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        for entry in line.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let bad = || BadEntry { line: index + 1, entry: entry.chars().take(128).collect() };
            let member = member(entry).ok_or_else(bad)?;
            if !members.contains(&member) {
                members.push(member);
            }
        }
    }
    Ok(members)
}

/// One entry without spaces around it.
fn member(entry: &str) -> Option<Member> {
    let entry = entry.split('?').next().unwrap_or_default().trim();
    if let Some(rest) = entry.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        address.parse::<Ipv6Addr>().ok()?;
        return Some(Member::new(address, after_colon(port)?));
    }
    if entry.parse::<Ipv6Addr>().is_ok() {
        return Some(Member::new(entry, None));
    }
    let (host, port) = entry.split_at(entry.find(':').unwrap_or(entry.len()));
    is_host(host).then_some(())?;
    Some(Member::new(host, after_colon(port)?))
}

/// What follows a host: nothing, or a colon and a port.
fn after_colon(text: &str) -> Option<Option<u16>> {
    if text.is_empty() {
        return Some(None);
    }
    let port = text.strip_prefix(':')?.parse().ok()?;
    (port != 0).then_some(Some(port))
}

/// A name or an IPv4 address; underscores are common in container networks.
fn is_host(host: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=253).contains(&host.len()) && host.chars().all(fits)
}

/// A short word that differs when the bytes do: FNV-1a of 64 bits and the length. Not against an adversary.
pub fn stamp(bytes: &[u8]) -> String {
    let mix = |hash: u64, &byte: &u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    format!("{hash:016x}-{:x}", bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<(String, Option<u16>)> {
        members(text).unwrap().into_iter().map(|m| (m.address, m.port)).collect()
    }

    #[test]
    fn n304_comments_blank_lines_addresses_with_and_without_port_and_comma_lists() {
        let text =
            "# it is ip\n\n192.168.1.1\r\n192.168.1.2:8849 # spare\n  a.example:80, b_1 ,192.168.1.1\n,\n";
        let expected =
            [("192.168.1.1", None), ("192.168.1.2", Some(8849)), ("a.example", Some(80)), ("b_1", None)];
        assert_eq!(list(text), expected.map(|(address, port)| (address.to_owned(), port)));
    }

    #[test]
    fn n305_a_missing_port_is_left_to_the_node() {
        assert_eq!(list("10.0.0.1"), [("10.0.0.1".to_owned(), None)]);
    }

    #[test]
    fn ipv6_stands_in_brackets_or_alone() {
        assert_eq!(
            list("[::1]:8848\n[fe80::1]\n2001:db8::2"),
            [("::1".to_owned(), Some(8848)), ("fe80::1".to_owned(), None), ("2001:db8::2".to_owned(), None)]
        );
    }

    #[test]
    fn the_tail_of_old_files_is_ignored() {
        assert_eq!(list("10.0.0.1:8848?raft_port=8807"), [("10.0.0.1".to_owned(), Some(8848))]);
    }

    #[test]
    fn one_bad_entry_refuses_the_list_and_says_where() {
        for entry in
            ["10.0.0.1:", "10.0.0.1:0", "10.0.0.1:70000", "a b", "[::1", "[x]:1", ":80", "http://a", "a:1:2"]
        {
            let error = members(&format!("10.0.0.9\n{entry}")).unwrap_err();
            assert_eq!(error, BadEntry { line: 2, entry: entry.to_owned() });
        }
    }

    #[test]
    fn a_stamp_follows_the_bytes() {
        assert_eq!(stamp(b"a"), stamp(b"a"));
        assert_ne!(stamp(b"10.0.0.1"), stamp(b"10.0.0.2"));
    }
}
