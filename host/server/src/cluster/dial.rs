//! The connections of a hub: one to every member, whoever of the two opened it.

use super::frame::Frame;
use super::hub::{Attempt, CONNECT_MOST, Hub, PORT_OFFSET};
use super::link;
use super::links::Link;
use super::secure::{self, Hello, Reader, Writer};
use crate::naming::NamingError;
use muster_core::cluster::{MemberState, NodeId};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

/// Pause before a member is tried again: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Connections that may be agreeing on a session at once; more wait.
const HANDSHAKES: usize = 64;

impl Hub {
    /// Opens a connection to every member that has none.
    pub(super) fn dial(self: &Arc<Self>) {
        let now = Instant::now();
        let mut state = self.state();
        let addresses: Vec<String> = state.members.peers().keys().cloned().collect();
        for address in addresses {
            let attempt = state.attempts.entry(address.clone()).or_default();
            let linked = attempt.id.is_some_and(|id| self.options().links.get(id).is_some());
            let early = attempt.not_before.is_some_and(|at| at > now);
            if linked || early || !state.dialing.insert(address.clone()) {
                continue;
            }
            let hub = self.clone();
            self.tasks().spawn("member link, open", |stop| async move {
                tokio::select! {
                    () = hub.open(&address) => {}
                    () = stop.cancelled() => {}
                }
                hub.state().dialing.remove(&address);
                Ok(())
            });
        }
    }

    async fn open(self: &Arc<Self>, address: &str) {
        let opened = timeout(CONNECT_MOST, self.connect(address)).await;
        let error = match opened {
            Ok(Ok((hello, reader, writer))) => {
                self.note_success(address, NodeId(hello.id));
                self.take_in(&hello, self.options().id, reader, writer);
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => format!("no connection within {CONNECT_MOST:?}"),
        };
        self.note_failure(address, &error);
    }

    async fn connect(&self, address: &str) -> Result<(Hello, Reader, Writer), String> {
        let (host, port) = address.rsplit_once(':').ok_or("an address without a port")?;
        let port = port.parse::<u16>().ok().and_then(|port| port.checked_add(PORT_OFFSET));
        let port = port.ok_or("there is no member port above that of the address")?;
        let host = host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let opened = secure::initiate(stream, &self.options().psk, &self.hello()).await;
        let (hello, reader, mut writer) = opened.map_err(|error| error.to_string())?;
        // The other end takes the connection in with the first message that only we can have sealed.
        let alive = serde_json::to_vec(&Frame::Alive).map_err(|error| error.to_string())?;
        writer.write(&alive).await.map_err(|error| error.to_string())?;
        Ok((hello, reader, writer))
    }

    fn note_success(&self, address: &str, id: NodeId) {
        let mut state = self.state();
        let attempt = state.attempts.entry(address.to_owned()).or_default();
        let not_before = Some(Instant::now() + RETRY.1);
        *attempt = Attempt { id: Some(id), not_before, ..Attempt::default() };
    }

    fn note_failure(&self, address: &str, error: &str) {
        let mut state = self.state();
        let attempt = state.attempts.entry(address.to_owned()).or_default();
        attempt.failures = attempt.failures.saturating_add(1);
        let pause = RETRY.0 * 2_u32.saturating_pow(attempt.failures.min(10) - 1);
        attempt.not_before = Some(Instant::now() + pause.min(RETRY.1));
        if attempt.error.as_deref() != Some(error) {
            tracing::info!(member = address, error, "no connection to a member");
        }
        attempt.error = Some(error.to_owned());
        let state_now = state.members.peers().get(address).map(|peer| peer.state);
        drop(state);
        let refused = error.to_ascii_lowercase().contains("connection refused");
        if refused && state_now != Some(MemberState::Down) {
            self.failed(address, error);
        }
    }

    pub(super) async fn accept(self: &Arc<Self>, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(HANDSHAKES));
        loop {
            let Ok(permit) = room.clone().acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection of a member could not be accepted");
                    sleep(RETRY.0).await;
                    continue;
                }
            };
            let hub = self.clone();
            self.tasks().spawn("member link, accept", |stop| async move {
                let _permit = permit;
                tokio::select! {
                    () = hub.welcome(stream) => {}
                    () = stop.cancelled() => {}
                }
                Ok(())
            });
        }
    }

    async fn welcome(self: &Arc<Self>, stream: TcpStream) {
        let from = stream.peer_addr().ok();
        let agreed = timeout(CONNECT_MOST, self.agree(stream)).await;
        match agreed {
            Ok(Ok((hello, reader, writer))) => self.take_in(&hello, NodeId(hello.id), reader, writer),
            Ok(Err(error)) => tracing::warn!(?from, error, "a connection to the member port was refused"),
            Err(_) => tracing::warn!(?from, "a connection to the member port said nothing in time"),
        }
    }

    async fn agree(&self, stream: TcpStream) -> Result<(Hello, Reader, Writer), String> {
        let text = |error: io::Error| error.to_string();
        stream.set_nodelay(true).map_err(text)?;
        let answered = secure::respond(stream, &self.options().psk, &self.hello()).await;
        let (hello, mut reader, writer) = answered.map_err(|error| error.to_string())?;
        reader.read().await.map_err(text)?;
        Ok((hello, reader, writer))
    }

    /// A session is agreed on: it becomes the connection to that member, unless there is a better one.
    fn take_in(self: &Arc<Self>, hello: &Hello, initiator: NodeId, reader: Reader, writer: Writer) {
        let id = NodeId(hello.id);
        if id == self.options().id {
            tracing::debug!("this node is in the member list under another address, too");
            return;
        }
        let Some((link, waiting)) = self.options().links.admit(self.options().id, id, hello.life, initiator)
        else {
            return;
        };
        {
            let mut state = self.state();
            if state.members.peers().contains_key(&hello.address) {
                state.attempts.entry(hello.address.clone()).or_default().id = Some(id);
            }
        }
        tracing::info!(member = id.0, address = hello.address, "connected to a member");
        link::start(self.tasks(), self, &link, waiting, reader, writer);
        self.greet(link);
    }

    /// Both ends say at once how they are doing, and repeat what the other has not acknowledged.
    fn greet(self: &Arc<Self>, link: Link) {
        let hub = self.clone();
        self.tasks().spawn("member link, greet", |_| async move {
            hub.report_to(&link);
            let id = link.id;
            match hub.naming().step(move |naming, _| naming.linked(id)).await {
                Ok(()) | Err(NamingError::Overloaded | NamingError::Stopped) => Ok(()),
            }
        });
    }
}
