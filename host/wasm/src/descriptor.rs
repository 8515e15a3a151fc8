//! What a plugin says about itself, and whether it can be true.

use crate::bindings::since_v0_1_1::types;
use muster_core::plugin::{Descriptor, SettingKind, SettingProblem, SettingSpec};
use std::collections::BTreeSet;

/// Settings that one plugin may have.
const MAX_SETTINGS: usize = 64;
/// Words of one choice.
const MAX_WORDS: usize = 64;
/// Bytes of a name, a key or a word.
const MAX_WORD: usize = 64;
/// Bytes of a summary or a default.
const MAX_TEXT: usize = 1024;
/// Problems that one validation may report.
const MAX_PROBLEMS: usize = 64;

/// Core's words for a description, once it is known to make sense. Nothing `expected` takes any name: for looking
/// at a component that nobody wrote a manifest for yet.
pub(crate) fn checked(said: types::Descriptor, expected: &str) -> Result<Descriptor, String> {
    if !expected.is_empty() && said.name != expected {
        let name = crate::text::one_line(&said.name, MAX_WORD);
        return Err(format!("it calls itself {name:?}, its manifest says {expected:?}"));
    }
    if !is_version(&said.version) {
        return Err("its version is not of the form 1.2.3".into());
    }
    if said.summary.len() > MAX_TEXT {
        return Err(format!("its summary has more than {MAX_TEXT} bytes"));
    }
    if said.settings.len() > MAX_SETTINGS {
        return Err(format!("it has {} settings, at most {MAX_SETTINGS} are accepted", said.settings.len()));
    }
    let mut keys = BTreeSet::new();
    for setting in &said.settings {
        check_setting(setting)?;
        if !keys.insert(&setting.key) {
            return Err(format!("setting '{}' is there twice", setting.key));
        }
    }
    Ok(Descriptor {
        name: said.name,
        version: said.version,
        summary: crate::text::one_line(&said.summary, MAX_TEXT),
        settings: said.settings.into_iter().map(spec).collect(),
    })
}

fn check_setting(setting: &types::Setting) -> Result<(), String> {
    if !is_word(&setting.key) {
        let key = crate::text::one_line(&setting.key, MAX_WORD);
        return Err(format!(
            "setting {key:?}: a key has 1 to {MAX_WORD} printable ASCII characters, no spaces"
        ));
    }
    let wrong = |what: String| Err(format!("setting '{}': {what}", setting.key));
    if setting.summary.len() > MAX_TEXT || setting.default.as_ref().is_some_and(|text| text.len() > MAX_TEXT)
    {
        return wrong(format!("its summary or default has more than {MAX_TEXT} bytes"));
    }
    match &setting.kind {
        types::Kind::Integer((low, high)) if low > high => {
            return wrong(format!("no number is from {low} to {high}"));
        }
        types::Kind::Choice(words) => {
            let distinct: BTreeSet<_> = words.iter().collect();
            if words.is_empty() || words.len() > MAX_WORDS || distinct.len() < words.len() {
                return wrong(format!("a choice has 1 to {MAX_WORDS} different words"));
            }
            if !words.iter().all(|word| is_word(word)) {
                return wrong("a word of its choice is empty, too long or not printable".into());
            }
        }
        types::Kind::Secret if setting.default.is_some() => return wrong("a secret has no default".into()),
        _ => {}
    }
    check_default(setting)
}

/// A default is judged as if the operator had written it.
fn check_default(setting: &types::Setting) -> Result<(), String> {
    let Some(default) = &setting.default else { return Ok(()) };
    let spec = spec(setting.clone());
    let key = spec.key.clone();
    let alone = Descriptor {
        name: String::new(),
        version: String::new(),
        summary: String::new(),
        settings: vec![spec],
    };
    match alone.problems(&[(key, default.clone())].into()).first() {
        Some(problem) => Err(format!("its default for setting '{}' {}", problem.key, problem.message)),
        None => Ok(()),
    }
}

