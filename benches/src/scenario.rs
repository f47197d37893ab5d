//! What is measured, one file a kind.

mod drain;
mod http;
mod query;
mod requests;
mod soak;
mod standalone;
mod together;
mod variants;
mod visible;

use clap::ValueEnum;

use crate::{Bench, say};

/// One thing that is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Scenario {
    /// One native event a request, keys on
    Native,
    /// 100 native events a request
    Native100,
    /// 1000 native events a request
    Native1000,
    /// One event a request as Portkey's and TensorZero's clients send it
    Vendors,
    /// 100 parts a request as LangSmith's client sends them, zstd
    Langsmith,
    /// Wide events: 30 tags and a comment of 4 KB, through intake and sink
    Wide,
    /// A full topic drained by floor, sinks and ClickHouse's engine, and what it takes on disk
    Drain,
    /// From the request to the first read that shows it, at light load
    Visible,
    /// Everything at once, at full load and at a steady rate
    Together,
    /// Intake, engine and query in one process
    Standalone,
    /// Reads on 20 million rows, one in twenty of them changed
    Query,
    /// A quarter of an hour at a steady rate: whether memory stays flat. Not part of a run
    Soak,
    /// Other settings of intake and sink beside the defaults, in turns. Not part of a run
    Variants,
}

impl Scenario {
    /// Those that are asked for by name.
    pub const APART: [Self; 2] = [Self::Soak, Self::Variants];

    /// Those of a run, in their order: what leaves the engine much to clear away is last.
    pub fn of_a_run() -> impl Iterator<Item = Self> {
        Self::value_variants()
            .iter()
            .copied()
            .filter(|scenario| !Self::APART.contains(scenario))
    }

    /// Its name on the command line and in tables.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// What it is, in a line.
    pub fn about(self) -> String {
        let value = self.to_possible_value();
        let help = value.and_then(|value| value.get_help().map(ToString::to_string));
        help.unwrap_or_default()
    }

    /// Measures it.
    ///
    /// # Errors
    /// Whatever kept it from being measured to its end.
    pub async fn run(self, bench: &mut Bench) -> anyhow::Result<()> {
        say(format_args!("== {}", self.name()));
        match self {
            Self::Native => http::native(bench).await,
            Self::Native100 => http::native_many(bench, 100).await,
            Self::Native1000 => http::native_many(bench, 1000).await,
            Self::Vendors => http::vendors(bench).await,
            Self::Langsmith => http::langsmith(bench).await,
            Self::Wide => {
                http::wide(bench).await?;
                drain::wide(bench).await
            }
            Self::Drain => drain::narrow(bench).await,
            Self::Visible => visible::run(bench).await,
            Self::Together => together::run(bench).await,
            Self::Standalone => standalone::run(bench).await,
            Self::Query => query::run(bench).await,
            Self::Soak => soak::run(bench).await,
            Self::Variants => variants::run(bench).await,
        }
    }
}
