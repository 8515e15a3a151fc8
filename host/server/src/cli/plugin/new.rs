//! `muster plugin new`: a project that builds and passes its own tests.

use super::embedded::{self, File, Template};
use super::{Failure, failed, languages, usage};
use crate::cli::{exit, print_line};
use muster_core::plugin::PluginKind;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct New {
    /// The word that selects the plugin, and the name of the folder: letters, digits and dashes
    #[arg(value_parser = name)]
    name: String,
    /// What it is
    #[arg(long, value_enum)]
    kind: Kind,
    /// Language; in others than Rust a health check, made of the probe under examples/probes in Muster's repository
    #[arg(long, value_enum, default_value = "rust")]
    lang: Language,
    /// Rust: use the SDK in this folder instead of a copy of the one that this program brings
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    HealthCheck,
    MemberLookup,
    PushFilter,
}

impl Kind {
    const fn kind(self) -> PluginKind {
        match self {
            Self::HealthCheck => PluginKind::HealthCheck,
            Self::MemberLookup => PluginKind::MemberLookup,
            Self::PushFilter => PluginKind::PushFilter,
        }
    }

    const fn template(self) -> &'static Template {
        match self {
            Self::HealthCheck => &embedded::HEALTH_CHECK,
            Self::MemberLookup => &embedded::MEMBER_LOOKUP,
            Self::PushFilter => &embedded::PUSH_FILTER,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    Rust,
    C,
    Go,
    #[value(name = "javascript", alias = "js")]
    JavaScript,
    Python,
}

impl Language {
    const fn template(self) -> Option<&'static languages::Template> {
        match self {
            Self::Rust => None,
            Self::C => Some(&languages::C),
            Self::Go => Some(&languages::GO),
            Self::JavaScript => Some(&languages::JAVASCRIPT),
            Self::Python => Some(&languages::PYTHON),
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if first && rest && !text.ends_with('-') && text.len() <= 64 {
        return Ok(text.to_owned());
    }
    Err("a name begins with a letter and has at most 64 letters, digits and dashes".into())
}

pub(super) fn run(new: &New) -> Result<u8, Failure> {
    let other = new.lang.template();
    if let Some(template) = other {
        possible(new, template)?;
    }
    let root = PathBuf::from(&new.name);
    if root.exists() {
        return Err(usage(format!("{} is there already; choose another name", root.display())));
    }
    let sdk = new.sdk.as_deref().map(sdk_of).transpose()?;
    let written = match other {
        None => write(new, &root, sdk.as_deref()),
        Some(template) => write_other(&template.project(&new.name), &root),
    };
    written.map_err(|(path, error)| failed(format!("cannot write {}: {error}", path.display())))?;
    print_line(&next(new));
    Ok(exit::OK)
}

/// What to type now.
fn next(new: &New) -> String {
    let (name, kind) = (&new.name, new.kind.kind().world());
    match new.lang.template() {
        None => format!(
            "{name}/ is a {kind} plugin. Next:\n\n  cd {name}\n  cargo test\n  muster plugin build\n  muster plugin check dist/{name}.wasm"
        ),
        Some(template) => format!(
            "{name}/ is a {kind} plugin in {}. To build it takes {}. Next:\n\n  cd {name}\n  muster plugin build\n  muster plugin replay . traces/*.trace\n  muster plugin check .",
            template.title, template.needs
        ),
    }
}

/// What there is no template for.
fn possible(new: &New, template: &languages::Template) -> Result<(), Failure> {
    let title = template.title;
    if new.kind != Kind::HealthCheck {
        let kind = new.kind.kind().world();
        return Err(usage(format!(
            "in {title} there is a template of a health-check only. A {kind} in {title} is possible: take such a project, build it for \
             the world {kind} of its wit/worlds.wit, and write kind = \"{kind}\" into its plugin.toml. In Rust: --lang rust"
        )));
    }
    if new.sdk.is_some() {
        return Err(usage(format!("--sdk is for Rust; in {title} there is no SDK")));
    }
    Ok(())
}

/// The folder as cargo finds it from anywhere.
fn sdk_of(folder: &Path) -> Result<PathBuf, Failure> {
    let whole = folder.canonicalize().ok().filter(|folder| folder.join("Cargo.toml").is_file());
    whole.ok_or_else(|| usage(format!("--sdk {}: no Cargo.toml there", folder.display())))
}

type Unwritten = (PathBuf, io::Error);

fn write(new: &New, root: &Path, sdk: Option<&Path>) -> Result<(), Unwritten> {
    let Template { manifest, source, run } = new.kind.template();
    let fill = |text: &str| filled(text, new, sdk);
    let readme = fill(&embedded::README.replace("{{run}}", run));
    for (path, text) in [
        ("Cargo.toml", fill(embedded::CARGO)),
        ("plugin.toml", fill(manifest)),
        ("src/lib.rs", fill(source)),
        ("README.md", readme),
        (".gitignore", fill(embedded::IGNORE)),
    ] {
        put(&root.join(path), &text)?;
    }
    if sdk.is_some() {
        return Ok(());
    }
    let copy = root.join("muster-sdk");
    put(&copy.join("Cargo.toml"), &fill(embedded::SDK_CARGO))?;
    let all = |files: &[File], folder: &Path| {
        files.iter().try_for_each(|(path, text)| put(&folder.join(path), text))
    };
    all(embedded::SDK, &copy)?;
    all(embedded::WIT, &copy.join("wit"))
}

/// The files of a project in another language than Rust. Its script can be run.
fn write_other(files: &[(String, String)], root: &Path) -> Result<(), Unwritten> {
    for (path, text) in files {
        let path = root.join(path);
        put(&path, text)?;
        if text.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|error| (path, error))?;
        }
    }
    Ok(())
}

