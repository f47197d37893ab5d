//! A bare connection, to send what no client of HTTP would.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wait::DEADLINE;

/// A connection to a service.
#[derive(Debug)]
pub struct Wire(TcpStream);

impl Wire {
    /// Connects to the service at a base URL.
    ///
    /// # Errors
    /// When it does not take the connection.
    pub async fn connect(base: &str) -> Result<Self> {
        let address = base.trim_start_matches("http://");
        let stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Sends these bytes.
    ///
    /// # Errors
    /// When the other side has closed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        let sent = timeout(DEADLINE, self.0.write_all(bytes.as_ref())).await;
        Ok(sent.context("the other side takes nothing")??)
    }

    /// One answer: its head, and as much of a body as the head says.
    ///
    /// # Errors
    /// When the other side closes or says nothing.
    pub async fn answer(&mut self) -> Result<String> {
        let mut text = Vec::new();
        loop {
            let so_far = String::from_utf8_lossy(&text);
            if let Some((head, body)) = so_far.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.unwrap_or("0").parse()? {
                    return Ok(so_far.into_owned());
                }
            }
            // Not one byte of what comes after it.
            match timeout(DEADLINE, self.0.read_u8()).await? {
                Ok(byte) => text.push(byte),
                Err(error) => bail!("{error} after {so_far:?}"),
            }
        }
    }

    /// Everything until the other side closes.
    ///
    /// # Errors
    /// When it does not, or not in good order.
    pub async fn rest(&mut self) -> Result<String> {
        let mut text = String::new();
        let read = timeout(DEADLINE, self.0.read_to_string(&mut text)).await;
        read.context("the other side does not close")??;
        Ok(text)
    }

    /// Waits until the other side has closed, in any way.
    ///
    /// # Errors
    /// When it does not.
    pub async fn closed(&mut self) -> Result<()> {
        let mut waste = [0; 1024];
        let ended = async { while self.0.read(&mut waste).await.is_ok_and(|read| read > 0) {} };
        timeout(DEADLINE, ended)
            .await
            .context("the other side does not close")
    }
}
