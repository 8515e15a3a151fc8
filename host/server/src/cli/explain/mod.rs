//! `muster explain`: why things are as they are, asked of a running node.

mod instance;
mod subscriber;

use super::node_api::Server;
use super::plugin::pretty;
use super::probe::target;
use super::{Failure, exit, print_line, runtime};
use http::Method;
use hyper::body::Bytes;
use muster_core::ids::{DEFAULT_GROUP, PUBLIC};
use serde_json::Value;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Why an instance has the health it has
    ///
    /// The last verdicts of its check, what they count towards, every number with where it comes from, flap damping, the
    /// protection of its service, and what lists say of it. Example: muster explain instance orders 10.0.0.5:8080
    Instance(Instance),
    /// Why a subscriber sees the list it sees
    ///
    /// Which instances of the service each step leaves: clusters, disabled, unhealthy, protection, filter. Example: muster
    /// explain subscriber orders 10.0.0.9
    Subscriber(Subscriber),
}

/// Which service, where.
#[derive(Debug, clap::Args)]
struct Of {
    /// Name of the service
    service: String,
    /// Namespace of the service
    #[arg(long, value_name = "ID", default_value = PUBLIC)]
    namespace: String,
    /// Group of the service
    #[arg(long, default_value = DEFAULT_GROUP)]
    group: String,
    #[command(flatten)]
    server: Server,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Of {
    /// What the node answers at `path` about the service, with these parameters beside its name.
    fn ask(&self, path: &str, params: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let own =
            [("namespaceId", &self.namespace), ("groupName", &self.group), ("serviceName", &self.service)];
        query.extend_pairs(own).extend_pairs(params);
        let target = format!("{path}?{}", query.finish());
        let asked = self.server.ask(Method::GET, &target, Bytes::new());
        runtime()?.block_on(asked).map_err(|why| Failure::new(exit::FAILED, why))
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Instance {
    #[command(flatten)]
    of: Of,
    /// Address of the instance
    #[arg(value_name = "HOST:PORT")]
    instance: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Subscriber {
    #[command(flatten)]
    of: Of,
    /// Address of the subscriber
    ip: String,
    /// Application name that it gives; as it subscribed, when left out
    #[arg(long)]
    app: Option<String>,
    /// Its client, such as Nacos-Java-Client:v3.1.0; as it subscribed, when left out
    #[arg(long)]
    agent: Option<String>,
    /// Clusters that it asks for, with commas; as it subscribed, when left out
    #[arg(long)]
    clusters: Option<String>,
    /// It asks for healthy instances only
    #[arg(long)]
    healthy_only: bool,
}

pub(super) fn run(command: Command) -> Result<u8, Failure> {
    let text = match command {
        Command::Instance(Instance { of, instance }) => {
            let (ip, port) = target(&instance)
                .ok_or_else(|| Failure::new(exit::USAGE, format!("{instance:?} is not HOST:PORT")))?;
            let data = of.ask("/v3/admin/muster/explain", &[("ip", &ip), ("port", &port.to_string())])?;
            if of.json { pretty(&data) } else { instance::as_text(&data) }
        }
        Command::Subscriber(Subscriber { of, ip, app, agent, clusters, healthy_only }) => {
            let mut params = vec![("ip", ip.as_str())];
            let given = [("app", &app), ("agent", &agent), ("clusters", &clusters)];
            params.extend(given.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))));
            params.push(("healthyOnly", if healthy_only { "true" } else { "false" }));
            let data = of.ask("/v3/admin/muster/explain/subscriber", &params)?;
            if of.json { pretty(&data) } else { subscriber::as_text(&data) }
        }
    };
    print_line(&text);
    Ok(exit::OK)
}

/// A value as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rows in columns that are as wide as their widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A length of time as people say it.
fn length(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        _ => format!("{} h", millis / 3_600_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_short() {
        let said = [7, 1_250, 119_999, 180_000, 7_200_000].map(length);
        assert_eq!(said, ["7 ms", "1.2 s", "119.9 s", "3 min", "2 h"]);
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "bb".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(table(&rows), "a    bb\nccc  d");
    }
}
