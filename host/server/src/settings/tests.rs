use super::*;
use std::time::Duration;

fn read(text: &str) -> Result<Settings, String> {
    with(text, &[])
}

fn with(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::parse("m.toml", text, variables).map_err(|problems| problems.to_string())
}

fn reference() -> String {
    include_str!("../../reference.toml").to_owned()
}

/// The reference file with its examples (lines that start with `#| `) switched on.
fn reference_with_examples() -> String {
    reference().lines().map(|line| line.strip_prefix("#| ").unwrap_or(line).to_owned() + "\n").collect()
}

#[test]
fn an_empty_file_is_good_and_keeps_to_the_loopback() {
    let settings = read("").unwrap();
    assert_eq!(settings, Settings::default());
    assert!(settings.http.bind.ip().is_loopback() && settings.udp.bind.is_none());
}

#[test]
fn the_reference_file_says_exactly_the_defaults() {
    assert_eq!(read(&reference()).unwrap(), Settings::default());
}

#[test]
fn the_reference_file_shows_every_key() {
    let notes = Notes::default();
    Settings::read(&reference_with_examples(), [], &notes);
    assert_eq!(notes.problems.into_inner(), []);
    let mut table = tree::parse(&reference_with_examples()).unwrap();
    let shown = &mut std::collections::BTreeSet::new();
    paths("", &mut table, shown);
    let missing: Vec<_> = notes.known.into_inner().into_iter().filter(|key| !shown.contains(key)).collect();
    assert_eq!(missing, [""; 0], "keys that reference.toml does not show");
}

fn paths(at: &str, table: &mut tree::Table, all: &mut std::collections::BTreeSet<String>) {
    for (key, entry) in table {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        match &mut entry.node {
            tree::Node::Table(inner) => paths(&path, inner, all),
            tree::Node::List(items) => {
                for item in items {
                    if let tree::Node::Table(inner) = &mut item.node {
                        paths(&path, inner, all);
                    }
                }
            }
            _ => {}
        }
        all.insert(path);
    }
}

