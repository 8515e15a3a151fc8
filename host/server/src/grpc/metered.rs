//! Bodies of requests, counted while they arrive and until they are answered, so that what all clients together
//! make the node hold has a limit.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use tonic::Status;

/// How many bytes of requests the node holds, and may hold.
#[derive(Debug)]
pub(super) struct Held {
    bytes: AtomicUsize,
    most: usize,
}

impl Held {
    pub(super) fn up_to(most: usize) -> Self {
        Self { bytes: AtomicUsize::new(0), most }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// What one request, or the message a stream is receiving, adds to it. Given back when the last clone goes.
#[derive(Clone, Debug)]
pub(super) struct Share(Arc<Taken>);

#[derive(Debug)]
struct Taken {
    of: Arc<Held>,
    bytes: AtomicUsize,
}

impl Share {
    pub(super) fn of(held: &Arc<Held>) -> Self {
        Self(Arc::new(Taken { of: held.clone(), bytes: AtomicUsize::new(0) }))
    }

    fn take(&self, bytes: usize) -> bool {
        let Taken { of, bytes: taken } = &*self.0;
        taken.fetch_add(bytes, Ordering::Relaxed);
        of.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= of.most
    }

    /// Gives back what was taken so far: a stream has handed its message on.
    pub(super) fn give_back(&self) {
        let bytes = self.0.bytes.swap(0, Ordering::Relaxed);
        self.0.of.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.of.bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// A body that is counted.
#[derive(Debug)]
pub(super) struct Metered {
    inner: Incoming,
    share: Share,
}

impl Metered {
    pub(super) fn new(inner: Incoming, share: Share) -> Self {
        Self { inner, share }
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(context)?) else {
            return Poll::Ready(None);
        };
        if frame.data_ref().is_some_and(|data| !self.share.take(data.len())) {
            let text = "this node holds as many bytes of requests as it may, try again later";
            return Poll::Ready(Some(Err(Status::resource_exhausted(text).into())));
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_limited_and_given_back() {
        let held = Arc::new(Held::up_to(10));
        let (one, two) = (Share::of(&held), Share::of(&held));
        assert!(one.take(6) && two.take(4) && !two.take(1));
        drop(two);
        assert_eq!(held.bytes(), 6);
        let clone = one.clone();
        one.give_back();
        assert!(clone.take(10));
        drop((one, clone));
        assert_eq!(held.bytes(), 0);
    }
}
