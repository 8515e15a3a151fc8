//! Who signed a plugin, and what a node makes of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use muster_tests::node::{START_DEADLINE, binary, command};
use muster_tests::process::Process;
use muster_tests::{Config, Node};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// What the plugin of these tests may do: the bundled TCP check as it was kept, under its own name.
const MANIFEST: &str = "[plugin]\nname = \"TCP\"\nkind = \"health-check\"\n\n[grants]\ndial = true\n";

/// A folder with a plugin, a key and its signature.
pub(super) struct Author {
    folder: TempDir,
}

impl Author {
    /// With the plugin, signed by `team.key`.
    pub(super) fn new() -> Self {
        let folder = TempDir::with_prefix("muster-trust-").expect("a temporary folder");
        let plugins = folder.path().join("plugins");
        std::fs::create_dir(&plugins).expect("made");
        std::fs::write(plugins.join("tcp.wasm"), component()).expect("written");
        std::fs::write(plugins.join("tcp.toml"), MANIFEST).expect("written");
        let author = Self { folder };
        author.good(&["keygen", "team.key"]);
        author.good(&["sign", "plugins/tcp.wasm", "--key", "team.key"]);
        author
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("a file")
    }

    pub(super) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).expect("text")
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).expect("written");
    }

    /// Runs `muster plugin …` in the folder: exit code, and what it wrote.
    pub(super) fn muster(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(binary());
        command.arg("plugin").args(arguments).current_dir(self.folder.path());
        ended(&mut Process::start(&mut command, None))
    }

    #[track_caller]
    pub(super) fn good(&self, arguments: &[&str]) -> String {
        let (code, said) = self.muster(arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        said
    }

    #[track_caller]
    pub(super) fn refused(&self, arguments: &[&str], words: &[&str]) {
        let (code, said) = self.muster(arguments);
        assert!(code.is_some_and(|code| code == 1 || code == 2), "{arguments:?}: {code:?} {said}");
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
    }

    /// The public key, as it goes into the settings.
    pub(super) fn key(&self) -> String {
        self.text("team.key.pub").trim().to_owned()
    }

    /// Settings of a node that has the folder's plugins and trusts the key.
    fn node(&self) -> Config {
        Config::new()
            .text("plugins", "directory", &self.path("plugins").to_string_lossy())
            .set("plugins", "replace-bundled", "true")
            .set("plugins", "trust-keys", &format!("[{:?}]", self.key()))
    }

    /// Starts a node, which has to end with the words; nothing may have been compiled.
    #[track_caller]
    fn no_node(&self, config: Config, words: &[&str]) {
        let folder = TempDir::with_prefix("muster-refused-").expect("a temporary folder");
        let cache = folder.path().join("cache");
        let config = config.text("plugins", "cache-dir", &cache.to_string_lossy());
        let mut process = Process::start(&mut command(&config, folder.path()), None);
        let (code, said) = ended(&mut process);
        assert_eq!(code, Some(2), "{said}");
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
        let files = std::fs::read_dir(&cache).into_iter().flatten().flatten();
        let mut names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        assert!(!names.any(|name| name.ends_with(".cwasm")), "compiled although it was refused: {said}");
    }
}

fn ended(process: &mut Process) -> (Option<i32>, String) {
    let (status, said) = process.finish(START_DEADLINE);
    (status.code(), said)
}

fn component() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/museum/0.1.1/health-check.wasm");
    std::fs::read(path).expect("a component of the museum")
}

/// The digest as coreutils computes it.
fn sha256(path: &Path) -> String {
    let out = Command::new("sha256sum").arg(path).output().expect("sha256sum");
    String::from_utf8_lossy(&out.stdout).split(' ').next().expect("a digest").to_owned()
}

#[test]
fn a_signature_is_of_both_files_in_the_form_that_is_documented() {
    let author = Author::new();
    assert_eq!(author.path("team.key").metadata().expect("a key").permissions().mode() & 0o777, 0o600);
    let file = author.text("plugins/tcp.sig");
    let lines: Vec<&str> = file.lines().collect();
    let [version, line] = lines[..] else { panic!("{file}") };
    assert_eq!(version, "muster plugin signature v1");
    let (key, signature) = line.split_once(' ').expect("a key and a signature");
    assert_eq!(author.key(), format!("{key} team"));
    let statement = format!(
        "muster plugin statement v1\ncomponent sha256:{}\nmanifest sha256:{}\n",
        sha256(&author.path("plugins/tcp.wasm")),
        sha256(&author.path("plugins/tcp.toml"))
    );
    let key = STANDARD.decode(key.strip_prefix("ed25519:").expect("its scheme")).expect("base64");
    let signature = STANDARD.decode(signature).expect("base64");
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key)
        .verify(statement.as_bytes(), &signature)
        .expect("another program finds the signature good");
    author.good(&["verify", "plugins/tcp.wasm"]);
    let said = author.good(&["verify", "plugins/tcp.wasm", "--key", "team.key.pub"]);
    assert!(said.contains("trusted, team"), "{said}");
    author.refused(&["keygen", "team.key"], &["is there already"]);
    author.refused(&["sign", "TCP", "--key", "team.key"], &["part of this program"]);
    // a reviewer signs too, and either is enough
    author.good(&["keygen", "review.key", "--name", "the reviewers"]);
    author.good(&["sign", "plugins/tcp.wasm", "--key", "review.key"]);
    for key in ["team.key.pub", "review.key.pub"] {
        author.good(&["verify", "plugins/tcp.wasm", "--key", key]);
    }
    author.good(&["keygen", "other.key"]);
    author.refused(
        &["verify", "plugins/tcp.wasm", "--key", "other.key.pub"],
        &["no such key", "trust-keys = [\"ed25519:"],
    );
}

