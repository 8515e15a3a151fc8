//! Keeps secrets out of traces.
//!
//! What a plugin sends may hold its secrets in forms that nobody can foresee (hashed, scrambled, compressed), so as soon
//! as a setting holds one, nothing that the plugin sends is written down. What comes back is, with every form of the
//! secret that can be recognised struck out.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::Value;

/// The secrets of one call. Shows nowhere: it has no `Debug`.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    forms: Vec<Vec<u8>>,
    withhold: bool,
}

impl Secrets {
    pub(crate) fn of(values: impl IntoIterator<Item = String>) -> Self {
        let values: Vec<String> = values.into_iter().filter(|value| !value.is_empty()).collect();
        let mut forms: Vec<_> = values.iter().flat_map(|value| forms(value)).collect();
        // the longest first: a form may be part of another
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        Self { withhold: !values.is_empty(), forms }
    }

    /// For a replay: what was withheld is not compared.
    pub(crate) fn withheld(was: bool) -> Self {
        Self { forms: Vec::new(), withhold: was }
    }

    /// Something that the plugin sent.
    pub(crate) fn sent(&self, value: Value) -> Value {
        if self.withhold { serde_json::json!({"withheld": true}) } else { value }
    }

    /// `text` with every form of a secret struck out.
    pub(crate) fn strike_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.strike(text.as_bytes())).into_owned()
    }

    /// `bytes` with every form of a secret struck out; the length stays.
    pub(crate) fn strike(&self, bytes: &[u8]) -> Vec<u8> {
        let mut struck = bytes.to_vec();
        for form in &self.forms {
            let mut at = 0;
            while let Some(found) = find(&struck[at..], form) {
                struck[at + found..at + found + form.len()].fill(b'*');
                at += found + form.len();
            }
        }
        struck
    }

    /// Bytes of the longest form.
    pub(crate) fn longest(&self) -> usize {
        self.forms.first().map_or(0, Vec::len)
    }

    /// Whether `text` holds a form of a secret.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| find(text.as_bytes(), form).is_some())
    }
}

fn find(bytes: &[u8], form: &[u8]) -> Option<usize> {
    bytes.windows(form.len()).position(|window| window == form)
}

/// The ways in which a protocol is likely to show a text.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let bytes = value.as_bytes();
    let hex = crate::inspect::hex(bytes);
    let mut forms = vec![bytes.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes()];
    let percent: String = bytes
        .iter()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
        })
        .collect();
    forms.push(percent.into_bytes());
    let reversed: Vec<u8> = bytes.iter().rev().copied().collect();
    forms.push(reversed);
    forms.extend((0..3).filter_map(|offset| base64_inside(bytes, offset)));
    forms.dedup();
    forms
}

/// What base64 makes of `bytes` behind `offset` others, without the digits that depend on the neighbours.
fn base64_inside(bytes: &[u8], offset: usize) -> Option<Vec<u8>> {
    let padded: Vec<u8> = std::iter::repeat_n(0, offset).chain(bytes.iter().copied()).collect();
    let digits = STANDARD_NO_PAD.encode(&padded);
    let first = (offset * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    let inside = digits.get(first..last)?;
    // fewer would strike out much that is no secret
    (inside.len() >= 4).then(|| inside.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    #[test]
    fn a_secret_is_struck_out_in_every_likely_form() {
        let secrets = Secrets::of(["p@ss wörd".to_owned()]);
        for shown in [
            "p@ss wörd".to_owned(),
            "p%40ss%20w%C3%B6rd".to_owned(),
            "704073732077c3b67264".to_owned(),
            STANDARD.encode("p@ss wörd"),
            STANDARD.encode("user:p@ss wörd"),
            STANDARD.encode("me:p@ss wörd!"),
        ] {
            assert!(secrets.is_in(&shown), "{shown}");
            let struck = secrets.strike_text(&format!("before {shown} after"));
            assert!(struck.contains("***") && !secrets.is_in(&struck), "{shown} became {struck}");
            assert!(struck.starts_with("before ") && struck.ends_with(" after"), "{struck}");
        }
        assert_eq!(secrets.strike(b"nothing to hide"), b"nothing to hide");
    }

    #[test]
    fn what_is_sent_is_withheld_when_there_is_a_secret_and_only_then() {
        assert_eq!(Secrets::of([]).sent(json!("x")), json!("x"));
        assert_eq!(Secrets::of([String::new()]).sent(json!("x")), json!("x"));
        assert_eq!(Secrets::of(["s".to_owned()]).sent(json!("x")), json!({"withheld": true}));
    }
}
