//! Every key and every table of the file. Nothing outside this module knows how a key looks.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name, see [`meta`] | JSON, see `records` |
//! | `log` | index of the entry | JSON [`EntryRecord`](crate::records::EntryRecord) |
//! | `rows` | [`row_key`] | JSON [`muster_core::persist::Row`] |
//! | `snapshot` | generation of the snapshot, number of the piece | a piece of it, see `snapshot` |
//! | `quarantine` | index of the entry, number of the command in it | JSON [`Quarantined`](crate::Quarantined) |
//!
//! A row's key is a tag and the parts of its name. Each part ends in `00 01`, and a zero byte inside a part
//! is written `00 FF`. So keys sort exactly as [`RowKey`] does, whatever the parts contain, no key is the
//! beginning of another, and all rows of one kind of one service are neighbours.

use muster_core::ids::ServiceKey;
use muster_core::persist::RowKey;
use muster_core::plugin::PluginKind;
use redb::TableDefinition;
use std::ops::Range;

/// Format of the file, stored under [`meta::FORMAT`]. Raise it when a release cannot read what the next one
/// writes, and keep reading the older ones: a file of each is in `tests/fixtures`.
pub(crate) const FORMAT: u32 = 1;

pub(crate) const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");
pub(crate) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
pub(crate) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
pub(crate) const SNAPSHOT: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("snapshot");
pub(crate) const QUARANTINE: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("quarantine");

/// Keys of [`META`].
pub(crate) mod meta {
    /// [`FORMAT`](super::FORMAT) of the file, a number
    pub(crate) const FORMAT: &str = "format";
    /// id of the node whose file this is, a number
    pub(crate) const NODE: &str = "node";
    /// the group that the file belongs to, [`Group`](crate::Group); none before it was founded or joined
    pub(crate) const GROUP: &str = "group";
    /// the last vote, `VoteRecord`
    pub(crate) const VOTE: &str = "vote";
    /// the last entry known to be committed, `LogIdRecord`; may lag, never leads
    pub(crate) const COMMITTED: &str = "committed";
    /// the last entry removed from the log, `LogIdRecord`
    pub(crate) const PURGED: &str = "purged";
    /// what the rows contain, `AppliedRecord`
    pub(crate) const APPLIED: &str = "applied";
    /// which snapshot is the current one, `SnapshotRecord`
    pub(crate) const SNAPSHOT: &str = "snapshot";
    /// how many commands are in quarantine, `LedgerRecord`; none while there never was one
    pub(crate) const QUARANTINE: &str = "quarantine";
}

const SWITCHES: u8 = 1;
const SERVICE: u8 = 2;
const INSTANCE: u8 = 3;
const OVERLAY: u8 = 4;
const PLUGIN: u8 = 5;

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xFF;
const END: u8 = 0x01;

/// The key of a row.
pub(crate) fn row_key(key: &RowKey) -> Vec<u8> {
    match key {
        RowKey::Switches => vec![SWITCHES],
        RowKey::Service(service) => of_service(SERVICE, service),
        RowKey::Instance(service, address) => with_part(of_service(INSTANCE, service), address),
        RowKey::Overlay(service, id) => with_part(of_service(OVERLAY, service), id),
        RowKey::Plugin(kind, name) => with_part(with_part(vec![PLUGIN], kind.world()), name),
    }
}

/// Where the instance rows of `service` are.
pub(crate) fn instances_of(service: &ServiceKey) -> Range<Vec<u8>> {
    all_below(of_service(INSTANCE, service))
}

/// Where the overlay rows of `service` are.
pub(crate) fn overlays_of(service: &ServiceKey) -> Range<Vec<u8>> {
    all_below(of_service(OVERLAY, service))
}