#[test]
fn a_node_takes_what_a_trusted_key_signed_and_nothing_that_was_changed() {
    let author = Author::new();
    let (wasm, manifest, signature) =
        (author.read("plugins/tcp.wasm"), author.text("plugins/tcp.toml"), author.text("plugins/tcp.sig"));
    let node = Node::with(author.node());
    assert_eq!(node.get("/nacos/v1/ns/operator/metrics").json()["status"], "UP");
    drop(node);
    let wrong = ["tcp.wasm", "the signature by ed25519:", "is not of these files", "muster plugin sign"];
    let any = |author: &Author| author.node().set("plugins", "trust-keys", "[]");
    let mut changed = wasm.clone();
    changed.extend(*b"\x00\x02\x01x"); // a custom section: it would run as before
    author.write("plugins/tcp.wasm", changed);
    author.no_node(author.node(), &wrong);
    author.no_node(any(&author), &wrong);
    author.refused(&["verify", "plugins/tcp.wasm"], &["is not of these files"]);
    author.write("plugins/tcp.wasm", &wasm);
    author.write("plugins/tcp.toml", manifest.replace("dial = true", "dial = true # and more"));
    author.no_node(author.node(), &wrong);
    author.no_node(any(&author).text("plugins", "unsigned", "allow"), &wrong);
    author.write("plugins/tcp.toml", &manifest);
    let mut bytes = STANDARD.decode(signature.trim_end().rsplit(' ').next().expect("one")).expect("base64");
    bytes[40] ^= 1;
    let flipped = signature.trim_end().rsplit_once(' ').expect("two words").0.to_owned();
    author.write("plugins/tcp.sig", format!("{flipped} {}\n", STANDARD.encode(bytes)));
    author.no_node(author.node(), &wrong);
    author.write("plugins/tcp.sig", "nonsense");
    author.no_node(author.node(), &["signature file cannot be used"]);
    std::fs::remove_file(author.path("plugins/tcp.sig")).expect("removed");
    author.no_node(author.node(), &["it is not signed", "muster plugin sign", "unsigned = \"warn\""]);
    author.good(&["keygen", "other.key"]);
    author.good(&["sign", "plugins/tcp.wasm", "--key", "other.key"]);
    author.no_node(author.node(), &["no such key", "trust-keys = [\"ed25519:"]);
    // the same with a policy that lets it pass
    let node = Node::with(author.node().text("plugins", "unsigned", "warn"));
    muster_tests::eventually(START_DEADLINE, || {
        muster_tests::wait::hold(node.log().contains("nobody signed it who is trusted"), || node.log())
    });
}

#[test]
fn a_member_of_a_cluster_cannot_allow_what_is_not_signed() {
    let config = |unsigned: &str| {
        format!(
            "[cluster]\nsecret = \"a secret of some length\"\n[lookup]\ntype = \"file\"\n\
             [plugins]\nunsigned = \"{unsigned}\"\n"
        )
    };
    let (good, said) = super::check(&config("allow"));
    assert!(!good && said.contains("plugins.unsigned: \"allow\" is for a node that is alone"), "{said}");
    let (good, said) = super::check("[plugins]\ntrust-keys = [\"ed25519:short\"]\n");
    assert!(!good && said.contains("plugins.trust-keys: must be a list of public keys"), "{said}");
}

#[test]
fn inspect_says_who_signed() {
    let author = Author::new();
    author.write("node.toml", format!("[plugins]\ntrust-keys = [{:?}]\n", author.key()));
    let said = author.good(&["inspect", "plugins/tcp.wasm", "--config", "node.toml"]);
    assert!(said.contains("trusted, team") && said.contains("package   sha256:"), "{said}");
    author.write("plugins/tcp.toml", format!("{MANIFEST}\n"));
    let said = author.good(&["inspect", "plugins/tcp.wasm"]);
    assert!(said.contains("WRONG, is not of these files"), "{said}");
    let said = author.good(&["inspect", "plugins/tcp.wasm", "--json"]);
    assert!(said.contains("\"good\": false"), "{said}");
    let said = author.good(&["inspect", "TCP"]);
    assert!(said.contains("part of this program"), "{said}");
}

