use super::*;
use muster_sdk::fake::FakeNet;

fn check(pairs: &[(&str, &str)], net: &FakeNet) -> Verdict {
    let settings = Settings::with_defaults(&Http::describe(), pairs);
    assert_eq!(Http::validate(&settings), []);
    Http::check(&Target::at("10.0.0.1", 80), &settings, net).unwrap()
}

fn outcome(pairs: &[(&str, &str)], status: u16) -> Outcome {
    check(pairs, &FakeNet::new().responds(status)).outcome
}

#[test]
fn n288_200_is_healthy() {
    assert_eq!(outcome(&[], 200), Outcome::Passed);
}

#[test]
fn n289_404_is_unhealthy_at_once() {
    let verdict = check(&[], &FakeNet::new().responds(404));
    assert_eq!((verdict.outcome, verdict.code.as_str()), (Outcome::FailedNow, "http.status"));
    assert_eq!(verdict.facts, [("status".to_owned(), "404".to_owned())]);
}

#[test]
fn n290_204_is_unhealthy_at_once_since_only_200_counts() {
    for status in [204, 201, 301, 304, 500, 502] {
        assert_eq!(outcome(&[], status), Outcome::FailedNow, "{status}");
    }
}

#[test]
fn n291_503_is_a_soft_failure() {
    assert_eq!(outcome(&[], 503), Outcome::Failed);
}

#[test]
fn n292_302_is_a_soft_failure_and_not_followed() {
    let net = FakeNet::new().responds(302);
    assert_eq!(check(&[], &net).outcome, Outcome::Failed);
    assert_eq!(net.requests().len(), 1);
}

#[test]
fn n293_an_expected_404_stays_unhealthy_by_nacos_rule() {
    assert_eq!(outcome(&[("expectedResponseCode", "404")], 404), Outcome::FailedNow);
    assert_eq!(outcome(&[("expectedResponseCode", "404")], 200), Outcome::Passed);
}

#[test]
fn the_expected_rule_takes_the_codes_it_is_given() {
    let rule = [("rule", "expected"), ("expectedResponseCode", "204,3xx")];
    for (status, expected) in
        [(204, Outcome::Passed), (302, Outcome::Passed), (200, Outcome::FailedNow), (503, Outcome::Failed)]
    {
        assert_eq!(outcome(&rule, status), expected, "{status}");
    }
}

#[test]
fn n294_the_configured_headers_are_sent() {
    let net = FakeNet::new().responds(200);
    check(&[("path", "/health?deep=1"), ("headers", "X-Key:abc|Accept: text/plain")], &net);
    let request = net.requests().remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/health?deep=1"));
    let expected = [("X-Key", "abc"), ("Accept", "text/plain")];
    assert_eq!(request.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn a_header_may_refer_to_the_token_if_there_is_one() {
    let headers = ("headers", "Authorization:Bearer ${secret.token}");
    let net = FakeNet::new().responds(200);
    check(&[headers, ("token", "${secret.token}")], &net);
    let sent = ("Authorization".to_owned(), "Bearer ${secret.token}".to_owned());
    assert_eq!(net.requests()[0].headers, [sent], "the host fills it in");
    for without in [&[headers][..], &[headers, ("token", "")]] {
        let problems = Http::validate(&Settings::with_defaults(&Http::describe(), without));
        assert_eq!(problems.iter().map(|problem| problem.key.as_str()).collect::<Vec<_>>(), ["token"]);
    }
}

#[test]
fn n030_a_piece_without_exactly_one_colon_is_skipped() {
    assert_eq!(headers("a:b|c:d").collect::<Vec<_>>(), [("a", "b"), ("c", "d")]);
    assert_eq!(headers("a|b:c:d|:e|f:g|").collect::<Vec<_>>(), [("f", "g")]);
    assert_eq!(headers("").count(), 0);
}

#[test]
fn a_path_needs_no_slash_and_its_fragment_stays_here() {
    for (path, sent) in [("", "/"), ("health", "/health"), ("/a/b?c#d", "/a/b?c")] {
        let net = FakeNet::new().responds(200);
        check(&[("path", path)], &net);
        assert_eq!(net.requests()[0].path, sent);
    }
}

#[test]
fn without_a_response_only_refusal_is_unhealthy_at_once() {
    for (error, expected, code) in [
        (FetchError::Refused, Outcome::FailedNow, "http.refused"),
        (FetchError::TimedOut, Outcome::Failed, "http.timed-out"),
        (FetchError::BadResponse("x".to_owned()), Outcome::Failed, "http.bad-response"),
        (FetchError::Unreachable, Outcome::Failed, "http.unreachable"),
        (FetchError::Other("reset".to_owned()), Outcome::Failed, "http.failed"),
        (FetchError::Denied, Outcome::Inconclusive, "http.denied"),
    ] {
        let verdict = check(&[], &FakeNet::new().exchange(Err(error)));
        assert_eq!((verdict.outcome, verdict.code.as_str()), (expected, code));
    }
}

#[test]
fn what_could_never_work_is_refused_when_it_is_stored() {
    let problems = |pairs: &[(&str, &str)]| {
        let found = Http::validate(&Settings::with_defaults(&Http::describe(), pairs));
        found.into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(problems(&[("path", "/a b")]), ["path"]);
    assert_eq!(problems(&[("rule", "expected"), ("expectedResponseCode", "ok")]), ["expectedResponseCode"]);
    assert!(problems(&[("expectedResponseCode", "0")]).is_empty(), "Nacos stores any number");
}
