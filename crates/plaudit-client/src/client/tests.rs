//! The client against a server that answers from a script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value as Tree, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{RequestError, RetryPolicy};

/// What the server does with one request; after the script it accepts everything.
#[derive(Clone, Copy)]
enum Step {
    /// Answers item by item: `a`ccepted, `r`ejected or `u`nconfirmed.
    Items(u16, &'static str),
    /// Answers as a whole, with a `Retry-After` of 0.
    Whole(u16, &'static str),
    /// Reads the request and hangs up.
    HangUp,
}

/// What a test looks at afterwards.
#[derive(Clone, Default)]
struct Seen {
    /// The ids of each request.
    requests: Arc<Mutex<Vec<Vec<String>>>>,
    /// What the callback heard: the id, and whether it was rejected, refused …
    given_up: Arc<Mutex<Vec<(Uuid, String)>>>,
}

struct Server {
    seen: Seen,
    url: String,
    _task: JoinSet<()>,
}

impl Server {
    async fn start(script: &[Step]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Seen::default();
        let requests = Arc::clone(&seen.requests);
        let script = script.to_vec();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut script = script.into_iter();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let items = read_request(&mut stream).await;
                requests.lock().unwrap().push(items.clone());
                let accept = "a".repeat(items.len());
                let reply = match script.next() {
                    Some(Step::HangUp) => continue,
                    Some(Step::Whole(status, code)) => {
                        (status, json!({"error": {"code": code, "message": "m"}}))
                    }
                    Some(Step::Items(status, fates)) => (status, answer(&items, fates)),
                    None => (200, answer(&items, &accept)),
                };
                write_reply(&mut stream, reply).await;
            }
        });
        Self {
            seen,
            url,
            _task: task,
        }
    }

    /// A client that retries at once and sends a batch when it is told to.
    fn client(&self) -> ClientBuilder {
        let given_up = Arc::clone(&self.seen.given_up);
        Client::builder(&self.url)
            .batch(BatchLimits {
                max_age: Duration::from_secs(3600),
                ..BatchLimits::default()
            })
            .retry(RetryPolicy {
                stop_after_attempt: 3,
                initial: Duration::from_millis(1),
                ..RetryPolicy::default()
            })
            .on_given_up(move |it| {
                given_up
                    .lock()
                    .unwrap()
                    .push((it.id, it.reason.to_string()));
            })
    }

    fn requests(&self) -> Vec<Vec<String>> {
        self.seen.requests.lock().unwrap().clone()
    }

    fn given_up(&self) -> Vec<(Uuid, String)> {
        self.seen.given_up.lock().unwrap().clone()
    }
}

/// The ids of the items of one HTTP request.
async fn read_request(stream: &mut TcpStream) -> Vec<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8(bytes.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split_once("content-length: ").unwrap().1;
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() == length {
                assert!(head.starts_with("POST /v1/feedback HTTP/1.1"), "{head}");
                let items: Vec<Tree> = serde_json::from_str(body).unwrap();
                return items
                    .iter()
                    .map(|item| item["id"].as_str().unwrap().to_owned())
                    .collect();
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
}

fn answer(ids: &[String], fates: &str) -> Tree {
    let items = ids.iter().zip(fates.chars()).enumerate().map(|(index, (id, fate))| match fate {
        'a' => json!({"index": index, "status": "accepted", "id": id, "receipt": format!("t:0:{index}")}),
        'r' => json!({"index": index, "status": "rejected",
                      "error": {"code": "out_of_range", "field": "weight", "message": "must be 0 to 1"}}),
        _ => json!({"index": index, "status": "unconfirmed", "id": id}),
    });
    json!({"accepted": 0, "rejected": 0, "items": items.collect::<Vec<_>>()})
}

async fn write_reply(stream: &mut TcpStream, (status, body): (u16, Tree)) {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} -\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
}

fn queue(client: &Client, count: usize) -> Vec<Uuid> {
    let queue = |_| client.create_feedback(&feedback("t", "m")).unwrap();
    (0..count).map(queue).collect()
}

fn text(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}

#[tokio::test]
async fn p3_a_retry_carries_the_same_ids_until_it_is_confirmed() {
    let script = [
        Step::Whole(503, "unavailable"),
        Step::HangUp,
        Step::Items(200, "aaa"),
    ];
    let server = Server::start(&script).await;
    let client = server.client().build().unwrap();
    let ids = text(&queue(&client, 3));
    client.flush().await;
    assert_eq!(server.requests(), [ids.clone(), ids.clone(), ids]);
    assert_eq!(server.given_up(), []);
}

#[tokio::test]
async fn only_unconfirmed_items_are_sent_again() {
    let server = Server::start(&[Step::Items(503, "uraru"), Step::Items(207, "ar")]).await;
    let client = server.client().build().unwrap();
    let ids = queue(&client, 5);
    client.flush().await;

    assert_eq!(server.requests()[1], text(&[ids[0], ids[4]]));
    let rejected = |id| {
        (
            id,
            "rejected with out_of_range: weight must be 0 to 1".to_owned(),
        )
    };
    assert_eq!(
        server.given_up(),
        [rejected(ids[1]), rejected(ids[3]), rejected(ids[4])]
    );
}

