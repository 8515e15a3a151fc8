//! `standalone`: this node is the whole cluster.

use muster_sdk::member_lookup::*;

/// Answers with the node that asks.
pub struct Standalone;

/// There is nothing to wait for; the longest time that the host allows.
const NEXT: Duration = Duration::from_secs(3600);

impl MemberLookup for Standalone {
    fn describe() -> Descriptor {
        Descriptor::new("standalone", env!("CARGO_PKG_VERSION"), "this node alone")
    }

    fn find(node: &ThisNode, _: &Settings, cookie: Option<&[u8]>, _: &impl Sources) -> Result<Answer, Fault> {
        let own = format!("{} {}", node.address, node.port);
        if cookie == Some(own.as_bytes()) {
            return Ok(Answer::same(NEXT));
        }
        let member = Member::new(&*node.address, Some(node.port));
        Ok(Answer::members(vec![member], own, NEXT))
    }
}

muster_sdk::export_member_lookup!(Standalone);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::FakeSources;

    #[test]
    fn the_node_itself_is_the_list_and_stays_it() {
        let node = ThisNode { address: "10.0.0.5".to_owned(), port: 8848, standalone: true };
        let find = |cookie: Option<&[u8]>| {
            Standalone::find(&node, &Settings::default(), cookie, &FakeSources::new())
        };
        let Ok(Answer::Changed(first)) = find(None) else { panic!("a first answer is a list") };
        assert_eq!(first.members, [Member::new("10.0.0.5", Some(8848))]);
        assert_eq!(find(Some(&first.cookie)), Ok(Answer::Unchanged(3_600_000)));
        assert!(matches!(find(Some(b"10.0.0.6 8848")), Ok(Answer::Changed(_))));
    }
}
