use super::*;

const MANIFEST: &str = "[plugin]\nname = \"OWN\"\nkind = \"health-check\"\n";

fn package(bytes: &'static [u8]) -> Package {
    let files = trust::Package { wasm: bytes.into(), manifest: MANIFEST.into(), signature: None };
    Package::new("own".into(), files).unwrap()
}

fn own() -> Identity {
    (PluginKind::HealthCheck, "OWN".into())
}

/// A node with one version installed over the API.
fn installed(data: &Path) -> Digests {
    let mut kept = Kept::load(data).unwrap();
    let digests = kept.store(&package(b"one")).unwrap();
    kept.entry(&own(), Origin::Installed).active = Some(digests.clone());
    kept.save().unwrap();
    digests
}

fn started(data: &Path) -> Result<Vec<Component>, String> {
    let mut kept = Kept::load(data).map_err(|error| error.to_string())?;
    // nobody signed what these tests install
    let mut settings = Settings::default();
    settings.plugins.unsigned = Some(trust::Unsigned::Warn);
    kept.components(&settings).map_err(|error| error.to_string())
}

#[test]
fn what_is_installed_is_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    installed(data.path());
    let all = started(data.path()).unwrap();
    let found: Vec<_> = all.iter().filter(|one| one.identity() == own()).collect();
    assert!(found.len() == 1 && found[0].wasm == b"one"[..], "{found:?}");
}

#[test]
fn a_broken_or_missing_file_is_an_error_that_names_it_and_the_fix() {
    let data = tempfile::tempdir().unwrap();
    let digests = installed(data.path());
    let file = data.path().join("plugins").join(format!("{}.wasm", digests.component));
    fs::write(&file, "other").unwrap();
    let error = started(data.path()).unwrap_err();
    assert!(error.contains("is broken") && error.contains("wanted.json"), "{error}");
    fs::remove_file(&file).unwrap();
    let error = started(data.path()).unwrap_err();
    assert!(error.contains("is missing") && error.contains(&digests.component), "{error}");
    fs::write(data.path().join("plugins/wanted.json"), "{").unwrap();
    let error = started(data.path()).unwrap_err();
    assert!(error.contains("cannot be read") && error.contains("remove it"), "{error}");
}

#[test]
fn a_version_that_the_policy_of_today_refuses_stops_the_start() {
    let data = tempfile::tempdir().unwrap();
    installed(data.path());
    let mut settings = Settings::default();
    settings.plugins.unsigned = Some(trust::Unsigned::Deny);
    let error = Kept::load(data.path()).unwrap().components(&settings).unwrap_err();
    assert!(matches!(error, PluginsError::Trust { .. }), "{error}");
}

#[test]
fn files_that_nobody_wants_are_removed() {
    let data = tempfile::tempdir().unwrap();
    installed(data.path());
    let mut kept = Kept::load(data.path()).unwrap();
    let two = kept.store(&package(b"two")).unwrap();
    kept.entry(&own(), Origin::Installed).active = Some(two);
    kept.save().unwrap();
    let files = fs::read_dir(data.path().join("plugins")).unwrap().count();
    assert_eq!(files, 3, "the list, one component, the manifest of both");
}

#[test]
fn a_file_that_was_signed_later_takes_the_place_of_the_one_that_is_kept() {
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut settings = Settings::default();
    settings.plugins.directory = Some(folder.path().to_owned());
    fs::write(folder.path().join("own.wasm"), "one").unwrap();
    fs::write(folder.path().join("own.toml"), MANIFEST).unwrap();
    let start = |settings: &Settings| {
        let mut kept = Kept::load(data.path()).unwrap();
        let started = kept.components(settings).map(drop);
        kept.save().unwrap();
        (started, kept.get(&own()).and_then(|entry| entry.active.clone()))
    };
    let (started, active) = start(&settings);
    assert!(started.is_ok() && active.unwrap().signature.is_none());
    let key = trust::SigningKey::create(&folder.path().join("key")).unwrap();
    settings.plugins.trust_keys = vec![trust::TrustKey { key: key.public(), name: "team".into() }];
    assert!(matches!(start(&settings).0, Err(PluginsError::Trust { .. })), "nobody has signed it yet");
    let signature = trust::Signatures::sign(&key, &trust::Statement::of(b"one", MANIFEST.as_bytes()), None);
    fs::write(folder.path().join("own.sig"), signature.to_string()).unwrap();
    let (started, active) = start(&settings);
    assert!(started.is_ok() && active.unwrap().signature.is_some(), "{started:?}");
}

#[test]
fn a_file_of_the_folder_is_kept_and_goes_with_its_file() {
    let (data, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut settings = Settings::default();
    settings.plugins.directory = Some(folder.path().to_owned());
    let put = |bytes: &[u8]| {
        fs::write(folder.path().join("own.wasm"), bytes).unwrap();
        fs::write(folder.path().join("own.toml"), MANIFEST).unwrap();
    };
    let start = || {
        let mut kept = Kept::load(data.path()).unwrap();
        let all = kept.components(&settings).unwrap();
        kept.save().unwrap();
        all.into_iter().find(|one| one.identity() == own()).map(|one| one.wasm)
    };
    put(b"one");
    assert_eq!(start().unwrap(), b"one"[..]);
    put(b"two");
    assert_eq!(start().unwrap(), b"one"[..], "another version comes by a rollout, not by a restart");
    fs::remove_file(folder.path().join("own.wasm")).unwrap();
    assert_eq!(start(), None);
}