/// The row whose key this is; none when [`row_key`] did not make it.
pub(crate) fn parse_row_key(bytes: &[u8]) -> Option<RowKey> {
    let (tag, mut rest) = bytes.split_first()?;
    let key = match *tag {
        SWITCHES => RowKey::Switches,
        SERVICE => RowKey::Service(take_service(&mut rest)?),
        INSTANCE => RowKey::Instance(take_service(&mut rest)?, take_part(&mut rest)?),
        OVERLAY => RowKey::Overlay(take_service(&mut rest)?, take_part(&mut rest)?),
        PLUGIN => RowKey::Plugin(PluginKind::of_world(&take_part(&mut rest)?)?, take_part(&mut rest)?),
        _ => return None,
    };
    rest.is_empty().then_some(key)
}

fn of_service(tag: u8, service: &ServiceKey) -> Vec<u8> {
    let parts = [service.namespace(), service.group(), service.name()];
    parts.into_iter().fold(vec![tag], with_part)
}

fn with_part(mut key: Vec<u8>, part: &str) -> Vec<u8> {
    key.reserve(part.len() + 2);
    for byte in part.bytes() {
        key.push(byte);
        if byte == ESCAPE {
            key.push(ESCAPED_ZERO);
        }
    }
    key.extend([ESCAPE, END]);
    key
}

/// Everything that begins with `prefix`, which ends in [`END`].
fn all_below(prefix: Vec<u8>) -> Range<Vec<u8>> {
    let mut end = prefix.clone();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    prefix..end
}

fn take_service(rest: &mut &[u8]) -> Option<ServiceKey> {
    let (namespace, group, name) = (take_part(rest)?, take_part(rest)?, take_part(rest)?);
    Some(ServiceKey::new(&namespace, &group, &name))
}

fn take_part(rest: &mut &[u8]) -> Option<String> {
    let mut part = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        if *byte != ESCAPE {
            part.push(*byte);
            continue;
        }
        let (mark, after) = rest.split_first()?;
        *rest = after;
        match *mark {
            ESCAPED_ZERO => part.push(ESCAPE),
            END => return String::from_utf8(part).ok(),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn service() -> impl Strategy<Value = ServiceKey> {
        let part = || "[a-c\u{0}\u{1}@#é]{0,3}";
        (part(), part(), part())
            .prop_map(|(namespace, group, name)| ServiceKey::new(&namespace, &group, &name))
    }

    fn key() -> impl Strategy<Value = RowKey> {
        let part = || "[a-c\u{0}\u{1}:é]{0,3}";
        prop_oneof![
            Just(RowKey::Switches),
            service().prop_map(RowKey::Service),
            (service(), part()).prop_map(|(service, address)| RowKey::Instance(service, address)),
            (service(), part()).prop_map(|(service, id)| RowKey::Overlay(service, id)),
            (proptest::sample::select(&PluginKind::ALL), part())
                .prop_map(|(kind, name)| RowKey::Plugin(kind, name)),
        ]
    }

    proptest! {
        #[test]
        fn a_key_is_read_as_it_was_written(key in key()) {
            prop_assert_eq!(parse_row_key(&row_key(&key)), Some(key));
        }

        #[test]
        fn keys_sort_as_rows_do(a in key(), b in key()) {
            prop_assert_eq!(row_key(&a).cmp(&row_key(&b)), a.cmp(&b));
        }

        #[test]
        fn a_service_s_range_holds_its_rows_and_no_others(service in service(), key in key()) {
            let bytes = row_key(&key);
            let instance = matches!(&key, RowKey::Instance(of, _) if *of == service);
            let overlay = matches!(&key, RowKey::Overlay(of, _) if *of == service);
            prop_assert_eq!(instances_of(&service).contains(&bytes), instance);
            prop_assert_eq!(overlays_of(&service).contains(&bytes), overlay);
        }

        #[test]
        fn bytes_that_are_no_key_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            if let Some(key) = parse_row_key(&bytes) {
                // blank namespaces and groups are the one thing that is not kept as written
                prop_assert!(parse_row_key(&row_key(&key)) == Some(key));
            }
        }
    }
}
