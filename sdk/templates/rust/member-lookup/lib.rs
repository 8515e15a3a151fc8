//! `{{name}}`: the members are what a URL answers, one a line.

use muster_sdk::member_lookup::*;
use muster_sdk::nacos;

/// Asks the URL in the setting `url`.
pub struct {{type}};

impl MemberLookup for {{type}} {
    fn describe() -> Descriptor {
        Descriptor::new("{{name}}", env!("CARGO_PKG_VERSION"), "the members that a URL answers, one a line")
            .setting(Setting::text("url", "who is asked, http:// or https://").required())
            .setting(Setting::integer("interval", 1000, 3_600_000, "milliseconds between two questions").default("5000"))
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let url = settings.text("url");
        if url.starts_with("http://") || url.starts_with("https://") {
            return Vec::new();
        }
        vec![Problem::new("url", "must begin with http:// or https://")]
    }

    fn find(
        _: &ThisNode,
        settings: &Settings,
        cookie: Option<&[u8]>,
        sources: &impl Sources,
    ) -> Result<Answer, Fault> {
        let next = settings.millis("interval")?.unwrap_or(Duration::from_secs(5));
        let answer = sources.fetch("url", &Request::get("")).map_err(|error| Fault::internal(error.reason()))?;
        if answer.status != 200 {
            // an error page is no list: the node keeps the members that it has
            return Err(Fault::internal(format!("status {}", answer.status)));
        }
        if cookie == Some(&answer.body) {
            return Ok(Answer::same(next));
        }
        let text = String::from_utf8(answer.body).map_err(|_| Fault::internal("the list is not UTF-8"))?;
        let members = nacos::members(&text).map_err(|bad| Fault::internal(bad.to_string()))?;
        if members.is_empty() {
            return Err(Fault::internal("the list is empty"));
        }
        let cookie = if text.len() <= 4096 { text.into_bytes() } else { Vec::new() };
        Ok(Answer::members(members, cookie, next))
    }
}

muster_sdk::export_member_lookup!({{type}});

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::FakeSources;

    fn find(sources: &FakeSources, cookie: Option<&[u8]>) -> Result<Answer, Fault> {
        let settings = Settings::with_defaults(&{{type}}::describe(), &[("url", "http://members/")]);
        let node = ThisNode { address: "10.0.0.1".to_owned(), port: 8848, standalone: false };
        {{type}}::find(&node, &settings, cookie, sources)
    }

    #[test]
    fn the_list_is_read_once_and_then_known() {
        let sources = FakeSources::new().responds(200, "10.0.0.1:8848\n10.0.0.2:8848\n");
        let Ok(Answer::Changed(first)) = find(&sources, None) else { panic!("no list") };
        assert_eq!(first.members.len(), 2);
        let sources = FakeSources::new().responds(200, "10.0.0.1:8848\n10.0.0.2:8848\n");
        assert!(matches!(find(&sources, Some(&first.cookie)), Ok(Answer::Unchanged(5000))));
    }

    #[test]
    fn what_is_no_list_is_a_fault_and_never_an_empty_list() {
        for (status, body) in [(500, "10.0.0.1"), (200, ""), (200, "<html>no list</html>")] {
            assert!(find(&FakeSources::new().responds(status, body), None).is_err(), "{status} {body:?}");
        }
        assert!(find(&FakeSources::new(), None).is_err(), "nothing answers");
    }
}
