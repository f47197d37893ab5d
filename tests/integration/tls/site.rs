//! A broker that speaks SASL_SSL to its clients, the shared engine behind TLS, and who
//! certifies both.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use plaudit::parts;
use plaudit::up::{Broker, Child, Probe, Tether};
use support::{Authority, DEADLINE, TlsFront, backend, binary, repository};
use tempfile::TempDir;

use super::issuer::{self, Issuer};

/// What the cases share: a JVM takes seconds to start.
pub(super) struct Site {
    /// Certifies everybody here.
    pub(super) authority: Authority,
    /// Certifies nobody here.
    pub(super) stranger: Authority,
    brokers: String,
    front: TlsFront,
    issuer: Issuer,
    _broker: Child,
    directory: TempDir,
}

/// The user that the broker knows, by SCRAM and by PLAIN.
const USER: &str = "plaudit";
pub(super) const PASSWORD: &str = "correct horse battery staple";

/// `--set`, or a part of it.
pub(super) type Settings = Vec<(&'static str, String)>;

impl Site {
    pub(super) async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let authority = Authority::new(&directory.path().join("authority"))?;
        let stranger = Authority::new(&directory.path().join("stranger"))?;
        let shown = authority.certify("servers", 2040)?;
        let issuer = Issuer::start(&shown).await?;
        let engine = backend().clickhouse_url.clone();
        let engine = engine.strip_prefix("http://").context("it speaks HTTP")?;
        let front = TlsFront::start(engine, &shown).await?;

        let kafka = directory.path().join("kafka");
        std::fs::create_dir_all(&kafka)?;
        let [cert, key] = [&shown.cert_file, &shown.key_file].map(std::fs::read_to_string);
        std::fs::write(kafka.join("shown.pem"), key? + &cert?)?;
        std::fs::write(kafka.join("jwks.json"), issuer.keys())?;
        std::fs::write(directory.path().join("password"), format!("{PASSWORD}\n"))?;
        let secret = directory.path().join("client-secret");
        std::fs::write(secret, issuer::CLIENT.1)?;
        let (broker, secure) = start_broker(&kafka).await?;
        Ok(Self {
            authority,
            stranger,
            brokers: secure.to_string(),
            front,
            issuer,
            _broker: broker,
            directory,
        })
    }

    /// Where broker and engine are, and whom to believe.
    pub(super) fn places(&self) -> Settings {
        let ca_file = self.authority.ca_file().display().to_string();
        vec![
            ("kafka.brokers", self.brokers.clone()),
            ("kafka.properties.security.protocol", "SASL_SSL".to_owned()),
            ("kafka.properties.ssl.ca.location", ca_file.clone()),
            ("clickhouse.url", self.front.url()),
            ("clickhouse.ca_file", ca_file),
        ]
    }

    /// How a client says who it is.
    pub(super) fn mechanism(&self, name: &str) -> Settings {
        let mut settings = vec![("kafka.properties.sasl.mechanism", name.to_owned())];
        settings.extend(match name {
            "OAUTHBEARER" => vec![
                (
                    "kafka.properties.sasl.oauthbearer.method",
                    "oidc".to_owned(),
                ),
                (
                    "kafka.properties.sasl.oauthbearer.token.endpoint.url",
                    self.issuer.url(),
                ),
                (
                    "kafka.properties.https.ca.location",
                    self.authority.ca_file().display().to_string(),
                ),
                (
                    "kafka.properties.sasl.oauthbearer.client.id",
                    issuer::CLIENT.0.to_owned(),
                ),
                (
                    "kafka.properties.sasl.oauthbearer.client.secret.file",
                    self.file("client-secret"),
                ),
            ],
            _ => vec![
                ("kafka.properties.sasl.username", USER.to_owned()),
                ("kafka.properties.sasl.password.file", self.file("password")),
            ],
        });
        settings
    }

    /// A file of the site.
    pub(super) fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// A broker with a listener for its own and one for clients that have to say who they
/// are, which is at the address that is returned.
async fn start_broker(directory: &Path) -> Result<(Child, SocketAddr)> {
    let [own, controller, secure] = free_ports()?;
    let parts = (parts::java()?, parts::kafka_jars(&parts_directory())?);
    let mut broker = Broker::alone(parts, directory.to_owned(), own, controller);
    let user = format!("name={USER},password={PASSWORD}");
    broker.scram = ["SCRAM-SHA-256", "SCRAM-SHA-512"]
        .map(|mechanism| format!("{mechanism}=[{user}]"))
        .to_vec();
    let keys = format!("file://{}", directory.join("jwks.json").display());
    broker.properties = secure_listener(directory, (own, controller, secure), &keys);
    let mut spec = broker.spec(directory.join("log"), Tether::Tied(binary()?));
    let allowed = format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}");
    // It is started once and hardly used: no time for the optimising compiler.
    spec.arguments.insert(0, "-XX:TieredStopAtLevel=1".into());
    spec.arguments.insert(0, allowed.into());
    tokio::task::spawn_blocking(move || broker.prepare()).await??;
    let mut child = Child::start(spec).await?;
    let address = SocketAddr::from(([127, 0, 0, 1], secure));
    let probe = Probe::Port(address);
    let failure = tokio::select! {
        ready = probe.wait(DEADLINE) => match ready {
            Ok(()) => return Ok((child, address)),
            Err(why) => why,
        },
        ended = child.wait() => format!("it ended: {}", ended?),
    };
    bail!("the broker: {failure}\n{}", child.last_lines(30).join("\n"))
}

fn secure_listener(
    directory: &Path,
    (own, controller, secure): (u16, u16, u16),
    keys: &str,
) -> Vec<(&'static str, String)> {
    const MODULES: &str = "org.apache.kafka.common.security";
    let clients = format!("PLAINTEXT://127.0.0.1:{own},SECURE://127.0.0.1:{secure}");
    let scram = format!("{MODULES}.scram.ScramLoginModule required;");
    vec![
        (
            "listeners",
            format!("{clients},CONTROLLER://127.0.0.1:{controller}"),
        ),
        ("advertised.listeners", clients),
        (
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL".to_owned(),
        ),
        ("listener.name.secure.ssl.keystore.type", "PEM".to_owned()),
        (
            "listener.name.secure.ssl.keystore.location",
            directory.join("shown.pem").display().to_string(),
        ),
        (
            "listener.name.secure.sasl.enabled.mechanisms",
            "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
        ),
        (
            "listener.name.secure.plain.sasl.jaas.config",
            format!("{MODULES}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"),
        ),
        (
            "listener.name.secure.scram-sha-256.sasl.jaas.config",
            scram.clone(),
        ),
        ("listener.name.secure.scram-sha-512.sasl.jaas.config", scram),
        (
            "listener.name.secure.oauthbearer.sasl.jaas.config",
            format!("{MODULES}.oauthbearer.OAuthBearerLoginModule required;"),
        ),
        (
            "listener.name.secure.oauthbearer.sasl.server.callback.handler.class",
            format!("{MODULES}.oauthbearer.OAuthBearerValidatorCallbackHandler"),
        ),
        (
            "listener.name.secure.oauthbearer.sasl.oauthbearer.jwks.endpoint.url",
            keys.to_owned(),
        ),
        (
            "listener.name.secure.oauthbearer.sasl.oauthbearer.expected.audience",
            issuer::AUDIENCE.to_owned(),
        ),
    ]
}

fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        // All are held until all are known, or two might be the same.
        let listener = TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

fn parts_directory() -> PathBuf {
    repository().join(".plaudit/parts")
}
