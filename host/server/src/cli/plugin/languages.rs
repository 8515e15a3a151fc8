//! Projects in other languages than Rust: the files of `examples/probes`, as they were when this program was built, with
//! the name filled in. What is built and compared there by the tests is what an author gets.

use super::embedded::{File, files};

/// A language that a health check can be made in.
#[derive(Debug)]
pub(super) struct Template {
    /// for people
    pub(super) title: &'static str,
    /// as in the names of the examples
    word: &'static str,
    /// what has to be installed
    pub(super) needs: &'static str,
    /// the example, to be filled in
    own: &'static [File],
    /// its README
    readme: &'static str,
    /// whether it is built with the tool
    tool: bool,
}

const COMMON: File = ("common", include_str!("../../../../../examples/probes/common"));
const TRACES: &[File] = files!("examples/probes":
    "traces/good-answer-in-pieces.trace",
    "traces/no-answer.trace",
    "traces/other-answer.trace",
    "traces/own-settings.trace",
    "traces/refused.trace",
);
const TOOL: &[File] = files!("examples/probes":
    "tool/Cargo.lock",
    "tool/Cargo.toml",
    "tool/src/main.rs",
);
/// The interfaces that the examples are made for; every later host has them.
const WIT: &[File] = files!("wit/since_v0.1.0":
    "about.wit",
    "candidates.wit",
    "checker.wit",
    "dial.wit",
    "fetch.wit",
    "files.wit",
    "filter.wit",
    "host.wit",
    "lookup.wit",
    "types.wit",
    "worlds.wit",
);
const EXAMPLES: &str = include_str!("../../../../../examples/probes/README.md");
const README: &str = include_str!("../../../../../sdk/templates/script/README.md");
const IGNORE: &str = include_str!("../../../../../sdk/templates/script/gitignore");

pub(super) const C: Template = Template {
    title: "C",
    word: "c",
    needs: "clang and lld 14 or later, and cargo",
    own: files!("examples/probes/c":
        "build",
        "libc.c",
        "libc/stdlib.h",
        "libc/string.h",
        "plugin.toml",
        "probe.c",
    ),
    readme: include_str!("../../../../../examples/probes/c/README.md"),
    tool: true,
};
pub(super) const GO: Template = Template {
    title: "Go",
    word: "go",
    needs: "Go, which fetches the version that is used, and cargo",
    own: files!("examples/probes/go":
        "build",
        "export_muster_plugin_about/about.go",
        "export_muster_plugin_checker/checker.go",
        "go.mod",
        "plugin.toml",
    ),
    readme: include_str!("../../../../../examples/probes/go/README.md"),
    tool: true,
};
pub(super) const JAVASCRIPT: Template = Template {
    title: "JavaScript",
    word: "javascript",
    needs: "Node.js 18 or later with npm",
    own: files!("examples/probes/javascript":
        "build",
        "package-lock.json",
        "package.json",
        "plugin.toml",
        "probe.js",
    ),
    readme: include_str!("../../../../../examples/probes/javascript/README.md"),
    tool: false,
};
pub(super) const PYTHON: Template = Template {
    title: "Python",
    word: "python",
    needs: "Python 3.10 or later with venv",
    own: files!("examples/probes/python":
        "build",
        "plugin.toml",
        "probe.py",
        "requirements.txt",
    ),
    readme: include_str!("../../../../../examples/probes/python/README.md"),
    tool: false,
};

impl Template {
    /// All files of the project `name`: paths below its folder, and texts.
    pub(super) fn project(&self, name: &str) -> Vec<(String, String)> {
        let kept = |(path, text): &File| ((*path).to_owned(), (*text).to_owned());
        let filled = |(path, text): &File| ((*path).to_owned(), self.filled(text, name));
        let mut all: Vec<_> = self.own.iter().chain(TRACES).map(filled).collect();
        all.push(kept(&COMMON));
        all.push(("README.md".into(), self.project_readme(name)));
        all.push((".gitignore".into(), IGNORE.to_owned()));
        all.extend(WIT.iter().map(|(path, text)| (format!("wit/{path}"), (*text).to_owned())));
        if self.tool {
            all.extend(TOOL.iter().map(kept));
        }
        all
    }

    /// A file of the example as one of the project: with its name, and with everything in one folder.
    fn filled(&self, text: &str, name: &str) -> String {
        text.replace(&format!("LINE-{}", self.word.to_ascii_uppercase()), name)
            .replace(&format!("line-{}.", self.word), &format!("{name}."))
            .replace("\"LINE\"", &format!("\"{name}\""))
            // the codes of its verdicts
            .replace("\"line.", &format!("\"{name}."))
            .replace("`line.", &format!("`{name}."))
            .replace("/../common\"", "/common\"")
            .replace("../README.md", "README.md")
            .replace("wit/since_v0.1.0", "wit")
    }

