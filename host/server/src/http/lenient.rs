//! JSON scalars as old clients write them: numbers as text, text as numbers.

use super::error::ApiError;
use muster_core::validate::ParamProblem;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use std::fmt;

/// A number, or text that is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Number(pub(crate) f64);

impl Number {
    /// The port it stands for.
    ///
    /// # Errors
    /// Not a whole number from 0 to 65535.
    pub(crate) fn as_port(self) -> Result<u16, ApiError> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared afterwards")]
        let port = self.0 as u16;
        if f64::from(port) == self.0 { Ok(port) } else { Err(ParamProblem::Port.into()) }
    }
}

/// Text, or a number or truth value as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(pub(crate) String);

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    #[allow(clippy::cast_precision_loss, reason = "ports and weights are small")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    #[allow(clippy::cast_precision_loss, reason = "ports and weights are small")]
    fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Number, E> {
        let number = value.trim().parse();
        number.map(Number).map_err(|_| E::invalid_value(Unexpected::Str(value), &self))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Text, E> {
        Ok(Text(value.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_text_and_text_may_be_numbers() {
        assert_eq!(
            serde_json::from_str::<Vec<Number>>(r#"[1, "2", 2.5]"#).unwrap(),
            [1.0, 2.0, 2.5].map(Number)
        );
        let text: Vec<Text> = serde_json::from_str(r#"[1, "2", true]"#).unwrap();
        assert_eq!(text, ["1", "2", "true"].map(|text| Text(text.into())));
        assert!(serde_json::from_str::<Number>("\"ten\"").is_err());
    }

    #[test]
    fn n044_a_port_is_a_whole_number_in_range() {
        for bad in [-1.0, 65_536.0, 80.5, f64::NAN] {
            assert!(Number(bad).as_port().is_err(), "{bad}");
        }
        assert_eq!(Number(65_535.0).as_port(), Ok(65_535));
    }
}
