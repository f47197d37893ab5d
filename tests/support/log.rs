//! What the services of a test have logged.
//!
//! A test's services run on threads of their own runtime, whose lines are the test's.
//! Lines of other threads (librdkafka's, the sink's polling thread) belong to the
//! process.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;

/// Collects lines of level `info` and above. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Vec<Line>>>);

/// One log line.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its level.
    pub level: Level,
    /// Message and fields.
    pub text: String,
}

impl Log {
    /// The log of threads that belong to no test; installed by the first call.
    pub fn of_process() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            // A second subscriber would be a defect of the harness; it would show.
            tracing::dispatcher::set_global_default(log.dispatch()).ok();
            log
        })
    }

    /// The lines of level ERROR.
    pub fn errors(&self) -> Vec<String> {
        let errors = |line: &&Line| line.level == Level::ERROR;
        self.lines()
            .iter()
            .filter(errors)
            .map(|line| line.text.clone())
            .collect()
    }

    /// Whether a line contains the text.
    pub fn has(&self, text: &str) -> bool {
        self.lines().iter().any(|line| line.text.contains(text))
    }

    /// Whether a line contains both texts.
    pub fn has_both(&self, one: &str, other: &str) -> bool {
        let lines = self.lines();
        let mut texts = lines.iter().map(|line| &line.text);
        texts.any(|text| text.contains(one) && text.contains(other))
    }

    /// Whether the broker refused to commit offsets of this topic.
    pub fn has_refused_commit(&self, topic: &str) -> bool {
        let of_topic = format!("{topic}(");
        let lines = self.lines();
        lines
            .iter()
            .any(|line| line.text.contains("COMMITFAIL") && line.text.contains(&of_topic))
    }

    /// Takes over what a process that has ended wrote about refused commits.
    pub fn add_refused_commits(&self, log: &str) {
        let refused = log.lines().filter(|line| line.contains("COMMITFAIL"));
        let refused = refused.map(|line| Line {
            level: Level::WARN,
            text: line.to_owned(),
        });
        self.lines().extend(refused);
    }

    /// All lines, for a person.
    pub fn text(&self) -> String {
        self.recent(usize::MAX)
    }

    /// The last lines, for a person.
    pub fn recent(&self, count: usize) -> String {
        let lines = self.lines();
        let skipped = lines.len().saturating_sub(count);
        lines
            .iter()
            .skip(skipped)
            .fold(String::new(), |mut all, line| {
                writeln!(all, "{:5} {}", line.level, line.text).expect("a String takes everything");
                all
            })
    }

    /// A subscriber that collects lines here. One for all threads that share spans.
    pub fn dispatch(&self) -> Dispatch {
        Dispatch::new(Registry::default().with(Collect(self.clone())))
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Collect(Log);

impl<S: Subscriber> Layer<S> for Collect {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::INFO || !event.metadata().target().starts_with("plaudit") {
            return;
        }
        let mut text = Fields(String::new());
        event.record(&mut text);
        self.0.lines().push(Line {
            level,
            text: text.0,
        });
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, content: &dyn std::fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, "{content:?} "),
            name => write!(self.0, "{name}={content:?} "),
        };
        written.expect("a String takes everything");
    }
}
