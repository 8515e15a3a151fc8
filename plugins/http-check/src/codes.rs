//! Sets of HTTP status codes as operators write them.

use std::ops::RangeInclusive;

/// Status codes: `200`, `200,204`, `200-299`, `2xx`, and lists of those.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Codes(Vec<RangeInclusive<u16>>);

impl Codes {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.split(',').map(|part| range(part.trim())).collect::<Option<_>>().map(Self)
    }

    pub(crate) fn contain(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    if let Some(class) = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX")) {
        let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let (low, high) = (code(low)?, code(high)?);
    (low <= high).then_some(low..=high)
}

fn code(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|code| (100..=599).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_ranges_and_classes() {
        let codes = Codes::parse("204, 301-303,4xx").unwrap();
        for (status, inside) in
            [(204, true), (200, false), (302, true), (304, false), (404, true), (500, false)]
        {
            assert_eq!(codes.contain(status), inside, "{status}");
        }
    }

    #[test]
    fn what_is_no_code_is_refused() {
        for text in ["", "ok", "99", "600", "6xx", "xx", "300-200", "200,", "200-"] {
            assert_eq!(Codes::parse(text), None, "{text}");
        }
    }
}