#[tokio::test]
async fn what_would_be_refused_again_is_not_sent_again() {
    let script = [
        Step::Whole(401, "unauthorized"),
        Step::Whole(400, "invalid_json"),
    ];
    let server = Server::start(&script).await;
    let client = server.client().build().unwrap();
    for _ in 0..2 {
        queue(&client, 1);
        client.flush().await;
    }
    assert_eq!(server.requests().len(), 2);
    assert_eq!(server.given_up().len(), 2);
}

#[tokio::test]
async fn an_item_is_given_up_after_the_last_attempt() {
    let script = [
        Step::Whole(429, "rate_limited"),
        Step::HangUp,
        Step::Items(503, "u"),
    ];
    let server = Server::start(&script).await;
    let client = server.client().build().unwrap();
    let error = client.send(&feedback("t", "m")).await.unwrap_err();
    let Error::GivenUp(Reason::Exhausted { attempts: 3, last }) = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*last, RequestError::Unconfirmed { .. }));
    assert_eq!(server.requests().len(), 3);
    // The caller knows already.
    assert_eq!(server.given_up(), []);
}

#[tokio::test]
async fn a_batch_closes_at_its_limits_and_in_order() {
    let server = Server::start(&[]).await;
    let limits = BatchLimits {
        max_events: 2,
        max_age: Duration::from_secs(3600),
        ..BatchLimits::default()
    };
    let client = server.client().batch(limits).build().unwrap();
    let ids = text(&queue(&client, 5));
    client.flush().await;
    let sent: Vec<_> = ids.chunks(2).map(<[String]>::to_vec).collect();
    assert_eq!(server.requests(), sent);
}

#[tokio::test]
async fn a_batch_is_sent_when_it_is_old_though_nobody_asks() {
    let server = Server::start(&[Step::Items(207, "r")]).await;
    let (heard, mut hears) = mpsc::channel(1);
    let client = server
        .client()
        .batch(BatchLimits {
            max_age: Duration::from_millis(1),
            ..BatchLimits::default()
        })
        .on_given_up(move |given_up| heard.try_send(given_up.id).unwrap())
        .build()
        .unwrap();
    let ids = queue(&client, 1);
    assert_eq!(hears.recv().await, Some(ids[0]));
}

#[tokio::test]
async fn a_retraction_follows_what_was_queued_and_waits_for_its_receipt() {
    let server = Server::start(&[]).await;
    let client = server.client().build().unwrap();
    let ids = queue(&client, 1);
    let receipt = client.retract(ids[0]).await.unwrap();
    assert_eq!(receipt.to_string(), "t:0:1");
    assert_eq!(server.requests(), [text(&[ids[0], ids[0]])]);
}

#[tokio::test]
async fn results_come_in_the_order_of_the_feedbacks() {
    let server = Server::start(&[Step::Items(503, "ua"), Step::Items(400, "r")]).await;
    let client = server.client().build().unwrap();
    let verdicts = client
        .send_all(&[feedback("t", "m"), feedback("t", "m")])
        .await
        .unwrap();
    assert!(matches!(
        verdicts[..],
        [Err(Reason::Rejected { .. }), Ok(_)]
    ));
}

// The runtime has one thread, so the background task does not run before an await.
#[tokio::test]
async fn p5_a_full_queue_is_an_error_and_not_growth() {
    let server = Server::start(&[]).await;
    let events = BatchLimits {
        max_queued_events: 1,
        ..BatchLimits::default()
    };
    let client = server.client().batch(events).build().unwrap();
    queue(&client, 1);
    let second = client.create_feedback(&feedback("t", "m"));
    assert!(matches!(second, Err(Error::QueueFull)));

    let bytes = BatchLimits {
        max_queued_bytes: 100,
        ..BatchLimits::default()
    };
    let client = server.client().batch(bytes).build().unwrap();
    queue(&client, 1);
    let second = client.create_feedback(&feedback("t", "m"));
    assert!(matches!(second, Err(Error::QueueFull)));
    client.flush().await;
    queue(&client, 1);
}

#[tokio::test]
async fn close_delivers_the_rest_and_takes_no_more() {
    let server = Server::start(&[Step::HangUp]).await;
    let client = server.client().build().unwrap();
    let ids = text(&queue(&client, 2));
    client.close().await;
    assert_eq!(server.requests().last(), Some(&ids));
    let late = client.create_feedback(&feedback("t", "m"));
    assert!(matches!(late, Err(Error::Closed)));
    client.flush().await;
    client.close().await;
}

#[tokio::test]
async fn a_client_that_is_dropped_says_what_it_did_not_send() {
    let server = Server::start(&[]).await;
    let (heard, mut hears) = mpsc::channel(2);
    let client = server
        .client()
        .on_given_up(move |it| heard.try_send((it.id, it.reason.to_string())).unwrap())
        .build()
        .unwrap();
    let ids = queue(&client, 2);
    drop(client);
    for id in ids {
        let reason = "the client was dropped before it was sent".to_owned();
        assert_eq!(hears.recv().await, Some((id, reason)));
    }
    assert_eq!(server.requests().len(), 0);
}
