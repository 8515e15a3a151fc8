//! `address-server`: the members are what an HTTP server says, in Nacos's `cluster.conf` format.

use muster_sdk::member_lookup::*;
use muster_sdk::nacos;

/// Asks the address server again and again.
pub struct AddressServer;

/// Source: Nacos `AddressServerMemberLookup`, its defaults for domain, port and path.
const DEFAULT_URL: &str = "http://jmenv.tbsite.net:8080/nacos/serverlist";

impl MemberLookup for AddressServer {
    fn describe() -> Descriptor {
        Descriptor::new(
            "address-server",
            env!("CARGO_PKG_VERSION"),
            "members from a URL that answers in Nacos's cluster.conf format",
        )
        .setting(Setting::text("url", "where the list is, http:// or https://").default(DEFAULT_URL))
        .setting(
            Setting::integer("interval", 1_000, 3_600_000, "milliseconds between two questions")
                .default("5000"),
        )
        .setting(
            Setting::integer("timeout", 100, 9_000, "milliseconds to wait for an answer").default("3000"),
        )
    }

    fn validate(settings: &Settings) -> Vec<Problem> {
        let bad = path_of(settings.text("url")).is_none();
        bad.then(|| Problem::new("url", "must be http://host[:port]/path or https://…")).into_iter().collect()
    }

    fn find(
        _: &ThisNode,
        settings: &Settings,
        cookie: Option<&[u8]>,
        sources: &impl Sources,
    ) -> Result<Answer, Fault> {
        let next = settings.millis("interval")?.unwrap_or(Duration::from_secs(5));
        let timeout = settings.millis("timeout")?.unwrap_or(Duration::from_secs(3));
        let path = path_of(settings.text("url")).ok_or_else(|| Problem::new("url", "is no http URL"))?;
        let request = Request::get(path).header("accept", "text/plain").timeout(timeout);
        let body = list_of(sources.fetch("url", &request))?;
        let stamp = nacos::stamp(&body);
        if cookie == Some(stamp.as_bytes()) {
            return Ok(Answer::same(next));
        }
        let text = String::from_utf8_lossy(&body);
        let members =
            nacos::members(&text).map_err(|bad| Fault::internal(format!("address server: {bad}")))?;
        if members.is_empty() && cookie.is_some() {
            // Nacos ignores a list of nobody too (`ServerMemberManager.memberChange`).
            log::warn("the address server names nobody; the last list stays");
            return Ok(Answer::same(next));
        }
        Ok(Answer::members(members, stamp, next))
    }
}

/// The body of a good answer.
fn list_of(answer: Result<Response, FetchError>) -> Result<Vec<u8>, Fault> {
    let fault = |reason: String| Fault::Internal(format!("address server: {reason}"));
    let response = answer.map_err(|error| fault(error.reason()))?;
    match response {
        Response { status: 200, cut: false, body, .. } => Ok(body),
        Response { status: 200, .. } => Err(fault("the list is too long".to_owned())),
        Response { status, .. } => Err(fault(format!("status {status}"))),
    }
}

/// The path and query of an http URL; none when it is not one.
fn path_of(url: &str) -> Option<String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if host.is_empty() || rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(format!("{slash}{path}"))
}

muster_sdk::export_member_lookup!(AddressServer);

#[cfg(test)]
mod tests {
    use super::*;
    use muster_sdk::fake::FakeSources;

    fn settings() -> Settings {
        Settings::with_defaults(
            &AddressServer::describe(),
            &[("url", "http://as.example:8080/nacos/serverlist")],
        )
    }

    fn find(cookie: Option<&[u8]>, sources: &FakeSources) -> Result<Answer, Fault> {
        let node = ThisNode { address: "10.0.0.1".to_owned(), port: 8848, standalone: false };
        AddressServer::find(&node, &settings(), cookie, sources)
    }

    #[test]
    fn n309_the_list_is_asked_again_after_five_seconds_and_counts_when_it_differs() {
        let sources = FakeSources::new()
            .responds(200, "10.0.0.1:8848\n10.0.0.2\n")
            .responds(200, "10.0.0.1:8848\n10.0.0.2\n")
            .responds(200, "10.0.0.1:8848\n");
        let Ok(Answer::Changed(first)) = find(None, &sources) else { panic!("a first answer is a list") };
        assert_eq!(first.members, [Member::new("10.0.0.1", Some(8848)), Member::new("10.0.0.2", None)]);
        assert_eq!(first.next_ms, 5000);
        assert_eq!(find(Some(&first.cookie), &sources), Ok(Answer::Unchanged(5000)));
        let third = find(Some(&first.cookie), &sources);
        assert!(matches!(third, Ok(Answer::Changed(m)) if m.members.len() == 1));
        let asked = sources.requests();
        assert!(asked.iter().all(|(endpoint, request)| endpoint == "url"
            && request.path == "/nacos/serverlist"
            && request.method == "GET"));
    }

    #[test]
    fn an_answer_that_is_no_list_is_a_fault() {
        let refused = FakeSources::new().exchange(Err(FetchError::Refused));
        assert!(matches!(find(None, &refused), Err(Fault::Internal(t)) if t.contains("refused")));
        let missing = FakeSources::new().responds(404, "10.0.0.1");
        assert!(matches!(find(None, &missing), Err(Fault::Internal(t)) if t.contains("404")));
        let page = FakeSources::new().responds(200, "<html>hello</html>");
        assert!(matches!(find(None, &page), Err(Fault::Internal(t)) if t.contains("line 1")));
    }

    #[test]
    fn nobody_is_not_believed_once_there_was_a_list() {
        assert_eq!(find(Some(b"x"), &FakeSources::new().responds(200, "\n")), Ok(Answer::Unchanged(5000)));
    }

    #[test]
    fn a_url_has_a_host_and_no_spaces() {
        for (url, path) in [("http://a:1/b?c=d#e", "/b?c=d"), ("https://a", "/"), ("http://a?c", "/?c")] {
            assert_eq!(path_of(url).as_deref(), Some(path));
        }
        for bad in ["", "a/b", "ftp://a", "http:///b", "http://a/b c"] {
            assert_eq!(path_of(bad), None, "{bad}");
            let settings = Settings::from([("url", bad)].as_slice());
            assert_eq!(AddressServer::validate(&settings).len(), 1);
        }
        assert_eq!(AddressServer::validate(&settings()), []);
    }
}
