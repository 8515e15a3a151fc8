//! Reading what SDKs of many languages write: a null counts as left out, a number may be written as text and the
//! other way round. Source: Nacos reads with Jackson, which does the same.

use serde::de::{Deserializer, Error, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Text; a number or a truth value counts as its own text, null as "".
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Text)
}

/// A whole number; text is parsed, a fraction cut off, null counts as 0.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "saturates, and ports and pages are checked afterwards"
    )]
    deserializer.deserialize_any(Number).map(|number| number.unwrap_or_default() as i64)
}

/// A weight; null counts as 1.
pub(super) fn weight<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(Number).map(|number| number.unwrap_or(1.0))
}

/// A truth value; null counts as false.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Flag).map(Option::unwrap_or_default)
}

/// A truth value; null counts as true.
pub(super) fn yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    deserializer.deserialize_any(Flag).map(|flag| flag.unwrap_or(true))
}

/// A map of texts; null counts as empty, and so does a null in it.
pub(super) fn texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(serde::Deserialize)]
    struct One(#[serde(deserialize_with = "text")] String);
    let map: Option<BTreeMap<String, One>> = serde::Deserialize::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_iter().map(|(key, One(value))| (key, value)).collect())
}

struct Text;

impl<'de> Visitor<'de> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<String, E> {
        Ok(text)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<String, E> {
        Ok(flag.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok(String::new())
    }
}

struct Number;

#[allow(clippy::cast_precision_loss, reason = "ports, pages and weights are small")]
impl Visitor<'_> for Number {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Option<f64>, E> {
        Ok(Some(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<f64>, E> {
        match text.trim() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| E::custom(format!("'{text}' is not a number"))),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Option<f64>, E> {
        Ok(None)
    }
}

struct Flag;

impl Visitor<'_> for Flag {
    type Value = Option<bool>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true or false")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Option<bool>, E> {
        Ok(Some(flag))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<bool>, E> {
        match text.trim().to_ascii_lowercase().as_str() {
            "" => Ok(None),
            "true" => Ok(Some(true)),
            "false" => Ok(Some(false)),
            _ => Err(E::custom(format!("'{text}' is neither true nor false"))),
        }
    }

    fn visit_unit<E: Error>(self) -> Result<Option<bool>, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct All {
        #[serde(deserialize_with = "text")]
        text: String,
        #[serde(deserialize_with = "whole")]
        whole: i64,
        #[serde(deserialize_with = "weight")]
        weight: f64,
        #[serde(deserialize_with = "flag")]
        flag: bool,
        #[serde(deserialize_with = "yes")]
        yes: bool,
        #[serde(deserialize_with = "texts")]
        texts: BTreeMap<String, String>,
    }

    fn read(values: [&str; 6]) -> Result<All, serde_json::Error> {
        let [text, whole, weight, flag, yes, texts] = values;
        serde_json::from_str(&format!(
            r#"{{"text":{text},"whole":{whole},"weight":{weight},"flag":{flag},"yes":{yes},"texts":{texts}}}"#
        ))
    }

    #[test]
    fn nulls_count_as_left_out() {
        let all = read(["null"; 6]).unwrap();
        let texts = BTreeMap::new();
        assert_eq!(all, All { text: String::new(), whole: 0, weight: 1.0, flag: false, yes: true, texts });
    }

    #[test]
    fn numbers_and_truth_values_may_be_written_as_text() {
        let all = read(["7", "\"8080\"", "\"0.5\"", "\"True\"", "\"false\"", r#"{"a":1,"b":null}"#]).unwrap();
        let texts = BTreeMap::from([("a".into(), "1".into()), ("b".into(), String::new())]);
        assert_eq!(all, All { text: "7".into(), whole: 8080, weight: 0.5, flag: true, yes: false, texts });
    }

    #[test]
    fn what_is_neither_is_an_error() {
        let good = ["\"\"", "0", "0", "false", "false", "{}"];
        read(good).unwrap();
        for (at, bad) in
            [(0, "[]"), (1, "\"x\""), (1, "{}"), (2, "true"), (3, "1"), (4, "\"maybe\""), (5, "[]")]
        {
            let mut values = good;
            values[at] = bad;
            assert!(read(values).is_err(), "{at} {bad}");
        }
    }
}
