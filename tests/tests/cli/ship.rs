//! Plugins on their way: bundles, and a real registry (Debian's `docker-registry`).

use super::trust::Author;
use muster_tests::http::{Http, Request};
use muster_tests::ports::free_port;
use muster_tests::process::Process;
use muster_tests::tls::Files;
use muster_tests::wait::{eventually, hold};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// The files of the plugin in a folder.
fn files(author: &Author, folder: &str, name: &str) -> Vec<Vec<u8>> {
    ["wasm", "toml", "sig"].map(|extension| author.read(&format!("{folder}/{name}.{extension}"))).to_vec()
}

/// The name is the plugin's, not the file's.
fn same(author: &Author, folder: &str) {
    assert_eq!(files(author, folder, "TCP"), files(author, "plugins", "tcp"), "byte for byte");
}

#[test]
fn a_bundle_brings_a_plugin_where_there_is_no_network() {
    let author = Author::new();
    author.good(&["pack", "plugins/tcp.wasm", "--out", "a.tar"]);
    author.good(&["pack", "plugins/tcp.wasm", "--out", "b.tar"]);
    let bundle = author.read("a.tar");
    assert_eq!(bundle, author.read("b.tar"), "the same plugins make the same bundle");
    let listed = Command::new("tar").arg("-tf").arg(author.path("a.tar")).output().expect("tar");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.starts_with("oci-layout\nindex.json\nblobs/sha256/"), "{listed}");
    let said = author.good(&["unpack", "a.tar", "--directory", "got", "--key", "team.key.pub"]);
    assert!(said.contains("signed by ed25519:") && said.contains("package sha256:"), "{said}");
    same(&author, "got");
    author.good(&["unpack", "a.tar", "--directory", "got", "--key", "team.key.pub"]);
    // one bit of the component, where the archive holds it
    let component = author.read("plugins/tcp.wasm");
    let at = bundle.windows(component.len()).position(|part| part == component).expect("it is in there");
    let mut changed = bundle.clone();
    changed[at + component.len() / 2] ^= 1;
    author.write("changed.tar", changed);
    author.refused(&["unpack", "changed.tar", "--directory", "no"], &["not what its digest says"]);
    author.refused(&["unpack", "plugins/tcp.wasm", "--directory", "no"], &["plugins/tcp.wasm: "]);
    author.good(&["keygen", "other.key"]);
    author.refused(
        &["unpack", "a.tar", "--directory", "no", "--key", "other.key.pub"],
        &["TCP: it is signed by", "no such key"],
    );
    assert!(!author.path("no").exists(), "something was left of what was refused");
}

#[test]
fn another_version_is_not_written_over_unless_that_is_wanted() {
    let author = Author::new();
    author.good(&["pack", "plugins/tcp.wasm", "--out", "old.tar"]);
    author.good(&["unpack", "old.tar", "-d", "got"]);
    let manifest = author.text("plugins/tcp.toml") + "[limits]\nmemory = \"32MiB\"\n";
    author.write("plugins/tcp.toml", manifest);
    author.refused(&["pack", "plugins/tcp.wasm", "--out", "new.tar"], &["is not of these files"]);
    std::fs::remove_file(author.path("plugins/tcp.sig")).expect("removed");
    author.good(&["pack", "plugins/tcp.wasm", "--out", "new.tar"]);
    author.refused(
        &["unpack", "new.tar", "-d", "got"],
        &["another version", "muster plugin diff", "--replace"],
    );
    author
        .refused(&["unpack", "new.tar", "-d", "got", "--replace", "--key", "team.key.pub"], &["not signed"]);
    let said = author.good(&["unpack", "new.tar", "-d", "got", "--replace"]);
    assert!(said.contains("not signed") && !author.path("got/TCP.sig").exists(), "{said}");
    author.write("node.toml", format!("[plugins]\ntrust-keys = [{:?}]\n", author.key()));
    author.refused(&["unpack", "new.tar", "-d", "got", "--config", "node.toml"], &["it is not signed"]);
}

/// A registry of its own.
struct Registry {
    _process: Process,
    http: Http,
    place: String,
}

impl Registry {
    fn start(author: &Author) -> Self {
        Self::with(author, "", "")
    }

