//! Every route: its path, its method, who may call it.

use axum::routing::{MethodRouter, get, post};

use crate::service::App;
use crate::{openapi, reads, receipts, vendors};

/// A route of the query service. The names are public: a metric label.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Route {
    /// A page of feedback.
    List,
    /// One feedback.
    Feedback,
    /// What was said of one trace.
    Trace,
    /// The metrics.
    Metrics,
    /// What was said by one metric.
    Metric,
    /// What became of one receipt.
    Receipt,
    /// What became of several, waiting for it.
    Receipts,
    /// What a token is good for.
    GivenOut,
    /// The contract.
    Openapi,
}

/// Who may call a route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Whoever has a key: one that may only write asks what became of that.
    AnyKey,
    /// A key with the scope `read`.
    Read,
}

impl Route {
    /// Every route.
    pub const ALL: [Self; 9] = [
        Self::List,
        Self::Feedback,
        Self::Trace,
        Self::Metrics,
        Self::Metric,
        Self::Receipt,
        Self::Receipts,
        Self::GivenOut,
        Self::Openapi,
    ];

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Feedback => "feedback",
            Self::Trace => "trace",
            Self::Metrics => "metrics",
            Self::Metric => "metric",
            Self::Receipt => "receipt",
            Self::Receipts => "receipts",
            Self::GivenOut => "given_out",
            Self::Openapi => "openapi",
        }
    }

    /// The path, as OpenAPI and axum both write it.
    pub const fn path(self) -> &'static str {
        match self {
            Self::List => "/v1/feedback",
            Self::Feedback => "/v1/feedback/{id}",
            Self::Trace => "/v1/traces/{trace_id}/feedback",
            Self::Metrics => "/v1/metrics",
            Self::Metric => "/v1/metrics/{metric}",
            Self::Receipt => "/v1/receipts/{receipt}",
            Self::Receipts => "/v1/receipts",
            Self::GivenOut => "/v1/given-out/{id}",
            Self::Openapi => "/openapi.json",
        }
    }

    /// The method, in lower case as OpenAPI writes it.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Receipts => "post",
            _ => "get",
        }
    }

    /// Who may call it.
    pub const fn access(self) -> Access {
        match self {
            Self::List | Self::Feedback | Self::Trace | Self::Metrics | Self::Metric => {
                Access::Read
            }
            Self::Receipt | Self::Receipts | Self::GivenOut => Access::AnyKey,
            Self::Openapi => Access::Public,
        }
    }

    /// Whether it may wait, and so has a bound and a time of its own.
    pub const fn waits(self) -> bool {
        matches!(self, Self::Receipts)
    }

    pub(crate) fn handler(self) -> MethodRouter<App> {
        match self {
            Self::List => get(reads::list),
            Self::Feedback => get(reads::feedback),
            Self::Trace => get(reads::trace),
            Self::Metrics => get(reads::metrics),
            Self::Metric => get(reads::metric),
            Self::Receipt => get(receipts::one),
            Self::Receipts => post(receipts::several),
            Self::GivenOut => get(vendors::given_out),
            Self::Openapi => get(openapi::document),
        }
    }
}
