//! The bidirectional stream of a connection: the setup, answers to pushes, and what the server sends.

use super::Node;
use super::connection::{Connection, Message, Sent, SentKind, Setup, Source, word};
use super::counters::one_more;
use super::framing::Up;
use super::messages::{Ack, ConnectionSetup};
use super::metered::{Metered, Share};
use super::payload::Payload;
use super::push::framed;
use crate::http::Status as NodeState;
use bytes::Bytes;
use muster_core::{Millis, ServiceKey};
use std::sync::Arc;
use std::task::{Context, Poll};

/// What this node can do that clients ask for. Source: Nacos `AbilityKey`.
const ABILITIES: &str = r#"{"headers":{},"abilityTable":{"supportPersistentInstanceByGrpc":true,"fuzzyWatch":true},"module":"internal"}"#;

/// What the server sends over one connection. Polled by the transport when it has room.
pub(super) struct Down {
    node: Arc<Node>,
    connection: Arc<Connection>,
    /// the rest of the message that was begun
    rest: Bytes,
}

impl Down {
    pub(super) fn new(node: Arc<Node>, connection: Arc<Connection>) -> Self {
        Self { node, connection, rest: Bytes::new() }
    }

    /// The next piece of a message; none when there will be no other.
    pub(super) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(std::mem::take(&mut self.rest)));
        }
        match self.connection.next(self.node.clock.now(), context.waker()) {
            Some(Some(next)) => {
                let (own, rest) = framed(&self.connection, next);
                self.rest = rest;
                Poll::Ready(Some(own))
            }
            Some(None) => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

impl Node {
    /// Reads what the client sends, until its stream or its transport ends.
    pub(super) async fn read(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        mut up: Up<Metered>,
        share: &Share,
    ) {
        loop {
            let message = tokio::select! {
                message = up.next() => message,
                () = connection.close.cancelled() => return,
            };
            match message {
                Ok(Some(payload)) => {
                    self.take(connection, &payload).await;
                    share.give_back();
                }
                Ok(None) => return,
                Err(status) => {
                    tracing::debug!(connection = &*connection.id, %status, "the stream broke");
                    return;
                }
            }
        }
    }

    pub(super) async fn take(self: &Arc<Self>, connection: &Arc<Connection>, payload: &Payload) {
        let kind = payload.kind();
        if kind == "ConnectionSetupRequest" {
            self.set_up(connection, payload).await;
        } else if kind.ends_with("Response") {
            match payload.decode::<Ack>() {
                Ok(ack) => self.answered(connection, &ack).await,
                Err(error) => {
                    tracing::debug!(connection = &*connection.id, kind, %error, "undecodable answer")
                }
            }
        } else {
            tracing::trace!(connection = &*connection.id, kind, "ignored on the stream");
        }
    }

    async fn set_up(self: &Arc<Self>, connection: &Arc<Connection>, payload: &Payload) {
        let setup: ConnectionSetup = match payload.decode() {
            Ok(setup) => setup,
            Err(error) => {
                tracing::debug!(connection = &*connection.id, %error, "undecodable setup");
                return;
            }
        };
        if connection.setup().is_some() {
            return;
        }
        // Members have to prove who they are, for which there is nothing yet: none is let in.
        if self.status.computed() != NodeState::Up || connection.source == Source::Cluster {
            tracing::debug!(connection = &*connection.id, source = connection.source.word(), "setup refused");
            connection.close.cancel();
            return;
        }
        let label = |name: &str| setup.labels.get(name).map_or("", String::as_str);
        let naming = label("module") == "naming";
        // The client exists before the first request that may name it is let through.
        let client = connection.client();
        if naming && self.naming.step(move |naming, now| naming.connect(now, &client)).await.is_err() {
            connection.close.cancel();
            return;
        }
        let now = self.clock.now();
        connection.seen(now);
        connection.register(Setup {
            agent: word(&setup.client_version),
            app: word(label("AppName")),
            tenant: word(&setup.tenant),
            module: word(label("module")),
            naming,
        });
        if connection.close.is_cancelled() && naming {
            // It ended meanwhile, perhaps before it was known that there is a client to remove.
            return self.forget_client(connection).await;
        }
        if setup.ability_table.is_some() {
            connection.send(now, Message::Plain(Payload::new("SetupAckRequest", ABILITIES)));
        }
        let setup = connection.setup().map(|setup| &*setup.agent);
        tracing::debug!(connection = &*connection.id, agent = setup, "client connected");
    }

    async fn answered(self: &Arc<Self>, connection: &Arc<Connection>, ack: &Ack) {
        let now = self.clock.now();
        connection.seen(now);
        let Some(sent) = ack.request_id.parse().ok().and_then(|id| connection.acknowledged(id)) else {
            return;
        };
        if !ack.is_success() {
            return self.failed(connection, sent).await;
        }
        match sent.what {
            SentKind::Service(_) => {
                self.counts.acknowledged(now.since(sent.since));
            }
            SentKind::Watch(message) => {
                connection.taken();
                self.watches().acknowledged(now, &connection.id, &message);
                self.watch_work.notify_one();
            }
            SentKind::Detection | SentKind::Reset => {}
        }
    }

    /// A push that was not taken is made again, to this client only.
    pub(super) async fn failed(&self, connection: &Arc<Connection>, sent: Sent) {
        match sent.what {
            SentKind::Service(service) => {
                one_more(&self.counts.failed);
                self.push_again(connection, service).await;
            }
            SentKind::Watch(_) if connection.not_taken() > MOST_UNTAKEN => {
                tracing::info!(connection = &*connection.id, "connection closed: it takes no fuzzy watch");
                connection.close.cancel();
            }
            SentKind::Watch(message) => {
                self.watches().failed(self.clock.now(), &connection.id, message);
                self.watch_work.notify_one();
            }
            // It has spoken since, only not to this.
            SentKind::Detection if connection.idle(self.clock.now()) < ANSWER_PATIENCE => {
                connection.detected()
            }
            SentKind::Reset => {
                tracing::info!(connection = &*connection.id, "reset not answered: connection closed");
                connection.close.cancel();
            }
            SentKind::Detection => {
                tracing::info!(connection = &*connection.id, "client silent: connection closed");
                connection.close.cancel();
            }
        }
    }

    async fn push_again(&self, connection: &Arc<Connection>, service: ServiceKey) {
        let client = connection.client();
        let again = self.naming.step(move |naming, now| naming.push_failed(now, &client, &service));
        if again.await.is_err() {
            tracing::warn!(connection = &*connection.id, "a push cannot be made again: the node is stopping");
        }
    }
}

/// Messages of fuzzy watches in a row that a client may leave unanswered; each is sent again.
const MOST_UNTAKEN: u32 = 1_000;

/// How long the server waits for an answer to what it sent, in milliseconds. Source: Nacos `PushConfig`.
pub(super) const ANSWER_PATIENCE: Millis = Millis::from_secs(5);
