//! TLS before a server that has none of its own, as a load balancer ends it: the engine
//! that tests have speaks plain HTTP only.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use plaudit_tls::Identity;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::authority::Certified;

/// Passes what comes by TLS on to one address.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl TlsFront {
    /// Listens on a free port; `target` is `host:port`.
    ///
    /// # Errors
    /// When there is no port, or the certificate cannot be used.
    pub async fn start(target: &str, shown: &Certified) -> Result<Self> {
        let identity = Identity::load("front", &shown.cert_file, &shown.key_file)?;
        let acceptor = TlsAcceptor::from(Arc::new(Arc::new(identity).server_config()));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target.to_owned(), acceptor));
        Ok(Self {
            address,
            _accepting: accepting,
        })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

async fn accept(listener: TcpListener, target: String, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (target, acceptor) = (target.clone(), acceptor.clone());
        connections.spawn(async move {
            // Who does not believe the certificate goes away.
            let mut client = acceptor.accept(client).await?;
            let mut server = TcpStream::connect(target).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}
