//! How single values are written: durations, sizes, addresses.

use super::tree::Node;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

/// A value that can be written in a settings file.
pub(super) trait FromSetting: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What it should have been, to be put after "must be".
    fn read(node: &Node) -> Result<Self, String>;

    /// As one would write it.
    fn show(&self) -> String;
}

/// A number of bytes, written `64KiB`, `16MiB` or `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Bytes {
    /// `count` mebibytes.
    pub const fn mib(count: u64) -> Self {
        Self(count * 1024 * 1024)
    }

    /// As a length in memory.
    pub fn len(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Whether it is nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

const DURATION: &str = "a whole number with a unit, such as \"500ms\", \"5s\", \"2m\" or \"1h\"";
const SIZE: &str = "a whole number with a unit, such as \"64KiB\", \"16MiB\" or \"1GiB\"";

/// `12ms` as (12, "ms").
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

/// Reads `500ms`, `5s`, `2m`, `1h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// Writes a duration as it is written in settings.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    match millis {
        0 => "0s".into(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

impl FromSetting for Duration {
    fn read(node: &Node) -> Result<Self, String> {
        node.text().and_then(duration).ok_or_else(|| DURATION.into())
    }

    fn show(&self) -> String {
        show_duration(*self)
    }
}

impl FromSetting for Bytes {
    fn read(node: &Node) -> Result<Self, String> {
        let read = |text: &str| {
            let (number, unit) = number_and_unit(text)?;
            let factor = match unit {
                "B" => 1,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                _ => return None,
            };
            number.checked_mul(factor).map(Self)
        };
        node.text().and_then(read).ok_or_else(|| SIZE.into())
    }

    fn show(&self) -> String {
        let (mib, kib) = (1 << 20, 1 << 10);
        match self.0 {
            bytes if bytes >= mib && bytes.is_multiple_of(mib) => format!("{}MiB", bytes / mib),
            bytes if bytes >= kib && bytes.is_multiple_of(kib) => format!("{}KiB", bytes / kib),
            bytes => format!("{bytes}B"),
        }
    }
}

impl FromSetting for SocketAddr {
    fn read(node: &Node) -> Result<Self, String> {
        let wanted = "an IP address with a port, such as \"127.0.0.1:8848\" or \"[::]:8848\"";
        node.text().and_then(|text| text.trim().parse().ok()).ok_or_else(|| wanted.into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FromSetting for IpAddr {
    fn read(node: &Node) -> Result<Self, String> {
        let wanted = "an IP address without a port, such as \"10.0.0.1\"";
        node.text().and_then(|text| text.trim().parse().ok()).ok_or_else(|| wanted.into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FromSetting for IpNet {
    fn read(node: &Node) -> Result<Self, String> {
        let wanted = "a network such as \"10.1.0.0/16\" or \"fd00::/8\"";
        node.text().and_then(|text| text.trim().parse().ok()).ok_or_else(|| wanted.into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FromSetting for String {
    fn read(node: &Node) -> Result<Self, String> {
        node.text().map(ToOwned::to_owned).ok_or_else(|| "text in quotes".into())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl FromSetting for PathBuf {
    fn read(node: &Node) -> Result<Self, String> {
        let path = node.text().filter(|text| !text.trim().is_empty()).map(Self::from);
        path.ok_or_else(|| "a path in quotes".into())
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl FromSetting for bool {
    fn read(node: &Node) -> Result<Self, String> {
        node.boolean().ok_or_else(|| "true or false".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl FromSetting for f64 {
    fn read(node: &Node) -> Result<Self, String> {
        node.float().filter(|number| number.is_finite()).ok_or_else(|| "a number".into())
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($type:ty: $wanted:literal),*) => {$(
        impl FromSetting for $type {
            fn read(node: &Node) -> Result<Self, String> {
                node.integer().and_then(|number| Self::try_from(number).ok()).ok_or_else(|| $wanted.into())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
whole_numbers!(u16: "a whole number from 0 to 65535", u32: "a whole number", u64: "a whole number", usize: "a whole number");

macro_rules! counts {
    ($($type:ty),*) => {$(
        impl FromSetting for $type {
            fn read(node: &Node) -> Result<Self, String> {
                let number = node.integer().and_then(|number| number.try_into().ok()).and_then(Self::new);
                number.ok_or_else(|| "a whole number above 0".into())
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
counts!(NonZeroU32, NonZeroU64, NonZeroUsize);

/// A setting that is one of a few words.
macro_rules! words {
    ($type:ty { $($word:literal => $value:path),+ $(,)? }) => {
        impl $crate::settings::values::FromSetting for $type {
            fn read(node: &$crate::settings::tree::Node) -> Result<Self, String> {
                match node.text() {
                    $(Some($word) => Ok($value),)+
                    _ => Err(format!("one of {}", [$(concat!("\"", $word, "\"")),+].join(", "))),
                }
            }

            fn show(&self) -> String {
                match self {
                    $($value => $word.into(),)+
                }
            }
        }
    };
}
pub(super) use words;

#[cfg(test)]
mod tests {
    use super::*;

    fn raw<T: FromSetting>(text: &str) -> Result<T, String> {
        T::read(&Node::Raw(text.to_owned()))
    }

    #[test]
    fn durations_need_a_unit_and_show_as_they_are_written() {
        for text in ["500ms", "5s", "2m", "1h", "1500ms"] {
            assert_eq!(raw::<Duration>(text).unwrap().show(), text);
        }
        for bad in
            ["5", "5 seconds", "s", "-5s", "1.5s", "", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(raw::<Duration>(bad).unwrap_err(), DURATION, "{bad}");
        }
        assert_eq!(Duration::read(&Node::Integer(5)).unwrap_err(), DURATION);
    }

    #[test]
    fn sizes_need_a_unit_and_show_as_they_are_written() {
        for text in ["12B", "64KiB", "16MiB"] {
            assert_eq!(raw::<Bytes>(text).unwrap().show(), text);
        }
        assert_eq!(raw::<Bytes>("1GiB").unwrap(), Bytes::mib(1024));
        for bad in ["16", "16MB", "16 mib", "-1B"] {
            assert_eq!(raw::<Bytes>(bad).unwrap_err(), SIZE, "{bad}");
        }
    }

    #[test]
    fn values_of_the_environment_read_like_those_of_the_file() {
        assert_eq!(raw("true"), Ok(true));
        assert_eq!(raw("0.5"), Ok(0.5));
        assert_eq!(raw("7"), Ok(7_u32));
        assert_eq!(raw("10.1.0.0/16"), Ok("10.1.0.0/16".parse::<IpNet>().unwrap()));
        assert_eq!(raw::<NonZeroU32>("0").unwrap_err(), "a whole number above 0");
        assert_eq!(raw::<u16>("65536").unwrap_err(), "a whole number from 0 to 65535");
    }
}