    /// With more of its settings, in YAML: of the section `http`, and other sections.
    fn with(author: &Author, http: &str, more: &str) -> Self {
        let port = free_port();
        author.write(
            "registry.yml",
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {:?}}}}}\n\
                 http: {{addr: \"127.0.0.1:{port}\"{http}}}\n{more}",
                author.path("registry")
            ),
        );
        let found = ["/usr/bin/docker-registry", "/usr/local/bin/docker-registry"];
        let program = found.into_iter().find(|path| std::path::Path::new(path).exists());
        let program = program.expect("install the package docker-registry (tests/run does)");
        let mut command = Command::new(program);
        command.arg("serve").arg(author.path("registry.yml"));
        let process = Process::start(&mut command, None);
        let http = Http { addr: ([127, 0, 0, 1], port).into() };
        let log = process.log.clone();
        eventually(DEADLINE, || {
            let open = std::net::TcpStream::connect(http.addr).is_ok();
            hold(open, || format!("no registry: {}", log.text()))
        });
        Self { _process: process, http, place: format!("127.0.0.1:{port}/team/tcp") }
    }
}

#[test]
fn a_registry_takes_a_plugin_and_gives_it_back_by_its_digest() {
    let author = Author::new();
    let registry = Registry::start(&author);
    let tagged = format!("{}:1.0", registry.place);
    let push = |reference: &str| {
        author.good(&["push", "plugins/tcp.wasm", reference, "--plain-http"]).trim().to_owned()
    };
    let pinned = push(&tagged);
    let (named, digest) = pinned.split_once('@').expect("pinned");
    assert!(named == tagged && digest.starts_with("sha256:"), "{pinned}");
    assert_eq!(push(&registry.place), format!("{}@{digest}", registry.place), "the same plugin, again");
    // as any other client sees it
    let ask = Request::new("GET", format!("/v2/team/tcp/manifests/{digest}"));
    let ask = ask.header("Accept", "application/vnd.oci.image.manifest.v1+json");
    let manifest = registry.http.send(&ask).json();
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
    let layers = manifest["layers"].as_array().expect("layers");
    assert!(layers.len() == 1 && layers[0]["mediaType"] == "application/wasm", "{manifest}");
    assert_eq!(registry.http.get("/v2/team/tcp/tags/list").json()["tags"][0], "1.0");
    // and the bundle holds the same artifact
    assert!(author.good(&["pack", "plugins/tcp.wasm", "-o", "b.tar"]).contains(digest));
    author.good(&["pull", &pinned, "--plain-http", "-d", "got", "--key", "team.key.pub"]);
    same(&author, "got");
    author.refused(&["pull", &tagged, "--plain-http", "-d", "no"], &["is not pinned", "@sha256:"]);
    let other = format!("{}@sha256:{}", registry.place, "0".repeat(64));
    author.refused(&["pull", &other, "--plain-http", "-d", "no"], &["404"]);
    author.refused(&["pull", &pinned, "-d", "no"], &["127.0.0.1: "]);
    // a registry that gives other bytes: each blob, and the image manifest itself
    let component = layers[0]["digest"].as_str().expect("a digest").to_owned();
    for (digest, says) in [(component.as_str(), "not what its digest says"), (digest, "muster: ")] {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        let blob = format!("registry/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        let good = author.read(&blob);
        let mut changed = good.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        author.write(&blob, changed);
        author.refused(&["pull", &pinned, "--plain-http", "-d", "no"], &[says]);
        author.write(&blob, good);
    }
    author.good(&["pull", &pinned, "--plain-http", "-d", "got"]);
    assert!(!author.path("no").exists(), "something was left of what was refused");
}

#[test]
fn a_registry_over_tls_is_told_who_asks_and_nobody_else_is() {
    let author = Author::new();
    let tls = Files::new();
    // bcrypt of "open sesame"
    author.write("htpasswd", "me:$2b$04$.FPnSG7j7kzaGvgXbJyiKOoCOUhAIS9oMgCvgKo9J6AyKDAY5je6e\n");
    let http =
        format!(", tls: {{certificate: {:?}, key: {:?}}}", tls.path("server.pem"), tls.path("server.key"));
    let auth = format!("auth: {{htpasswd: {{realm: muster, path: {:?}}}}}\n", author.path("htpasswd"));
    let registry = Registry::with(&author, &http, &auth);
    author.write("password", "open sesame\n");
    author.write("wrong", "open barley\n");
    let ca = tls.path("ca.pem");
    let place = registry.place.as_str();
    let push = ["push", "plugins/tcp.wasm", place];
    author.refused(&push, &["127.0.0.1: ", "certificate"]);
    let push = [&push[..], &["--ca", &ca]].concat();
    author.refused(&push, &["wants to know who asks: --user NAME --password-file FILE"]);
    let who = |file| ["--user", "me", "--password-file", file];
    let (code, said) = author.muster(&[&push[..], &who("wrong")].concat());
    assert!(code == Some(1) && said.contains("401") && !said.contains("barley"), "{said}");
    let pinned = author.good(&[&push[..], &who("password")].concat()).trim().to_owned();
    let pull = ["pull", &pinned, "--ca", &ca, "-d", "got", "--key", "team.key.pub"];
    author.good(&[&pull[..], &who("password")].concat());
    same(&author, "got");
    author.refused(&["pull", &pinned, "--plain-http", "-d", "no"], &["400"]);
}

/// What a client asked: the first line, and who it said it was.
type Asked = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// A server that answers each request with what `answer` makes of it: the head after the version, and the body.
fn scripted(answer: impl Fn(&str, Option<&str>) -> (String, Vec<u8>) + Send + 'static) -> (u16, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let asked = Asked::default();
    let noted = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let reader = BufReader::new(stream.try_clone().expect("a second handle"));
            head.extend(reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty()));
            let line = head.first().cloned().unwrap_or_default();
            let is_who = |line: &&String| line.to_ascii_lowercase().starts_with("authorization: ");
            let who = head
                .iter()
                .find(is_who)
                .and_then(|line| line.split_once(": "))
                .map(|(_, who)| who.to_owned());
            noted.lock().expect("nobody panicked").push((line.clone(), who.clone()));
            let (status, body) = answer(&line, who.as_deref());
            let length = body.len();
            // the client may have gone
            let _ =
                write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(&body);
        }
    });
    (port, asked)
}

