//! The front end without transports, for fuzz targets and tests: messages go in and come out as bytes.

use super::Node;
use super::connection::{Connection, Source};
use super::payload::Payload;
use super::push::framed;
use super::requests;
use prost::{DecodeError, Message};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Waker;

/// One connection of a node, without anything below it.
pub struct Offline {
    node: Arc<Node>,
    connection: Arc<Connection>,
}

impl std::fmt::Debug for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Offline").finish_non_exhaustive()
    }
}

impl Drop for Offline {
    fn drop(&mut self) {
        self.node.connections.remove(&self.connection);
    }
}

impl Offline {
    /// A connection that comes from `remote`; none when a limit forbids it.
    pub fn new(node: Arc<Node>, remote: SocketAddr) -> Option<Self> {
        let connection = Arc::new(Connection::new(node.clock.now(), remote, Source::Sdk));
        node.connections.add(&connection, &node.options).then(|| Self { node, connection })
    }

    /// Answers a unary request.
    ///
    /// # Errors
    /// `message` is no payload. The transport refuses it then.
    pub async fn unary(&self, message: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let request = <Payload as Message>::decode(message)?;
        let answer = requests::answer(&self.node, &self.connection, &request).await.framed();
        Ok(answer.get(5..).unwrap_or_default().to_vec())
    }

    /// Takes a message of the stream.
    ///
    /// # Errors
    /// As [`Offline::unary`].
    pub async fn stream(&self, message: &[u8]) -> Result<(), DecodeError> {
        let payload = <Payload as Message>::decode(message)?;
        self.node.take(&self.connection, &payload).await;
        Ok(())
    }

    /// The next message that waits to be sent over the stream.
    pub fn sent(&self) -> Option<Vec<u8>> {
        let next = self.connection.next(self.node.clock.now(), Waker::noop())??;
        let (own, rest) = framed(&self.connection, next);
        // without the flag and the length
        Some([own.get(5..).unwrap_or_default(), &rest].concat())
    }

    /// Whether the node has closed it.
    pub fn is_closed(&self) -> bool {
        self.connection.close.is_cancelled()
    }
}

/// Decodes a payload and encodes it again.
///
/// # Errors
/// `message` is no payload.
pub fn reencoded(message: &[u8]) -> Result<Vec<u8>, DecodeError> {
    Ok(<Payload as Message>::decode(message)?.encode_to_vec())
}

/// Whether two messages are the same payload: headers may come in another order.
///
/// # Errors
/// One of them is no payload.
pub fn same(one: &[u8], other: &[u8]) -> Result<bool, DecodeError> {
    Ok(<Payload as Message>::decode(one)? == <Payload as Message>::decode(other)?)
}
