//! One connection while it lives: what comes in is handed on, what waits goes out.

use super::frame::{Answer, Call, Frame, Look};
use super::hub::Hub;
use super::links::{Link, Links, QUEUE};
use super::secure::{Reader, Writer};
use crate::naming::NamingError;
use crate::tasks::Tasks;
use muster_core::cluster::{Message, NodeId};
use serde_json::value::RawValue;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Silence after which a sign of life is sent.
const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// Silence after which the other end counts as lost.
const SILENCE_MOST: Duration = Duration::from_secs(8);
/// Time for one message to leave.
const WRITE_MOST: Duration = Duration::from_secs(5);

/// Runs both directions until either ends.
pub(super) fn start(
    tasks: &Tasks,
    hub: &Arc<Hub>,
    link: &Link,
    waiting: mpsc::Receiver<Frame>,
    reader: Reader,
    writer: Writer,
) {
    let (data, received) = mpsc::channel(QUEUE);
    let (from, own) = (link.id, hub.clone());
    tasks.spawn("member link, data", |_| async move {
        hand_on(&own, from, received).await; // ends with the task below
        Ok(())
    });
    let (ours, own) = (link.clone(), hub.clone());
    tasks.spawn("member link, in", |stop| async move {
        let ended = tokio::select! {
            ended = incoming(&own, &ours, reader, data) => ended.err(),
            () = ours.closed.cancelled() => None,
            () = stop.cancelled() => None,
        };
        if let Some(error) = ended {
            tracing::info!(member = ours.id.0, %error, "the connection to a member ended");
        }
        own.links().remove(&ours);
        Ok(())
    });
    let (ours, own) = (link.clone(), hub.clone());
    tasks.spawn("member link, out", |stop| async move {
        tokio::select! {
            ended = outgoing(own.links(), writer, waiting) => {
                if let Err(error) = ended {
                    tracing::debug!(member = ours.id.0, %error, "a message to a member did not leave");
                }
            }
            () = ours.closed.cancelled() => {}
            () = stop.cancelled() => {}
        }
        own.links().remove(&ours);
        Ok(())
    });
}

/// Hands ephemeral data to the rules, in order. Beside the connection, so that nothing else waits for the rules.
async fn hand_on(hub: &Hub, from: NodeId, mut data: mpsc::Receiver<Box<Message>>) {
    while let Some(message) = data.recv().await {
        match hub.naming().step(move |naming, now| naming.receive(now, from, *message)).await {
            Ok(()) => {}
            Err(NamingError::Overloaded) => tracing::debug!("a message of a member was put off"),
            Err(NamingError::Stopped) => return,
        }
    }
}

async fn incoming(
    hub: &Arc<Hub>,
    link: &Link,
    mut reader: Reader,
    data: mpsc::Sender<Box<Message>>,
) -> io::Result<()> {
    loop {
        let message = timeout(SILENCE_MOST, reader.read()).await.map_err(|_| io::ErrorKind::TimedOut)??;
        hub.links().received(message.len());
        let frame = serde_json::from_slice(&message).map_err(io::Error::other)?;
        match frame {
            Frame::Alive => {}
            // The rules are behind: what matters is repeated.
            Frame::Distro(message) => drop(data.try_send(message)),
            Frame::Call { call, body: Call::Report(report) } => {
                let answer = Frame::Answer { call, body: Answer::Report(hub.own_report()) };
                hub.reported(link.id, report);
                // An answer that does not fit is a failed report, which is what it should be.
                let _ = link.frames.try_send(answer);
            }
            Frame::Call { call, body: Call::Raft(request) } => serve(hub, link, call, request),
            Frame::Call { call, body: Call::Look(look) } => look_at(hub, link, call, *look),
            Frame::Call { call, body: Call::File { name, from } } => give(hub, link, call, name, from),
            Frame::Call { call, body: Call::Versions { name } } => {
                let body = Answer::Versions(hub.options().lives.versions(name.as_deref()));
                // Who asked has a deadline.
                let _ = link.frames.try_send(Frame::Answer { call, body });
            }
            Frame::Answer { call, body } => hub.links().answered(link.id, call, body),
        }
    }
}

/// Answers beside the connection, which has other messages to hand on meanwhile.
fn serve(hub: &Arc<Hub>, link: &Link, call: u64, request: Box<RawValue>) {
    let Ok(room) = link.calls.clone().try_acquire_owned() else {
        tracing::debug!(member = link.id.0, "too many calls of a member: one gets no answer");
        return;
    };
    let (hub_too, link) = (hub.clone(), link.clone());
    hub.tasks().spawn("member call", |stop| async move {
        let _room = room;
        let answer = tokio::select! {
            answer = hub_too.store().serve(&request) => answer,
            () = link.closed.cancelled() => return Ok(()),
            () = stop.cancelled() => return Ok(()),
        };
        match answer {
            // Who asked has a deadline.
            Ok(answer) => drop(link.frames.try_send(Frame::Answer { call, body: Answer::Raft(answer) })),
            Err(error) => tracing::warn!(member = link.id.0, %error, "a call of a member was not answered"),
        }
        Ok(())
    });
}

/// Looks at a target for another member, beside the connection.
fn look_at(hub: &Arc<Hub>, link: &Link, call: u64, look: Look) {
    let (observer, link) = (hub.observer().clone(), link.clone());
    hub.tasks().spawn("second opinion", |stop| async move {
        let outcome = tokio::select! {
            outcome = observer.look(look) => outcome,
            () = link.closed.cancelled() => return Ok(()),
            () = stop.cancelled() => return Ok(()),
        };
        // Who asked has a deadline.
        drop(link.frames.try_send(Frame::Answer { call, body: Answer::Look(outcome) }));
        Ok(())
    });
}

/// Reads a part of a file for another member, beside the connection.
fn give(hub: &Arc<Hub>, link: &Link, call: u64, name: String, from: u64) {
    let Ok(room) = link.calls.clone().try_acquire_owned() else { return };
    let (files, link) = (hub.options().files.clone(), link.clone());
    hub.tasks().spawn("file for a member", |_| async move {
        let _room = room;
        let read = tokio::task::spawn_blocking(move || files.piece(&name, from)).await;
        let body = Answer::File(read.ok().flatten());
        // Who asked has a deadline.
        drop(link.frames.try_send(Frame::Answer { call, body }));
        Ok(())
    });
}

async fn outgoing(links: &Links, mut writer: Writer, mut waiting: mpsc::Receiver<Frame>) -> io::Result<()> {
    loop {
        let frame = tokio::select! {
            frame = waiting.recv() => frame,
            () = sleep(ALIVE_EVERY) => Some(Frame::Alive),
        };
        let Some(frame) = frame else { return Ok(()) };
        let message = serde_json::to_vec(&frame).map_err(io::Error::other)?;
        links.sent(message.len());
        timeout(WRITE_MOST, writer.write(&message)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
}