fn is_word(text: &str) -> bool {
    (1..=MAX_WORD).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_version(text: &str) -> bool {
    let numbers = text.split(['-', '+']).next().unwrap_or("");
    let numbers: Vec<_> = numbers.split('.').collect();
    text.len() <= MAX_WORD
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && numbers.len() == 3
        && numbers.iter().all(|number| number.parse::<u32>().is_ok())
}

fn spec(setting: types::Setting) -> SettingSpec {
    SettingSpec {
        key: setting.key,
        kind: match setting.kind {
            types::Kind::Text => SettingKind::Text,
            types::Kind::Integer((low, high)) => SettingKind::Integer(low, high),
            types::Kind::Boolean => SettingKind::Boolean,
            types::Kind::Choice(words) => SettingKind::Choice(words),
            types::Kind::Secret => SettingKind::Secret,
        },
        required: setting.required,
        default: setting.default,
        summary: crate::text::one_line(&setting.summary, MAX_TEXT),
    }
}

/// Core's words for what a plugin finds wrong with settings.
pub(crate) fn problems(said: Vec<types::Problem>) -> Vec<SettingProblem> {
    let fit = |problem: types::Problem| SettingProblem {
        key: crate::text::one_line(&problem.key, MAX_WORD),
        message: crate::text::one_line(&problem.message, 256),
    };
    said.into_iter().take(MAX_PROBLEMS).map(fit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::Kind;

    fn said(settings: Vec<types::Setting>) -> types::Descriptor {
        types::Descriptor { name: "X".into(), version: "1.2.3".into(), summary: "x".into(), settings }
    }

    fn setting(key: &str, kind: Kind, default: Option<&str>) -> types::Setting {
        types::Setting {
            key: key.into(),
            kind,
            required: false,
            default: default.map(Into::into),
            summary: String::new(),
        }
    }

    #[test]
    fn a_truthful_description_is_taken() {
        let settings = vec![
            setting("n", Kind::Integer((1, 5)), Some("3")),
            setting("flag", Kind::Boolean, Some("true")),
            setting("mode", Kind::Choice(vec!["a".into(), "b".into()]), Some("b")),
            setting("password", Kind::Secret, None),
        ];
        assert_eq!(checked(said(settings), "X").unwrap().settings.len(), 4);
    }

    #[test]
    fn lies_are_found_and_named() {
        let choice = |words: &[&str]| Kind::Choice(words.iter().map(|w| (*w).to_owned()).collect());
        for (lie, says) in [
            (vec![setting("a", Kind::Text, None), setting("a", Kind::Text, None)], "twice"),
            (vec![setting("n", Kind::Integer((5, 1)), None)], "no number"),
            (vec![setting("n", Kind::Integer((1, 5)), Some("6"))], "default"),
            (vec![setting("f", Kind::Boolean, Some("yes"))], "true or false"),
            (vec![setting("m", choice(&[]), None)], "words"),
            (vec![setting("m", choice(&["a", "a"]), None)], "different"),
            (vec![setting("m", choice(&["a"]), Some("b"))], "must be one of"),
            (vec![setting("p", Kind::Secret, Some("x"))], "no default"),
            (vec![setting("", Kind::Text, None)], "key"),
            (vec![setting("a\nb", Kind::Text, None)], "key"),
            (vec![setting("s", Kind::Text, Some(&"x".repeat(2000)))], "bytes"),
            ((0..100).map(|n| setting(&n.to_string(), Kind::Text, None)).collect(), "at most"),
        ] {
            let error = checked(said(lie), "X").unwrap_err();
            assert!(error.contains(says), "{says:?} is not in: {error}");
        }
    }

    #[test]
    fn another_name_or_no_version_is_a_lie_too() {
        assert!(checked(said(vec![]), "Y").unwrap_err().contains("calls itself"));
        for version in ["", "1", "1.2", "a.b.c", "1.2.3.4", "1.2.3 x"] {
            let lie = types::Descriptor { version: version.into(), ..said(vec![]) };
            assert!(checked(lie, "X").is_err(), "{version:?}");
        }
        let fine = types::Descriptor { version: "1.2.3-rc.1+build".into(), ..said(vec![]) };
        assert!(checked(fine, "X").is_ok());
    }
}
