//! HTTP load that costs little: kept connections, prebuilt requests, one thread.
//!
//! Closed loop for throughput: a connection sends again when it is answered. Open loop
//! for latency: a request is due at its own time whatever became of the others, and its
//! latency counts from then, so that a server which stalls cannot hide it by holding up
//! the requests behind (coordinated omission).
//!
//! Any other status than the expected one ends the load: a load that was partly refused
//! measures nothing.

mod connection;
mod turns;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use connection::Connection;
use turns::Turns;

/// What is sent, and where.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server.
    pub address: SocketAddr,
    /// They are sent in turn.
    pub requests: Arc<[Request]>,
    /// The status that says that all is well.
    pub status: u16,
}

/// A request as it is written.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    /// Where eight digits stand that tell one round of all requests from the next.
    rounds: Vec<usize>,
}

impl Request {
    /// Has the round that it is sent in written at these places, which ascend, as eight
    /// hexadecimal digits.
    #[must_use]
    pub fn numbered(self, rounds: Vec<usize>) -> Self {
        Self { rounds, ..self }
    }

    /// As it is written, but for the rounds.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn write(&self, round: usize, out: &mut Vec<u8>) {
        if self.rounds.is_empty() {
            return out.extend_from_slice(&self.bytes);
        }
        let digits = format!("{round:08x}");
        let mut rest = &self.bytes[..];
        for place in &self.rounds {
            let written = self.bytes.len() - rest.len();
            let (before, after) = rest.split_at(place - written);
            out.extend_from_slice(before);
            out.extend_from_slice(digits.as_bytes());
            rest = after.split_at(digits.len()).1;
        }
        out.extend_from_slice(rest);
    }
}

impl From<Vec<u8>> for Request {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            rounds: Vec::new(),
        }
    }
}

/// How it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections.
    pub connections: usize,
    /// Requests a second; as fast as answers come when absent.
    pub rate: Option<f64>,
    /// How long.
    pub length: Duration,
    /// How they use their connection.
    pub wire: Wire,
}

/// How requests use a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Wire {
    /// One after the other on a connection that is kept.
    #[default]
    Kept,
    /// So many are sent before the first is answered. For a closed loop.
    Pipelined(usize),
    /// Each has one of its own.
    Anew,
}

/// What came of it.
#[derive(Debug)]
pub struct Load {
    /// Requests that were answered.
    pub requests: u64,
    /// From the first to the last answer.
    pub took: Duration,
    /// In microseconds; from the intended time, where there is a rate.
    pub latency: Histogram<u64>,
}

/// A latency above this is counted as this.
const MAX_LATENCY: Duration = Duration::from_secs(60);

/// How long after its end a load waits for answers.
const LATE: Duration = Duration::from_secs(60);

/// Sends, on a thread of its own.
///
/// # Errors
/// When a connection fails, an answer has another status, or a rate cannot be kept.
pub async fn fire(target: Target, plan: Plan) -> anyhow::Result<Load> {
    let load = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        LocalSet::new().block_on(&runtime, run(&target, plan))
    });
    load.await.context("the load panicked")?
}

async fn run(target: &Target, plan: Plan) -> anyhow::Result<Load> {
    ensure!(!target.requests.is_empty(), "there is nothing to send");
    let mut connections = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        connections.push(Connection::open(target.address).await?);
    }
    let max_us = u64::try_from(MAX_LATENCY.as_micros()).unwrap_or(u64::MAX);
    let shared = Rc::new(Shared {
        target: target.clone(),
        next: Cell::new(0),
        latency: RefCell::new(Histogram::new_with_bounds(1, max_us, 3)?),
        turns: Turns::new(plan.rate, plan.length),
    });
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn_local(drive(connection, Rc::clone(&shared), plan.wire));
    }
    if plan.rate.is_some() {
        let shared = Rc::clone(&shared);
        tasks.spawn_local(async move { shared.turns.hand_out().await });
    }
    let all = async {
        while let Some(end) = tasks.join_next().await {
            end.context("a connection panicked")??;
        }
        anyhow::Ok(())
    };
    let ended = tokio::time::timeout(plan.length + LATE, all).await;
    ended.with_context(|| format!("what was sent is not answered after {LATE:?}"))??;
    let latency = shared.latency.borrow().clone();
    Ok(Load {
        requests: latency.len(),
        took: start.elapsed(),
        latency,
    })
}

/// What the connections of a load share; they all run on one thread.
struct Shared {
    target: Target,
    next: Cell<usize>,
    latency: RefCell<Histogram<u64>>,
    turns: Turns,
}

impl Shared {
    fn write_next(&self, out: &mut Vec<u8>) {
        let next = self.next.get();
        self.next.set(next + 1);
        let requests = &self.target.requests;
        if let Some(request) = requests.get(next % requests.len()) {
            request.write(next / requests.len(), out);
        }
    }

    fn answered(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latency.borrow_mut().saturating_record(micros);
    }
}

async fn drive(mut connection: Connection, shared: Rc<Shared>, wire: Wire) -> anyhow::Result<()> {
    let at_once = match wire {
        Wire::Pipelined(depth) => depth,
        Wire::Kept | Wire::Anew => 1,
    };
    let (mut due, mut requests) = (Vec::with_capacity(at_once), Vec::new());
    loop {
        while due.len() < at_once
            && let Some(turn) = shared.turns.next().await
        {
            due.push(turn);
            shared.write_next(&mut requests);
        }
        if due.is_empty() {
            return Ok(());
        }
        connection.send(&requests).await?;
        for turn in due.drain(..) {
            connection.answer(shared.target.status).await?;
            shared.answered(turn.elapsed());
        }
        requests.clear();
        if wire == Wire::Anew {
            connection = Connection::open(shared.target.address).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives every request this answer.
    async fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::from_std(listener.into_std().unwrap()).unwrap();
                let mut open = JoinSet::new();
                while let Ok((mut socket, _)) = listener.accept().await {
                    open.spawn(async move {
                        let mut buffer = [0; 64];
                        while socket.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                            socket.write_all(answer).await.unwrap();
                        }
                    });
                }
            });
        });
        address
    }

    fn plan(rate: Option<f64>) -> Plan {
        Plan {
            connections: 2,
            rate,
            length: Duration::from_millis(200),
            wire: Wire::Kept,
        }
    }

    async fn target(answer: &'static [u8]) -> Target {
        Target {
            address: server(answer).await,
            requests: [b"GET / HTTP/1.1\r\n\r\n".to_vec().into()].into(),
            status: 200,
        }
    }

    #[test]
    fn a_round_is_written_where_it_belongs() {
        let request = Request::from(b"a12345678b12345678".to_vec()).numbered(vec![1, 10]);
        let mut out = b"-".to_vec();
        request.write(0xab, &mut out);
        assert_eq!(out, b"-a000000abb000000ab");
    }

    #[tokio::test]
    async fn an_open_loop_sends_what_was_due_and_no_more() {
        let target = target(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        let load = fire(target.clone(), plan(Some(500.0))).await.unwrap();
        assert_eq!(load.requests, 100);
        assert!(fire(target, plan(None)).await.unwrap().requests > 0);
    }

    #[tokio::test]
    async fn a_partial_success_is_a_failure() {
        let target = target(b"HTTP/1.1 207 Multi-Status\r\ncontent-length: 2\r\n\r\nno").await;
        let error = fire(target, plan(None)).await.unwrap_err();
        assert!(error.to_string().contains("207"), "{error:#}");
    }
}
