//! Messages on HTTP/2: five bytes and a payload each. Written here rather than taken from tonic, because what a
//! node sends is mostly one list for many: its bytes go to every transport as they are, without a copy, and a
//! connection that is silent has no buffers. Source: gRPC over HTTP/2, `PROTOCOL-HTTP2.md`.

use super::payload::Payload;
use super::stream::Down;
use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Response};
use http_body::{Body as HttpBody, Frame};
use prost::Message;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tonic::Status;

/// What goes before a message: a flag and a length.
const PREFIX: usize = 5;
/// Header of both sides that names a compression.
const ENCODING: &str = "grpc-encoding";
/// Trailer that ends a reply.
const STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Reads the messages of a request.
#[derive(Debug)]
pub(super) struct Up<B> {
    body: B,
    /// the beginning of a message that is not complete
    partial: BytesMut,
    limit: usize,
    compressed: bool,
}

impl<B: HttpBody<Data = Bytes> + Unpin> Up<B>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Of a request whose messages have at most `limit` bytes.
    pub(super) fn new(request: http::Request<B>, limit: usize) -> Self {
        let encoding = request.headers().get(ENCODING);
        let compressed = encoding.is_some_and(|encoding| encoding != "identity");
        Self { body: request.into_body(), partial: BytesMut::new(), limit, compressed }
    }

    /// The next message; none when there is no other. May be cancelled.
    ///
    /// # Errors
    /// What the client is told: its message is too long, compressed, cut off, or no payload.
    pub(super) async fn next(&mut self) -> Result<Option<Payload>, Status> {
        loop {
            let mut partial = std::mem::take(&mut self.partial);
            if let Some(length) = self.length(&partial)?
                && partial.len() >= PREFIX + length
            {
                partial.advance(PREFIX);
                let message = partial.split_to(length).freeze();
                self.partial = partial;
                return decoded(message).map(Some);
            }
            self.partial = partial;
            let Some(data) = self.data().await? else {
                let cut_off = !self.partial.is_empty();
                return if cut_off { Err(Status::internal("the message is cut off")) } else { Ok(None) };
            };
            // Mostly one message is one frame: it is decoded where it is.
            if self.partial.is_empty()
                && let Some(length) = self.length(&data)?
                && data.len() == PREFIX + length
            {
                return decoded(data.slice(PREFIX..)).map(Some);
            }
            self.partial.extend_from_slice(&data);
        }
    }

    /// The message of a unary call: one, and nothing after it.
    ///
    /// # Errors
    /// As [`Up::next`], or it is not one.
    pub(super) async fn only(&mut self) -> Result<Payload, Status> {
        let message = self.next().await?.ok_or_else(|| Status::internal("a unary call without a message"))?;
        let ended = self.partial.is_empty() && self.body.is_end_stream();
        if !ended && self.next().await?.is_some() {
            return Err(Status::internal("a second message in a unary call"));
        }
        Ok(message)
    }

    /// The length of the message that begins here; none while that is not known.
    fn length(&self, start: &[u8]) -> Result<Option<usize>, Status> {
        let Some([flag, length @ ..]) = start.first_chunk::<PREFIX>() else { return Ok(None) };
        match flag {
            0 => {}
            1 if self.compressed => {
                return Err(Status::unimplemented("messages are not compressed here"));
            }
            _ => {
                return Err(Status::internal(format!("the flag of a message is {flag} without an encoding")));
            }
        }
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.limit {
            let text = format!("a message of {length} bytes is longer than {}", self.limit);
            return Err(Status::resource_exhausted(text));
        }
        Ok(Some(length))
    }

    async fn data(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let next = std::future::poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
            match next.transpose().map_err(|error| Status::from_error(error.into()))? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

fn decoded(message: Bytes) -> Result<Payload, Status> {
    <Payload as Message>::decode(message).map_err(|error| Status::internal(format!("no payload: {error}")))
}

/// What is sent in reply to a request.
#[derive(Default)]
pub(super) enum Body {
    /// nothing; the status is in the headers
    #[default]
    Failed,
    /// one message, then the status
    One(Option<Bytes>),
    /// messages for as long as the connection lives
    Stream(Down),
}

impl Body {
    /// As a response.
    pub(super) fn response(self) -> Response<Self> {
        let mut response = Response::new(self);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        response
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut *self {
            Self::Failed => return Poll::Ready(None),
            Self::One(message) => message.take(),
            Self::Stream(down) => ready!(down.poll_piece(context)),
        };
        Poll::Ready(Some(Ok(match data {
            Some(data) => Frame::data(data),
            None => {
                *self = Self::Failed;
                let mut status = HeaderMap::with_capacity(1);
                status.insert(STATUS, HeaderValue::from_static("0"));
                Frame::trailers(status)
            }
        })))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};
    use tonic::Code;

    type Piece = Result<Frame<Bytes>, Infallible>;

    fn up(
        pieces: &[&[u8]],
        encoding: Option<&str>,
    ) -> Up<impl HttpBody<Data = Bytes, Error = Infallible> + Unpin + use<>> {
        let frames: Vec<Piece> =
            pieces.iter().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
        let mut request = http::Request::new(StreamBody::new(futures_util::stream::iter(frames)));
        if let Some(encoding) = encoding {
            request.headers_mut().insert(ENCODING, encoding.parse().unwrap());
        }
        Up::new(request, 100)
    }

    async fn code(pieces: &[&[u8]], encoding: Option<&str>) -> Code {
        up(pieces, encoding).next().await.unwrap_err().code()
    }

    #[tokio::test]
    async fn messages_are_read_however_they_are_cut() {
        let one = Payload::new("A", "{}").framed();
        let two = Payload::new("B", r#"{"long":"text"}"#).framed();
        let all = [&one[..], &two[..]].concat();
        for cut in 0..all.len() {
            let mut up = up(&[&all[..cut], &all[cut..]], None);
            let mut next = async || up.next().await.unwrap().map(|payload| payload.kind().to_owned());
            assert_eq!(
                (next().await.as_deref(), next().await.as_deref()),
                (Some("A"), Some("B")),
                "cut at {cut}"
            );
            assert_eq!(next().await, None);
        }
    }

    #[tokio::test]
    async fn what_is_no_message_has_a_status() {
        assert_eq!(code(&[b"\0\0\0\0\x65"], None).await, Code::ResourceExhausted);
        assert_eq!(code(&[b"\0\xff\xff\xff\xff"], None).await, Code::ResourceExhausted);
        assert_eq!(code(&[b"\x01\0\0\0\0"], None).await, Code::Internal);
        assert_eq!(code(&[b"\x01\0\0\0\0"], Some("gzip")).await, Code::Unimplemented);
        assert_eq!(code(&[b"\x02\0\0\0\0"], Some("identity")).await, Code::Internal);
        assert_eq!(code(&[b"\0\0"], None).await, Code::Internal);
        assert_eq!(code(&[b"\0\0\0\0\x04", b"ab"], None).await, Code::Internal);
        assert_eq!(code(&[b"\0\0\0\0\x02\xff\xff"], None).await, Code::Internal);
        assert!(up(&[], None).next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_unary_call_has_one_message() {
        let one = Payload::new("A", "{}").framed();
        assert_eq!(up(&[&one], None).only().await.unwrap().kind(), "A");
        assert_eq!(up(&[&one, &one], None).only().await.unwrap_err().code(), Code::Internal);
        assert_eq!(up(&[], None).only().await.unwrap_err().code(), Code::Internal);
    }

    #[tokio::test]
    async fn a_reply_is_its_message_and_its_status() {
        let reply = Body::One(Some(Bytes::from_static(b"message"))).response();
        assert_eq!(reply.headers()["content-type"], "application/grpc");
        let whole = reply.into_body().collect().await.unwrap();
        assert_eq!(whole.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(whole.to_bytes(), "message");
    }
}
