//! Two real ClickHouse engines that are the two shards of a cluster, and speak TCP to
//! each other.
//!
//! They have no Keeper, so nothing is said `ON CLUSTER`: Plaudit tells each.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result};
use plaudit::up::{Child, ChildSpec, Tether};
use plaudit_store::ClusterConfig;
use tempfile::TempDir;

use crate::http::http_client;
use crate::wait::wait_until;
use crate::{Database, binary, repository};

/// The cluster. Its engines end with it.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    _directory: TempDir,
}

#[derive(Debug)]
struct Shard {
    /// `None` while it is stopped.
    child: Option<Child>,
    arguments: Vec<String>,
    log: std::path::PathBuf,
    http: SocketAddr,
}

/// What the servers call it.
const NAME: &str = "two-shards";

impl Shards {
    /// Starts both, with nothing in them.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (http, tcp) = (free_addresses()?, free_addresses()?);
        let mut shards = Vec::new();
        for (number, (http, own)) in http.into_iter().zip(tcp).enumerate() {
            let home = directory.path().join(number.to_string());
            configure(&home.join("clickhouse"), own, &tcp)?;
            let parts = repository().join(".plaudit/parts");
            let arguments = [
                "clickhouse",
                "--dir",
                path(&home)?,
                "--parts",
                path(&parts)?,
            ];
            let listen = ["--listen".to_owned(), http.to_string()];
            shards.push(Shard {
                child: None,
                arguments: arguments
                    .map(str::to_owned)
                    .into_iter()
                    .chain(listen)
                    .collect(),
                log: home.join("log"),
                http,
            });
        }
        let mut this = Self {
            shards,
            _directory: directory,
        };
        for number in 0..this.shards.len() {
            this.revive(number).await?;
        }
        Ok(this)
    }

    /// How Plaudit is told of it.
    pub fn config(&self) -> ClusterConfig {
        ClusterConfig {
            name: Some(NAME.to_owned()),
            replicated: false,
            nodes: self.shards.iter().map(Shard::url).collect(),
        }
    }

    /// The HTTP interface of a shard.
    ///
    /// # Panics
    /// There are two.
    pub fn url(&self, number: usize) -> String {
        self.shard(number).url()
    }

    /// Kills a shard, as a machine that loses its power.
    ///
    /// # Errors
    /// When the system does not say how it ended.
    pub async fn kill(&mut self, number: usize) -> Result<()> {
        let shard = self.shards.get_mut(number).context("there are two")?;
        let mut child = shard.child.take().context("it is stopped")?;
        child.kill().await?;
        Ok(())
    }

    /// Starts a shard, with what it holds.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn revive(&mut self, number: usize) -> Result<()> {
        let shard = self.shards.get_mut(number).context("there are two")?;
        let child = Child::start(ChildSpec {
            name: "shard",
            program: binary()?,
            arguments: shard.arguments.iter().map(Into::into).collect(),
            environment: Vec::new(),
            log: shard.log.clone(),
            tether: Tether::Tied(binary()?),
        })
        .await?;
        let child = shard.child.insert(child);
        let url = format!("http://{}", shard.http);
        let answers = wait_until("a shard to answer", async || {
            Ok(http_client()
                .get(format!("{url}/ping"))
                .send()
                .await
                .is_ok())
        });
        answers
            .await
            .with_context(|| child.last_lines(20).join("\n"))?;
        let server = Database::new(&url, "default");
        server.execute("SYSTEM START LISTEN TCP").await.map(drop)
    }

    fn shard(&self, number: usize) -> &Shard {
        self.shards.get(number).expect("there are two")
    }
}

impl Shard {
    fn url(&self) -> String {
        format!("http://{}", self.http)
    }
}

/// Two addresses that are free, and were so at the same time.
fn free_addresses() -> Result<[SocketAddr; 2]> {
    let listeners = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    ];
    let [one, two] = listeners.map(|listener| listener.local_addr());
    Ok([one?, two?])
}

/// Where it listens by TCP, and where the shards are: merged with what the engine is told
/// anyway.
fn configure(engine: &Path, own: SocketAddr, all: &[SocketAddr]) -> Result<()> {
    let shards: String = all
        .iter()
        .map(|shard| {
            format!(
                "<shard><replica><host>{}</host><port>{}</port></replica></shard>",
                shard.ip(),
                shard.port()
            )
        })
        .collect();
    let xml = format!(
        "<clickhouse><tcp_port>{}</tcp_port>\
         <remote_servers><{NAME}>{shards}</{NAME}></remote_servers></clickhouse>",
        own.port()
    );
    let directory = engine.join("server.d");
    std::fs::create_dir_all(&directory)?;
    Ok(std::fs::write(directory.join("cluster.xml"), xml)?)
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not text")
}
