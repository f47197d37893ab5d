//! Who gives out tokens for Kafka: an endpoint of OAuth's client credentials, by TLS, and
//! the key by which the broker knows what it has signed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use plaudit_service::{ConnectionsConfig, HttpServer, TlsConfig};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use support::Certified;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Gives a token to the one client that it knows.
pub(super) struct Issuer {
    address: SocketAddr,
    keys: Value,
    _serving: JoinSet<()>,
}

/// The client that it knows.
pub(super) const CLIENT: (&str, &str) = ("plaudit", "the client's own secret");
/// For whom its tokens are.
pub(super) const AUDIENCE: &str = "kafka";

struct Signer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    pub(super) async fn start(shown: &Certified) -> Result<Self> {
        let random = SystemRandom::new();
        let made = |error| anyhow!("make a key: {error:?}");
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|_| made(""))?;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)
            .map_err(|_| made("its own form"))?;
        // A point of the curve: a byte that says so, and its two coordinates.
        let point = key.public_key().as_ref();
        let keys = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "1",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        }]});
        let tls = TlsConfig {
            cert_file: Some(shown.cert_file.clone()),
            key_file: Some(shown.key_file.clone()),
        };
        let tls = tls.load("issuer.tls", metrics_of_nobody)?;
        let signer = Arc::new(Signer { key, random });
        let router = Router::new()
            .route("/token", post(token))
            .with_state(signer);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let bounds = ConnectionsConfig::default();
            let server = HttpServer::new(router, &bounds, metrics_of_nobody());
            server.with_tls(tls).accept(&listener).await;
        });
        Ok(Self {
            address,
            keys,
            _serving: serving,
        })
    }

    /// Where a token is asked for.
    pub(super) fn url(&self) -> String {
        format!("https://{}/token", self.address)
    }

    /// The key that its tokens are checked by, as a set of JSON Web Keys.
    pub(super) fn keys(&self) -> String {
        self.keys.to_string()
    }
}

async fn token(
    State(signer): State<Arc<Signer>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let known = STANDARD.encode(format!("{}:{}", CLIENT.0, CLIENT.1));
    let said = headers.get(header::AUTHORIZATION);
    if said.is_none_or(|said| said.as_bytes() != format!("Basic {known}").as_bytes()) {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let token = signer
        .sign()
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600});
    Ok(Json(answer))
}

impl Signer {
    /// A JSON Web Token that is good for an hour.
    fn sign(&self) -> Result<String> {
        let now = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
        let head = json!({"alg": "ES256", "kid": "1", "typ": "JWT"});
        let claims = json!({
            "sub": CLIENT.0, "aud": AUDIENCE, "iss": "tests", "iat": now, "exp": now + 3600,
        });
        let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{head}.{claims}");
        let signature = self.key.sign(&self.random, signed.as_bytes());
        let signature = signature.ok().context("sign a token")?;
        let signature = URL_SAFE_NO_PAD.encode(signature.as_ref());
        Ok(format!("{signed}.{signature}"))
    }
}

fn metrics_of_nobody() -> metrics::Gauge {
    metrics::Gauge::noop()
}
