//! A TCP proxy on loopback that a test can cut and mend.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Passes connections on to one address, while it is whole.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    _accepting: JoinSet<()>,
}

#[derive(Debug)]
struct State {
    target: String,
    whole: AtomicBool,
    cut: std::sync::Mutex<CancellationToken>,
}

impl Proxy {
    /// Listens on a free port; `target` is `host:port`.
    ///
    /// # Errors
    /// When there is no port.
    pub async fn start(target: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            target: target.to_owned(),
            whole: AtomicBool::new(true),
            cut: std::sync::Mutex::default(),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&state)));
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
        self.state.whole.store(false, Ordering::SeqCst);
        let mut cut = self.state.cut.lock().expect("nobody panics with it");
        std::mem::take(&mut *cut).cancel();
    }

    /// Passes connections on again.
    pub fn mend(&self) {
        self.state.whole.store(true, Ordering::SeqCst);
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if !state.whole.load(Ordering::SeqCst) {
            continue;
        }
        let cut = state.cut.lock().expect("nobody panics with it").clone();
        let target = state.target.clone();
        connections.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                _ended = pass(client, &target) => {}
            }
        });
    }
}

async fn pass(mut client: TcpStream, target: &str) -> std::io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
