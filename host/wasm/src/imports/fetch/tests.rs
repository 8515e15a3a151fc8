use super::*;

fn place(url: &str, path: &str) -> Result<(String, String, bool), String> {
    endpoint_of(url, path, LOOKUP_BODY)
        .map(|d| (d.authority, d.path, d.tls.is_some()))
        .map_err(|error| error.to_string())
}

#[test]
fn an_endpoint_keeps_its_host_whatever_the_path() {
    let ok = |authority: &str, path: &str, tls| Ok((authority.to_owned(), path.to_owned(), tls));
    assert_eq!(place("http://h:8080/nacos/serverlist?a=b", ""), ok("h:8080", "/nacos/serverlist?a=b", false));
    assert_eq!(place("https://h", "/other"), ok("h", "/other", true));
    assert!(place("ftp://h/", "").is_err());
    assert!(place("http://user:pw@h/", "").is_err());
    assert!(place("/only/path", "").is_err());
    assert!(place("http://h:0/", "").is_err());
}

fn sent(path: &str, headers: &[(&str, &str)]) -> Result<Outgoing, FetchError> {
    let request = Request {
        method: "GET".into(),
        path: path.into(),
        headers: headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        body: Vec::new(),
        timeout_ms: None,
    };
    prepare(&to_target("127.0.0.1:80".parse().unwrap(), path), request)
}

#[test]
fn a_guest_cannot_write_a_second_request() {
    assert!(sent("/a b", &[]).is_err());
    assert!(sent("/\r\nGET /b", &[]).is_err());
    assert!(sent("http://elsewhere/", &[]).is_err());
    assert!(sent("/", &[("x", "a\r\nHost: b")]).is_err());
    assert!(matches!(sent("/", &[("Transfer-Encoding", "chunked")]), Err(FetchError::Denied)));
    assert!(matches!(sent("/", &[("content-length", "5")]), Err(FetchError::Denied)));
}

#[test]
fn a_check_may_name_a_virtual_host() {
    let plain = sent("/", &[]).unwrap();
    assert_eq!(plain.headers()[header::HOST], "127.0.0.1:80");
    let named = sent("/", &[("Host", "shop.example")]).unwrap();
    assert_eq!(named.headers()[header::HOST], "shop.example");
}

#[test]
fn an_endpoint_needs_both_the_manifest_and_the_caller() {
    let settings = [("a".into(), "http://a/".into()), ("b".into(), "http://b/".into())].into();
    let given = |granted: &[&str], asked: &[&str]| {
        let owned = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>();
        endpoints(&owned(granted), &owned(asked), &settings).values().flatten().count()
    };
    assert_eq!(given(&["a", "b"], &["a"]), 1);
    assert_eq!(given(&["a"], &["b"]), 0);
    assert_eq!(given(&["absent"], &["absent"]), 0);
}
