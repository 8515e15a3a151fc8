//! Settings: what a plugin says of them, and what it makes of wrong ones.

use super::{Found, Report};
use crate::cli::plugin::ask::Loaded;
use muster_core::plugin::{Descriptor, SettingKind, SettingSpec, Settings};

/// A secret that nobody else has.
pub(super) const MARKER: &str = "muster-check-5e7c1a94d2";

/// The given settings with what is required besides, made up, and with every secret.
pub(in crate::cli::plugin) fn complete(descriptor: &Descriptor, mut given: Settings) -> Settings {
    for spec in &descriptor.settings {
        let wanted = spec.kind == SettingKind::Secret || (spec.required && spec.default.is_none());
        if wanted {
            given.entry(spec.key.clone()).or_insert_with(|| likely(spec));
        }
    }
    given
}

fn likely(spec: &SettingSpec) -> String {
    match &spec.kind {
        SettingKind::Text if spec.key.contains("url") => "http://127.0.0.1:1/".into(),
        SettingKind::Text => "x".into(),
        SettingKind::Integer(low, high) => (*low).max(1).min(*high).to_string(),
        SettingKind::Boolean => "false".into(),
        SettingKind::Choice(words) => words.first().cloned().unwrap_or_default(),
        SettingKind::Secret => MARKER.into(),
    }
}

pub(super) async fn check(loaded: &Loaded, told: &Settings, report: &mut Report) {
    report.add("describes-settings", "every setting says what it is for", described(&loaded.descriptor));
    report.add("accepts-settings", "good settings are accepted", accepted(loaded, told).await);
    let unknown = [("no-such-setting".to_owned(), "x".to_owned())];
    let found = refused(loaded, told, unknown).await;
    report.add("refuses-unknown", "a setting that it does not have is refused", found);
    let mut found = Ok(());
    for bad in loaded.descriptor.settings.iter().filter_map(bad) {
        found = found.and(refused(loaded, told, [bad]).await);
    }
    report.add("refuses-bad", "a value that does not fit its kind is refused", found);
    let found = strange(loaded, told).await;
    report.add("survives-strange", "validation survives empty, long and strange texts", found);
}

fn described(descriptor: &Descriptor) -> Found {
    let mute = descriptor.settings.iter().find(|spec| spec.summary.trim().is_empty());
    match mute {
        Some(spec) => Err(format!("setting '{}' has no summary", spec.key)),
        None if descriptor.summary.trim().is_empty() => Err("the plugin has no summary".into()),
        None => Ok(()),
    }
}

async fn accepted(loaded: &Loaded, told: &Settings) -> Found {
    match loaded.problems(told).await {
        Ok(problems) if problems.is_empty() => Ok(()),
        Ok(problems) => {
            let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
            Err(format!("{}; give better ones with --settings", lines.join("; ")))
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn refused(loaded: &Loaded, told: &Settings, bad: impl IntoIterator<Item = (String, String)>) -> Found {
    let mut settings = told.clone();
    let bad: Vec<_> = bad.into_iter().collect();
    settings.extend(bad.clone());
    match loaded.problems(&settings).await {
        Ok(problems) if problems.is_empty() => Err(format!("accepted {bad:?}")),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{bad:?}: {error}")),
    }
}

/// A value that the kind excludes; none when it excludes nothing.
fn bad(spec: &SettingSpec) -> Option<(String, String)> {
    let value = match &spec.kind {
        SettingKind::Text | SettingKind::Secret => return None,
        SettingKind::Integer(..) => "one".to_owned(),
        SettingKind::Boolean => "maybe".to_owned(),
        SettingKind::Choice(words) => words.concat() + "-not",
    };
    Some((spec.key.clone(), value))
}

/// Whatever is answered is right, as long as there is an answer.
async fn strange(loaded: &Loaded, told: &Settings) -> Found {
    let long = "x".repeat(64 << 10);
    let texts =
        ["", " ", "\u{0}", "\n", "-1", "{\"a\":[1]}", "\u{1f980}\u{301}", "../../etc/passwd", long.as_str()];
    for spec in loaded.descriptor.settings.iter().filter(|spec| spec.kind == SettingKind::Text) {
        for text in texts {
            let mut settings = told.clone();
            settings.insert(spec.key.clone(), text.to_owned());
            let shown: String = text.chars().take(16).collect();
            let broke = |error| format!("setting '{}' = {shown:?}: {error}", spec.key);
            loaded.problems(&settings).await.map_err(broke)?;
        }
    }
    Ok(())
}
