//! The node-wide switches that operators turn at run time (`operator/switches`).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the switch record. Source: Nacos `UtilsAndCommons.SWITCH_DOMAIN_NAME`.
pub const SWITCH_DOMAIN: &str = "00-00---000-NACOS_SWITCH_DOMAIN-000---00-00";

/// How the interval between checks adapts, in milliseconds. Source: Nacos `SwitchDomain.HealthParams`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthParams {
    /// longest interval, ms
    pub max: u64,
    /// shortest interval, ms
    pub min: u64,
    /// weight of the former interval, 0 to 1
    pub factor: f64,
}

/// All switches, with Nacos's names and defaults. Source: Nacos `SwitchDomain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Switches {
    /// always [`SWITCH_DOMAIN`]
    pub name: String,
    /// unused by Muster, kept for the record
    pub masters: Option<Vec<String>>,
    /// unused by Muster, kept for the record
    pub ad_weight_map: BTreeMap<String, i32>,
    /// `cacheMillis` of replies, ms
    pub default_push_cache_millis: u64,
    /// how often clients send beats, ms
    pub client_beat_interval: u64,
    /// `cacheMillis` of 1.x replies without a subscription, ms
    pub default_cache_millis: u64,
    /// unused since Nacos 2, kept for the record
    pub distro_threshold: f64,
    /// whether beats and active checks change health
    pub health_check_enabled: bool,
    /// unused by Muster, kept for the record
    pub auto_change_health_check_enabled: bool,
    /// whether responsibility is shared between members
    pub distro_enabled: bool,
    /// unused by Muster, kept for the record
    pub enable_standalone: bool,
    /// whether subscribers are pushed to
    pub push_enabled: bool,
    /// consecutive results that change health
    pub check_times: u32,
    /// interval of HTTP checks
    pub http_health_params: HealthParams,
    /// interval of TCP checks, and of plugins that have none of their own
    pub tcp_health_params: HealthParams,
    /// interval of MYSQL checks
    pub mysql_health_params: HealthParams,
    /// unused by Muster, kept for the record
    pub incremental_list: Vec<String>,
    /// 1.x peers only, ms
    pub server_status_synchronization_period_millis: u64,
    /// 1.x peers only, ms
    pub service_status_synchronization_period_millis: u64,
    /// unused by Muster, kept for the record
    #[serde(rename = "disableAddIP")]
    pub disable_add_ip: bool,
    /// unused by Muster, kept for the record
    pub send_beat_only: bool,
    /// whether clients may leave the instance out of a beat
    pub light_beat_enabled: bool,
    /// URL prefix → status answered instead
    pub limited_url_map: BTreeMap<String, u16>,
    /// 1.x peers only, ms
    pub distro_server_expired_millis: u64,
    /// smallest Go client that gets UDP pushes
    pub push_go_version: String,
    /// smallest Java client that gets UDP pushes
    pub push_java_version: String,
    /// smallest DNS-F client that gets UDP pushes
    pub push_python_version: String,
    /// smallest C client that gets UDP pushes
    pub push_c_version: String,
    /// smallest C# client that gets UDP pushes
    #[serde(rename = "pushCSharpVersion")]
    pub push_csharp_version: String,
    /// unused by Muster, kept for the record
    pub enable_authentication: bool,
    /// a server status that replaces the computed one
    pub overridden_server_status: Option<String>,
    /// `ephemeral` of registrations that do not say
    pub default_instance_ephemeral: bool,
    /// services that are checked though checks are off
    pub health_check_white_list: Vec<String>,
    /// 1.x only
    pub checksum: Option<String>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            name: SWITCH_DOMAIN.into(),
            masters: None,
            ad_weight_map: BTreeMap::new(),
            default_push_cache_millis: 10_000,
            client_beat_interval: 5_000,
            default_cache_millis: 3_000,
            distro_threshold: 0.7,
            health_check_enabled: true,
            auto_change_health_check_enabled: true,
            distro_enabled: true,
            enable_standalone: true,
            push_enabled: true,
            check_times: 3,
            http_health_params: HealthParams { max: 5_000, min: 500, factor: 0.85 },
            tcp_health_params: HealthParams { max: 5_000, min: 1_000, factor: 0.75 },
            mysql_health_params: HealthParams { max: 3_000, min: 2_000, factor: 0.65 },
            incremental_list: Vec::new(),
            server_status_synchronization_period_millis: 2_000,
            service_status_synchronization_period_millis: 5_000,
            disable_add_ip: false,
            send_beat_only: false,
            light_beat_enabled: true,
            limited_url_map: BTreeMap::new(),
            distro_server_expired_millis: 10_000,
            push_go_version: "0.1.0".into(),
            push_java_version: "0.1.0".into(),
            push_python_version: "0.4.3".into(),
            push_c_version: "1.0.12".into(),
            push_csharp_version: "0.9.0".into(),
            enable_authentication: false,
            overridden_server_status: None,
            default_instance_ephemeral: true,
            health_check_white_list: Vec::new(),
            checksum: None,
        }
    }
}

