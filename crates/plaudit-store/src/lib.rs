//! Placeholder, replaced with the first real module.
