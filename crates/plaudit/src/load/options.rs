//! What one can type after `plaudit load`. The doc comments are the help texts.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use plaudit_client::{Api, BuildError, Client, ClientBuilder};

use super::drive::Plan;
use super::event::{Dialect, Events};
use super::pace::Extent;

/// Options of `plaudit load`.
#[derive(Args, Clone, Debug)]
pub struct LoadOptions {
    /// The intake
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub url: String,
    /// The query service, for --verify [default: the intake, which passes reads on]
    #[arg(long, value_name = "URL")]
    pub query_url: Option<String>,
    /// The API key; none in open mode
    #[arg(
        long,
        value_name = "KEY",
        env = "PLAUDIT_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Option<String>,
    /// The authorities, in PEM, that make an https URL believed [default: this machine's]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The API to speak
    #[arg(long, value_enum, default_value_t = Dialect::Native)]
    pub dialect: Dialect,
    /// How many events to send
    #[arg(
        long,
        default_value_t = 10_000,
        value_name = "N",
        conflicts_with = "duration"
    )]
    pub events: u64,
    /// How long to send, such as 30s or 5m, in place of --events
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,
    /// Events a second, whatever becomes of the others [default: as fast as it goes]
    #[arg(long, value_name = "R", value_parser = positive)]
    pub rate: Option<f64>,
    /// Requests under way at once
    #[arg(long, default_value_t = 32, value_name = "C", value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Events of a request
    #[arg(long, default_value = "100", value_name = "B")]
    pub batch: NonZeroU64,
    /// The same seed makes the same events, under new ids and traces
    #[arg(long, default_value_t = 1, value_name = "S")]
    pub seed: u64,
    /// How many traces the feedback is about, a few of them hot
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub traces: u32,
    /// A file for every acknowledged id with its receipt, one line each
    #[arg(long, value_name = "FILE")]
    pub acked: Option<PathBuf>,
    /// Further connections that wait until their events can be read, and time that
    #[arg(long, value_name = "C", num_args = 0..=1, default_value_t = 0, default_missing_value = "8")]
    pub wait_visible: u16,
    /// Check afterwards, through the query API, that a sample of what was acknowledged
    /// can be read
    #[arg(long)]
    pub verify: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

impl LoadOptions {
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            events: Events {
                seed: self.seed,
                run: run(),
                traces: self.traces,
                dialect: self.dialect,
            },
            extent: self
                .duration
                .map_or(Extent::Events(self.events), Extent::Duration),
            rate: self.rate,
            connections: self.connections.into(),
            batch: self.batch,
            watchers: match self.dialect {
                Dialect::Native => self.wait_visible.into(),
                Dialect::Portkey => 0,
            },
            acked: self.acked.clone(),
            quiet: false,
        }
    }

    pub(crate) fn api(&self) -> Result<Api, BuildError> {
        let mut builder = builder(&self.url, self.api_key.as_deref());
        if let Some(url) = &self.query_url {
            builder = builder.query_url(url);
        }
        if let Some(file) = &self.ca_file {
            builder = builder.ca_file(file);
        }
        builder.build_api()
    }
}

/// What a client without a queue is made of.
pub(crate) fn builder(url: &str, key: Option<&str>) -> ClientBuilder {
    let builder = Client::builder(url);
    match key {
        Some(key) => builder.api_key(key),
        None => builder,
    }
}

/// A number that no other run has.
pub(crate) fn run() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

fn positive(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("must be a number above 0"),
    }
}
