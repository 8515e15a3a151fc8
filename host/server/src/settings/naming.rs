//! `[naming]`: the registry's own rules.

use super::health::millis;
use super::reader::Section;
use super::values::words;
use muster_core::naming::{Options, PUSH_DELAY, Protection, RESTART_HOLD};
use std::ops::RangeInclusive;
use std::time::Duration;

/// `[naming]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Naming {
    /// From a change to the push that tells of it; changes in between travel along.
    /// Source: Nacos `nacos.naming.push.pushTaskDelay`.
    pub push_delay: Duration,
    /// How long after a start instances of before are shown, and lists are not pushed that are empty only because
    /// nobody has registered yet.
    pub restart_hold: Duration,
    /// How often empty services are looked for. Source: Nacos `nacos.naming.clean.empty-service.interval`.
    pub empty_service_interval: Duration,
    /// How long a service stays without publishers. Source: `nacos.naming.clean.empty-service.expired-time`.
    pub empty_service_expiry: Duration,
    /// How long metadata outlives its service or instance.
    /// Source: Nacos `nacos.naming.clean.expired-metadata.expired-time`.
    pub metadata_expiry: Duration,
    /// Whether silent instances are removed, beside turning unhealthy. Source: Nacos `expireInstance`.
    pub expire_instance: bool,
    /// Whether names and addresses of requests are checked. Source: `nacos.core.param.check.enabled`.
    pub param_check: bool,
    /// Most characters in all keys and values of an instance's metadata together.
    /// Source: Nacos `nacos.naming.service.metadata.length`.
    pub metadata_limit: usize,
    /// What is shown when too few instances are healthy.
    pub protection: Protection,
}

words!(Protection { "nacos" => Protection::Nacos, "strict" => Protection::Strict, "off" => Protection::Off });

impl Default for Naming {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self {
            push_delay: Duration::from_millis(PUSH_DELAY.0),
            restart_hold: Duration::from_millis(RESTART_HOLD.0),
            empty_service_interval: minute,
            empty_service_expiry: minute,
            metadata_expiry: minute,
            expire_instance: true,
            param_check: true,
            metadata_limit: 1024,
            protection: Protection::Nacos,
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const PUSH: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60);
const CLEAN: RangeInclusive<Duration> = Duration::from_millis(100)..=DAY;
const KEEP: RangeInclusive<Duration> = Duration::ZERO..=DAY;

impl Naming {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            push_delay: section.within("push-delay", default.push_delay, &PUSH),
            restart_hold: section.within("restart-hold", default.restart_hold, &KEEP),
            empty_service_interval: section.within(
                "empty-service-interval",
                default.empty_service_interval,
                &CLEAN,
            ),
            empty_service_expiry: section.within("empty-service-expiry", default.empty_service_expiry, &KEEP),
            metadata_expiry: section.within("metadata-expiry", default.metadata_expiry, &KEEP),
            expire_instance: section.get("expire-instance", default.expire_instance),
            param_check: section.get("param-check", default.param_check),
            metadata_limit: section.within("metadata-limit", default.metadata_limit, &(0..=1024 * 1024)),
            protection: section.get("protection", default.protection),
        }
    }

    /// These settings as the rules want them; what they leave out has its default.
    pub fn options(&self) -> Options {
        Options {
            push_delay: millis(self.push_delay),
            restart_hold: millis(self.restart_hold),
            empty_service_interval: millis(self.empty_service_interval),
            empty_service_expiry: millis(self.empty_service_expiry),
            metadata_expiry: millis(self.metadata_expiry),
            expire_instance: self.expire_instance,
            ..Options::default()
        }
    }
}
