//! The pages that a person sees who follows a link to give feedback.
//!
//! No script, and a policy that lets none in; what was sent is escaped. Opening a
//! link keeps nothing, since mail scanners open links: the page asks, and only its
//! form says.

use std::fmt::Write as _;

use http::StatusCode;
use plaudit_event::{Metric, MetricType};

use crate::Answer;

/// A page is the holder's alone, and its address is a token: it is not kept, and
/// not told to others.
const HEADERS: &[(&str, &str)] = &[
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'sha256-g76SQIwBiUx3xIEFPJscxzzWQlvTa9rLQl+wOCF5v60='; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

/// Its hash is in the policy.
const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;margin:3rem auto;max-width:32rem;\
padding:0 1rem;color-scheme:light dark}label{display:block;margin:1rem 0}textarea,input[type=text],\
input[type=number]{box-sizing:border-box;font:inherit;width:100%}button{font:inherit;padding:.4rem 1.2rem}";

/// What the form asks.
pub(crate) struct Question<'q> {
    /// What the feedback is by.
    pub(crate) metric: &'q str,
    /// What it allows, where that is declared.
    pub(crate) declared: Option<&'q Metric>,
    /// What the link says already.
    pub(crate) value: Option<&'q str>,
    /// The comment that the link says already.
    pub(crate) comment: Option<&'q str>,
}

// === impl Question ===

impl Question<'_> {
    /// Asks it.
    pub(crate) fn page(&self) -> Answer {
        let value = match self.value {
            Some(value) => format!(
                r#"<p>Your answer: <strong>{value}</strong></p><input type="hidden" name="value" value="{value}">"#,
                value = escaped(value)
            ),
            None => self.choices(),
        };
        let comment = escaped(self.comment.unwrap_or_default());
        // The form goes to the page's own address, without what the link said.
        let body = format!(
            r#"<h1>{metric}</h1><form method="post" action="?">{value}<label>Comment (if you like)<textarea name="comment" rows="4">{comment}</textarea></label><button>Send</button></form>"#,
            metric = escaped(self.metric),
        );
        page(StatusCode::OK, "Feedback", &body)
    }

    fn choices(&self) -> String {
        let Some(metric) = self.declared else {
            return r#"<label>Your answer<input type="text" name="value"></label>"#.to_owned();
        };
        match metric.kind {
            MetricType::Boolean => radio("true", "Yes") + &radio("false", "No"),
            MetricType::Categorical => {
                let words = metric.categories.iter();
                words.map(|word| radio(word, word)).collect()
            }
            MetricType::Integer | MetricType::Float => {
                let mut input = r#"<label>Your answer<input type="number" name="value""#.to_owned();
                let step = if metric.kind == MetricType::Integer {
                    "1"
                } else {
                    "any"
                };
                for (name, bound) in [("min", metric.min), ("max", metric.max)] {
                    if let Some(bound) = bound {
                        write!(input, r#" {name}="{bound}""#).expect("a String takes everything");
                    }
                }
                input + &format!(r#" step="{step}"></label>"#)
            }
            _ => r#"<label>Your answer<input type="text" name="value"></label>"#.to_owned(),
        }
    }
}

/// Says that the feedback is kept.
pub(crate) fn thanks() -> Answer {
    page(
        StatusCode::OK,
        "Thank you",
        "<h1>Thank you</h1><p>Your feedback is kept.</p>",
    )
}

/// Says that it is not, and why.
pub(crate) fn failure(status: StatusCode, message: &str) -> Answer {
    let body = format!("<h1>This did not work</h1><p>{}</p>", escaped(message));
    page(status, "This did not work", &body)
}

fn page(status: StatusCode, title: &str, body: &str) -> Answer {
    let body = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"robots\" content=\"noindex\">\
         <title>{title}</title><style>{STYLE}</style>{body}</html>\n"
    );
    Answer {
        content_type: "text/html; charset=utf-8",
        fixed_headers: HEADERS,
        ..Answer::new(status, body)
    }
}

fn radio(value: &str, label: &str) -> String {
    let (value, label) = (escaped(value), escaped(label));
    format!(r#"<label><input type="radio" name="value" value="{value}" required> {label}</label>"#)
}

/// Text that is nothing but text, between tags and in an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use plaudit_event::{Registry, UnknownMetrics};
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_policy_allows_the_style_and_nothing_else() {
        let hash = STANDARD.encode(Sha256::digest(STYLE));
        let (_, policy) = HEADERS[1];
        assert!(policy.contains(&format!("'sha256-{hash}'")), "{hash}");
        assert!(!policy.contains("script") && !policy.contains("unsafe"));
    }

    #[test]
    fn p7_what_a_link_says_is_text_wherever_it_stands() {
        let evil = r#""><script>alert('1')</script>&"#;
        let question = Question {
            metric: evil,
            declared: None,
            value: Some(evil),
            comment: Some(evil),
        };
        let body = question.page().body;
        assert!(
            !body.contains("<script") && !body.contains("\"><s"),
            "{body}"
        );
        assert_eq!(
            body.matches("&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)")
                .count(),
            4
        );
        assert!(
            !failure(StatusCode::BAD_REQUEST, evil)
                .body
                .contains("<script")
        );
    }

    #[test]
    fn the_form_offers_what_the_metric_allows() {
        let text = "[metrics.b]\ntype = \"boolean\"\n[metrics.c]\ntype = \"categorical\"\n\
                    categories = [\"a\\\"b\", \"c\"]\n[metrics.i]\ntype = \"integer\"\nmin = 1\nmax = 5";
        let registry = Registry::from_toml(text, UnknownMetrics::Accept).unwrap();
        let form = |metric| {
            let question = Question {
                metric,
                declared: registry.get(metric),
                value: None,
                comment: None,
            };
            question.page().body
        };
        assert_eq!(form("b").matches("type=\"radio\"").count(), 2);
        assert!(form("c").contains(r#"value="a&quot;b""#));
        assert!(form("i").contains(r#"min="1" max="5" step="1""#));
        assert!(form("x").contains(r#"type="text""#));
    }
}
