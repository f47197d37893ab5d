//! Feedback as an application would send it, made from a seed.
//!
//! Event `n` of a seed is the same event in every run, whichever connection sends it;
//! only its id, its trace and its time belong to the run. People like some prompt
//! versions better than others, so that the reads have something to find.

use plaudit_event::Micros;
use uuid::Uuid;

use super::random::Random;

/// The API that the load speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Dialect {
    /// Plaudit's own.
    Native,
    /// Portkey's.
    Portkey,
}

/// Makes the events of one run.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    /// What the events say.
    pub seed: u64,
    /// Sets the run's ids and traces apart from every other run's.
    pub run: u64,
    /// How many traces the feedback is about, from 1.
    pub traces: u32,
    /// Who the events are for.
    pub dialect: Dialect,
}

/// One event before it is written down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    pub(crate) id: Uuid,
    pub(crate) trace: u32,
    pub(crate) metric: Metric,
    pub(crate) said: Said,
    /// The weight in quarters, 1 to 4.
    pub(crate) quarters: u8,
    pub(crate) comment: Option<&'static str>,
    pub(crate) env: &'static str,
    pub(crate) model: &'static str,
    pub(crate) prompt_version: &'static str,
    pub(crate) rater: u32,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Metric {
    Helpful,
    Stars,
    Correctness,
    Tone,
    Note,
    Answer,
    /// Portkey has one metric only.
    Feedback,
}

/// What is said.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said {
    Thumb(bool),
    Number(i8),
    Hundredths(u8),
    Word(&'static str),
    /// What the answer should have been.
    Correction(&'static str),
    /// The comment is all there is.
    Nothing,
}

const ENVIRONMENTS: [&str; 4] = ["prod", "prod", "prod", "staging"];
const MODELS: [&str; 4] = ["atlas-large", "atlas-small", "atlas-small", "birch-2"];
const PROMPTS: [&str; 4] = ["v1", "v2", "v3", "v4"];
const TONES: [&str; 4] = ["warm", "neutral", "cold", "formal"];
const COMMENTS: [&str; 4] = [
    "exactly what I was looking for",
    "the second paragraph contradicts the first",
    "says \\\"it depends\\\" and stops there",
    "trop long, mais juste : à garder",
];
const ANSWERS: [&str; 4] = [
    "The invoice is due on the 14th.",
    "Paris",
    "42 km",
    "Use the staging key.",
];
const RATERS: u32 = 5000;

// === impl Metric ===

impl Metric {
    pub(crate) const ALL: [Self; 7] = [
        Self::Helpful,
        Self::Stars,
        Self::Correctness,
        Self::Tone,
        Self::Note,
        Self::Answer,
        Self::Feedback,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Helpful => "helpful",
            Self::Stars => "stars",
            Self::Correctness => "correctness",
            Self::Tone => "tone",
            Self::Note => "note",
            Self::Answer => "answer",
            Self::Feedback => "feedback",
        }
    }
}

// === impl Event ===

impl Event {
    pub(crate) fn weight(&self) -> f64 {
        f64::from(self.quarters) / 4.0
    }

    /// The score that the server reads from the value.
    pub(crate) fn score(&self) -> Option<f64> {
        match self.said {
            Said::Thumb(up) => Some(f64::from(u8::from(up))),
            Said::Number(number) => Some(f64::from(number)),
            Said::Hundredths(hundredths) => Some(f64::from(hundredths) / 100.0),
            Said::Word(_) | Said::Correction(_) | Said::Nothing => None,
        }
    }
}

// === impl Events ===

impl Events {
    /// Event `index` of the run, with an id of the time `now`.
    pub(crate) fn event(&self, index: u64, now: Micros) -> Event {
        let mut random = Random::new(self.seed, index);
        let prompt = random.below(4);
        let (metric, said) = match self.dialect {
            Dialect::Native => say(&mut random, prompt),
            Dialect::Portkey => (Metric::Feedback, points(&mut random, prompt)),
        };
        let comments = metric == Metric::Note || random.chance(15);
        Event {
            id: self.id(index, now),
            trace: random.hot_below(self.traces),
            metric,
            said,
            quarters: if random.chance(75) {
                4
            } else {
                random.pick(&[1, 2, 2, 3])
            },
            comment: comments.then(|| random.pick(&COMMENTS)),
            env: random.pick(&ENVIRONMENTS),
            model: random.pick(&MODELS),
            prompt_version: PROMPTS.get(prompt as usize).copied().unwrap_or("v0"),
            rater: random.below(RATERS),
        }
    }

    fn id(&self, index: u64, now: Micros) -> Uuid {
        let mut random = Random::new(self.run, index);
        let [high, low] = [random.next(), random.next()].map(u64::to_be_bytes);
        let mut bytes = [0; 10];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&high);
        second.copy_from_slice(&[low[0], low[1]]);
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

/// The better the prompt, the better what is said.
fn say(random: &mut Random, prompt: u32) -> (Metric, Said) {
    match random.below(100) {
        0..40 => (
            Metric::Helpful,
            Said::Thumb(random.chance(50 + 12 * prompt)),
        ),
        40..60 => {
            let stars = (1 + random.below(3) + random.below(prompt + 1)).min(5);
            (
                Metric::Stars,
                Said::Number(i8::try_from(stars).unwrap_or(5)),
            )
        }
        60..80 => {
            let hundredths = (10 * prompt + random.below(71)).min(100);
            (
                Metric::Correctness,
                Said::Hundredths(u8::try_from(hundredths).unwrap_or(100)),
            )
        }
        80..92 => (Metric::Tone, Said::Word(random.pick(&TONES))),
        92..97 => (Metric::Note, Said::Nothing),
        _ => (Metric::Answer, Said::Correction(random.pick(&ANSWERS))),
    }
}

/// Portkey takes whole numbers from -10 to 10.
fn points(random: &mut Random, prompt: u32) -> Said {
    let points = i64::from(random.below(15)) + i64::from(2 * prompt) - 10;
    Said::Number(i8::try_from(points.clamp(-10, 10)).unwrap_or(0))
}
