//! JSON shapes that several endpoints share.

use muster_core::instance::{Instance, Metadata};
use muster_core::naming::Subscription;
use muster_core::service::{ClusterSettings, Selector};
use muster_core::{ClientId, ServiceKey};
use serde::Serialize;
use serde_json::Value;

/// One instance as v1 and v2 detail it; they differ in the name of the service field.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceDetail<'a> {
    /// v1
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<String>,
    /// v2
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_name: Option<String>,
    pub(crate) ip: &'a str,
    pub(crate) port: u16,
    pub(crate) cluster_name: &'a str,
    pub(crate) weight: f64,
    pub(crate) healthy: bool,
    pub(crate) instance_id: String,
    pub(crate) metadata: &'a Metadata,
}

impl<'a> InstanceDetail<'a> {
    /// Without the name of its service.
    pub(crate) fn new(instance: &'a Instance, service: &ServiceKey) -> Self {
        Self {
            service: None,
            service_name: None,
            ip: &instance.ip,
            port: instance.port,
            cluster_name: &instance.cluster,
            weight: instance.weight,
            healthy: instance.healthy,
            instance_id: instance.instance_id(service),
            metadata: &instance.metadata,
        }
    }
}

/// A selector with what Nacos adds to it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SelectorView {
    #[serde(rename = "type")]
    kind: &'static str,
    context_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expression: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
}

impl From<&Selector> for SelectorView {
    fn from(selector: &Selector) -> Self {
        match selector {
            Selector::None => {
                Self { kind: "none", context_type: "NONE", expression: None, labels: Vec::new() }
            }
            Selector::Label { expression, labels } => Self {
                kind: "label",
                context_type: "CMDB",
                expression: Some(expression.clone()),
                labels: labels.clone(),
            },
        }
    }
}

/// A cluster with its settings, as operators read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterView {
    service_name: String,
    name: String,
    health_checker: Value,
    default_port: u16,
    default_check_port: u16,
    use_ip_port4_check: bool,
    #[serde(rename = "useIPPort4Check")]
    use_ip_port4_check_old: bool,
    metadata: Metadata,
}

impl ClusterView {
    /// `checker` is the checker as operators may see it.
    pub(crate) fn new(service: &ServiceKey, name: &str, settings: &ClusterSettings, checker: Value) -> Self {
        Self {
            service_name: service.grouped(),
            name: name.to_owned(),
            health_checker: checker,
            default_port: ClusterSettings::default().check_port,
            default_check_port: settings.check_port,
            use_ip_port4_check: settings.use_instance_port,
            use_ip_port4_check_old: settings.use_instance_port,
            metadata: settings.metadata.clone(),
        }
    }
}

/// A subscriber as v1 shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubscriberView<'a> {
    addr_str: String,
    agent: &'a str,
    app: &'a str,
    ip: &'a str,
    port: u16,
    namespace_id: &'a str,
    service_name: String,
    cluster: &'a str,
}

impl<'a> From<&'a Subscription> for SubscriberView<'a> {
    fn from(subscription: &'a Subscription) -> Self {
        Self {
            addr_str: address_of(subscription),
            agent: &subscription.agent,
            app: &subscription.app,
            ip: &subscription.ip,
            port: subscription.port,
            namespace_id: subscription.service.namespace(),
            service_name: subscription.service.grouped(),
            cluster: &subscription.clusters,
        }
    }
}

/// A subscriber as v3 shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubscriberViewV3<'a> {
    namespace_id: &'a str,
    group_name: &'a str,
    service_name: &'a str,
    ip: &'a str,
    port: u16,
    agent: &'a str,
    app_name: &'a str,
    address: String,
}

impl<'a> From<&'a Subscription> for SubscriberViewV3<'a> {
    fn from(subscription: &'a Subscription) -> Self {
        Self {
            namespace_id: subscription.service.namespace(),
            group_name: subscription.service.group(),
            service_name: subscription.service.name(),
            ip: &subscription.ip,
            port: subscription.port,
            agent: &subscription.agent,
            app_name: &subscription.app,
            address: address_of(subscription),
        }
    }
}

/// Where pushes to a subscriber go: its address alone when it is a connection.
pub(crate) fn address_of(subscription: &Subscription) -> String {
    match &subscription.client {
        ClientId::Address { address, .. } => address.to_string(),
        ClientId::Connection(_) => subscription.ip.to_string(),
    }
}

/// One page of a longer list, as v3 shows it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PageView<T> {
    /// items on all pages
    pub(crate) total_count: usize,
    /// this page, from 1
    pub(crate) page_number: usize,
    /// how many there are
    pub(crate) pages_available: usize,
    /// what is on this one
    pub(crate) page_items: Vec<T>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn n027_a_cluster_has_both_spellings_of_its_port_flag() {
        let settings = ClusterSettings { use_instance_port: false, ..ClusterSettings::default() };
        let view = ClusterView::new(&ServiceKey::new("", "", "s"), "A", &settings, json!({"type": "TCP"}));
        let json = serde_json::to_value(view).unwrap();
        assert_eq!((&json["useIpPort4Check"], &json["useIPPort4Check"]), (&json!(false), &json!(false)));
        assert_eq!(
            (&json["defaultCheckPort"], &json["serviceName"]),
            (&json!(80), &json!("DEFAULT_GROUP@@s"))
        );
    }

    #[test]
    fn n146_a_connection_is_shown_with_port_0_and_its_address_alone() {
        let subscription = Subscription {
            client: ClientId::Connection("1700000000000_10.0.0.9_55123".into()),
            service: ServiceKey::new("", "", "s"),
            ip: "10.0.0.9".into(),
            port: 0,
            clusters: "".into(),
            agent: "Nacos-Java-Client:v2.4.2".into(),
            app: "unknown".into(),
        };
        let json = serde_json::to_value(SubscriberView::from(&subscription)).unwrap();
        assert_eq!((&json["port"], &json["addrStr"]), (&json!(0), &json!("10.0.0.9")));
        assert_eq!(json["agent"], "Nacos-Java-Client:v2.4.2");
    }

    #[test]
    fn selectors_carry_their_context() {
        let none = serde_json::to_value(SelectorView::from(&Selector::None)).unwrap();
        assert_eq!(none, json!({"type": "none", "contextType": "NONE"}));
    }
}