#[test]
fn grants_are_read_by_the_name_of_the_plugin() {
    let settings =
        read("[plugins.grants.\"my check\"]\nhosts = [\"Auth.example:443\"]\nsecrets = [\"db\"]\n[plugins.grants.b]")
            .unwrap();
    let shown =
        |name: &str| settings.plugins.grants[name].hosts.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(settings.plugins.grants["my check"].secrets.contains("db"));
    assert_eq!((shown("my check"), shown("b")), (vec!["auth.example:443".to_owned()], Vec::new()));
    let bounds =
        "[plugins.grants.a]\nmemory = \"8MiB\"\ncpu = \"20ms\"\nconnections = 4\ntraffic = \"512KiB\"";
    let bounds = read(bounds).unwrap().plugins.bounds()["a"];
    let ms = |count| Some(Duration::from_millis(count));
    assert_eq!((bounds.memory, bounds.cpu), (Some(8 << 20), ms(20)));
    assert_eq!((bounds.connections, bounds.traffic), (Some(4), Some(512 << 10)));
    for (text, says) in [
        ("memory = \"1KiB\"", "plugins.grants.x.memory: must be from 64KiB to 128MiB, is 1KiB"),
        ("cpu = 20", "plugins.grants.x.cpu: must be a whole number with a unit"),
        (
            "hosts = [\"auth.example\"]",
            "plugins.grants.x.hosts: must be a list of hosts with ports, but \"auth.example\" is",
        ),
        ("hosts = \"a.example:1\"", "plugins.grants.x.hosts: must be a list of hosts with ports, such as"),
        ("secrets = \"db\"", "plugins.grants.x.secrets: must be a list of names, such as"),
        ("host = []", "plugins.grants.x.host: unknown key; did you mean plugins.grants.x.hosts?"),
    ] {
        let error = read(&format!("[plugins.grants.x]\n{text}")).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn every_mistake_names_its_line_its_key_and_the_fix() {
    let table = [
        ("[http]\nbnd = \"x\"", "m.toml:2: http.bnd: unknown key; did you mean http.bind?"),
        ("[htpp]\nbind = \"x\"", "m.toml:1: htpp: unknown key; did you mean http?"),
        ("[raft]\nvoters = 3", "m.toml:2: raft.voters: unknown key; [raft] has: snapshot-after"),
        (
            "[http]\n\nbind = \"localhost:8848\"",
            "m.toml:3: http.bind: must be an IP address with a port, such as \"127.0.0.1:8848\" or \"[::]:8848\", is the text \"localhost:8848\"",
        ),
        (
            "[naming]\npush-delay = 500",
            "m.toml:2: naming.push-delay: must be a whole number with a unit, such as \"500ms\", \"5s\", \"2m\" or \"1h\", is the number 500",
        ),
        ("[naming]\npush-delay = \"2h\"", "m.toml:2: naming.push-delay: must be from 0s to 1m, is 2h"),
        (
            "[http]\nmax-body = \"10MB\"",
            "m.toml:2: http.max-body: must be a whole number with a unit, such as \"64KiB\", \"16MiB\" or \"1GiB\", is the text \"10MB\"",
        ),
        (
            "[naming]\nprotection = \"maybe\"",
            "m.toml:2: naming.protection: must be one of \"nacos\", \"strict\", \"off\", is the text \"maybe\"",
        ),
        (
            "server.port = 8848",
            "m.toml:1: server: is the Nacos property server.port; in Muster write http.bind = \"IP:PORT\"",
        ),
        (
            "nacos.core.member.lookup.type = \"file\"",
            "m.toml:1: nacos: is the Nacos property nacos.core.member.lookup.type; in Muster write lookup.type",
        ),
        (
            "[spring.datasource]\nurl = \"jdbc\"",
            "m.toml:2: spring: is the Nacos property spring.datasource.url; in Muster there is no such setting; remove it",
        ),
        (
            "[http]\nserver.port = 8848",
            "m.toml:2: http.server: is the Nacos property server.port; in Muster write http.bind = \"IP:PORT\"",
        ),
        ("http = 5", "m.toml:1: http: must be a table, written [http], is the number 5"),
        ("filter = 5", "m.toml:1: filter: must be a list of tables, written [[filter]], is the number 5"),
        ("\n[[filter]]\nservice = \"s\"", "m.toml:2: filter.plugin: is required"),
        (
            "[[filter]]\nplugin = \"x\"\non-fault = \"keep\"",
            "m.toml:3: filter.on-fault: must be one of \"all\", \"none\", \"last\", is the text \"keep\"",
        ),
        (
            "[health]\nflap-suppress = 1.0\nflap-reuse = 2.0",
            "m.toml:1: health.flap-reuse: must be lower than flap-suppress",
        ),
        (
            "[[subscriber]]\ncidr = \"10.1.0.0/33\"",
            "m.toml:2: subscriber.cidr: must be a network such as \"10.1.0.0/16\" or \"fd00::/8\", is the text \"10.1.0.0/33\"",
        ),
        (
            "[[health.rule]]\nrise = 2",
            "m.toml:1: health.rule.service: one of namespace, group, service and cluster must be set; what is meant for all belongs into [health]",
        ),
        ("[health]\nrise = 0", "m.toml:2: health.rise: must be from 1 to 1000, is 0"),
        (
            "[health]\nmin-interval = \"5s\"\nmax-interval = \"1s\"",
            "m.toml:1: health.min-interval: must not be longer than max-interval",
        ),
        (
            "[http]\ncontext-path = \"nacos\"",
            "m.toml:1: http.context-path: must be a path such as \"/nacos\", or \"\" for none",
        ),
        (
            "[http]\nbind = ",
            "m.toml:2: not valid TOML: string values must be quoted, expected literal string",
        ),
        (
            "[node]\naddress = \"10.0.0.1:8848\"",
            "m.toml:1: node.address: must be an IP address or a host name, without a port",
        ),
    ];
    for (text, error) in table {
        assert_eq!(read(text).unwrap_err(), error, "for\n{text}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let error = read("[http]\nbind = 1\n[udp]\nack-timeout = \"x\"").unwrap_err();
    let lines: Vec<&str> = error.lines().map(|line| line.split(": ").nth(1).unwrap()).collect();
    assert_eq!(lines, ["http.bind", "udp.ack-timeout"]);
}

#[test]
fn variables_override_the_file_and_are_judged_like_it() {
    let set = |name, value| with("[http]\nbind = \"127.0.0.1:1\"", &[(name, value)]);
    let settings = set("MUSTER_HTTP__BIND", "0.0.0.0:8848").unwrap();
    assert_eq!(settings.http.bind, "0.0.0.0:8848".parse().unwrap());
    assert_eq!(set("MUSTER_NAMING__PUSH_DELAY", "1s").unwrap().naming.push_delay, Duration::from_secs(1));
    assert!(!set("MUSTER_COMPAT__CONSOLE", "false").unwrap().compat.console);
    assert_eq!(set("MUSTER_LOOKUP__SETTINGS__URL", "http://a").unwrap().lookup.settings["url"], "http://a");
    assert_eq!(
        set("MUSTER_PORT_8848_TCP", "tcp://1.2.3.4").unwrap().http.bind,
        "127.0.0.1:1".parse().unwrap()
    );
    assert_eq!(
        set("MUSTER_HTTP__BIND", "here").unwrap_err(),
        "environment variable MUSTER_HTTP__BIND: http.bind: must be an IP address with a port, such as \"127.0.0.1:8848\" or \"[::]:8848\", is the text \"here\""
    );
    assert_eq!(
        set("MUSTER_HTTP__BNID", "x").unwrap_err(),
        "environment variable MUSTER_HTTP__BNID: http.bnid: unknown key; did you mean http.bind?"
    );
    assert_eq!(
        set("MUSTER_HTTP__BIND__PORT", "x").unwrap_err(),
        "environment variable MUSTER_HTTP__BIND__PORT: http.bind.port: bind is not a section, so it has no keys that could be overridden"
    );
}

#[test]
fn secrets_come_from_three_places_and_show_nowhere() {
    let text = "[secrets]\na = \"hunter2\"\nb = { value = \"hunter2\" }\nc = { file = \"/run/c\" }\nd = { env = \"D\" }";
    let settings = read(text).unwrap();
    assert_eq!(settings.secrets.len(), 4);
    assert_eq!(settings.secrets["c"], SecretSource::File("/run/c".into()));
    assert!(!format!("{settings:?}").contains("hunter2"));
    for bad in [
        "e = 5",
        "e = { value = \"hunter2\", file = \"x\" }",
        "e = [\"hunter2\"]",
        "e = { pasword = \"hunter2\" }",
    ] {
        let error = read(&format!("[secrets]\n{bad}")).unwrap_err();
        assert!(error.starts_with("m.toml:2: secrets.e: must be a text, or one of"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn rules_and_filters_are_read_in_order() {
    let settings = read(&reference_with_examples()).unwrap();
    assert!(settings.filters.len() == 1 && settings.subscribers.len() == 1);
    assert_eq!(settings.filters[0].on_fault, Some(FilterPolicy::Last));
    assert_eq!(settings.subscribers[0].labels["cluster"], "HZ");
    let key = muster_core::ServiceKey::new("", "", "mysql-orders");
    let (profile, origins) =
        settings.health.rules.explain(&muster_core::switches::Switches::default(), &key, "DEFAULT", "MYSQL");
    assert_eq!(profile.timeout, muster_core::Millis(2_000), "{origins:?}");
}

#[test]
fn relative_paths_start_at_the_folder_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("muster.toml");
    std::fs::write(&file, "[plugins]\ndirectory = \"/opt/plugins\"").unwrap();
    let settings = Settings::load(&file).unwrap();
    assert_eq!(settings.node.data_dir, folder.path().join("data"));
    assert_eq!(settings.plugin_cache(), folder.path().join("data/plugin-cache"));
    assert_eq!(settings.plugins.directory.as_deref(), Some(Path::new("/opt/plugins")));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Settings::load(Path::new("/nowhere/muster.toml")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nowhere/muster.toml: "), "{error}");
}
