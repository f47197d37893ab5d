//! What a request has beside its own events: metrics that it declares, and a token
//! that it names by an id alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use plaudit_dialects::{Access, Call, Mounted, Parsed, Refusal, Search};
use plaudit_event::{Declaration, Feedback, Registries};
use plaudit_service::{ApiError, ErrorCode, Principal};
use tokio::time::timeout;

use super::{Exchange, require};
use crate::Publish;
use crate::query::no_query_url;

/// Seconds after which a declaration that was not confirmed is worth repeating.
const DECLARE_AGAIN: u32 = 1;

/// How often and how long apart it is looked whether a declaration has come back.
const LOOKS: usize = 100;
const LOOK: Duration = Duration::from_millis(10);

/// The largest declaration, in bytes of JSON: every intake holds all of them.
const MAX_DECLARATION_BYTES: usize = 16 << 10;

impl<P: Publish> Exchange<'_, P> {
    /// Makes the metrics that a request declares known everywhere.
    ///
    /// # Errors
    /// Where the request is nothing but that. Beside feedback a declaration is a hint
    /// that is in the feedback too, and none that cannot be kept costs the feedback.
    pub(super) async fn declare(&self, parsed: &Parsed) -> Result<(), ApiError> {
        let declared = self.try_declare(parsed).await;
        if parsed.batch.is_empty() {
            return declared;
        }
        if let Err(error) = declared {
            tracing::debug!(%error, "a declaration beside feedback is left out");
        }
        Ok(())
    }

    async fn try_declare(&self, parsed: &Parsed) -> Result<(), ApiError> {
        let intake = self.intake;
        let project = &parsed.batch.project;
        let most = intake.config.limits.declared_metrics;
        admissible(
            &intake.registry.current(),
            project,
            &parsed.declarations,
            most,
        )?;
        let durable = intake.publish.declare(project, &parsed.declarations);
        let durable = timeout(intake.config.http_timeout, durable).await;
        if !durable.is_ok_and(|durable| durable.is_ok()) {
            let message = "the declaration could not be confirmed";
            return Err(ApiError::unavailable(message, DECLARE_AGAIN));
        }
        if P::COMES_BACK {
            // Not applied here: another intake may have declared it anew by now, and
            // the order of the two is the topic's to say.
            self.until_known(project, &parsed.declarations).await;
        } else {
            let declared = parsed.declarations.iter();
            let declared: Vec<_> = declared
                .map(|declaration| (Arc::clone(project), declaration.clone()))
                .collect();
            intake.registry.declare(&declared);
        }
        Ok(())
    }

    /// Waits until this intake knows what was declared, for a moment: whoever declares
    /// a metric sends by it next.
    async fn until_known(&self, project: &str, declarations: &[Declaration]) {
        for _ in 0..LOOKS {
            let is_known = {
                let registries = self.intake.registry.current();
                let known: HashMap<_, _> = registries.declared(project).collect();
                declarations
                    .iter()
                    .all(|one| known.get(&*one.metric).copied() == one.declared.as_ref())
            };
            if is_known {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Finds what a request is about, where it does not say that itself: then it
    /// takes a key.
    pub(super) async fn look_up(
        &self,
        mounted: &Mounted,
        principal: &Principal,
        ask: fn(&Call<'_>) -> Result<Option<Search>, Refusal>,
    ) -> Result<(Principal, Option<Feedback<'static>>), ApiError> {
        let search = match self.with_call(mounted, principal, ask)? {
            Ok(Some(search)) => search,
            // What is wrong with it, its parser says too.
            Ok(None) | Err(_) => return Ok((principal.clone(), None)),
        };
        let headers = &self.parts.headers;
        let principal = self.intake.keyring.authenticate(headers)?;
        require(Access::Write, &principal)?;
        self.intake.admission.count(&principal.key_id)?;
        let query = self.intake.query.as_ref().ok_or_else(no_query_url)?;
        let found = match search.id {
            Some(id) => query.given_out(headers, id).await?,
            None => None,
        };
        Ok((principal, found))
    }
}

/// Holds declarations to their bounds. What is taken back or declared anew takes no
/// more room.
fn admissible(
    registries: &Registries,
    project: &str,
    declarations: &[Declaration],
    most: usize,
) -> Result<(), ApiError> {
    let refused = |message| ApiError::new(ErrorCode::InvalidParameter, message).in_field("metric");
    let is_known = |name: &str| registries.declared(project).any(|(known, _)| known == name);
    let new = declarations
        .iter()
        .filter(|one| one.declared.is_some() && !is_known(&one.metric))
        .count();
    if new > 0 && registries.declared(project).count() + new > most {
        return Err(refused(
            "the project has as many declared metrics as it may",
        ));
    }
    let size = |one: &Declaration| serde_json::to_vec(one).map_or(usize::MAX, |json| json.len());
    if declarations
        .iter()
        .any(|one| size(one) > MAX_DECLARATION_BYTES)
    {
        return Err(refused("the declaration is larger than 16 KiB"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declaration(metric: &str, json: Option<serde_json::Value>) -> Declaration {
        Declaration {
            metric: metric.to_owned(),
            declared: json.map(|json| serde_json::from_value(json).unwrap()),
        }
    }

    #[test]
    fn p5_a_full_project_declares_no_more_but_may_change_and_take_back() {
        let float = || Some(serde_json::json!({"type": "float"}));
        let known = declaration("known", float());
        let registries = Registries::default().with([("p".into(), known.clone())]);
        let ask = |project, declaration| admissible(&registries, project, &[declaration], 1);
        assert!(ask("p", declaration("new", float())).is_err());
        assert!(ask("q", declaration("new", float())).is_ok());
        assert!(ask("p", known).is_ok());
        assert!(ask("p", declaration("known", None)).is_ok());
        let words = vec!["x".repeat(1000); 20];
        let large = serde_json::json!({"type": "categorical", "categories": words});
        assert!(ask("p", declaration("known", Some(large))).is_err());
    }
}
