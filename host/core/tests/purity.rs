//! The rules stay pure: what this crate may depend on is written down here, and nothing else gets in.

/// Each with why a rule may need it: encoding of what is stored, error texts, log fields.
const ALLOWED: [&str; 4] = ["serde", "serde_json", "thiserror", "tracing"];

#[test]
fn core_depends_on_nothing_that_does_io() {
    let manifest = include_str!("../Cargo.toml");
    let section =
        manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap_or("");
    let names: Vec<&str> = section.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    assert_eq!(names, ALLOWED, "a rule needs no socket, clock, runtime or lock");
}

#[test]
fn core_reads_no_clock_and_opens_nothing() {
    let banned =
        ["std::fs", "std::net", "std::thread", "std::env", "SystemTime", "Instant::now", "Mutex", "RwLock"];
    let mut seen = 0;
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for word in banned {
                assert!(!text.contains(word), "{} names {word}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} files were looked at");
}
