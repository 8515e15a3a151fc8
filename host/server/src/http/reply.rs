//! Replies: a body of few pieces, and the envelopes around data.

use super::codes::{self, Code};
use super::error::ApiError;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

/// An answered request.
pub type Reply = Response<Body>;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");

/// Bodies up to this size are copied together, in bytes. Past it another piece of the one vectored write costs
/// less than the allocation of a large buffer.
const CONTIGUOUS: usize = 1024;

/// A body in up to three pieces, so that a long cached list goes out behind a fresh head without being copied.
#[derive(Debug, Default)]
pub struct Body {
    pieces: [Bytes; 3],
}

impl Body {
    /// A body of one piece.
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        Self { pieces: [bytes.into(), Bytes::new(), Bytes::new()] }
    }

    /// `head`, `middle` and `tail`, in one piece when they are short.
    pub fn parts(mut head: Vec<u8>, middle: Bytes, tail: &'static [u8]) -> Self {
        if head.len() + middle.len() > CONTIGUOUS {
            return Self { pieces: [head.into(), middle, Bytes::from_static(tail)] };
        }
        head.reserve_exact(middle.len() + tail.len());
        head.extend_from_slice(&middle);
        head.extend_from_slice(tail);
        Self::of(head)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.pieces.iter_mut().find(|piece| !piece.is_empty());
        Poll::Ready(next.map(|piece| Ok(Frame::data(std::mem::take(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum())
    }
}

fn reply(status: StatusCode, kind: HeaderValue, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

/// Plain text.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    reply(status, TEXT, Body::of(text))
}

/// Exactly `ok`: clients compare the whole body.
pub fn ok() -> Reply {
    text(StatusCode::OK, Bytes::from_static(b"ok"))
}

/// A status without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::default());
    *reply.status_mut() = status;
    reply
}

/// JSON that is already encoded.
pub fn json_body(body: Body) -> Reply {
    reply(StatusCode::OK, JSON, body)
}

/// `value` as JSON.
///
/// # Errors
/// [`ApiError`] (500) when it cannot be encoded.
pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Reply, ApiError> {
    json_with(StatusCode::OK, value)
}

/// `value` as JSON, under `status`.
///
/// # Errors
/// [`ApiError`] (500) when it cannot be encoded.
pub fn json_with<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Result<Reply, ApiError> {
    let bytes = serde_json::to_vec(value).map_err(|error| ApiError::fault(&error))?;
    Ok(reply(status, JSON, Body::of(bytes)))
}

/// The envelope of v2 and v3.
#[derive(Serialize)]
struct Envelope<'a, T: ?Sized> {
    code: u32,
    message: &'a str,
    data: &'a T,
}

/// `data` in the envelope of v2 and v3.
///
/// # Errors
/// [`ApiError`] (500) when it cannot be encoded.
pub fn data<T: Serialize + ?Sized>(data: &T) -> Result<Reply, ApiError> {
    result(StatusCode::OK, codes::SUCCESS, codes::SUCCESS.message, data)
}

/// The envelope of v2 and v3 with everything given.
///
/// # Errors
/// [`ApiError`] (500) when it cannot be encoded.
pub fn result<T: Serialize + ?Sized>(
    status: StatusCode,
    code: Code,
    message: &str,
    data: &T,
) -> Result<Reply, ApiError> {
    json_with(status, &Envelope { code: code.number, message, data })
}

/// The data `"ok"` in the envelope of v2 and v3, without encoding anything.
pub fn data_ok() -> Reply {
    json_body(Body::of(Bytes::from_static(br#"{"code":0,"message":"success","data":"ok"}"#)))
}

/// What stands before encoded data in the envelope of v2 and v3; `}` ends it.
pub const DATA: &[u8] = br#"{"code":0,"message":"success","data":"#;

/// The envelope of v1's core and console: `code` is 200 when all is well.
#[derive(Serialize)]
struct RestResult<'a, T: ?Sized> {
    code: u16,
    message: Option<&'a str>,
    data: Option<&'a T>,
}

/// `data` in the envelope of v1's core and console.
///
/// # Errors
/// [`ApiError`] (500) when it cannot be encoded.
pub fn rest<T: Serialize + ?Sized>(data: &T) -> Result<Reply, ApiError> {
    json(&RestResult { code: 200, message: None, data: Some(data) })
}

/// A failure in the envelope of v1's core and console, under HTTP status 200 as Nacos sends it.
///
/// # Errors
/// [`ApiError`] (500) when it cannot be encoded.
pub fn rest_failed(code: u16, message: &str) -> Result<Reply, ApiError> {
    json(&RestResult::<()> { code, message: Some(message), data: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn body_of(reply: Reply) -> String {
        let Ok(bytes) = reply.into_body().collect().await;
        String::from_utf8(bytes.to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_body_of_several_pieces_arrives_whole_and_announces_its_length() {
        for long in [1, CONTIGUOUS] {
            let middle = "m".repeat(long);
            let body = Body::parts(b"head ".to_vec(), middle.clone().into(), b" tail");
            assert_eq!(http_body::Body::size_hint(&body).exact(), Some(long as u64 + 10));
            assert_eq!(body_of(json_body(body)).await, format!("head {middle} tail"));
        }
    }

    #[tokio::test]
    async fn n154_success_is_wrapped_in_the_envelope() {
        assert_eq!(body_of(data(&["x"]).unwrap()).await, r#"{"code":0,"message":"success","data":["x"]}"#);
        assert_eq!(body_of(data("ok").unwrap()).await, body_of(data_ok()).await);
        assert_eq!([DATA, b"[1]}"].concat(), body_of(data(&[1]).unwrap()).await.as_bytes());
    }

    #[tokio::test]
    async fn n055_ok_is_two_letters_of_plain_text() {
        let reply = ok();
        assert_eq!(reply.headers()[CONTENT_TYPE], "text/plain;charset=UTF-8");
        assert_eq!(body_of(reply).await, "ok");
    }
}
