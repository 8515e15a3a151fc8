//! What gRPC is on HTTP/2: headers, frames, statuses.

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use std::fmt;

/// Why a call failed below the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `grpc-status`; none when the transport broke
    pub status: Option<u32>,
    /// what was said
    pub message: String,
}

impl Refused {
    pub(super) fn broken(error: impl fmt::Display) -> Self {
        Self { status: None, message: error.to_string() }
    }
}

/// A frame of one message.
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.extend_from_slice(&[0]);
    frame.extend_from_slice(&u32::try_from(message.len()).expect("a message is shorter").to_be_bytes());
    frame.extend_from_slice(message);
    frame.freeze()
}

pub(super) fn request(path: &str) -> http::Request<()> {
    let request = http::Request::post(format!("http://localhost{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(()).expect("a request")
}

pub(super) fn check(headers: &http::HeaderMap) -> Result<(), Refused> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match text("grpc-status").and_then(|status| status.parse().ok()) {
        None | Some(0) => Ok(()),
        status => Err(Refused { status, message: text("grpc-message").unwrap_or_default() }),
    }
}

pub(super) async fn read_all(body: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut whole = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

pub(super) async fn read_messages(
    body: &mut RecvStream,
    mut each: impl FnMut(&[u8]),
) -> Result<(), h2::Error> {
    let mut waiting: Vec<u8> = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        waiting.extend_from_slice(&chunk);
        while let Some(length) = waiting.get(1..5) {
            let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
            if waiting.len() < 5 + length {
                break;
            }
            each(&waiting[5..5 + length]);
            waiting.drain(..5 + length);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_its_length_before_it() {
        assert_eq!(&frame(b"abc")[..], b"\0\0\0\0\x03abc");
    }
}