fn put(path: &Path, text: &str) -> Result<(), Unwritten> {
    let at = |error| (path.to_owned(), error);
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(at)?;
    fs::write(path, text).map_err(at)
}

fn filled(text: &str, new: &New, sdk: Option<&Path>) -> String {
    let sdk = sdk.map_or_else(|| "muster-sdk".to_owned(), |folder| folder.display().to_string());
    text.replace("{{name}}", &new.name)
        .replace("{{crate}}", &new.name.to_ascii_lowercase())
        .replace("{{type}}", &type_name(&new.name))
        .replace("{{kind}}", new.kind.kind().world())
        .replace("{{version}}", env!("CARGO_PKG_VERSION"))
        // a path in TOML: what TOML gives a meaning to is escaped
        .replace("{{sdk}}", &sdk.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `redis-role` as a Rust type: `RedisRole`.
fn type_name(name: &str) -> String {
    let capital = |part: &str| {
        let lower = part.to_ascii_lowercase();
        let mut letters = lower.chars();
        letters
            .next()
            .map(|first| first.to_ascii_uppercase().to_string() + letters.as_str())
            .unwrap_or_default()
    };
    let name: String = name.split('-').map(capital).collect();
    // names of the SDK's prelude, and of Rust's
    let taken = [
        "Answer",
        "Box",
        "Column",
        "Connection",
        "Content",
        "Descriptor",
        "Duration",
        "Fault",
        "Instance",
        "Kind",
        "Level",
        "Member",
        "Members",
        "Net",
        "None",
        "Ok",
        "Option",
        "Outcome",
        "Problem",
        "Read",
        "Request",
        "Response",
        "Result",
        "Row",
        "Selection",
        "Self",
        "Service",
        "Setting",
        "Settings",
        "Some",
        "Sources",
        "String",
        "Subscriber",
        "Target",
        "Vec",
        "Verdict",
        "View",
        "Write",
    ];
    if taken.contains(&name.as_str()) { name + "Plugin" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_types_that_clash_with_nothing() {
        assert_eq!(type_name("redis-role"), "RedisRole");
        assert_eq!(type_name("MYSQL2"), "Mysql2");
        assert_eq!(type_name("target"), "TargetPlugin");
    }

    fn asked(words: &str) -> New {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            new: New,
        }
        <Line as clap::Parser>::try_parse_from(words.split(' ')).unwrap().new
    }

    #[test]
    fn what_comes_next_fits_the_language() {
        let rust = next(&asked("new redis --kind push-filter"));
        assert!(rust.contains("redis/ is a push-filter plugin") && rust.contains("cargo test"), "{rust}");
        let c = next(&asked("new redis --kind health-check --lang c"));
        for part in ["plugin in C. To build it takes clang", "muster plugin replay . traces/*.trace"] {
            assert!(c.contains(part), "{c}");
        }
        assert!(!c.contains("cargo test"), "{c}");
    }

    #[test]
    fn what_has_no_template_says_what_is_possible() {
        let refused = |words: &str| {
            let new = asked(words);
            possible(&new, new.lang.template().unwrap()).unwrap_err().message().to_owned()
        };
        let lookup = refused("new mine --kind member-lookup --lang javascript");
        assert!(lookup.contains("the world member-lookup of its wit/worlds.wit"), "{lookup}");
        assert!(refused("new mine --kind health-check --lang go --sdk x").contains("--sdk is for Rust"));
        for language in ["c", "go", "javascript", "js", "python"] {
            let new = asked(&format!("new mine --kind health-check --lang {language}"));
            assert!(possible(&new, new.lang.template().unwrap()).is_ok(), "{language}");
        }
    }

    #[test]
    fn names_that_cargo_would_refuse_are_refused() {
        for good in ["a", "redis-role", "MYSQL2"] {
            assert!(name(good).is_ok(), "{good}");
        }
        for bad in ["", "2a", "-a", "a-", "a_b/c", "a b", "../a"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
