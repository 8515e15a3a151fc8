//! An instance, for people.

use super::{length, shown, table};
use serde_json::Value;

pub(super) fn as_text(data: &Value) -> String {
    let mut rows = vec![
        row(
            "instance",
            format!("{}:{} of cluster {}", shown(&data["ip"]), data["port"], shown(&data["clusterName"])),
        ),
        row("health", health(data)),
        row("lists", lists(data)),
        row("protection", protection(&data["protection"])),
        row("checked", checked(data)),
    ];
    let probe = &data["probe"];
    if probe.is_object() {
        rows.extend(verdicts(data));
        rows.push(row("counts", counts(data)));
        rows.push(row("damping", damping(data)));
    }
    let numbers = data["profile"].as_object().into_iter().flatten();
    let number = |(name, number): (&String, &Value)| {
        vec![format!("  {name}"), shown(&number["value"]), shown(&number["source"])]
    };
    let numbers: Vec<_> = numbers.map(number).collect();
    if data["checker"].is_null() {
        return table(&rows);
    }
    format!("{}\n\nnumbers (times in ms)\n{}", table(&rows), table(&numbers))
}

fn row(name: &str, text: String) -> Vec<String> {
    vec![name.to_owned(), text]
}

fn word(healthy: &Value) -> &'static str {
    if healthy == true { "healthy" } else { "unhealthy" }
}

fn health(data: &Value) -> String {
    let (own, effective) = (&data["healthy"], &data["effectiveHealthy"]);
    if effective.is_boolean() && own != effective {
        return format!("{}, shown as {}", word(own), word(effective));
    }
    word(own).to_owned()
}

fn lists(data: &Value) -> String {
    match (&data["list"]["shown"], &data["list"]["leftOutBy"]) {
        (Value::Bool(true), _) => "shown".into(),
        (Value::Bool(false), Value::String(step)) => format!("not shown: {step}"),
        _ => "not published yet".into(),
    }
}

/// The sentence about the threshold; also of a subscriber's list.
pub(super) fn protection(protection: &Value) -> String {
    if protection["threshold"].is_null() {
        return format!("not looked at ({})", shown(&protection["mode"]));
    }
    let compared = format!(
        "{} of {} are healthy, threshold {:.2} ({})",
        protection["healthy"],
        protection["of"],
        protection["threshold"].as_f64().unwrap_or(0.0),
        shown(&protection["mode"])
    );
    if protection["reached"] == true {
        format!("reached, all are shown as healthy: {compared}")
    } else {
        compared
    }
}

fn checked(data: &Value) -> String {
    let by = if data["judgedHere"] == false { "; another member does it, ask that one" } else { "" };
    match &data["checker"] {
        Value::Null => format!("by its client; last heard {} ago{by}", length(number(&data["silentMillis"]))),
        checker => {
            format!("by {}, every {}{by}", shown(checker), length(number(&data["probe"]["intervalMillis"])))
        }
    }
}

/// The last streaks, the newest first, and the words of the newest verdict.
fn verdicts(data: &Value) -> Vec<Vec<String>> {
    let now = number(&data["time"]);
    let ago = |at: &Value| length(now.saturating_sub(number(at)));
    let probe = &data["probe"];
    let mut rows = Vec::new();
    for streak in probe["history"].as_array().into_iter().flatten() {
        let times = match number(&streak["count"]) {
            1 => format!("once, {} ago", ago(&streak["until"])),
            count => format!("{count} times, {} to {} ago", ago(&streak["since"]), ago(&streak["until"])),
        };
        let name = if rows.is_empty() { "verdicts" } else { "" };
        rows.push(row(name, format!("{} {} {times}", shown(&streak["outcome"]), shown(&streak["code"]))));
    }
    if rows.is_empty() {
        rows.push(row("verdicts", "none yet".into()));
    } else if let Some(said) = probe["last"]["message"].as_str().filter(|said| !said.is_empty()) {
        rows.push(row("", format!("the last said: {said}")));
    }
    rows
}

