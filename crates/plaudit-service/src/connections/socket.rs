//! A socket that is not waited for without end, and not closed in a client's face.
//!
//! Two things that HTTP needs of a connection and that neither the system nor the
//! HTTP library does:
//!
//! - A client that takes nothing of its answer is cut, or it would hold the answer's
//!   memory for as long as it likes.
//! - A client that is still sending when it is refused must be able to read why. The
//!   system answers what arrives at a closed socket with a reset, and a reset throws
//!   away what the client has not read. So the sending half is closed first, and what
//!   arrives is thrown away for a while (RFC 9112, section 9.6).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use super::inbound::Inbound;

/// A connection to a client.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    write_timeout: Duration,
    inbound: Arc<Inbound>,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs while what the client sends is thrown away.
    lingering: Option<Pin<Box<Sleep>>>,
}

/// How long a client that was refused may go on sending.
const LINGER: Duration = Duration::from_secs(5);

/// Bytes that are thrown away at once.
const WASTE: usize = 8 << 10;

impl Socket {
    pub(super) fn new(stream: TcpStream, write_timeout: Duration, inbound: Arc<Inbound>) -> Self {
        Self {
            stream,
            write_timeout,
            inbound,
            stalled: None,
            lingering: None,
        }
    }

    /// The same, unless nothing could be written for too long.
    fn timed<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.write_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.inbound.heard();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.timed(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.timed(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if !this.inbound.may_go_on() {
                return Poll::Ready(Ok(()));
            }
        }
        let lingering = this
            .lingering
            .get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut waste = [0; WASTE];
        loop {
            if lingering.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut waste = ReadBuf::new(&mut waste);
            match ready!(Pin::new(&mut this.stream).poll_read(context, &mut waste)) {
                Ok(()) if !waste.filled().is_empty() => {}
                // The client has ended, in one way or the other.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