#[test]
fn a_version_that_asks_for_more_is_seen_before_it_is_used() {
    let author = Author::new();
    let version = |name: &str, more: &str| {
        author.write(&format!("{name}.wasm"), component());
        author.write(&format!("{name}.toml"), format!("{MANIFEST}{more}"));
    };
    version("old", "[limits]\nmemory = \"8MiB\"\n");
    version("more", "wasi-sockets = true\n[limits]\nmemory = \"32MiB\"\ncpu = \"10ms\"\n");
    version("less", "[limits]\nmemory = \"4MiB\"\n");
    let (code, said) = author.muster(&["diff", "old.wasm", "more.wasm"]);
    assert_eq!(code, Some(1), "{said}");
    for line in [
        "+ grants.wasi-sockets = true",
        "+ limits.memory = 33554432 bytes, was 8388608 bytes",
        "- limits.cpu = 10ms, was 50ms",
        "asks for more",
        "package    sha256:",
    ] {
        assert!(said.contains(line), "no {line:?} in {said}");
    }
    let said = author.good(&["diff", "old.wasm", "less.wasm"]);
    assert!(said.contains("- limits.memory") && said.contains("asks for no more"), "{said}");
    let said = author.good(&["diff", "old.wasm", "old.wasm", "--json"]);
    assert!(said.contains("\"more\": false"), "{said}");
    // the museum's TCP beside the one of this program
    let (code, said) = author.muster(&["diff", "TCP", "more.wasm"]);
    assert!(code == Some(1) && said.contains("wasi-sockets"), "{said}");
}

#[test]
fn a_node_that_runs_takes_only_what_is_trusted_and_no_more_than_was_approved() {
    let author = Author::new();
    let node = Node::with(Config::new().set("plugins", "replace-bundled", "true").set(
        "plugins",
        "trust-keys",
        &format!("[{:?}]", author.key()),
    ));
    let server = format!("http://127.0.0.1:{}/nacos", node.port());
    let install = |file: &str, approve: Option<&str>| {
        let approve = approve.into_iter().flat_map(|digest| ["--approve", digest]);
        let arguments: Vec<_> =
            ["install", file, "--wait", "--server", &server].into_iter().chain(approve).collect();
        author.muster(&arguments)
    };
    // what a version is approved by, as `diff` says
    let digest = |file: &str| {
        let (_, said) = author.muster(&["diff", "TCP", file]);
        let line = said.lines().find_map(|line| line.strip_prefix("package")).expect("a digest");
        line.trim().to_owned()
    };
    let sign = |file: &str| author.good(&["sign", file, "--key", "team.key"]);
    // the bundled one is active
    let first = digest("plugins/tcp.wasm");
    let (code, said) = install("plugins/tcp.wasm", Some(&first));
    assert_eq!(code, Some(0), "{said}");
    // the same behaviour in other bytes, which wants more memory
    let mut component = component();
    component.extend(*b"\x00\x02\x01y");
    author.write("more.wasm", component);
    author.write("more.toml", format!("{MANIFEST}[limits]\nmemory = \"32MiB\"\n"));
    let (code, said) = install("more.wasm", None);
    assert!(code == Some(1) && said.contains("it is not signed"), "{said}");
    sign("more.wasm");
    let (code, said) = install("more.wasm", None);
    assert!(code == Some(1) && said.contains("limits.memory = 33554432 bytes, was 16777216 bytes"), "{said}");
    let more = digest("more.wasm");
    assert!(said.contains(&format!("--approve {more}")), "{said}");
    let (code, said) = install("more.wasm", Some(&first));
    assert!(code == Some(1) && said.contains("asks for more"), "another version was approved: {said}");
    let (code, said) = install("more.wasm", Some(&more));
    assert_eq!(code, Some(0), "{said}");
    author.write("more.toml", author.text("more.toml") + "# and more\n");
    let (code, said) = install("more.wasm", Some(&more));
    assert!(code == Some(1) && said.contains("is not of these files"), "{said}");
    let said = author.good(&["status", "TCP", "--server", &server]);
    assert!(said.contains("active"), "{said}");
}

#[test]
fn what_was_installed_is_looked_at_again_at_the_next_start() {
    let author = Author::new();
    let trusting = |key: &str| {
        Config::new().set("plugins", "replace-bundled", "true").set(
            "plugins",
            "trust-keys",
            &format!("[{key:?}]"),
        )
    };
    let mut node = Node::with(trusting(&author.key()));
    let server = format!("http://127.0.0.1:{}/nacos", node.port());
    let said = author.muster(&["diff", "TCP", "plugins/tcp.wasm"]).1;
    let digest =
        said.lines().find_map(|line| line.strip_prefix("package")).expect("a digest").trim().to_owned();
    author.good(&["install", "plugins/tcp.wasm", "--wait", "--server", &server, "--approve", &digest]);
    node.stop();
    node.start_again();
    node.stop();
    // the key is trusted no more
    author.good(&["keygen", "other.key"]);
    let other = author.text("other.key.pub").trim().to_owned();
    let config = trusting(&other).with_port(muster_tests::ports::free_port);
    let mut process = Process::start(&mut command(&config, node.folder()), None);
    let (code, said) = ended(&mut process);
    assert!(code == Some(2) && said.contains("no such key"), "{code:?} {said}");
    node.start_again_with(trusting(&author.key()));
}
