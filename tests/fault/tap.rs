//! A proxy between sinks and ClickHouse that knows requests: it stops one before the
//! server has it, or after the server has answered and before the sink hears of it.
//!
//! So a case can kill a sink exactly between any two steps of a batch, can lose the answer
//! to an insert that is in the table, and can say no in the server's place.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use support::DEADLINE;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Passes requests on to one server, but for those that somebody waits for.
#[derive(Debug)]
pub(crate) struct Tap {
    address: SocketAddr,
    traps: Traps,
    _accepting: JoinSet<()>,
}

/// Where a request is stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Point {
    /// The server has not heard of it.
    Before,
    /// The server has carried it out and answered.
    After,
}

/// Waits for one request.
#[derive(Debug)]
pub(crate) struct Trap(oneshot::Receiver<Caught>);

/// A request that stands still. Dropped, its connection ends there.
#[derive(Debug)]
pub(crate) struct Caught(oneshot::Sender<Go>);

/// An answer of ClickHouse that says no: its code and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exception(pub(crate) u32, pub(crate) &'static str);

/// How a request that stood still goes on.
#[derive(Debug)]
enum Go {
    Pass,
    Refuse(Exception),
}

type Traps = Arc<Mutex<Vec<Armed>>>;

#[derive(Debug)]
struct Armed {
    point: Point,
    /// What the text of the request has, all of it.
    words: Vec<String>,
    caught: oneshot::Sender<Caught>,
}

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
struct Cut;

/// Longer than any statement; what follows is rows.
const TEXT_BYTES: usize = 64 << 10;

impl Tap {
    /// Listens on a free port, for the server at this address.
    pub(crate) async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let traps = Traps::default();
        let http = support::http().no_proxy().build()?;
        let mut accepting = JoinSet::new();
        let pass = Pass {
            server,
            http,
            traps: Arc::clone(&traps),
        };
        accepting.spawn(accept(listener, pass));
        Ok(Self {
            address,
            traps,
            _accepting: accepting,
        })
    }

    /// Where the sinks find it.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits, from now on, for the next request with all of these words.
    pub(crate) fn trap(&self, point: Point, words: &[&str]) -> Trap {
        let (caught, trap) = oneshot::channel();
        let mut traps = self.traps.lock().unwrap_or_else(PoisonError::into_inner);
        traps.push(Armed {
            point,
            words: words.iter().map(|&word| word.to_owned()).collect(),
            caught,
        });
        Trap(trap)
    }
}

impl Trap {
    /// The request, once it is there.
    pub(crate) async fn caught(self) -> Result<Caught> {
        let caught = tokio::time::timeout(DEADLINE, self.0).await;
        Ok(caught.context("no such request comes")??)
    }
}

impl Caught {
    /// Lets it go on.
    pub(crate) fn pass(self) {
        // The sink may have gone meanwhile, and its request with it.
        self.0.send(Go::Pass).ok();
    }

    /// Answers it with this, whatever the server has said or would say.
    pub(crate) fn refuse(self, exception: Exception) {
        self.0.send(Go::Refuse(exception)).ok();
    }
}

#[derive(Clone)]
struct Pass {
    server: SocketAddr,
    http: reqwest::Client,
    traps: Traps,
}

async fn accept(listener: TcpListener, pass: Pass) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let pass = pass.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let pass = pass.clone();
                async move { pass.serve(request).await }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(client), service);
            // It ends in an error where a request was caught and cut.
            connection.await.ok();
        });
    }
}

impl Exception {
    /// As ClickHouse writes it.
    fn answer(self) -> Result<Response<Full<Bytes>>> {
        let Self(code, name) = self;
        let text = format!("Code: {code}. DB::Exception: Not now. ({name}) (version 26.7.3.1)\n");
        let answer = Response::builder().status(500);
        let answer = answer.header("X-ClickHouse-Exception-Code", code);
        Ok(answer.body(Full::new(text.into()))?)
    }
}

impl Pass {
    async fn serve(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let query = head.uri.query().unwrap_or_default().replace('+', " ");
        let start = body.get(..body.len().min(TEXT_BYTES)).unwrap_or_default();
        let text = format!("{query}\n{}", String::from_utf8_lossy(start));
        if let Go::Refuse(exception) = self.stand(Point::Before, &text).await? {
            return exception.answer();
        }
        let url = format!("http://{}{path}", self.server);
        let mut headers = head.headers;
        for own in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(own);
        }
        let asked = self.http.request(head.method, url).headers(headers);
        // A server that is away is a connection that ends.
        let answer = asked.body(body).send().await?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if ![CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                response = response.header(name, value);
            }
        }
        let answer = response.body(Full::new(answer.bytes().await?))?;
        match self.stand(Point::After, &text).await? {
            Go::Pass => Ok(answer),
            Go::Refuse(exception) => exception.answer(),
        }
    }

    /// Stands still where somebody waits for this request.
    async fn stand(&self, point: Point, text: &str) -> Result<Go> {
        let armed = {
            let mut traps = self.traps.lock().unwrap_or_else(PoisonError::into_inner);
            let is_meant = |armed: &Armed| {
                armed.point == point && armed.words.iter().all(|word| text.contains(word))
            };
            let place = traps.iter().position(is_meant);
            place.map(|place| traps.remove(place))
        };
        let Some(armed) = armed else {
            return Ok(Go::Pass);
        };
        let (go, gone) = oneshot::channel();
        // Nobody waits any more: it goes on.
        if armed.caught.send(Caught(go)).is_err() {
            return Ok(Go::Pass);
        }
        Ok(gone.await.map_err(|_| Cut)?)
    }
}
