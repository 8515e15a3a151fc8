//! Parameters as typed things. Shared by all generations, which differ in spelling and in words for errors.

use super::call::Call;
use super::codes;
use super::error::ApiError;
use super::lenient::{Number, Text};
use super::params::Spelling;
use super::router::Version;
use muster_core::ids::{DEFAULT_CLUSTER, DEFAULT_GROUP, ServiceKey, split_grouped};
use muster_core::instance::{Instance, Metadata};
use muster_core::naming::Beat;
use muster_core::service::{Selector, SelectorError};
use muster_core::validate;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The service a request is about: `serviceName`, with the group in it or in `groupName`.
///
/// # Errors
/// Missing, or a grouped name without a group or a name.
pub(crate) fn service(call: &Call<'_>) -> Result<ServiceKey, ApiError> {
    service_named(call, call.params.required("serviceName")?)
}

/// As [`service`], where Nacos leaves the check to its framework.
///
/// # Errors
/// As [`service`].
pub(crate) fn service_in_framework(call: &Call<'_>) -> Result<ServiceKey, ApiError> {
    let missing = || ApiError::missing_in_framework("serviceName");
    service_named(call, call.params.get("serviceName").ok_or_else(missing)?)
}

/// As [`service`], for the calls of v2 that insist on a grouped name.
///
/// # Errors
/// As [`service`], and for a bare name.
pub(crate) fn service_grouped(call: &Call<'_>) -> Result<ServiceKey, ApiError> {
    let name = call.params.required("serviceName")?;
    if split_grouped(name).is_none() {
        return Err(bad_name("it should be format as 'groupName@@serviceName'"));
    }
    service_named(call, name)
}

fn service_named(call: &Call<'_>, name: &str) -> Result<ServiceKey, ApiError> {
    let namespace = namespace(call);
    match split_grouped(name) {
        Some(("", _)) => Err(bad_name("groupName can't be empty")),
        Some((_, "")) => Err(bad_name("it should be format as 'groupName@@serviceName'")),
        Some((group, name)) => Ok(ServiceKey::new(namespace, group, name)),
        None => Ok(ServiceKey::new(namespace, call.params.or("groupName", DEFAULT_GROUP), name)),
    }
}

fn bad_name(why: &str) -> ApiError {
    ApiError::illegal(format!("Param 'serviceName' is illegal, {why}"))
}

/// `namespaceId`, `public` when it is blank.
pub(crate) fn namespace<'s>(call: &'s Call<'_>) -> &'s str {
    call.params.or("namespaceId", muster_core::ids::PUBLIC)
}

/// `clusterName` or `cluster`, `DEFAULT` when both are blank.
pub(crate) fn cluster<'s>(call: &'s Call<'_>) -> &'s str {
    call.params.get_any(&["clusterName", "cluster"]).unwrap_or(DEFAULT_CLUSTER)
}

/// `ip` and `port`.
///
/// # Errors
/// Missing, or a port that is none.
pub(crate) fn address<'s>(call: &'s Call<'_>) -> Result<(&'s str, u16), ApiError> {
    Ok((call.params.required("ip")?, call.params.required_number("port")?))
}

/// `ephemeral`, which follows the switch `defaultInstanceEphemeral` when it is not given (N060).
///
/// # Errors
/// A word that is not a truth value.
pub(crate) fn ephemeral(call: &Call<'_>) -> Result<bool, ApiError> {
    let given = call.params.flag("ephemeral", call.spelling())?;
    Ok(given.unwrap_or_else(|| call.app.naming.switches().default_instance_ephemeral))
}

/// `weight`, none when it is not given.
///
/// # Errors
/// Not a number, or out of range.
pub(crate) fn weight(call: &Call<'_>) -> Result<Option<f64>, ApiError> {
    let weight = call.params.number("weight")?;
    weight.map_or(Ok(()), validate::weight)?;
    Ok(weight)
}

