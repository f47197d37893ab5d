//! What a person sees while a load runs: a bar, or a line now and then.

use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::connection::Live;
use super::pace::Extent;
use crate::console::say;

/// Whether, and how, a load is shown.
pub(crate) enum Progress {
    /// Not at all.
    Silent,
    /// On a terminal.
    Bar(ProgressBar),
    /// Elsewhere: a line every five seconds.
    Lines { start: Instant, before: u64 },
}

const BAR: &str = "{bar:30} {human_pos}/{human_len} events  {per_sec}  {msg}";
const SPINNER: &str = "{spinner} {human_pos} events in {elapsed}  {per_sec}  {msg}";

impl Progress {
    /// On standard error.
    pub(crate) fn new(extent: Extent) -> Self {
        if !std::io::stderr().is_terminal() {
            let (start, before) = (Instant::now(), 0);
            return Self::Lines { start, before };
        }
        let (length, template) = match extent {
            Extent::Events(events) => (Some(events), BAR),
            Extent::Duration(_) => (None, SPINNER),
        };
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self::Bar(bar)
    }

    /// How often [`show`](Self::show) is to be called.
    pub(crate) fn period(&self) -> Duration {
        match self {
            Self::Bar(_) => Duration::from_millis(200),
            Self::Silent | Self::Lines { .. } => Duration::from_secs(5),
        }
    }

    pub(crate) fn show(&mut self, live: &Live) {
        let period = self.period();
        let accepted = live.accepted.load(Ordering::Relaxed);
        let missing = match live.missing.load(Ordering::Relaxed) {
            0 => String::new(),
            missing => format!("{missing} not accepted"),
        };
        match self {
            Self::Silent => {}
            Self::Bar(bar) => {
                bar.set_position(accepted);
                bar.set_message(missing);
            }
            Self::Lines { start, before } => {
                let rate = (accepted - *before) / period.as_secs();
                *before = accepted;
                let seconds = start.elapsed().as_secs();
                say(format_args!(
                    "{seconds:>4} s  {accepted} events  {rate}/s  {missing}"
                ));
            }
        }
    }

    pub(crate) fn clear(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
