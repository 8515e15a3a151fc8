//! `healthChecker` JSON: what operators write, what is stored, what they read back.
//!
//! Nacos stores a type it does not know as `NONE` (N029), which switches checks off unseen. Muster refuses it
//! and lists the types it knows; every plugin for health checks is one. Secrets are never shown: they read as
//! [`HIDDEN`], and writing that back keeps what is stored.

use crate::http::app::App;
use crate::http::error::ApiError;
use muster_core::plugin::{Descriptor, PluginKind, SettingKind, SettingProblem, Settings};
use muster_core::service::{CheckerSettings, NO_CHECKER};
use serde_json::{Map, Value, json};

/// What is shown in place of a secret.
pub(crate) const HIDDEN: &str = "******";
/// The password of the MYSQL checker, in Nacos's own field.
const PASSWORD: &str = "pwd";

/// Reads a checker and has its plugin judge the settings. `stored` is what the cluster has now.
///
/// # Errors
/// Not a JSON object, a type nobody knows, settings that its plugin refuses, or a secret that it may not have: 400, key by
/// key.
pub(crate) async fn parse(
    app: &App,
    text: &str,
    stored: Option<&CheckerSettings>,
) -> Result<CheckerSettings, ApiError> {
    let mut checker = read(text)?;
    if checker.is_none() {
        checker.settings.clear();
        return Ok(checker);
    }
    keep_hidden(&mut checker, stored);
    let Some(plugin) = app.plugins.health_check(&checker.kind) else {
        return Err(ApiError::illegal(format!(
            "unknown health checker type '{}', known types: {}",
            checker.kind,
            kinds(app).join(", ")
        )));
    };
    let problems = plugin.validate(&checker.settings).await.map_err(|error| ApiError::fault(&error))?;
    if !problems.is_empty() {
        return Err(refused(&checker.kind, &problems));
    }
    // found out now, and not by every check of every instance
    let told = app.grants.secrets().resolve_granted(&plugin.descriptor(), &checker.settings);
    told.map_err(|error| ApiError::illegal(format!("health checker {}: {error}", checker.kind)))?;
    Ok(checker)
}

fn refused(kind: &str, problems: &[SettingProblem]) -> ApiError {
    let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
    ApiError::illegal(format!("health checker {kind}: {}", list.join("; ")))
}

/// The object as type and flat settings: numbers and truth values as their JSON text, nested values as compact
/// JSON, `null` as if it were not there.
fn read(text: &str) -> Result<CheckerSettings, ApiError> {
    let bad =
        |why: &str| ApiError::illegal(format!("healthChecker must be a JSON object with a type: {why}"));
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| bad(&error.to_string()))?;
    let mut kind = None;
    let mut settings = Settings::new();
    for (key, value) in fields {
        match value {
            Value::String(text) if key == "type" => kind = Some(text),
            _ if key == "type" => return Err(bad("type is not text")),
            Value::Null => {}
            Value::String(text) => drop(settings.insert(key, text)),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                settings.insert(key, value.to_string());
            }
        }
    }
    let kind = kind.filter(|kind| !kind.is_empty()).ok_or_else(|| bad("there is none"))?;
    Ok(CheckerSettings { kind, settings })
}

/// A secret that was read as [`HIDDEN`] and written back stays what it is.
fn keep_hidden(checker: &mut CheckerSettings, stored: Option<&CheckerSettings>) {
    let stored = stored.filter(|stored| stored.kind == checker.kind);
    for (key, value) in &mut checker.settings {
        if value == HIDDEN
            && let Some(kept) = stored.and_then(|stored| stored.settings.get(key))
        {
            value.clone_from(kept);
        }
    }
}

/// All types: those of the plugins, and `NONE`.
pub(crate) fn kinds(app: &App) -> Vec<String> {
    let mut kinds = app.plugins.names(PluginKind::HealthCheck);
    kinds.push(NO_CHECKER.into());
    kinds.sort_unstable();
    kinds
}

/// Every type with its default settings (`health/checkers`).
pub(crate) fn all(app: &App) -> Value {
    let shown = |kind: String| {
        let checker = CheckerSettings { kind: kind.clone(), settings: Settings::new() };
        (kind, self::shown(app, &checker))
    };
    Value::Object(kinds(app).into_iter().map(shown).collect())
}

/// A checker as operators may see it.
pub(crate) fn shown(app: &App, checker: &CheckerSettings) -> Value {
    let descriptor = app.plugins.health_check(&checker.kind).map(|plugin| plugin.descriptor());
    show(checker, descriptor.as_deref())
}

