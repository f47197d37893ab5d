//! What the query service asks.
