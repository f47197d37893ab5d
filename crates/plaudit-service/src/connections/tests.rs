//! Real sockets: what a client does to a connection, and what it is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::*;

mod tls;

const SOON: Duration = Duration::from_millis(20);
/// Of what a test does not wait for.
const NEVER: Duration = Duration::from_secs(600);

fn patient() -> ConnectionsConfig {
    ConnectionsConfig {
        header_timeout: NEVER,
        write_timeout: NEVER,
        ..ConnectionsConfig::default()
    }
}

/// Serves `router` while `client` runs, and drains when it has ended.
async fn served<T>(
    router: Router,
    config: &ConnectionsConfig,
    client: impl AsyncFnOnce(std::net::SocketAddr) -> T,
) -> T {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = HttpServer::new(router, config, Gauge::noop());
    let done = tokio::select! {
        () = server.accept(&listener) => unreachable!(),
        done = client(address) => done,
    };
    server.drain(NEVER).await;
    done
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

async fn connect(address: std::net::SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// What comes until the other side ends.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// Reads until `end` has come.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).await.unwrap();
        assert_ne!(read, 0, "it ended after {text}");
        text.push_str(std::str::from_utf8(&part[..read]).unwrap());
    }
    text
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n";

#[tokio::test]
async fn p5_a_connection_that_says_nothing_or_not_enough_is_closed() {
    let config = ConnectionsConfig {
        header_timeout: SOON,
        ..patient()
    };
    served(hello(), &config, async |address| {
        for said in [&b""[..], b"GET / HTTP/1.1\r\nho", GET] {
            let mut stream = connect(address).await;
            stream.write_all(said).await.unwrap();
            let answer = rest(&mut stream).await;
            assert_eq!(answer.contains("200 OK"), said == GET, "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn p5_headers_that_are_too_large_or_too_many_are_refused_with_431() {
    let config = ConnectionsConfig {
        header_bytes: 8 << 10,
        ..patient()
    };
    served(hello(), &config, async |address| {
        let large = format!("a: {}\r\n", "x".repeat(100_000));
        let many: String = (0..200).map(|n| format!("a-{n}: x\r\n")).collect();
        for headers in [large, many] {
            let mut stream = connect(address).await;
            let head = format!("GET / HTTP/1.1\r\nhost: h\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let answer = rest(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
            assert!(answer.contains("connection: close"), "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn p5_one_connection_too_many_is_told_so_and_the_others_are_served() {
    let config = ConnectionsConfig {
        max: 2,
        ..patient()
    };
    served(hello(), &config, async |address| {
        let mut first = connect(address).await;
        let mut second = connect(address).await;
        for stream in [&mut first, &mut second] {
            stream.write_all(GET).await.unwrap();
            until(stream, "hello").await;
        }
        let mut third = connect(address).await;
        third.write_all(GET).await.unwrap();
        let answer = rest(&mut third).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        for part in ["retry-after: 1", "connection: close", "unavailable"] {
            assert!(answer.contains(part), "{answer}");
        }
        first.write_all(GET).await.unwrap();
        until(&mut first, "hello").await;
        // A place that is given up is there for the next.
        drop(second);
        loop {
            let mut fourth = connect(address).await;
            fourth.write_all(GET).await.unwrap();
            if until(&mut fourth, "\r\n").await.contains("200 OK") {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_pipelined_request_does_not_hold_back_the_answer_before_it() {
    served(hello(), &patient(), async |address| {
        let mut stream = connect(address).await;
        let half = &GET[..10];
        stream.write_all(&[GET, GET, half].concat()).await.unwrap();
        let mut answers = until(&mut stream, "hello").await;
        while answers.matches("hello").count() < 2 {
            answers.push_str(&until(&mut stream, "hello").await);
        }
        stream.write_all(&GET[10..]).await.unwrap();
        until(&mut stream, "hello").await;
    })
    .await;
}

#[tokio::test]
async fn who_is_refused_while_sending_reads_why() {
    let router = Router::new().route("/", post(async || "too large"));
    served(router, &patient(), async |address| {
        let mut stream = connect(address).await;
        let length = 32 << 20;
        let head = format!("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // All of it, although nobody reads it.
        stream.write_all(&vec![b'x'; length]).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.ends_with("too large"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn who_is_read_to_the_end_keeps_its_connection() {
    let router = Router::new().route("/", post(async |body: String| body));
    served(router, &patient(), async |address| {
        let mut stream = connect(address).await;
        let known = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody";
        let chunks = "POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n\
                      4\r\nbody\r\n0\r\n\r\n";
        for request in [known, chunks, known] {
            stream.write_all(request.as_bytes()).await.unwrap();
            let answer = until(&mut stream, "body").await;
            assert!(!answer.contains("connection: close"), "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn p5_a_client_that_takes_nothing_of_its_answer_is_cut() {
    struct Ended(Option<oneshot::Sender<()>>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.take().unwrap().send(()).unwrap();
        }
    }
    let config = ConnectionsConfig {
        write_timeout: SOON,
        ..patient()
    };
    let (ended, has_ended) = oneshot::channel();
    let ended = Arc::new(std::sync::Mutex::new(Some(Ended(Some(ended)))));
    // Far more than the system takes in for a client.
    let router = Router::new().route(
        "/",
        get(async move || {
            let ended = ended.lock().unwrap().take();
            let pieces = std::iter::repeat_with(move || {
                let _held = &ended;
                Ok::<_, Infallible>(vec![b'x'; 1 << 20])
            });
            Body::from_stream(futures_util::stream::iter(pieces))
        }),
    );
    served(router, &config, async |address| {
        let mut stream = connect(address).await;
        stream.write_all(GET).await.unwrap();
        has_ended.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn who_goes_away_takes_its_request_along() {
    struct Ended(Arc<AtomicUsize>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let (began, has_begun) = oneshot::channel();
    let began = Arc::new(std::sync::Mutex::new(Some(began)));
    let ended = Arc::new(AtomicUsize::new(0));
    let handler = {
        let ended = Arc::clone(&ended);
        async move || {
            let _ended = Ended(ended);
            began.lock().unwrap().take().unwrap().send(()).unwrap();
            std::future::pending::<()>().await;
        }
    };
    let router = Router::new().route("/", get(handler));
    served(router, &patient(), async |address| {
        let mut stream = connect(address).await;
        stream.write_all(GET).await.unwrap();
        has_begun.await.unwrap();
    })
    .await;
    assert_eq!(ended.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_drain_closes_what_is_idle_and_ends_what_is_under_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (began, has_begun) = oneshot::channel();
    let began = Arc::new(std::sync::Mutex::new(Some(began)));
    let go = Arc::new(tokio::sync::Notify::new());
    let handler = {
        let go = Arc::clone(&go);
        async move || {
            began.lock().unwrap().take().unwrap().send(()).unwrap();
            go.notified().await;
            "done"
        }
    };
    let router = hello().route("/slow", get(handler));
    let mut server = HttpServer::new(router, &patient(), Gauge::noop());
    let (mut idle, mut busy) = (connect(address).await, connect(address).await);
    tokio::select! {
        () = server.accept(&listener) => unreachable!(),
        () = async {
            idle.write_all(GET).await.unwrap();
            until(&mut idle, "hello").await;
            let slow = b"GET /slow HTTP/1.1\r\nhost: h\r\n\r\n";
            // The second asks for more than there will be.
            busy.write_all(&[&slow[..], GET].concat()).await.unwrap();
            has_begun.await.unwrap();
        } => {}
    }
    let clients = async {
        assert_eq!(rest(&mut idle).await, "");
        go.notify_one();
        let answer = rest(&mut busy).await;
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(answer.ends_with("done"), "{answer}");
    };
    tokio::join!(server.drain(NEVER), clients);
}

#[tokio::test]
async fn a_kept_connection_may_be_used_once_more_while_its_server_stops() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = HttpServer::new(hello(), &patient(), Gauge::noop());
    let mut kept = connect(address).await;
    tokio::select! {
        () = server.accept(&listener) => unreachable!(),
        () = async {
            kept.write_all(GET).await.unwrap();
            let first = until(&mut kept, "hello").await;
            assert!(!first.contains("connection: close"), "{first}");
        } => {}
    }
    // As one does who was not told yet that the server stops.
    let client = async {
        kept.write_all(GET).await.unwrap();
        let last = rest(&mut kept).await;
        assert!(last.contains("connection: close"), "{last}");
        assert!(last.ends_with("hello"), "{last}");
    };
    tokio::join!(server.drain(NEVER), client);
}

#[tokio::test]
async fn a_drain_cuts_who_does_not_finish() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = HttpServer::new(hello(), &patient(), Gauge::noop());
    let mut stream = connect(address).await;
    tokio::select! {
        () = server.accept(&listener) => unreachable!(),
        () = async {
            stream.write_all(GET).await.unwrap();
            until(&mut stream, "hello").await;
            stream.write_all(&GET[..10]).await.unwrap();
        } => {}
    }
    server.drain(SOON).await;
    let mut end = [0];
    assert!(!stream.read(&mut end).await.is_ok_and(|read| read > 0));
}
