//! The same by TLS: what a handshake may take, and what comes after it.

use std::path::PathBuf;

use plaudit_tls::Trust;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// A certificate of 127.0.0.1, and who believes it.
struct Site {
    config: TlsConfig,
    trust: Trust,
    _directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shown = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let write = |name: &str, text: String| -> PathBuf {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let cert_file = write("cert.pem", shown.cert.pem());
        let key_file = write("key.pem", shown.signing_key.serialize_pem());
        Self {
            trust: Trust::towards("https://h", "ca", Some(&cert_file)).unwrap(),
            config: TlsConfig {
                cert_file: Some(cert_file),
                key_file: Some(key_file),
            },
            _directory: directory,
        }
    }

    /// As [`super::served`], by TLS.
    async fn served<T>(
        &self,
        router: Router,
        config: &ConnectionsConfig,
        client: impl AsyncFnOnce(std::net::SocketAddr) -> T,
    ) -> T {
        let tls = self.config.load("tls", Gauge::noop).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = HttpServer::new(router, config, Gauge::noop()).with_tls(tls);
        let done = tokio::select! {
            () = server.accept(&listener) => unreachable!(),
            done = client(address) => done,
        };
        server.drain(NEVER).await;
        done
    }

    async fn connect(&self, address: std::net::SocketAddr) -> TlsStream<TcpStream> {
        let mut client = self.trust.client_config();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let connector = TlsConnector::from(Arc::new(client));
        let name = address.ip().into();
        let stream = connector.connect(name, connect(address).await).await;
        stream.unwrap()
    }
}

async fn rest(stream: &mut TlsStream<TcpStream>) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[test]
fn one_file_needs_the_other_and_neither_is_no_tls() {
    assert!(
        TlsConfig::default()
            .load("t", Gauge::noop)
            .unwrap()
            .is_none()
    );
    assert_eq!(TlsConfig::default().problems("t"), Vec::<String>::new());
    let half = TlsConfig {
        cert_file: Some("cert.pem".into()),
        key_file: None,
    };
    let problem = "intake.tls.key_file: must be set with cert_file";
    assert_eq!(half.problems("intake.tls"), [problem]);
}

#[tokio::test]
async fn requests_come_by_tls_one_after_the_other() {
    let site = Site::new();
    let closing = b"GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
    site.served(hello(), &patient(), async |address| {
        let mut stream = site.connect(address).await;
        let (_, session) = stream.get_ref();
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        stream.write_all(&[GET, closing].concat()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert_eq!(answer.matches("200 OK").count(), 2, "{answer}");
    })
    .await;
}

#[tokio::test]
async fn p5_who_does_not_shake_hands_is_closed_in_time() {
    let site = Site::new();
    let config = ConnectionsConfig {
        header_timeout: SOON,
        ..patient()
    };
    site.served(hello(), &config, async |address| {
        // Nothing, half of a hello, and plain HTTP.
        for said in [&b""[..], &[0x16, 3, 1, 0, 200], GET] {
            let mut stream = connect(address).await;
            stream.write_all(said).await.unwrap();
            let mut heard = Vec::new();
            // A reset is an end too.
            stream.read_to_end(&mut heard).await.ok();
            assert!(!heard.starts_with(b"HTTP"));
        }
    })
    .await;
}

#[tokio::test]
async fn p5_a_handshake_takes_a_place_and_one_too_many_is_told_by_tls() {
    let site = Site::new();
    let config = ConnectionsConfig {
        max: 1,
        ..patient()
    };
    site.served(hello(), &config, async |address| {
        let silent = connect(address).await;
        let mut second = site.connect(address).await;
        second.write_all(GET).await.unwrap();
        let answer = rest(&mut second).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        drop(silent);
    })
    .await;
}

#[tokio::test]
async fn who_is_refused_while_sending_reads_why_by_tls_too() {
    let site = Site::new();
    let router = Router::new().route("/", post(async || "too large"));
    site.served(router, &patient(), async |address| {
        let stream = site.connect(address).await;
        let (mut from, mut to) = tokio::io::split(stream);
        let length = 8 << 20;
        let head = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n");
        let send = async {
            to.write_all(head.as_bytes()).await.unwrap();
            // All of it, although nobody reads it.
            to.write_all(&vec![b'x'; length]).await.unwrap();
        };
        let read = async {
            let mut answer = String::new();
            from.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let ((), answer) = tokio::join!(send, read);
        assert!(answer.ends_with("too large"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_drain_ends_handshakes_at_once_and_requests_in_their_time() {
    let site = Site::new();
    let tls = site.config.load("tls", Gauge::noop).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = HttpServer::new(hello(), &patient(), Gauge::noop()).with_tls(tls);
    let (mut silent, mut idle) = tokio::select! {
        () = server.accept(&listener) => unreachable!(),
        clients = async {
            let silent = connect(address).await;
            let mut idle = site.connect(address).await;
            idle.write_all(GET).await.unwrap();
            let mut answer = [0; 12];
            idle.read_exact(&mut answer).await.unwrap();
            (silent, idle)
        } => clients,
    };
    server.drain(NEVER).await;
    let mut end = Vec::new();
    silent.read_to_end(&mut end).await.ok();
    assert_eq!(end, b"");
    assert!(rest(&mut idle).await.ends_with("hello"));
}
