//! What a request's words may look like, and what an instance must satisfy to be registered.
//!
//! Nacos's limits and texts (2.2.4+), without its regular expressions: these run on every request.

use crate::instance::{BEAT_INTERVAL, BEAT_TIMEOUT, DELETE_TIMEOUT, Metadata, timing};
use crate::instance::{KEY_BEAT_INTERVAL, KEY_BEAT_TIMEOUT, KEY_DELETE_TIMEOUT};

/// Longest metadata, keys and values together, in UTF-16 units.
/// Source: Nacos `ParamCheckRule`, setting `nacos.naming.service.metadata.length`.
pub const METADATA_LENGTH: usize = 1024;
/// Largest weight. Source: Nacos `Constants.MAX_WEIGHT_VALUE`.
pub const MAX_WEIGHT: f64 = 10_000.0;

/// A parameter that breaks a limit. Its text is Nacos's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamProblem {
    /// longer than allowed, in UTF-16 units
    #[error("Param '{label}' is illegal, the param length should not exceed {max}.")]
    TooLong {
        /// Nacos's name of the parameter
        label: &'static str,
        /// longest allowed
        max: usize,
    },
    /// holds a character that is not allowed
    #[error("Param '{label}' is illegal, illegal characters should not appear in the param.")]
    Characters {
        /// Nacos's name of the parameter
        label: &'static str,
    },
    /// not a number from 0 to 65535
    #[error("Param 'port' is illegal, the value should be between 0 and 65535.")]
    Port,
}

/// How long a word may be and what it may hold. Source: Nacos `ParamCheckRule`.
struct Limit {
    label: &'static str,
    max: usize,
    allowed: fn(&str) -> bool,
}

impl Limit {
    /// An empty word always passes: whether it is required is another question.
    fn check(&self, text: &str) -> Result<(), ParamProblem> {
        let &Self { label, max, allowed } = self;
        if longer_than(text, max) {
            Err(ParamProblem::TooLong { label, max })
        } else if text.is_empty() || allowed(text) {
            Ok(())
        } else {
            Err(ParamProblem::Characters { label })
        }
    }
}

const NAMESPACE_NAME: Limit = Limit {
    label: "namespaceShowName",
    max: 256,
    allowed: |text| !text.contains(['@', '#', '$', '%', '^', '&', '*']),
};
const NAMESPACE: Limit =
    Limit { label: "namespaceId/tenant", max: 64, allowed: |text| text.bytes().all(word_or_dash) };
const GROUP: Limit = Limit { label: "group", max: 128, allowed: |text| text.bytes().all(item) };
const DATA_ID: Limit = Limit { label: "dataId", max: 256, allowed: |text| text.bytes().all(item) };
const SERVICE: Limit = Limit {
    label: "serviceName",
    max: 512,
    allowed: |text| !text.starts_with('@') && !text.contains("@@") && text.chars().all(plain),
};
const CLUSTER: Limit = Limit { label: "cluster", max: 64, allowed: |text| text.bytes().all(word_or_dash) };
const IP: Limit = Limit { label: "ip", max: 128, allowed: |text| text.chars().all(plain) };

