//! Asks a child whether it can do its work.

use std::net::SocketAddr;
use std::time::Duration;

use plaudit_tls::Trust;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// How one finds out that a child is ready.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Probe {
    /// A port that is open.
    Port(SocketAddr),
    /// An HTTP GET that is answered with 200.
    Http(String),
}

/// A child that is alive and cannot do its work.
#[derive(Debug, thiserror::Error)]
#[error("{name} is not ready after {}: {why}; its log is {log}", humantime::format_duration(*.waited))]
pub struct NotReady {
    /// The child.
    pub name: &'static str,
    /// How long it was waited for.
    pub waited: Duration,
    /// What it said the last time, or why it said nothing.
    pub why: String,
    /// Its log file.
    pub log: String,
}

const ASK_EVERY: Duration = Duration::from_millis(50);

impl Probe {
    /// Waits until the child is ready, at most `patience`. Cancel safe.
    ///
    /// # Errors
    ///
    /// The last thing that stood in the way.
    pub async fn wait(&self, patience: Duration) -> Result<(), String> {
        // Probes are plain, whatever the service speaks.
        let client = Trust::nobody()
            .http_client()
            .timeout(Duration::from_secs(2))
            .build()
            .map_err(|error| error.to_string())?;
        let deadline = Instant::now() + patience;
        loop {
            let Err(why) = self.ask(&client).await else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                return Err(why);
            }
            sleep(ASK_EVERY).await;
        }
    }

    async fn ask(&self, client: &reqwest::Client) -> Result<(), String> {
        match self {
            Self::Port(address) => match TcpStream::connect(address).await {
                Ok(_open) => Ok(()),
                Err(error) => Err(format!("no answer on {address} ({error})")),
            },
            Self::Http(url) => {
                let answer = client.get(url).send().await;
                let answer = answer.map_err(|_| format!("no answer on {url}"))?;
                if answer.status().is_success() {
                    return Ok(());
                }
                let status = answer.status();
                let reasons = answer.text().await.unwrap_or_default();
                let reasons: Vec<&str> = reasons.lines().collect();
                Err(format!("{status} on {url}: {}", reasons.join("; ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_child_that_is_not_ready_says_why() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let probe = Probe::Http(format!("http://{address}/readyz"));
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let answer = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 11\r\n\
                          connection: close\r\n\r\nkafka: away";
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (why, ()) = tokio::join!(probe.wait(Duration::ZERO), server);
        assert!(why.unwrap_err().ends_with("/readyz: kafka: away"));
        Probe::Port(address).wait(Duration::ZERO).await.unwrap();
    }
}