/// `enabled`, or `enable` on v1; none when neither is given.
///
/// # Errors
/// A word that is not a truth value.
pub(crate) fn enabled(call: &Call<'_>) -> Result<Option<bool>, ApiError> {
    let given = call.params.flag("enabled", call.spelling())?;
    match call.version {
        Version::V1 if given.is_none() => call.params.flag("enable", Spelling::Loose),
        Version::V1 | Version::V2 | Version::V3 => Ok(given),
    }
}

/// A whole instance of a registration, deregistration or update.
///
/// # Errors
/// What is missing or malformed, in the order in which Nacos looks.
pub(crate) fn instance(call: &Call<'_>) -> Result<(ServiceKey, Instance), ApiError> {
    let service = service(call)?;
    let (ip, port) = address(call)?;
    let weight = weight(call)?.unwrap_or(1.0);
    let instance = Instance {
        cluster: cluster(call).into(),
        weight,
        healthy: call.params.flag("healthy", call.spelling())?.unwrap_or(true),
        enabled: enabled(call)?.unwrap_or(true),
        ephemeral: ephemeral(call)?,
        metadata: Arc::new(metadata(call.params.get("metadata"))?),
        ..Instance::new(ip, port)
    };
    Ok((service, instance))
}

/// Metadata: a JSON object, or `k=v,k=v`.
///
/// # Errors
/// Text that is neither (N053).
pub(crate) fn metadata(text: Option<&str>) -> Result<Metadata, ApiError> {
    let Some(text) = text.filter(|text| !matches!(*text, "{}" | "null")) else { return Ok(Metadata::new()) };
    if let Ok(map) = serde_json::from_str::<BTreeMap<String, Option<Text>>>(text) {
        return Ok(map.into_iter().filter_map(|(key, value)| Some((key, value?.0))).collect());
    }
    let pair = |piece: &str| {
        let (key, value) = piece.split_once('=')?;
        (!value.is_empty() && !value.contains('=')).then(|| (key.to_owned(), value.to_owned()))
    };
    text.split(',').map(pair).collect::<Option<Metadata>>().ok_or_else(|| {
        ApiError::refused(codes::INSTANCE_METADATA_ERROR, format!("metadata format incorrect:{text}"))
    })
}

/// The JSON of a beat. Everything else that old clients send is ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct BeatJson<'a> {
    #[serde(borrow)]
    ip: Option<Cow<'a, str>>,
    port: Option<Number>,
    #[serde(borrow)]
    cluster: Option<Cow<'a, str>>,
    weight: Option<Number>,
    metadata: Option<BTreeMap<String, Option<Text>>>,
}

/// A beat: the `beat` JSON wins over the parameters (N091).
///
/// # Errors
/// No address in either, malformed JSON, or an instance that could not be registered.
pub(crate) fn beat(call: &Call<'_>) -> Result<Beat, ApiError> {
    let Some(text) = call.params.get("beat") else {
        let (ip, port) = address(call)?;
        return Ok(Beat { ip: ip.to_owned(), port, full: None });
    };
    let json: BeatJson<'_> = serde_json::from_str(text)
        .map_err(|error| ApiError::illegal(format!("beat is malformed: {error}")))?;
    beat_of(call, json)
}

fn beat_of(call: &Call<'_>, json: BeatJson<'_>) -> Result<Beat, ApiError> {
    let given = |text: &Option<Cow<'_, str>>| {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let ip = match given(&json.ip) {
        Some(ip) => ip,
        None => call.params.required("ip")?.to_owned(),
    };
    let port = match json.port {
        Some(port) => port.as_port()?,
        None => call.params.required_number("port")?,
    };
    let cluster = given(&json.cluster).unwrap_or_else(|| cluster(call).to_owned());
    let metadata = json.metadata.unwrap_or_default();
    let metadata: Metadata = metadata.into_iter().filter_map(|(key, value)| Some((key, value?.0))).collect();
    check_beat(call, &ip, &cluster, &metadata)?;
    let weight = json.weight.map_or(1.0, |weight| weight.0);
    validate::weight(weight)?;
    let full = Instance {
        cluster: cluster.as_str().into(),
        weight,
        metadata: Arc::new(metadata),
        ..Instance::new(&ip, port)
    };
    Ok(Beat { ip, port, full: Some(full) })
}

