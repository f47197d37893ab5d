//! The end of an intake, over a real socket.

use plaudit_service::Readiness;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::*;
use crate::{conditions, run};

#[tokio::test]
async fn p1_a_request_under_way_is_answered_before_the_end() {
    let app = Setup {
        publishes: 0,
        ..Setup::default()
    }
    .app();
    let readiness = Readiness::waiting_for(&conditions::<Arc<Collector>>());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap() };
    let served = run(
        listener,
        Arc::clone(&app.intake),
        readiness.clone(),
        stopped,
    );

    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /v1/feedback HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{GOOD}",
            GOOD.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        app.collector.entered.notified().await;
        stop.send(()).unwrap();
        app.collector.gate.add_permits(1);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let (served, answer) = tokio::join!(served, client);
    served.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains(r#""accepted":1"#));
    assert_eq!(readiness.reasons(), "listening: stopping\n");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn p5_a_connection_that_does_not_finish_its_headers_is_closed() {
    let mut setup = Setup::default();
    setup.config.connections.header_timeout = Duration::from_millis(10);
    let app = setup.app();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap() };
    let served = run(listener, app.intake, Readiness::default(), stopped);
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"POST /v1/feedback HTTP/1.1\r\nhost")
            .await
            .unwrap();
        let mut answer = Vec::new();
        // Ends only when the other side closes.
        stream.read_to_end(&mut answer).await.unwrap();
        stop.send(()).unwrap();
    };
    let (served, ()) = tokio::join!(served, client);
    served.unwrap();
}

#[tokio::test]
async fn open_mode_does_not_listen_to_the_network() {
    let app = Setup::default().app();
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let readiness = Readiness::default();
    let error = run(listener, app.intake, readiness, std::future::pending()).await;
    assert!(error.unwrap_err().to_string().contains("loopback only"));
}
