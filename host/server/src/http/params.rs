//! Parameters: query string first, then form body, for every method.

use super::error::ApiError;
use std::borrow::Cow;
use std::str::FromStr;

/// The parameters of one request, borrowed from it where nothing had to be decoded.
///
/// A short list and not a map: requests carry about ten, and most handlers look at all of them.
#[derive(Debug, Default)]
pub(crate) struct Params<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Params<'a> {
    /// From the query string and a form body; the query's values come first.
    pub(crate) fn parse(query: Option<&'a str>, form: &'a [u8]) -> Self {
        let query = query.unwrap_or_default();
        if query.is_empty() && form.is_empty() {
            return Self::default();
        }
        let mut pairs = Vec::with_capacity(16);
        split(query, &mut pairs);
        match std::str::from_utf8(form) {
            Ok(form) => split(form, &mut pairs),
            Err(_) => pairs.extend(form_urlencoded::parse(form)),
        }
        Self(pairs)
    }

    /// All pairs, values trimmed.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_ref(), value.trim()))
    }

    /// The first value of `name`, trimmed; none when it is missing or blank.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        let value = value.trim();
        (!value.is_empty()).then_some(value)
    }

    /// The first value of `name` as it was sent; none when it is missing.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(&**value)
    }

    /// The first of `names` that has a value.
    pub(crate) fn get_any(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    /// The value of `name`, or `default`.
    pub(crate) fn or<'s>(&'s self, name: &str, default: &'s str) -> &'s str {
        self.get(name).unwrap_or(default)
    }

    /// The value of `name`.
    ///
    /// # Errors
    /// [`ApiError::missing`].
    pub(crate) fn required(&self, name: &'static str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::missing(name))
    }

    /// A number, none when it is not given.
    ///
    /// # Errors
    /// [`ApiError::not_a_number`].
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        self.get(name).map(|text| parse(text)).transpose()
    }

    /// A number that must be given.
    ///
    /// # Errors
    /// [`ApiError::missing`] or [`ApiError::not_a_number`].
    pub(crate) fn required_number<T: FromStr>(&self, name: &'static str) -> Result<T, ApiError> {
        let text = self.get(name).ok_or_else(|| ApiError::missing_kind(name, "Integer", false))?;
        parse(text)
    }

    /// A truth value, none when it is not given.
    ///
    /// # Errors
    /// 400 for a word that `spelling` does not know.
    pub(crate) fn flag(&self, name: &str, spelling: Spelling) -> Result<Option<bool>, ApiError> {
        self.get(name).map(|text| spelling.read(text)).transpose()
    }
}

/// Pairs that hold nothing encoded, which is most of them, are taken as they are.
fn split<'a>(text: &'a str, pairs: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>) {
    for piece in text.split('&').filter(|piece| !piece.is_empty()) {
        if piece.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
            pairs.extend(form_urlencoded::parse(piece.as_bytes()));
        } else {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            pairs.push((name.into(), value.into()));
        }
    }
}

fn parse<T: FromStr>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ApiError::not_a_number(text))
}

/// How truth values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// v1: `true t yes y on` in any case are true, everything else is false. Source: Nacos `ConvertUtils`.
    Loose,
    /// v2 and v3: `true on yes 1`, `false off no 0`, all else is an error. Source: Spring's data binder.
    Strict,
}

impl Spelling {
    fn read(self, text: &str) -> Result<bool, ApiError> {
        let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        match self {
            Self::Loose => Ok(is(&["true", "t", "yes", "y", "on"])),
            Self::Strict if is(&["true", "on", "yes", "1"]) => Ok(true),
            Self::Strict if is(&["false", "off", "no", "0"]) => Ok(false),
            Self::Strict => Err(ApiError::illegal(format!("Invalid boolean value [{text}]"))),
        }
    }
}

/// Only the text `true`, in any case. Source: Java `Boolean.parseBoolean`.
pub(crate) fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n056_query_and_form_are_one_and_the_query_comes_first() {
        let params = Params::parse(Some("a=1&b=%20x+y%20"), b"a=2&c=3");
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), (Some("1"), Some("x y"), Some("3")));
    }

    #[test]
    fn plain_and_encoded_pairs_are_read_alike() {
        for text in ["a=1&b=2", "a=%31&b", "&&=x&a==&%61=+", "a=\u{e9}&b=%C3%A9&c=%ff", "a;b=1&c=d=e%3Df"] {
            let wanted: Vec<_> = form_urlencoded::parse(text.as_bytes()).collect();
            assert_eq!(Params::parse(Some(text), b"").0, wanted, "{text}");
            assert_eq!(Params::parse(None, text.as_bytes()).0, wanted, "{text}");
        }
    }

    #[test]
    fn a_blank_value_is_as_good_as_none() {
        let params = Params::parse(Some("a=&b=%20"), b"");
        assert_eq!((params.get("a"), params.get("b"), params.or("a", "d")), (None, None, "d"));
        assert_eq!(params.required("b"), Err(ApiError::missing("b")));
    }

    #[test]
    fn n057_v1_truth_is_loose_and_v2_truth_is_strict() {
        let params = Params::parse(Some("a=False&b=T&c=perhaps&d=1"), b"");
        let loose = |name| params.flag(name, Spelling::Loose).unwrap();
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(loose),
            [Some(false), Some(true), Some(false), Some(false), None]
        );
        assert_eq!(params.flag("d", Spelling::Strict), Ok(Some(true)));
        assert!(params.flag("c", Spelling::Strict).is_err());
    }

    #[test]
    fn a_bad_number_is_told_in_javas_words() {
        let params = Params::parse(Some("n=ten"), b"");
        assert_eq!(params.number::<u16>("n").unwrap_err().text(), "For input string: \"ten\"");
    }
}
