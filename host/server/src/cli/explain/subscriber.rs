//! What a subscriber sees, for people.

use super::instance::protection;
use super::{shown, table};
use serde_json::Value;

pub(super) fn as_text(data: &Value) -> String {
    let who = &data["subscriber"];
    let mut rows = vec![vec!["subscriber".to_owned(), format!("{}, {}", shown(&who["ip"]), subscribed(who))]];
    let steps = data["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    rows.push(vec!["sees".into(), format!("{} of {}", data["shown"], data["known"])]);
    for (nth, step) in steps.iter().enumerate() {
        rows.push(vec![format!("{}. {}", nth + 1, shown(&step["step"])), said(step, &data["query"])]);
    }
    let mut instances = vec![["", "instance", "cluster", "health", "list"].map(str::to_owned).to_vec()];
    instances.extend(data["instances"].as_array().into_iter().flatten().map(instance));
    format!("{}\n\n{}", table(&rows), table(&instances))
}

fn subscribed(who: &Value) -> String {
    let given = [("app", &who["app"]), ("agent", &who["agent"])];
    let given = given.iter().filter(|(_, value)| value.as_str().is_some_and(|text| !text.is_empty()));
    let given: String = given.map(|(name, value)| format!(", {name} {}", shown(value))).collect();
    let known = if who["subscriptions"] == 0 { "not subscribed at this node" } else { "subscribed" };
    format!("{known}{given}")
}

fn said(step: &Value, query: &Value) -> String {
    let counted = format!("{} left, {} out", step["left"], step["leftOut"]);
    match step["step"].as_str() {
        Some("clusters") => match query["clusters"].as_str().filter(|names| !names.trim().is_empty()) {
            Some(names) => format!("{counted}: it asks for {names}"),
            None => format!("{counted}: it asks for all"),
        },
        Some("unhealthy") if query["healthyOnly"] == false => {
            format!("{counted}: it asks for unhealthy ones, too")
        }
        Some("protection") => protection(step),
        Some("filter") => format!("{counted}: {}", filter(step)),
        _ => counted,
    }
}

fn filter(step: &Value) -> String {
    let mut text =
        format!("{} {} ({})", shown(&step["plugin"]), shown(&step["version"]), shown(&step["scope"]));
    let network = step["network"].as_str().map(|network| format!(" from {network}")).unwrap_or_default();
    match pairs(&step["labels"]).as_str() {
        "" => text.push_str(", it has no labels"),
        labels => text.push_str(&format!(", its labels {labels}{network}")),
    }
    let settings = pairs(&step["settings"]);
    if !settings.is_empty() {
        text.push_str(&format!(", told {settings}"));
    }
    match &step["fault"] {
        Value::Null => text.push_str(&asked(&step["asked"])),
        fault => {
            let last = match (&fault["policy"], &fault["lastAnswerKnown"]) {
                (Value::String(policy), Value::Bool(false)) if policy == "last" => {
                    ", and there is no last answer"
                }
                _ => "",
            };
            let (code, policy) = (shown(&fault["code"]), shown(&fault["policy"]));
            text.push_str(&format!("; it gave no answer ({code}): on-fault = {policy}{last}"));
        }
    }
    if step["all"] == true { text + "; all" } else { text }
}

/// What the filter looked at: of others of whom the same is true the answer is the same.
fn asked(asked: &Value) -> String {
    let own =
        ["address", "app", "agent"].into_iter().filter(|name| !asked[*name].is_null()).map(str::to_owned);
    let labels = asked["labels"].as_object().into_iter().flatten();
    let labels = labels.map(|(key, value)| match value {
        Value::Null => format!("label {key} (none)"),
        value => format!("label {key} ({})", shown(value)),
    });
    let all: Vec<String> = own.chain(labels).collect();
    if all.is_empty() {
        "; it asked nothing of it".into()
    } else {
        format!("; it asked for {}", all.join(", "))
    }
}

fn pairs(map: &Value) -> String {
    let pairs = map.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", shown(value)));
    pairs.collect::<Vec<_>>().join(" ")
}

fn instance(instance: &Value) -> Vec<String> {
    let word = |healthy: &Value| if healthy == true { "healthy" } else { "unhealthy" };
    let (own, seen) = (word(&instance["healthy"]), word(&instance["shownHealthy"]));
    let list = match &instance["leftOutBy"] {
        Value::String(step) => format!("out: {step}"),
        _ if own != seen => format!("shown as {seen}"),
        _ => "shown".to_owned(),
    };
    let mark = if instance["shown"] == true { "*" } else { "" };
    let address = format!("{}:{}", shown(&instance["ip"]), instance["port"]);
    vec![mark.into(), address, shown(&instance["clusterName"]), own.into(), list]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn data() -> Value {
        let instance = |port: u16, healthy: bool, out: Option<&str>| {
            json!({"ip": "10.0.0.5", "port": port, "clusterName": "A", "healthy": healthy, "enabled": true,
                "shown": out.is_none(), "shownHealthy": out.is_none().then_some(true), "leftOutBy": out})
        };
        json!({
            "known": 4, "shown": 2, "query": {"clusters": "A", "healthyOnly": false},
            "subscriber": {"ip": "10.9.0.1", "app": "shop", "agent": "", "subscriptions": 1},
            "steps": [
                {"step": "clusters", "left": 4, "leftOut": 0},
                {"step": "disabled", "left": 3, "leftOut": 1},
                {"step": "unhealthy", "left": 3, "leftOut": 0},
                {"step": "protection", "mode": "nacos", "threshold": 0.8, "healthy": 2, "of": 3, "reached": true},
                {"step": "filter", "left": 2, "leftOut": 1, "plugin": "near", "version": "1.0.0",
                    "scope": "settings: everywhere", "labels": {"zone": "a"}, "network": "10.9.0.0/16",
                    "settings": {"key": "zone"}, "asked": {"address": null, "app": null, "agent": null, "labels": {"zone": "a"}}},
            ],
            "instances": [
                instance(1, true, None), instance(2, false, None), instance(3, true, Some("filter")),
                instance(4, true, Some("disabled")),
            ],
        })
    }

    #[test]
    fn each_step_and_each_instance_has_a_line() {
        let text = as_text(&data());
        for line in [
            "subscriber     10.9.0.1, subscribed, app shop",
            "sees           2 of 4",
            "1. clusters    4 left, 0 out: it asks for A",
            "2. disabled    3 left, 1 out",
            "4. protection  reached, all are shown as healthy: 2 of 3 are healthy, threshold 0.80 (nacos)",
            "5. filter      2 left, 1 out: near 1.0.0 (settings: everywhere), its labels zone=a from 10.9.0.0/16, told key=zone; it asked for label zone (a)",
            "*  10.0.0.5:2  A        unhealthy  shown as healthy",
            "   10.0.0.5:3  A        healthy    out: filter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
        }
    }

    #[test]
    fn a_fault_is_told_with_the_policy_that_followed() {
        let mut data = data();
        data["steps"][4]["fault"] =
            json!({"code": "plugin.trap", "policy": "last", "lastAnswerKnown": false});
        let text = as_text(&data);
        assert!(
            text.contains("it gave no answer (plugin.trap): on-fault = last, and there is no last answer"),
            "{text}"
        );
    }
}