/// What is inside the JSON has to satisfy the same limits as parameters do.
fn check_beat(call: &Call<'_>, ip: &str, cluster: &str, metadata: &Metadata) -> Result<(), ApiError> {
    let settings = &call.app.settings;
    if settings.check_params {
        validate::ip(ip)?;
        validate::clusters(cluster)?;
        validate::metadata(metadata, settings.metadata_length)?;
    }
    validate::instance(cluster, metadata)?;
    Ok(())
}

/// The settings of a service beside its name.
pub(crate) struct ServiceForm {
    /// which service
    pub(crate) service: ServiceKey,
    /// share of healthy instances at which protection begins
    pub(crate) protect_threshold: f32,
    /// free key/value pairs
    pub(crate) metadata: Metadata,
    /// who may be sent what
    pub(crate) selector: Selector,
    /// whether it holds ephemeral instances; v1 services are persistent
    pub(crate) ephemeral: bool,
}

/// A service to create or update.
///
/// # Errors
/// What is missing or malformed.
pub(crate) fn service_form(call: &Call<'_>, service: ServiceKey) -> Result<ServiceForm, ApiError> {
    Ok(ServiceForm {
        service,
        protect_threshold: threshold(call)?.unwrap_or(0.0),
        metadata: metadata(call.params.get("metadata"))?,
        selector: selector(call.params.get("selector"))?,
        ephemeral: match call.version {
            Version::V1 => false,
            Version::V2 | Version::V3 => call.params.flag("ephemeral", call.spelling())?.unwrap_or(false),
        },
    })
}

/// `protectThreshold`; a number that is none would switch protection off unseen.
///
/// # Errors
/// Not a number.
pub(crate) fn threshold(call: &Call<'_>) -> Result<Option<f32>, ApiError> {
    match call.params.number::<f32>("protectThreshold")? {
        Some(threshold) if threshold.is_nan() => Err(ApiError::not_a_number("NaN")),
        threshold => Ok(threshold),
    }
}

#[derive(Deserialize)]
struct SelectorJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    expression: Option<String>,
}

/// A selector: JSON, which some clients encode twice.
///
/// # Errors
/// Malformed, or of a type nobody knows.
pub(crate) fn selector(text: Option<&str>) -> Result<Selector, ApiError> {
    let Some(text) = text else { return Ok(Selector::None) };
    let json = read_selector(text).or_else(|| {
        let decoded = percent_encoding::percent_decode_str(text).decode_utf8().ok()?;
        read_selector(&decoded)
    });
    let unknown = || ApiError::from(SelectorError::UnknownType);
    let SelectorJson { kind, expression } = json.ok_or_else(unknown)?;
    let kind = kind.ok_or_else(unknown)?;
    Ok(Selector::parse(&kind, expression.as_deref().unwrap_or_default())?)
}

fn read_selector(text: &str) -> Option<SelectorJson> {
    serde_json::from_str(text).ok()
}

impl From<SelectorError> for ApiError {
    fn from(error: SelectorError) -> Self {
        match error {
            SelectorError::UnknownType | SelectorError::Expression => {
                Self::refused(codes::SELECTOR_ERROR, error.to_string())
            }
        }
    }
}

/// One page of a list; numbers start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// which page
    pub(crate) number: usize,
    /// how long it is
    pub(crate) size: usize,
}

impl Page {
    /// The items of this page.
    pub(crate) fn of<T>(self, items: &[T]) -> &[T] {
        let start = self.number.saturating_sub(1).saturating_mul(self.size).min(items.len());
        let end = start.saturating_add(self.size).min(items.len());
        &items[start..end]
    }

    /// How many pages `total` items fill.
    pub(crate) fn pages(self, total: usize) -> usize {
        total.div_ceil(self.size.max(1))
    }
}

