//! What a read looks for.

use uuid::Uuid;

use crate::{Dialect, Micros, TargetKind};

/// Which feedback is wanted: what matches all that is set. An empty list is no
/// condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// By this API.
    pub dialect: Option<Dialect>,
    /// This one alone.
    pub id: Option<Uuid>,
    /// About one of these things.
    pub target_ids: Vec<String>,
    /// About a thing of one of these kinds.
    pub target_kinds: Vec<TargetKind>,
    /// By one of these metrics.
    pub metrics: Vec<String>,
    /// From one of these kinds of source.
    pub source_kinds: Vec<String>,
    /// From one of these raters.
    pub raters: Vec<String>,
    /// In this session.
    pub session_id: Option<String>,
    /// In this experiment.
    pub experiment_id: Option<String>,
    /// With each of these tags.
    pub tags: Vec<(String, String)>,
    /// With each of these top-level entries of the metadata, as JSON text.
    pub metadata: Vec<(String, String)>,
    /// With a score, or without one.
    pub has_score: Option<bool>,
    /// With a comment, or without one.
    pub has_comment: Option<bool>,
    /// Created at this time or later.
    pub created_from: Option<Micros>,
    /// Created at this time or before.
    pub created_to: Option<Micros>,
    /// Also what was taken back and may be said again, which readers do not see.
    pub withdrawn: bool,
    /// How many to skip, of the newest first.
    pub offset: u64,
    /// The most to show; the query service has a limit of its own.
    pub limit: u64,
}