fn counts(data: &Value) -> String {
    let probe = &data["probe"];
    let needed = |name: &str| data["profile"][name]["value"].to_string();
    if data["healthy"] == true {
        format!("{} of {} failures that make it unhealthy", probe["failures"], needed("fall"))
    } else {
        format!("{} of {} passes that make it healthy", probe["passes"], needed("rise"))
    }
}

fn damping(data: &Value) -> String {
    if number(&data["profile"]["flapHalfLife"]["value"]) == 0 {
        return "off".into();
    }
    let damping = &data["probe"]["damping"];
    let penalty = damping["penalty"].as_f64().unwrap_or(0.0);
    let (suppress, reuse) =
        (&data["profile"]["flapSuppress"]["value"], &data["profile"]["flapReuse"]["value"]);
    match damping["heldForMillis"].as_u64() {
        Some(left) => format!(
            "held unhealthy for {} more if it stays steady: penalty {penalty:.2}, let go below {reuse}",
            length(left)
        ),
        None => format!("not held: penalty {penalty:.2}, held from {suppress} on"),
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_led_to_the_health_is_read_at_a_glance() {
        let number = |value: Value| json!({"value": value, "source": "switches"});
        let data = json!({
            "ip": "10.0.0.5", "port": 3306, "clusterName": "DEFAULT", "healthy": false, "enabled": true,
            "ephemeral": false, "time": 100_000, "judgedHere": true, "checker": "TCP", "silentMillis": 5,
            "effectiveHealthy": true, "list": {"shown": true, "leftOutBy": null},
            "protection": {"mode": "nacos", "threshold": 0.5, "healthy": 1, "of": 3, "reached": true},
            "profile": {
                "rise": number(json!(3)), "flapHalfLife": number(json!(60_000)), "flapSuppress": number(json!(2.5)),
                "flapReuse": number(json!(1.0)),
            },
            "probe": {
                "passes": 1, "failures": 0, "intervalMillis": 1_000,
                "history": [
                    {"outcome": "passed", "code": "tcp.connected", "count": 1, "since": 99_000, "until": 99_000},
                    {"outcome": "failed", "code": "tcp.timed-out", "count": 4, "since": 90_000, "until": 97_500},
                ],
                "last": {"message": "connected"},
                "damping": {"held": true, "penalty": 2.61, "heldForMillis": 83_000},
            },
        });
        let text = as_text(&data);
        for line in [
            "instance    10.0.0.5:3306 of cluster DEFAULT",
            "health      unhealthy, shown as healthy",
            "lists       shown",
            "protection  reached, all are shown as healthy: 1 of 3 are healthy, threshold 0.50 (nacos)",
            "checked     by TCP, every 1.0 s",
            "verdicts    passed tcp.connected once, 1.0 s ago",
            "            failed tcp.timed-out 4 times, 10.0 s to 2.5 s ago",
            "            the last said: connected",
            "counts      1 of 3 passes that make it healthy",
            "damping     held unhealthy for 83.0 s more if it stays steady: penalty 2.61, let go below 1.0",
            "  rise          3      switches",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nin\n{text}");
        }
    }

    #[test]
    fn an_instance_that_its_client_keeps_alive_has_no_check() {
        let data = json!({
            "ip": "10.0.0.5", "port": 80, "clusterName": "A", "healthy": true, "checker": null, "judgedHere": false,
            "silentMillis": 4_200, "probe": null, "profile": {}, "effectiveHealthy": true,
            "list": {"shown": false, "leftOutBy": "disabled"}, "protection": {"mode": "nacos", "reached": false},
        });
        let text = as_text(&data);
        assert!(text.contains("by its client; last heard 4.2 s ago; another member does it"), "{text}");
        assert!(text.contains("not shown: disabled") && text.contains("not looked at (nacos)"), "{text}");
    }
}
