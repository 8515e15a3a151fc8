//! `NamingFuzzyWatchRequest`: watching services by a pattern.

use super::Node;
use super::connection::Connection;
use super::fuzzy::{Pattern, Watched};
use super::messages::{Empty, Failure, Reply, WatchRequest, codes};
use super::payload::Payload;
use super::refusal::Refusal;
use std::sync::Arc;

/// Longest pattern: as long as the longest namespace, group and service name together, and what joins them.
const LONGEST_PATTERN: usize = 1_024;

pub(super) fn watch(
    node: &Node,
    connection: &Arc<Connection>,
    request: &WatchRequest,
) -> Result<Payload, Refusal> {
    let kind = "NamingFuzzyWatchResponse";
    if request.watch_type == "CANCEL_WATCH" {
        node.watches().cancel(&connection.id, &request.group_key_pattern);
        return Ok(Reply::payload(kind, Empty {}));
    }
    let text = request.group_key_pattern.as_str();
    let pattern = Some(text).filter(|text| text.len() <= LONGEST_PATTERN).and_then(Pattern::parse);
    let pattern = pattern.ok_or_else(|| {
        let text = text.chars().take(LONGEST_PATTERN).collect::<String>();
        Failure::coded(codes::INVALID, format!("{text} is no namespace>>group>>service pattern"))
    })?;
    let failure = |error_code, message: &str| {
        Failure { result_code: codes::FAIL, error_code, message: message.into() }.payload(kind)
    };
    if !node.watches().watch(&connection.id, pattern.clone(), request.initializing) {
        return Ok(failure(50310, "fuzzy watch pattern over limit"));
    }
    let all = node.naming.published().all();
    let alive = all.iter().filter(|s| !s.snapshot.instances.is_empty()).map(|s| &s.snapshot.key);
    let now = node.clock.now();
    let nothing = std::collections::BTreeSet::new();
    let received = request.received_group_keys.as_ref().unwrap_or(&nothing);
    let watched = node.watches().compare(now, &connection.id, &pattern, received, alive);
    if node.connections.get(&connection.id).is_none() {
        // It ended meanwhile, perhaps before there was a watch to forget.
        node.watches().forget(&connection.id);
    }
    node.watch_work.notify_one();
    Ok(match watched {
        Watched::Yes => Reply::payload(kind, Empty {}),
        Watched::Full => failure(50311, "fuzzy watch pattern matched count over limit"),
    })
}