/// The statuses a node can have or be given. Source: Nacos `ServerStatus`.
pub const SERVER_STATUSES: [&str; 6] = ["UP", "DOWN", "STARTING", "PAUSED", "WRITE_ONLY", "READ_ONLY"];

/// A switch value that does not fit its entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry}: {message}")]
pub struct SwitchError {
    /// the entry
    pub entry: String,
    /// what would fit
    pub message: String,
}

impl Switches {
    /// Sets `entry` to `value`. Answers false for an entry nobody knows, which changes nothing (N180).
    ///
    /// # Errors
    /// [`SwitchError`] when the value does not fit.
    pub fn set(&mut self, entry: &str, value: &str) -> Result<bool, SwitchError> {
        let value = value.trim();
        let refuse =
            |message: &str| Err(SwitchError { entry: entry.to_owned(), message: message.to_owned() });
        match entry {
            "distroThreshold" => match value.parse() {
                Ok(number) if number > 0.0 => self.distro_threshold = number,
                _ => return refuse("must be a number above 0"),
            },
            "clientBeatInterval" => self.client_beat_interval = at_least(entry, value, 0)?,
            "pushCacheMillis" => self.default_push_cache_millis = at_least(entry, value, 10_000)?,
            "defaultCacheMillis" => self.default_cache_millis = at_least(entry, value, 1_000)?,
            "serviceStatusSynchronizationPeriodMillis" => {
                self.service_status_synchronization_period_millis = at_least(entry, value, 5_000)?;
            }
            "serverStatusSynchronizationPeriodMillis" => {
                self.server_status_synchronization_period_millis = at_least(entry, value, 1_000)?;
            }
            "distroServerExpiredMillis" => self.distro_server_expired_millis = at_least(entry, value, 0)?,
            "healthCheckTimes" => {
                let times = at_least(entry, value, 1)?;
                match u32::try_from(times) {
                    Ok(times) => self.check_times = times,
                    Err(_) => return refuse("must be a whole number below 2^32"),
                }
            }
            "pushVersion" => self.set_push_version(value)?,
            "masters" => self.masters = Some(value.split(',').map(|part| part.trim().to_owned()).collect()),
            "limitedUrlMap" => self.limited_url_map = limited_urls(value)?,
            "overriddenServerStatus" => match value {
                "null" | "" => self.overridden_server_status = None,
                status if SERVER_STATUSES.contains(&status) => {
                    self.overridden_server_status = Some(status.to_owned())
                }
                _ => return refuse("must be UP, DOWN, STARTING, PAUSED, WRITE_ONLY, READ_ONLY or null"),
            },
            "httpHealthParams" => self.http_health_params = health_params(entry, value)?,
            "tcpHealthParams" => self.tcp_health_params = health_params(entry, value)?,
            "mysqlHealthParams" => self.mysql_health_params = health_params(entry, value)?,
            _ => return self.set_flag(entry, value),
        }
        Ok(true)
    }

    fn set_flag(&mut self, entry: &str, value: &str) -> Result<bool, SwitchError> {
        let flag = match entry {
            "distro" => &mut self.distro_enabled,
            "check" => &mut self.health_check_enabled,
            "pushEnabled" => &mut self.push_enabled,
            "disableAddIP" => &mut self.disable_add_ip,
            "sendBeatOnly" => &mut self.send_beat_only,
            "enableStandalone" => &mut self.enable_standalone,
            "defaultInstanceEphemeral" => &mut self.default_instance_ephemeral,
            "lightBeatEnabled" => &mut self.light_beat_enabled,
            "autoChangeHealthCheckEnabled" => &mut self.auto_change_health_check_enabled,
            _ => return Ok(false),
        };
        *flag = flag_of(value).ok_or_else(|| SwitchError {
            entry: entry.to_owned(),
            message: "must be true or false".into(),
        })?;
        Ok(true)
    }

