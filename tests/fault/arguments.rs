//! What one can type after `cargo test --test fault --`.

use std::path::PathBuf;

use clap::Parser;

/// Breaks things while load runs, and counts what it cost.
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Run these cases only; part of a name is enough
    pub(crate) cases: Vec<String>,
    /// The long form: half an hour in place of minutes
    #[arg(long)]
    pub(crate) long: bool,
    /// The same faults at the same moments [default: another one at each run]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Print the names of the cases
    #[arg(long)]
    pub(crate) list: bool,
    /// Write the table as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
    /// Names must match whole, as other test programs have it
    #[arg(long)]
    pub(crate) exact: bool,
    /// What other test programs take, and this one has no use for
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    no_capture: bool,
    #[arg(long, hide = true)]
    show_output: bool,
    #[arg(long, short, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(long, hide = true)]
    test_threads: Option<usize>,
    #[arg(long, hide = true)]
    color: Option<String>,
    #[arg(long, hide = true)]
    skip: Vec<String>,
}

impl Arguments {
    /// Whether a case is to run.
    pub(crate) fn choose(&self, name: &str) -> bool {
        let is_named = |word: &String| {
            if self.exact {
                name == word
            } else {
                name.contains(word.as_str())
            }
        };
        (self.cases.is_empty() || self.cases.iter().any(is_named))
            && !self.skip.iter().any(is_named)
    }
}
