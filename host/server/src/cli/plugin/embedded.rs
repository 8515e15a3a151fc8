//! The files of a new project: templates, and the SDK as it was when this program was built. So a project needs no
//! registry and no checkout.

/// A file of the SDK below its folder, with its text.
pub(super) type File = (&'static str, &'static str);

macro_rules! files {
    ($root:literal: $($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../../", $root, "/", $path)))),+]
    };
}

pub(super) use files;

/// The SDK.
pub(super) const SDK: &[File] = files!("sdk":
    "README.md",
    "src/bindings.rs",
    "src/bindings/about.rs",
    "src/bindings/checker.rs",
    "src/bindings/filter.rs",
    "src/bindings/lookup.rs",
    "src/describe.rs",
    "src/fake.rs",
    "src/fake/connection.rs",
    "src/fake/net.rs",
    "src/fake/real.rs",
    "src/fake/sources.rs",
    "src/fake/view.rs",
    "src/health_check.rs",
    "src/lib.rs",
    "src/log.rs",
    "src/member_lookup.rs",
    "src/nacos.rs",
    "src/net.rs",
    "src/push_filter.rs",
    "src/rt.rs",
    "src/settings.rs",
    "src/verdict.rs",
);

/// The interfaces themselves, for reading: the SDK holds what is made of them.
pub(super) const WIT: &[File] = files!("wit/since_v0.1.1":
    "about.wit",
    "candidates.wit",
    "checker.wit",
    "dial.wit",
    "fetch.wit",
    "files.wit",
    "filter.wit",
    "host.wit",
    "lookup.wit",
    "names.wit",
    "types.wit",
    "worlds.wit",
);

/// Files of every project in Rust.
pub(super) const CARGO: &str = include_str!("../../../../../sdk/templates/rust/Cargo.toml");
pub(super) const SDK_CARGO: &str = include_str!("../../../../../sdk/templates/rust/sdk.toml");
pub(super) const IGNORE: &str = include_str!("../../../../../sdk/templates/rust/gitignore");
pub(super) const README: &str = include_str!("../../../../../sdk/templates/rust/README.md");

/// What differs by kind.
pub(super) struct Template {
    pub(super) manifest: &'static str,
    pub(super) source: &'static str,
    /// how to try it, for the README
    pub(super) run: &'static str,
}

macro_rules! template {
    ($kind:literal, $run:literal) => {
        Template {
            manifest: include_str!(concat!("../../../../../sdk/templates/rust/", $kind, "/plugin.toml")),
            source: include_str!(concat!("../../../../../sdk/templates/rust/", $kind, "/lib.rs")),
            run: $run,
        }
    };
}

pub(super) const HEALTH_CHECK: Template = template!(
    "health-check",
    "muster plugin run dist/{{name}}.wasm --target 127.0.0.1:6379   # every host call, its time and cost"
);
pub(super) const MEMBER_LOOKUP: Template = template!(
    "member-lookup",
    "muster plugin run dist/{{name}}.wasm --settings '{\"url\":\"http://127.0.0.1:8080/members\"}'"
);
pub(super) const PUSH_FILTER: Template = template!(
    "push-filter",
    "muster plugin run dist/{{name}}.wasm --instances instances.json --label zone=a"
);

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// All files below `folder`, as paths below `below`.
    pub(in super::super) fn on_disk(folder: &Path, below: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                on_disk(&path, below, found);
            } else {
                found.insert(path.strip_prefix(below).unwrap().to_string_lossy().into_owned());
            }
        }
    }

    #[test]
    fn no_file_of_the_sdk_is_missing() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let sdk = root.join("sdk");
        let mut found = BTreeSet::new();
        on_disk(&sdk.join("src"), &sdk, &mut found);
        let embedded: BTreeSet<_> = SDK.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(embedded.difference(&found).collect::<Vec<_>>(), ["README.md"]);
        assert!(found.is_subset(&embedded), "{:?}", found.difference(&embedded));
        let mut found = BTreeSet::new();
        let newest = root.join("wit/since_v0.1.1");
        on_disk(&newest, &newest, &mut found);
        assert_eq!(WIT.iter().map(|(path, _)| (*path).to_owned()).collect::<BTreeSet<_>>(), found);
    }
}