    fn project_readme(&self, name: &str) -> String {
        let tool = if self.tool {
            "`tool/` does what is needed of `wit-bindgen` and `wasm-tools`; it is compiled once, in about a minute.\n"
        } else {
            ""
        };
        let readme = README
            .replace("{{title}}", self.title)
            .replace("{{needs}}", self.needs)
            .replace("{{does}}\n", between(EXAMPLES, "## What the probe does\n", "\n## "))
            .replace("{{how}}\n", between(self.readme, "What `build` runs", "\n## "))
            .replace("{{tool}}\n", tool)
            .replace("{{name}}", name);
        self.filled(&readme, name)
    }
}

/// From `start` on, up to `end` or the end of the text.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).and_then(|at| text.get(at..)).unwrap_or_default();
    from.get(start.len()..)
        .and_then(|rest| rest.find(end))
        .and_then(|at| from.get(..start.len() + at))
        .unwrap_or(from)
}

#[cfg(test)]
mod tests {
    use super::super::embedded::tests::on_disk;
    use super::*;
    use muster_wasm::{Manifest, Trace};
    use std::collections::BTreeSet;
    use std::path::Path;

    const ALL: [&Template; 4] = [&C, &GO, &JAVASCRIPT, &PYTHON];

    fn text<'a>(project: &'a [(String, String)], path: &str) -> &'a str {
        project.iter().find(|(found, _)| found == path).map(|(_, text)| text.as_str()).unwrap()
    }

    #[test]
    fn no_file_of_the_examples_and_of_the_interfaces_is_missing() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let probes = root.join("examples/probes");
        let compare = |folder: &Path, embedded: &[File], besides: &[&str]| {
            let mut found = BTreeSet::new();
            on_disk(folder, folder, &mut found);
            // made by running what is there
            found.retain(|path| !path.contains("__pycache__") && !path.starts_with("target/"));
            let embedded = embedded.iter().map(|(path, _)| *path).chain(besides.iter().copied());
            assert_eq!(embedded.map(str::to_owned).collect::<BTreeSet<_>>(), found, "{}", folder.display());
        };
        for language in ALL {
            compare(&probes.join(language.word), language.own, &["README.md"]);
        }
        let below = |folder: &str, files: &'static [File]| -> Vec<File> {
            files.iter().map(|(path, text)| (path.strip_prefix(folder).unwrap(), *text)).collect()
        };
        compare(&probes.join("tool"), &below("tool/", TOOL), &[]);
        compare(&probes.join("traces"), &below("traces/", TRACES), &[]);
        compare(&root.join("wit/since_v0.1.0"), WIT, &[]);
    }

    #[test]
    fn a_project_has_its_own_name_everywhere_and_needs_nothing_above_it() {
        for language in ALL {
            let project = language.project("redis-role");
            let own = format!("line-{}", language.word);
            let example = ["LINE-", "\"LINE\"", "\"line.", "`line.", &own, "../../", "/../", "since_v"];
            for (path, text) in project.iter().filter(|(path, _)| path != "common") {
                for left in example {
                    assert!(!text.contains(left), "{}: {path} has {left}", language.title);
                }
            }
            let manifest = Manifest::parse(text(&project, "plugin.toml")).unwrap();
            assert_eq!(manifest.plugin.name, "redis-role");
            let named = |(path, text): &&(String, String)| {
                !path.ends_with(".trace") && text.contains("\"redis-role\"")
            };
            assert!(project.iter().filter(named).count() >= 2, "{}: manifest and source", language.title);
        }
    }

    #[test]
    fn a_project_says_what_it_does_and_how_it_is_built() {
        for language in ALL {
            let project = language.project("redis-role");
            let readme = text(&project, "README.md");
            for part in ["`redis-role.mismatch`", "What `build` runs", "plugin.toml", "muster plugin check ."]
            {
                assert!(readme.contains(part), "{}: {part} is missing in {readme}", language.title);
            }
            assert!(!readme.contains("{{") && !readme.contains("](../"), "{readme}");
            assert_eq!(readme.contains("`tool/`"), language.tool, "{}", language.title);
            assert_eq!(project.iter().any(|(path, _)| path == "tool/Cargo.toml"), language.tool);
        }
    }

    #[test]
    fn the_traces_are_scripts_that_end_with_a_verdict_of_the_probe() {
        for (path, text) in C.project("redis-role").iter().filter(|(path, _)| path.ends_with(".trace")) {
            let trace = Trace::parse(text).unwrap();
            assert!(trace.head.scripted, "{path}");
            assert_eq!(trace.head.plugin, "redis-role", "{path}");
            let end = serde_json::to_string(&trace.end).unwrap();
            let code = end.contains("\"passed\"") || end.contains("\"redis-role.");
            assert!(code, "{path}: {end}");
        }
    }
}