/// A registry that gives tokens out and keeps its blobs with somebody else, as the public ones do.
#[test]
fn a_token_is_fetched_and_stays_with_the_registry() {
    let author = Author::new();
    let said = author.good(&["pack", "plugins/tcp.wasm", "-o", "b.tar"]);
    let digest = said.split_whitespace().nth(1).expect("a digest").to_owned();
    let hex = digest.strip_prefix("sha256:").expect("a digest");
    let unpacked =
        Command::new("tar").arg("-xf").arg(author.path("b.tar")).arg("-C").arg(author.path("")).status();
    assert!(unpacked.is_ok_and(|status| status.success()));
    let manifest = author.read(&format!("blobs/sha256/{hex}"));
    let component = author.read("plugins/tcp.wasm");
    let (store, asked_store) = scripted(move |_, _| ("200 OK".into(), component.clone()));
    let (realm, given) = scripted(|_, _| ("200 OK".into(), br#"{"token":"t0ken"}"#.to_vec()));
    let (port, asked) = scripted(move |line, who| {
        if !line.contains("/v2/") || who != Some("Bearer t0ken") {
            let challenge = format!(
                "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://127.0.0.1:{realm}/token\",\
                 service=\"registry\",scope=\"repository:team/tcp:pull\""
            );
            return (challenge, Vec::new());
        }
        if line.contains("/manifests/") {
            return ("200 OK".into(), manifest.clone());
        }
        (format!("307 Temporary Redirect\r\nlocation: http://127.0.0.1:{store}/elsewhere?x=y"), Vec::new())
    });
    author.write("password", "open sesame\n");
    let reference = format!("127.0.0.1:{port}/team/tcp@{digest}");
    let who = ["--user", "me", "--password-file", "password"];
    author.good(&[&["pull", &reference, "--plain-http", "-d", "got"][..], &who].concat());
    same(&author, "got");
    let given = given.lock().expect("nobody panicked").clone();
    assert_eq!(
        given,
        [(
            "GET /token?service=registry&scope=repository%3Ateam%2Ftcp%3Apull HTTP/1.1".to_owned(),
            Some("Basic bWU6b3BlbiBzZXNhbWU=".to_owned())
        )]
    );
    let asked = asked.lock().expect("nobody panicked").clone();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[0].1.is_none(), "nobody is told who asks before they want to know: {asked:?}");
    let asked = asked_store.lock().expect("nobody panicked").clone();
    assert_eq!(asked, [("GET /elsewhere?x=y HTTP/1.1".to_owned(), None)]);
}
