//! HTTP to Kafka by axum, serde_json and rdkafka alone: a request is answered when all
//! of its events are durable.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use clap::Parser;
use plaudit_floors::intake::Writer;
use tokio::net::TcpListener;

#[derive(Parser)]
struct Options {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// Kafka's bootstrap address
    #[arg(long)]
    brokers: String,
    /// The topic that is written
    #[arg(long)]
    topic: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let writer = Arc::new(Writer::new(&options.brokers, &options.topic)?);
    let routes = Router::new()
        .route("/v1/feedback", post(take))
        .route("/readyz", get(|| async { "" }))
        .layer(DefaultBodyLimit::disable())
        .with_state(writer);
    let listener = TcpListener::bind(options.listen)
        .await
        .context("listen")?
        .tap_io(|socket| {
            if let Err(error) = socket.set_nodelay(true) {
                complain(&error);
            }
        });
    axum::serve(listener, routes).await.context("serve")
}

async fn take(State(writer): State<Arc<Writer>>, body: Bytes) -> impl IntoResponse {
    let (status, text) = match writer.write(&body) {
        Ok((count, confirmation)) if confirmation.wait().await => {
            (StatusCode::OK, format!("{{\"accepted\":{count}}}"))
        }
        Ok(_) => (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        Err(error) => {
            complain(&error);
            (StatusCode::BAD_REQUEST, String::new())
        }
    };
    (status, [(CONTENT_TYPE, "application/json")], text)
}

#[expect(clippy::print_stderr, reason = "it goes to the log of the benchmark")]
fn complain(error: &dyn std::fmt::Display) {
    eprintln!("{error}");
}