fn word_or_dash(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn item(byte: u8) -> bool {
    word_or_dash(byte) || matches!(byte, b':' | b'.')
}

/// Neither white space nor CJK U+4E00–U+9FA5.
fn plain(character: char) -> bool {
    !character.is_whitespace() && !('\u{4E00}'..='\u{9FA5}').contains(&character)
}

/// Java counts UTF-16 units, of which there are never more than bytes.
fn longer_than(text: &str, max: usize) -> bool {
    text.len() > max && utf16_len(text) > max
}

fn utf16_len(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// A namespace id.
///
/// # Errors
/// [`ParamProblem`] in Nacos's words.
pub fn namespace(text: &str) -> Result<(), ParamProblem> {
    NAMESPACE.check(text)
}

/// The name a namespace is shown under.
///
/// # Errors
/// [`ParamProblem`] in Nacos's words.
pub fn namespace_name(text: &str) -> Result<(), ParamProblem> {
    NAMESPACE_NAME.check(text)
}

/// A group.
///
/// # Errors
/// [`ParamProblem`] in Nacos's words.
pub fn group(text: &str) -> Result<(), ParamProblem> {
    GROUP.check(text)
}

/// An item of the config centre.
///
/// # Errors
/// [`ParamProblem`] in Nacos's words.
pub fn data_id(text: &str) -> Result<(), ParamProblem> {
    DATA_ID.check(text)
}

/// A bare service name.
///
/// # Errors
/// [`ParamProblem`] in Nacos's words.
pub fn service(text: &str) -> Result<(), ParamProblem> {
    SERVICE.check(text)
}

/// A cluster name, or several separated by commas.
///
/// # Errors
/// [`ParamProblem`] in Nacos's words.
pub fn clusters(text: &str) -> Result<(), ParamProblem> {
    text.split(',').try_for_each(|part| CLUSTER.check(part))
}

/// An address or host name.
///
/// # Errors
/// [`ParamProblem`] in Nacos's words.
pub fn ip(text: &str) -> Result<(), ParamProblem> {
    IP.check(text)
}

/// A port as text; an empty text passes.
///
/// # Errors
/// [`ParamProblem::Port`].
pub fn port(text: &str) -> Result<(), ParamProblem> {
    if text.is_empty() || text.parse::<u16>().is_ok() { Ok(()) } else { Err(ParamProblem::Port) }
}

/// Keys and values together hold at most `max` UTF-16 units.
///
/// # Errors
/// [`ParamProblem::TooLong`].
pub fn metadata(metadata: &Metadata, max: usize) -> Result<(), ParamProblem> {
    let total: usize = metadata.iter().map(|(key, value)| utf16_len(key) + utf16_len(value)).sum();
    if total > max { Err(ParamProblem::TooLong { label: "Metadata", max }) } else { Ok(()) }
}

/// An instance that may not be registered. Its text is Nacos's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstanceProblem {
    /// a timeout shorter than the interval
    #[error("Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'.")]
    Timing,
    /// other than 0-9a-zA-Z-
    #[error("Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: {0})")]
    ClusterName(String),
    /// outside 0 … 10000
    #[error("instance format invalid: The weights range from 0.0 to 10000.0")]
    Weight,
}

/// The checks at every registration except a batch one. Source: Nacos `NamingUtils.checkInstanceIsLegal`.
///
/// # Errors
/// [`InstanceProblem::Timing`] or [`InstanceProblem::ClusterName`].
pub fn instance(cluster: &str, metadata: &Metadata) -> Result<(), InstanceProblem> {
    let interval = timing(metadata, KEY_BEAT_INTERVAL).unwrap_or(BEAT_INTERVAL);
    let timeout = timing(metadata, KEY_BEAT_TIMEOUT).unwrap_or(BEAT_TIMEOUT);
    let delete = timing(metadata, KEY_DELETE_TIMEOUT).unwrap_or(DELETE_TIMEOUT);
    if timeout < interval || delete < interval {
        return Err(InstanceProblem::Timing);
    }
    if cluster.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        Ok(())
    } else {
        Err(InstanceProblem::ClusterName(cluster.to_owned()))
    }
}

