//! The life of connections: who is silent is asked, who stays silent or takes nothing is closed.
//! Source: Nacos `NacosRuntimeConnectionEjector`.

use super::Node;
use super::connection::Connection;
use super::stream::ANSWER_PATIENCE;
use crate::tasks::TaskResult;
use muster_core::Millis;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Silence after which a client is asked whether it is there, in milliseconds.
/// Source: Nacos `NacosRuntimeConnectionEjector.KEEP_ALIVE_TIME`.
const SILENCE: Millis = Millis::from_secs(20);
/// Silence after which it has gone even if it could not be asked because it takes nothing, in milliseconds.
const GONE: Millis = Millis::from_secs(26);
/// Time from a transport to its setup, in milliseconds. SDKs take well under a second.
const NO_SETUP: Millis = Millis::from_secs(60);
/// How often connections are looked at. Nacos looks every 3 s; a lost push is noticed sooner this way.
const LOOK: Duration = Duration::from_millis(500);

impl Node {
    /// Looks at all connections from time to time, and repeats what was not acknowledged.
    pub(super) async fn look_after(self: Arc<Self>, stop: CancellationToken) -> TaskResult {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let now = self.clock.now();
            for connection in self.connections.all() {
                for sent in connection.overdue(now, ANSWER_PATIENCE) {
                    self.failed(&connection, sent).await;
                }
                if let Some(why) = hopeless(&connection, now) {
                    tracing::info!(connection = &*connection.id, why, "connection closed");
                    connection.close.cancel();
                } else if connection.setup().is_some() && connection.idle(now) >= SILENCE {
                    connection.detect(now);
                }
            }
        }
    }
}

/// Why a connection has to go, if it has to.
fn hopeless(connection: &Connection, now: Millis) -> Option<&'static str> {
    let silent = connection.idle(now);
    if connection.setup().is_none() {
        return (silent >= NO_SETUP).then_some("there was no setup");
    }
    if silent >= GONE {
        return Some("the client is silent");
    }
    connection.is_stuck(now).then_some("the client takes nothing")
}

#[cfg(test)]
mod tests {
    use super::super::connection::{Setup, Source};
    use super::*;

    #[test]
    fn a_transport_without_setup_has_a_minute_and_a_client_26_s() {
        let connection = Connection::new(Millis(0), "10.0.0.9:1".parse().unwrap(), Source::Sdk);
        assert_eq!(hopeless(&connection, Millis(59_999)), None);
        assert!(hopeless(&connection, Millis(60_000)).is_some());
        connection.register(Setup::default());
        connection.seen(Millis(60_000));
        assert_eq!(hopeless(&connection, Millis(85_999)), None);
        assert!(hopeless(&connection, Millis(86_000)).is_some());
        connection.seen(Millis(86_000));
        assert_eq!(hopeless(&connection, Millis(86_000)), None);
    }
}
