//! What the repository promises about itself. Needs neither broker nor engine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod arrows;
mod licences;
mod promises;
mod sources;

use std::sync::OnceLock;

use cargo_metadata::{Metadata, MetadataCommand};

/// The workspace and all that it depends on, as the lock file has it.
fn metadata() -> &'static Metadata {
    static METADATA: OnceLock<Metadata> = OnceLock::new();
    METADATA.get_or_init(|| {
        MetadataCommand::new()
            .manifest_path(support::repository().join("Cargo.toml"))
            .other_options(vec!["--locked".to_owned()])
            .exec()
            .expect("cargo knows its workspace")
    })
}
