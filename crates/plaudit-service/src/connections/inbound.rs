//! What a client has sent and nobody has read.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};

/// What is known of one connection. HTTP/1 answers one request after the other, so
/// this is about the one under way.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// Something came after the last answer: a request that was not read to its end,
    /// or no request at all.
    is_heard: AtomicBool,
    /// The request has a body whose end was not read.
    is_unread: AtomicBool,
}

/// A body, and whether it is read to its end.
#[derive(Debug)]
pub(super) struct Watched {
    body: Incoming,
    inbound: Arc<Inbound>,
}

// === impl Inbound ===

impl Inbound {
    /// Bytes came.
    pub(super) fn heard(&self) {
        self.is_heard.store(true, Ordering::Relaxed);
    }

    /// The request is answered; returns whether it was read to its end.
    pub(super) fn answered(&self) -> bool {
        let is_unread = self.is_unread.load(Ordering::Relaxed);
        self.is_heard.store(is_unread, Ordering::Relaxed);
        !is_unread
    }

    /// Whether the client may be sending what nobody is going to read.
    pub(super) fn may_go_on(&self) -> bool {
        self.is_heard.load(Ordering::Relaxed)
    }
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(body: Incoming, inbound: &Arc<Inbound>) -> Self {
        let watched = Self {
            body,
            inbound: Arc::clone(inbound),
        };
        watched.look();
        watched
    }

    fn look(&self) {
        let is_unread = !self.body.is_end_stream();
        self.inbound.is_unread.store(is_unread, Ordering::Relaxed);
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        match frame {
            // Of a body in chunks, only its end says that it ends.
            Poll::Ready(None) => self.inbound.is_unread.store(false, Ordering::Relaxed),
            Poll::Ready(Some(_)) => self.look(),
            Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
