use super::*;
use proptest::prelude::*;

fn rules(texts: &[&str]) -> Vec<HostRule> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Both sides say the same.
fn both(texts: &[&str]) -> Beyond {
    Beyond { requested: rules(texts), granted: rules(texts).into() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn reaches(rule: &str, address: &str) -> bool {
    both(&[rule]).allows(None, ip(address), 443).is_ok()
}

#[test]
fn a_rule_is_written_as_it_was_read() {
    for text in [
        "auth.example:443",
        "_x.auth-1.example:1-65534",
        "10.1.2.3:80",
        "10.1.0.0/16:8000-8100",
        "[fd00::1]:80",
        "[fd00::/8]:*",
        "0.0.0.0/0:443",
    ] {
        assert_eq!(text.parse::<HostRule>().unwrap().to_string(), text);
    }
    let same = |text: &str| text.parse::<HostRule>().unwrap().to_string();
    assert_eq!(same("Auth.Example.:443"), "auth.example:443");
    assert_eq!(same("[::ffff:10.0.0.0/104]:443"), "10.0.0.0/8:443");
    assert_eq!(same("[::ffff:10.1.2.3]:443-443"), "10.1.2.3:443");
}

#[test]
fn what_is_no_rule_is_refused_with_examples() {
    for text in [
        "",
        "auth.example",
        ":443",
        "auth.example:0",
        "auth.example:70000",
        "a:9-1",
        "*:443",
        "*.example:443",
        "a b:443",
        "http://a:443",
        "fd00::1:443",
        "[10.0.0.1]:443",
        "[a]:443",
        "10.1.2.3/8:443",
        "10.0.0.0/33:443",
        "127.1:443",
        "0x7f000001:443",
        "a.0x7f:443",
        "1234:443",
        ".:443",
        "a..b:443",
    ] {
        let error = text.parse::<HostRule>().unwrap_err().to_string();
        assert!(error.contains("\"auth.example:443\""), "{text}: {error}");
    }
    assert!("10.1.2.3/8:1".parse::<HostRule>().unwrap_err().to_string().contains("beyond the length"));
    assert!("fd00::1:443".parse::<HostRule>().unwrap_err().to_string().ends_with("IPv6 goes into [ ]"));
}

#[test]
fn both_sides_have_to_allow_it_and_nothing_is_nothing() {
    let beyond = |requested: &[&str], granted: &[&str]| {
        let beyond = Beyond { requested: rules(requested), granted: rules(granted).into() };
        beyond.allows(Some("auth.example"), ip("10.1.2.3"), 443)
    };
    assert_eq!(beyond(&[], &[]), Err(Lacking::Request));
    assert_eq!(beyond(&[], &["10.0.0.0/8:443"]), Err(Lacking::Request));
    assert_eq!(beyond(&["10.0.0.0/8:443"], &[]), Err(Lacking::Grant));
    assert_eq!(beyond(&["10.0.0.0/8:443"], &["10.2.0.0/16:443"]), Err(Lacking::Grant));
    assert_eq!(beyond(&["10.0.0.0/8:443"], &["10.1.0.0/16:*"]), Ok(()));
    assert_eq!(beyond(&["auth.example:443"], &["10.0.0.0/8:443"]), Ok(()), "each in its own words");
    assert_eq!(beyond(&["auth.example:80"], &["auth.example:443"]), Err(Lacking::Request), "another port");
    assert_eq!(beyond(&["other.example:443"], &["auth.example:443"]), Err(Lacking::Request));
    assert_eq!(beyond(&["AUTH.example.:443"], &["auth.example:1-1000"]), Ok(()));
}

#[test]
fn special_places_have_to_be_named_exactly() {
    for (special, exact, wider) in [
        ("127.0.0.1", "127.0.0.1:443", "126.0.0.0/7:443"),
        ("127.9.9.9", "127.0.0.0/8:443", "0.0.0.0/0:443"),
        ("::1", "[::1]:443", "[::/0]:443"),
        ("169.254.1.1", "169.254.0.0/16:443", "169.254.0.0/15:443"),
        ("fe80::1", "[fe80::/10]:443", "[fe00::/8]:443"),
        ("169.254.169.254", "169.254.169.254:443", "169.254.0.0/16:443"),
        ("fd00:ec2::254", "[fd00:ec2::254]:443", "[fd00::/8]:443"),
        ("100.100.100.200", "100.100.100.200:443", "100.64.0.0/10:443"),
        ("0.0.0.0", "0.0.0.0:443", "0.0.0.0/0:443"),
        ("::", "[::]:443", "[::/0]:443"),
    ] {
        assert!(reaches(exact, special), "{exact} names {special}");
        assert!(!reaches(wider, special), "{wider} is too wide for {special}");
        let named =
            Beyond { requested: rules(&["x.example:443"]), granted: rules(&["x.example:443"]).into() };
        assert!(named.allows(Some("x.example"), ip(special), 443).is_err(), "a name that leads to {special}");
    }
}

#[test]
fn a_special_place_in_other_clothes_is_the_same_place() {
    for (clothes, exact) in [
        ("::ffff:127.0.0.1", "127.0.0.1:443"),
        ("::ffff:169.254.169.254", "169.254.169.254:443"),
        ("64:ff9b::7f00:1", "[64:ff9b::7f00:1]:443"),
        ("64:ff9b::a9fe:a9fe", "[64:ff9b::a9fe:a9fe]:443"),
        ("2002:7f00:1::1", "[2002:7f00:1::1]:443"),
        ("::7f00:1", "[::7f00:1]:443"),
    ] {
        for wider in ["[::/0]:443", "0.0.0.0/0:443", "[64:ff9b::/96]:443", "[2002::/16]:443", "[::/96]:443"] {
            assert!(!reaches(wider, clothes), "{wider} is too wide for {clothes}");
        }
        assert!(reaches(exact, clothes), "{exact} names {clothes}");
    }
    assert!(reaches("[64:ff9b::/96]:443", "64:ff9b::a00:1"), "10.0.0.1 is nothing special");
}

#[test]
fn the_line_names_what_is_missing_and_keeps_what_is_there() {
    let beyond = both(&["10.1.2.3:80"]);
    let line = |name, address| beyond.line(Lacking::Request, name, ip(address), 443);
    assert_eq!(line(None, "10.2.0.1"), r#"hosts = ["10.1.2.3:80", "10.2.0.1:443"]"#);
    assert_eq!(line(Some("Auth.example."), "10.2.0.1"), r#"hosts = ["10.1.2.3:80", "auth.example:443"]"#);
    assert_eq!(line(Some("localhost"), "127.0.0.1"), r#"hosts = ["10.1.2.3:80", "127.0.0.1:443"]"#);
    assert_eq!(line(None, "::ffff:127.0.0.1"), r#"hosts = ["10.1.2.3:80", "127.0.0.1:443"]"#);
}

fn address() -> impl Strategy<Value = IpAddr> {
    let special = prop::sample::select(SPECIAL.to_vec()).prop_map(|net| net.addr());
    let v4 = any::<u32>().prop_map(|bits| IpAddr::V4(bits.into()));
    let mapped = any::<u32>().prop_map(|bits| IpAddr::V6(Ipv4Addr::from(bits).to_ipv6_mapped()));
    prop_oneof![special, v4, mapped, any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()))]
}

fn network_around(address: IpAddr, length: u8) -> HostRule {
    let address = address.to_canonical();
    let most = if address.is_ipv4() { 32 } else { 128 };
    let net = IpNet::new(address, length.min(most)).unwrap().trunc();
    HostRule { place: Place::Network(net), low: 1, high: u16::MAX }
}

proptest! {
    #[test]
    fn the_line_that_is_told_allows_what_was_refused(at in address(), port in 1_u16.., name: bool) {
        let name = name.then_some("x.example");
        let mut beyond = Beyond::default();
        while let Err(lacking) = beyond.allows(name, at, port) {
            let line = beyond.line(lacking, name, at, port);
            let list: Line = toml::from_str(&line).unwrap();
            match lacking {
                Lacking::Request => beyond.requested = list.hosts,
                Lacking::Grant => beyond.granted = list.hosts.into(),
            }
        }
        prop_assert_eq!((beyond.requested.len(), beyond.granted.now().len()), (1, 1));
    }

    #[test]
    fn a_rule_that_is_wider_than_a_special_place_never_leads_there(at in address(), length in 0_u8..=128) {
        let rule = network_around(at, length);
        let Place::Network(net) = &rule.place else { unreachable!() };
        let net = *net;
        let allowed = Beyond { requested: vec![rule.clone()], granted: vec![rule.clone()].into() }.allows(None, at, 1).is_ok();
        let expected = special(at.to_canonical()).is_none_or(|special| special.contains(&net));
        prop_assert_eq!(allowed, expected);
        prop_assert_eq!(rule.to_string().parse::<HostRule>().unwrap(), rule);
    }

    #[test]
    fn what_one_side_lacks_nobody_gets(at in address(), port in 1_u16.., length in 0_u8..=128) {
        let one = vec![network_around(at, length)];
        let denied = Beyond { requested: one.clone(), granted: Vec::new().into() }.allows(None, at, port);
        prop_assert!(denied.is_err());
        let denied = Beyond { requested: Vec::new(), granted: one.into() }.allows(None, at, port);
        prop_assert!(denied.is_err());
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC{0,40}") {
        if let Ok(rule) = text.parse::<HostRule>() {
            prop_assert_eq!(rule.to_string().parse::<HostRule>().unwrap(), rule);
        }
    }
}

#[derive(Deserialize)]
struct Line {
    hosts: Vec<HostRule>,
}