    fn set_push_version(&mut self, value: &str) -> Result<(), SwitchError> {
        let refuse = |message: &str| SwitchError { entry: "pushVersion".into(), message: message.to_owned() };
        let (kind, version) = value.split_once(':').ok_or_else(|| refuse("must be <type>:<x.y.z>"))?;
        let numbers: Vec<&str> = version.split('.').collect();
        let digits = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if numbers.len() != 3 || !numbers.iter().all(digits) {
            return Err(refuse("illegal version, must match x.y.z"));
        }
        let slot = match kind {
            "java" => &mut self.push_java_version,
            "python" => &mut self.push_python_version,
            "c" => &mut self.push_c_version,
            "go" => &mut self.push_go_version,
            "csharp" => &mut self.push_csharp_version,
            _ => return Err(refuse("unsupported client type, must be java, python, c, go or csharp")),
        };
        version.clone_into(slot);
        Ok(())
    }
}

/// Nacos's spellings of a truth value on v1. Source: Nacos `ConvertUtils.toBoolean`.
pub fn flag_of(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Some(true),
        "false" | "f" | "no" | "n" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn at_least(entry: &str, value: &str, least: u64) -> Result<u64, SwitchError> {
    match value.parse() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(SwitchError {
            entry: entry.to_owned(),
            message: format!("must be a whole number, at least {least}"),
        }),
    }
}

fn limited_urls(value: &str) -> Result<BTreeMap<String, u16>, SwitchError> {
    let bad = || SwitchError { entry: "limitedUrlMap".into(), message: "must be url:code,url:code".into() };
    let pair = |part: &str| {
        let (url, code) = part.rsplit_once(':').ok_or_else(bad)?;
        let code = code.trim().parse().ok().filter(|code| (100..1000).contains(code)).ok_or_else(bad)?;
        if url.trim().is_empty() { Err(bad()) } else { Ok((url.trim().to_owned(), code)) }
    };
    value.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

fn health_params(entry: &str, value: &str) -> Result<HealthParams, SwitchError> {
    let bad = |message: &str| SwitchError { entry: entry.to_owned(), message: message.to_owned() };
    let params: HealthParams =
        serde_json::from_str(value).map_err(|_| bad("must be {\"max\":ms,\"min\":ms,\"factor\":0..1}"))?;
    if params.min < 500
        || params.max < 3_000
        || !(0.0..=1.0).contains(&params.factor)
        || params.min > params.max
    {
        return Err(bad("min must be at least 500, max at least 3000 and not below min, factor 0 to 1"));
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(entry: &str, value: &str) -> bool {
        let mut switches = Switches::default();
        let result = switches.set(entry, value);
        assert_eq!(switches == Switches::default(), result.is_err(), "{entry}={value} half-applied");
        result.is_err()
    }

    #[test]
    fn n175_n176_n177_n178_values_below_their_bounds_are_refused() {
        assert!(refused("pushCacheMillis", "9999") && !refused("pushCacheMillis", "10001"));
        assert!(refused("defaultCacheMillis", "999") && !refused("defaultCacheMillis", "1000"));
        assert!(refused("serviceStatusSynchronizationPeriodMillis", "4999"));
        for params in [
            r#"{"max":5000,"min":499,"factor":0.5}"#,
            r#"{"max":2999,"min":500,"factor":0.5}"#,
            r#"{"max":5000,"min":500,"factor":1.1}"#,
            "many",
        ] {
            assert!(refused("httpHealthParams", params), "{params}");
        }
        assert!(!refused("httpHealthParams", r#"{"max":3000,"min":500,"factor":1.0}"#));
        assert!(refused("healthCheckTimes", "0") && refused("check", "perhaps"));
    }

    #[test]
    fn n180_an_unknown_entry_changes_nothing() {
        let mut switches = Switches::default();
        assert_eq!(switches.set("nonsense", "1"), Ok(false));
        assert_eq!(switches, Switches::default());
    }

    #[test]
    fn n174_the_record_has_its_documented_name_and_spellings() {
        let json = serde_json::to_value(Switches::default()).unwrap();
        assert_eq!(json["name"], "00-00---000-NACOS_SWITCH_DOMAIN-000---00-00");
        for field in
            ["defaultPushCacheMillis", "disableAddIP", "pushCSharpVersion", "distroServerExpiredMillis"]
        {
            assert!(json.get(field).is_some(), "{field}");
        }
    }

    #[test]
    fn limited_urls_and_push_versions_are_parsed() {
        let mut switches = Switches::default();
        switches.set("limitedUrlMap", "/nacos/v1/ns/instance/list:501").unwrap();
        assert_eq!(switches.limited_url_map["/nacos/v1/ns/instance/list"], 501);
        switches.set("pushVersion", "java:9.9.9").unwrap();
        assert_eq!(switches.push_java_version, "9.9.9");
        assert!(refused("pushVersion", "java:9.9") && refused("pushVersion", "perl:1.0.0"));
    }
}