/// Weights range from 0 to 10000, both included. Source: Nacos `NamingRequestUtil.checkWeight`.
///
/// # Errors
/// [`InstanceProblem::Weight`], also for a weight that is not a number.
pub fn weight(weight: f64) -> Result<(), InstanceProblem> {
    if (0.0..=MAX_WEIGHT).contains(&weight) { Ok(()) } else { Err(InstanceProblem::Weight) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Metadata {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn n039_a_service_name_has_at_most_512_characters() {
        assert_eq!(service(&"s".repeat(512)), Ok(()));
        assert_eq!(
            service(&"s".repeat(513)).unwrap_err().to_string(),
            "Param 'serviceName' is illegal, the param length should not exceed 512."
        );
        assert_eq!(service(&"é".repeat(512)), Ok(()), "characters count, not bytes");
    }

    #[test]
    fn n040_n041_a_group_is_short_and_has_no_blank_or_at() {
        for bad in ["a b", "a@b"] {
            assert_eq!(
                group(bad).unwrap_err().to_string(),
                "Param 'group' is illegal, illegal characters should not appear in the param."
            );
        }
        assert!(group(&"g".repeat(128)).is_ok() && group(&"g".repeat(129)).is_err());
        assert_eq!(group("a-b_c:d.e"), Ok(()));
    }

    #[test]
    fn n042_a_namespace_id_has_at_most_64_characters() {
        assert_eq!(
            namespace(&"n".repeat(65)).unwrap_err().to_string(),
            "Param 'namespaceId/tenant' is illegal, the param length should not exceed 64."
        );
        assert!(namespace(&"n".repeat(64)).is_ok() && namespace("a.b").is_err());
    }

    #[test]
    fn n043_a_service_name_has_no_cjk_no_blank_and_no_group_separator() {
        for bad in ["订单", "my orders", "@orders", "a@@b", "a\tb"] {
            assert!(service(bad).is_err(), "{bad}");
        }
        for good in ["orders", "a@b", "com.acme.Orders:1.0", ""] {
            assert_eq!(service(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn n044_n045_a_port_is_a_number_from_0_to_65535() {
        for good in ["0", "65535", ""] {
            assert_eq!(port(good), Ok(()), "{good}");
        }
        for bad in ["65536", "-1", "http"] {
            assert_eq!(
                port(bad).unwrap_err().to_string(),
                "Param 'port' is illegal, the value should be between 0 and 65535."
            );
        }
    }

    #[test]
    fn n046_n047_metadata_is_limited_as_a_whole() {
        let value = "v".repeat(1023);
        assert_eq!(metadata(&with(&[("k", &value)]), METADATA_LENGTH), Ok(()));
        assert_eq!(
            metadata(&with(&[("kk", &value)]), METADATA_LENGTH).unwrap_err().to_string(),
            "Param 'Metadata' is illegal, the param length should not exceed 1024."
        );
        assert!(metadata(&with(&[("kk", &value)]), 2048).is_ok());
    }

    #[test]
    fn n048_a_host_name_is_an_address_and_a_blank_is_not() {
        for good in ["10.0.0.5", "db-1.example", "fe80::1%eth0"] {
            assert_eq!(ip(good), Ok(()), "{good}");
        }
        assert!(ip("10.0. 0.5").is_err());
    }

    #[test]
    fn n036_n037_a_cluster_with_an_underscore_may_be_asked_for_but_not_registered() {
        assert_eq!(clusters("a_b,C-1"), Ok(()));
        assert_eq!(
            instance("a_b", &Metadata::new()).unwrap_err().to_string(),
            "Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: a_b)"
        );
        assert!(clusters("a,b c").is_err());
        assert_eq!(instance("", &Metadata::new()), Ok(()));
    }

    #[test]
    fn n034_n035_timeouts_below_the_interval_are_refused() {
        let text =
            "Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'.";
        for bad in [&[(KEY_BEAT_TIMEOUT, "4999")], &[(KEY_DELETE_TIMEOUT, "4999")]] {
            assert_eq!(instance("", &with(bad)).unwrap_err().to_string(), text);
        }
        assert!(instance("", &with(&[(KEY_BEAT_INTERVAL, "16000")])).is_err());
        assert_eq!(instance("", &with(&[(KEY_BEAT_TIMEOUT, "5000")])), Ok(()));
        assert_eq!(instance("", &with(&[(KEY_BEAT_INTERVAL, "x16000")])), Ok(()), "n038: not a number");
    }

    #[test]
    fn n031_n032_weights_range_from_0_to_10000() {
        for good in [0.0, 1.0, 10_000.0] {
            assert_eq!(weight(good), Ok(()));
        }
        for bad in [10_000.1, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(
                weight(bad).unwrap_err().to_string(),
                "instance format invalid: The weights range from 0.0 to 10000.0"
            );
        }
    }
}
