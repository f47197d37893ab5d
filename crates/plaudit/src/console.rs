//! What a person at the terminal reads: plain lines, and a spinner while they wait.
//!
//! Not the log: services write JSON through `tracing`. Progress goes to standard
//! error, results to standard output, so that a pipe gets results only.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Writes one line of progress to standard error.
pub(crate) fn say(line: impl Display) {
    // Nobody reads any more: that is no reason to stop what is under way.
    writeln!(io::stderr().lock(), "{line}").ok();
}

/// Writes one line of result to standard output.
pub(crate) fn print(line: impl Display) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}

/// A bar on standard error that counts up to `length`; nothing without a terminal.
pub(crate) fn bar(length: u64, unit: &str) -> ProgressBar {
    let template =
        format!("{{bar:30}} {{human_pos}}/{{human_len}} {unit}  {{per_sec}}  {{eta}} left");
    let style = ProgressStyle::with_template(&template);
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Does `work` while a spinner, or one line without a terminal, says what goes on.
pub(crate) fn during<T>(message: &str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        say(message);
        return work();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    let spinner = ProgressBar::new_spinner()
        .with_style(style)
        .with_message(message.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    let done = work();
    spinner.finish_and_clear();
    done
}
