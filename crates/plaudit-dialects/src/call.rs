//! What a request says beside its body, and what follows from it: ids and
//! version times (PROTOCOL: *versions*).

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderMap;
use plaudit_event::{
    Dialect, Event, FieldError, Limits, Micros, Operation, Patch, Registries, Registry, identity,
};
use uuid::Uuid;

use crate::{Batch, TokenKey};

/// A request, without its body.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The project of the key.
    pub project: &'a Arc<str>,
    /// When the request was there whole, by the intake's clock.
    pub received_at: Micros,
    /// The header `Idempotency-Key`.
    pub idempotency_key: Option<&'a str>,
    /// What the path has in the place of each name in braces, unescaped.
    pub path: &'a [(&'a str, &'a str)],
    /// The query string; empty when there is none.
    pub query: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// How the body is to be read.
    pub content: Content,
    /// Bounds on each event.
    pub limits: &'a Limits,
    /// The declared metrics of every project.
    pub registries: &'a Registries,
    /// The most events that one request may have.
    pub max_events: usize,
    /// Signs tokens, and knows its own; `None` when none are given out.
    pub tokens: Option<&'a TokenKey>,
    /// What the service's URLs begin with, where that is configured.
    pub public_url: Option<&'a str>,
    /// Where this vendor's endpoints are, such as `/langsmith`.
    pub mount: &'a str,
}

/// How a body is to be read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Content {
    /// One JSON value.
    #[default]
    Json,
    /// One JSON value a line.
    Ndjson,
}

/// The name and the version of a put.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Named {
    pub(crate) id: Uuid,
    pub(crate) version_time: Micros,
}

impl<'a> Call<'a> {
    /// What the path has in the place of `{name}`.
    pub(crate) fn path(&self, name: &str) -> Option<&'a str> {
        let (_, text) = self.path.iter().find(|(known, _)| *known == name)?;
        Some(text)
    }

    /// What the URLs of this vendor's endpoints begin with, as the client sees them,
    /// such as `http://host:8080/langsmith`.
    pub(crate) fn origin(&self) -> String {
        let mount = self.mount;
        if let Some(url) = self.public_url {
            return format!("{}{mount}", url.trim_end_matches('/'));
        }
        let text = |name: &str| self.headers.get(name)?.to_str().ok();
        let scheme = match text("x-forwarded-proto") {
            Some("https") => "https",
            _ => "http",
        };
        // A host with anything else in it would be a link to somewhere else.
        let is_host = |host: &&str| {
            host.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte))
        };
        let host = text("host").filter(is_host).unwrap_or("localhost");
        format!("{scheme}://{host}{mount}")
    }

    /// The parameters of the query string, in order.
    pub(crate) fn params(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        form_urlencoded::parse(self.query.as_bytes())
    }

    /// The metrics that the project of the call has declared.
    pub(crate) fn registry(&self) -> &'a Registry {
        self.registries.of(self.project)
    }

    /// An empty batch for this call.
    pub(crate) fn batch(&self, body_bytes: usize) -> Batch {
        Batch::new(Arc::clone(self.project), self.received_at, body_bytes)
    }

    /// The event of the item at `index`.
    pub(crate) fn event(
        &self,
        dialect: Dialect,
        version_time: Micros,
        operation: Operation<'a>,
    ) -> Event<'a> {
        Event {
            project: (&**self.project).into(),
            dialect,
            received_at: self.received_at,
            version_time,
            operation,
        }
    }

    /// Names the put at `index` of the request: `chosen` is the client's own id,
    /// or one that follows from what the feedback is about.
    ///
    /// A client's clock is believed only about the past: a version from the
    /// future could not be changed until then.
    pub(crate) fn name_put(
        &self,
        index: usize,
        chosen: Option<Uuid>,
        modified_at: Option<Micros>,
    ) -> Named {
        let said = modified_at.filter(|time| *time <= self.received_at);
        let (id, otherwise) = match (chosen, self.idempotency_key) {
            (Some(id), _) => (id, self.time_of(index)),
            (None, Some(key)) => {
                let id = identity::from_idempotency_key(self.project, key, index);
                // A retry must not be later than a change that came between.
                (id, Micros(0))
            }
            (None, None) => (identity::new(), self.time_of(index)),
        };
        Named {
            id,
            version_time: said.unwrap_or(otherwise),
        }
    }

    /// The version time of a change at `index` of the request.
    pub(crate) fn time_of(&self, index: usize) -> Micros {
        let offset = i64::try_from(index).unwrap_or(i64::MAX);
        Micros(self.received_at.0.saturating_add(offset))
    }

    /// Holds an event to the limits and, for a put, to its metric.
    pub(crate) fn check(&self, operation: &Operation<'_>) -> Result<(), FieldError> {
        match operation {
            Operation::Put(feedback) | Operation::Withdraw(feedback) => {
                self.limits.check(feedback)?;
                self.registry().check(feedback)
            }
            // The metric of what is patched is not known here.
            Operation::Patch { patch, .. } => self.limits.check_patch(patch),
            Operation::Retract { .. } => Ok(()),
        }
    }
}

/// Makes the score follow the value that a patch sets, unless it sets both.
pub(crate) fn follow_value(patch: &mut Patch<'_>) {
    use plaudit_event::Edit;

    if patch.score.is_keep() && !patch.value.is_keep() {
        let reading = patch.value.as_set().and_then(|value| value.reading());
        patch.score = Edit::from(reading);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::World;

    const NOW: Micros = Micros(1_000_000);

    #[test]
    fn p3_p4_ids_and_versions_come_from_where_the_protocol_says() {
        let world = World::new("p");
        let plain = world.call(NOW);
        let keyed = Call {
            idempotency_key: Some("k"),
            ..world.call(NOW)
        };
        let own = Some(Uuid::nil());

        let new = plain.name_put(3, None, None);
        assert_eq!(new.id.get_version_num(), 7);
        assert_eq!(new.version_time, Micros(NOW.0 + 3));

        let named = keyed.name_put(3, None, None);
        assert_eq!(named.id, identity::from_idempotency_key("p", "k", 3));
        assert_eq!(named.version_time, Micros(0));

        let chosen = keyed.name_put(3, own, None);
        assert_eq!(
            (chosen.id, chosen.version_time),
            (Uuid::nil(), Micros(NOW.0 + 3))
        );

        let said = keyed.name_put(3, None, Some(NOW));
        assert_eq!(said.version_time, NOW);
        let ahead = plain.name_put(3, own, Some(Micros(NOW.0 + 1)));
        assert_eq!(ahead.version_time, Micros(NOW.0 + 3));
    }

    #[test]
    fn links_lead_to_where_the_request_came_from_and_nowhere_else() {
        let world = World::new("p");
        let from = |public_url, pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                let value = http::HeaderValue::from_static(value);
                (http::HeaderName::from_static(name), value)
            });
            let call = Call {
                public_url,
                headers: &headers.collect(),
                mount: "/m",
                ..world.call(NOW)
            };
            call.origin()
        };
        assert_eq!(from(None, &[("host", "h:8080")]), "http://h:8080/m");
        assert_eq!(
            from(None, &[("host", "h"), ("x-forwarded-proto", "https")]),
            "https://h/m"
        );
        assert_eq!(from(None, &[("host", "h/@evil")]), "http://localhost/m");
        assert_eq!(from(None, &[]), "http://localhost/m");
        let configured = from(Some("https://a.test/p/"), &[("host", "h")]);
        assert_eq!(configured, "https://a.test/p/m");
    }
}