/// `pageNo` and `pageSize`, with defaults. v3 refuses numbers below 1 (N140), older ones bend them.
///
/// # Errors
/// Not a number, or below 1 on v3.
pub(crate) fn page(call: &Call<'_>, number: usize, size: usize) -> Result<Page, ApiError> {
    let read = |name: &'static str, default: usize| -> Result<usize, ApiError> {
        let given: i64 = call.params.number(name)?.unwrap_or_else(|| i64::try_from(default).unwrap_or(1));
        if given < 1 && call.version == Version::V3 {
            return Err(ApiError::illegal(format!(
                "Required parameter '{name}' should be positive integer, current is {given}"
            )));
        }
        Ok(usize::try_from(given.max(1)).unwrap_or(1))
    };
    Ok(Page { number: read("pageNo", number)?, size: read("pageSize", size)? })
}

/// `pageNo` and `pageSize`, both required.
///
/// # Errors
/// Missing, or not a number.
pub(crate) fn required_page(call: &Call<'_>) -> Result<Page, ApiError> {
    call.params.required("pageNo")?;
    call.params.required("pageSize")?;
    page(call, 1, 1)
}

/// An instance named in a batch.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchEntry {
    /// address
    pub(crate) ip: String,
    /// port
    pub(crate) port: Number,
    /// cluster, `DEFAULT` when it is not given
    #[serde(default, alias = "cluster")]
    pub(crate) cluster_name: Option<String>,
}

/// `instances` of a batch; none stands for all of the service.
pub(crate) fn batch_entries(call: &Call<'_>) -> Option<Vec<BatchEntry>> {
    let entries: Vec<BatchEntry> = serde_json::from_str(call.params.get("instances")?).ok()?;
    (!entries.is_empty()).then_some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n054_metadata_is_json_or_pairs() {
        let wanted = Metadata::from([("k".into(), "v".into()), ("k2".into(), "v2".into())]);
        assert_eq!(metadata(Some("k=v,k2=v2")).unwrap(), wanted);
        assert_eq!(metadata(Some(r#"{"k":"v","k2":"v2"}"#)).unwrap(), wanted);
        assert_eq!(
            metadata(Some(r#"{"n":5,"b":true,"x":null}"#)).unwrap(),
            metadata(Some("n=5,b=true")).unwrap()
        );
        assert_eq!(metadata(None).unwrap(), Metadata::new());
    }

    #[test]
    fn n053_text_that_is_neither_is_refused() {
        for bad in ["k", "k=", "k=v=w", "k=v,", r#"{"k":{}}"#] {
            assert_eq!(metadata(Some(bad)).unwrap_err().text(), format!("metadata format incorrect:{bad}"));
        }
    }

    #[test]
    fn n122_n123_n124_selectors_are_json_maybe_encoded_twice() {
        assert_eq!(selector(None).unwrap(), Selector::None);
        assert_eq!(selector(Some(r#"{"type":"none"}"#)).unwrap(), Selector::None);
        assert_eq!(selector(Some("%7B%22type%22%3A%22none%22%7D")).unwrap(), Selector::None);
        let refused = |text| selector(Some(text)).unwrap_err().text().into_owned();
        assert_eq!(refused(r#"{"type":"zone"}"#), "not match any type of selector!");
        assert_eq!(refused(r#"{"type":"label","expression":"x"}"#), "parse expression failed!");
    }

    #[test]
    fn n138_a_page_beyond_the_end_is_empty() {
        let items = [1, 2, 3];
        assert_eq!(Page { number: 2, size: 2 }.of(&items), [3]);
        assert!(Page { number: 3, size: 2 }.of(&items).is_empty());
        assert!(Page { number: usize::MAX, size: usize::MAX }.of(&items).is_empty());
        assert_eq!((Page { number: 1, size: 2 }.pages(3), Page { number: 1, size: 2 }.pages(0)), (2, 0));
    }

    #[test]
    fn beats_of_every_client_are_understood() {
        let node: BeatJson<'_> =
            serde_json::from_str(r#"{"ip":"10.0.0.5","port":"8080","weight":1,"load":null,"stopped":false}"#)
                .unwrap();
        assert_eq!(node.port.unwrap().as_port().unwrap(), 8080);
        assert_eq!(node.weight.unwrap().0, 1.0);
        let bad: BeatJson<'_> = serde_json::from_str(r#"{"port":70000}"#).unwrap();
        assert!(bad.port.unwrap().as_port().is_err());
    }
}
