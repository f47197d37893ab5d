//! A TCP proxy on loopback that a test can cut, freeze, slow down, and make lose answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes connections on to one address, as well as it is told to.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    _accepting: JoinSet<()>,
}

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    /// They are passed on.
    #[default]
    Whole,
    /// Every connection ends, and every new one at once.
    Cut,
    /// Connections are accepted and kept, and nothing goes through.
    Frozen,
    /// Each piece waits for this long, in both directions.
    Slow(Duration),
    /// What is asked arrives; the connection ends when the answer would.
    Deaf,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    There,
    Back,
}

const PIECE_BYTES: usize = 64 << 10;

impl Proxy {
    /// Listens on a free port; `target` is `host:port`.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(watch::Sender::new(State::default()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target.to_owned(), Arc::clone(&state)));
        Ok(Self {
            address,
            state,
            _accepting: accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection, and every new one at once.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Keeps connections and passes nothing on, as a network does that loses packets.
    pub fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    /// Makes every piece wait, in both directions.
    pub fn slow_down(&self, by: Duration) {
        self.state.send_replace(State::Slow(by));
    }

    /// Passes on what Kafka's clients ask, and ends the connection in place of the
    /// answer to a write. Other answers pass, so that there is a next write.
    pub fn lose_answers_to_writes(&self) {
        self.state.send_replace(State::Deaf);
    }

    /// Passes everything on again.
    pub fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

async fn accept(listener: TcpListener, target: String, state: Arc<watch::Sender<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (state, target) = (state.subscribe(), target.clone());
        if *state.borrow() == State::Cut {
            continue;
        }
        connections.spawn(async move {
            let mut cut = state.clone();
            tokio::select! {
                _cut = cut.wait_for(|state| *state == State::Cut) => {}
                _ended = pass(client, &target, state) => {}
            }
        });
    }
}

async fn pass(
    client: TcpStream,
    target: &str,
    state: watch::Receiver<State>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let has_written = AtomicBool::new(false);
    tokio::try_join!(
        pump(
            from_client,
            to_server,
            Way::There,
            &has_written,
            state.clone()
        ),
        pump(from_server, to_client, Way::Back, &has_written, state),
    )?;
    Ok(())
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    has_written: &AtomicBool,
    mut state: watch::Receiver<State>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
            return to.shutdown().await;
        };
        let now = state.wait_for(|state| *state != State::Frozen).await;
        let now = now.map_or(State::Cut, |state| *state);
        match now {
            State::Cut => return Err(std::io::ErrorKind::ConnectionAborted.into()),
            State::Deaf if way == Way::Back && has_written.load(Ordering::Relaxed) => {
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
            State::Slow(by) => tokio::time::sleep(by).await,
            State::Whole | State::Frozen | State::Deaf => {}
        }
        if way == Way::There && is_produce(piece) {
            has_written.store(true, Ordering::Relaxed);
        }
        to.write_all(piece).await?;
    }
}

/// Whether a piece begins with a Produce request of Kafka's protocol: four bytes of
/// length, then the number of the API.
fn is_produce(piece: &[u8]) -> bool {
    piece.get(4..6) == Some(&[0, 0])
}