/// The fields Nacos itself has, with its defaults, then what is stored.
fn show(checker: &CheckerSettings, descriptor: Option<&Descriptor>) -> Value {
    let mut fields = match nacos_fields(&checker.kind) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    fields.insert("type".into(), checker.kind.as_str().into());
    for (key, value) in &checker.settings {
        fields.insert(key.clone(), show_setting(&checker.kind, key, value, descriptor));
    }
    Value::Object(fields)
}

fn nacos_fields(kind: &str) -> Value {
    match kind {
        "HTTP" => json!({"path": "", "headers": "", "expectedResponseCode": 200}),
        "MYSQL" => json!({"user": null, "pwd": null, "cmd": null}),
        _ => Value::Null,
    }
}

/// Numbers and truth values come back as such; secrets do not come back.
fn show_setting(kind: &str, key: &str, value: &str, descriptor: Option<&Descriptor>) -> Value {
    let spec = descriptor.and_then(|descriptor| descriptor.settings.iter().find(|spec| spec.key == key));
    let typed = || serde_json::from_str(value).unwrap_or_else(|_| value.into());
    match spec.map(|spec| &spec.kind) {
        Some(SettingKind::Secret) => HIDDEN.into(),
        _ if kind == "MYSQL" && key == PASSWORD => HIDDEN.into(),
        Some(SettingKind::Integer(..) | SettingKind::Boolean) => typed(),
        None if kind == "HTTP" && key == "expectedResponseCode" => typed(),
        Some(SettingKind::Text | SettingKind::Choice(_)) | None => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_core::plugin::SettingSpec;

    fn checker(text: &str) -> CheckerSettings {
        read(text).unwrap()
    }

    #[test]
    fn a_checker_is_flattened_to_text() {
        let read = checker(r#"{"type":"X","a":"t","n":5,"b":true,"o":{"k":[1]},"z":null}"#);
        let wanted = [("a", "t"), ("b", "true"), ("n", "5"), ("o", r#"{"k":[1]}"#)];
        assert_eq!(read.kind, "X");
        assert_eq!(read.settings, wanted.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn a_checker_without_a_type_is_refused_instead_of_switched_off() {
        for bad in ["{}", r#"{"type":""}"#, r#"{"type":1}"#, "[]", "TCP"] {
            assert!(read(bad).unwrap_err().text().starts_with("healthChecker must be"), "{bad}");
        }
    }

    #[test]
    fn nacos_fields_are_echoed_with_their_defaults() {
        let http = show(&checker(r#"{"type":"HTTP","path":"/up","expectedResponseCode":204}"#), None);
        assert_eq!(http, json!({"type": "HTTP", "path": "/up", "headers": "", "expectedResponseCode": 204}));
        assert_eq!(show(&checker(r#"{"type":"TCP"}"#), None), json!({"type": "TCP"}));
    }

    #[test]
    fn passwords_are_hidden_and_survive_being_written_back() {
        let stored = checker(r#"{"type":"MYSQL","user":"u","pwd":"sesame","cmd":"select 1"}"#);
        let shown = show(&stored, None);
        assert_eq!((&shown["pwd"], &shown["user"]), (&json!(HIDDEN), &json!("u")));
        let mut written = checker(&shown.to_string());
        keep_hidden(&mut written, Some(&stored));
        assert_eq!(written, stored);
        let mut other = checker(r#"{"type":"X","pwd":"******"}"#);
        keep_hidden(&mut other, Some(&stored));
        assert_eq!(other.settings["pwd"], HIDDEN, "a secret does not travel to another checker");
    }

    #[test]
    fn settings_of_plugins_come_back_as_they_are_typed() {
        let spec = |key: &str, kind| SettingSpec {
            key: key.into(),
            kind,
            required: false,
            default: None,
            summary: String::new(),
        };
        let descriptor = Descriptor {
            name: "X".into(),
            version: "1.0.0".into(),
            summary: String::new(),
            settings: vec![
                spec("n", SettingKind::Integer(0, 9)),
                spec("b", SettingKind::Boolean),
                spec("token", SettingKind::Secret),
                spec("t", SettingKind::Text),
            ],
        };
        let shown = show(&checker(r#"{"type":"X","n":5,"b":true,"token":"s","t":"7"}"#), Some(&descriptor));
        assert_eq!(shown, json!({"type": "X", "n": 5, "b": true, "token": HIDDEN, "t": "7"}));
    }
}
