//! One kept HTTP/1.1 connection that knows no more than it needs.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A connection whose answers come in the order of its requests.
pub(super) struct Connection {
    stream: TcpStream,
    /// What has come and is not taken.
    buffer: Vec<u8>,
}

/// The head of an answer.
struct Head {
    status: u16,
    /// Head and body.
    length: usize,
}

const BODY_SHOWN: usize = 200;

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 << 10),
        })
    }

    /// Sends one request or several.
    pub(super) async fn send(&mut self, requests: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(requests).await.context("send")
    }

    /// Takes the next answer, which must have this status.
    pub(super) async fn answer(&mut self, status: u16) -> anyhow::Result<()> {
        let mut head = None;
        loop {
            if head.is_none() {
                head = Head::read(&self.buffer)?;
            }
            match &head {
                Some(head) if self.buffer.len() >= head.length => {
                    if head.status != status {
                        bail!("answered {}: {}", head.status, self.shown());
                    }
                    self.buffer.drain(..head.length);
                    return Ok(());
                }
                _ => {}
            }
            let read = self.stream.read_buf(&mut self.buffer).await;
            if read.context("receive")? == 0 {
                bail!("the server closed the connection");
            }
        }
    }

    fn shown(&self) -> String {
        let shown = self.buffer.len().saturating_sub(BODY_SHOWN);
        String::from_utf8_lossy(self.buffer.get(shown..).unwrap_or_default()).into_owned()
    }
}

impl Head {
    /// `None` until it is whole.
    fn read(buffer: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = memmem::find(buffer, b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = buffer.get(..end).unwrap_or_default();
        let text = std::str::from_utf8(text).context("the answer's head is no text")?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .context("the answer has no status")?;
        let body: usize = lines
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, length)| length.trim().parse().ok())
            .context("the answer does not say its length")?;
        Ok(Some(Self {
            status,
            length: end + 4 + body,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        assert!(Head::read(&answer[..30]).unwrap().is_none());
        let head = Head::read(answer).unwrap().unwrap();
        assert_eq!((head.status, head.length), (202, answer.len()));
        assert!(Head::read(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
