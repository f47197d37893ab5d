//! Where a feedback's id comes from (promise **P3**).
//!
//! A feedback is named by (project, trace, id). The id is the client's own;
//! else it is derived from what makes two calls one feedback; else it is new.
//! Content is never an identity: two people who send the same thumb on one
//! trace are two feedbacks.

use uuid::Uuid;

/// The namespace of every derived id. Never change it: the same call must have
/// the same id in every process and release.
pub const NAMESPACE: Uuid = Uuid::from_u128(0x6f0b_7a52_8c1e_4d0b_9a6f_2d5e_7c43_91b8);

/// UUIDv5 over [`NAMESPACE`] and the fields joined by NUL.
pub fn derived(fields: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, fields.join("\0").as_bytes())
}

/// The id of item `index` of a request with an `Idempotency-Key`.
pub fn from_idempotency_key(project: &str, key: &str, index: usize) -> Uuid {
    derived(&[project, key, &index.to_string()])
}

/// The one id of a rater's opinion on a trace and metric (`one_per_rater`).
pub fn one_per_rater(project: &str, trace_id: &str, metric: &str, rater: &str) -> Uuid {
    derived(&[project, trace_id, metric, rater])
}

/// A new id, ordered by time.
pub fn new() -> Uuid {
    Uuid::now_v7()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_derived_ids_never_change() {
        assert_eq!(
            from_idempotency_key("p", "k", 0).to_string(),
            "13dfead7-7738-5a45-a439-890271d59530"
        );
        assert_ne!(
            from_idempotency_key("p", "k", 1),
            from_idempotency_key("p", "k", 0)
        );
        assert_ne!(
            one_per_rater("p", "t", "m", "r"),
            one_per_rater("p", "t", "m", "s")
        );
    }
}
