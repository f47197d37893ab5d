//! How long rows are kept (`clickhouse.retention`), as TTLs of the tables.

use std::time::Duration;

use crate::{Store, StoreError};

/// The tables that lose what is too old.
const RETAINED: [(&str, Hides); 2] = [("feedback", Hides::Tombstones), ("changes", Hides::Patches)];

/// Which rows of a table may hide a feedback.
#[derive(Clone, Copy, Debug)]
enum Hides {
    /// Those that are deleted; the others are the feedback.
    Tombstones,
    /// Patches; what else there is, is kept for good.
    Patches,
}

/// How much longer than the feedback it hides a tombstone stays.
const TOMBSTONE_MARGIN: Duration = Duration::from_secs(30 * 24 * 3600);

impl Store {
    /// Sets or removes the TTLs. What hides a feedback outlives it, and a
    /// retraction is kept for good.
    pub(crate) async fn apply_retention(&self) -> Result<(), StoreError> {
        for (table, hides) in RETAINED {
            let statement = match self.config().retention {
                Some(kept) => {
                    let ttl = hides.ttl(kept);
                    format!("ALTER TABLE {{db}}.{table}{{local}}{{on_cluster}} MODIFY TTL {ttl}")
                }
                None if self.has_ttl(table).await? => {
                    format!("ALTER TABLE {{db}}.{table}{{local}}{{on_cluster}} REMOVE TTL")
                }
                None => continue,
            };
            self.execute(&statement).await?;
        }
        Ok(())
    }

    async fn has_ttl(&self, table: &str) -> Result<bool, StoreError> {
        let has_ttl: u8 = self
            .query("SELECT create_table_query LIKE '%TTL%' FROM system.tables WHERE database = ? AND name = ?")
            .bind(&self.config().database)
            .bind(self.named(&format!("{table}{{local}}")))
            .fetch_one()
            .await?;
        Ok(has_ttl != 0)
    }
}

impl Hides {
    /// The TTL of a table whose feedback is `kept` for so long.
    fn ttl(self, kept: Duration) -> String {
        let after = |kept: Duration| {
            let seconds = kept.as_secs();
            format!("toDateTime(received_at) + INTERVAL {seconds} SECOND DELETE")
        };
        let longer = after(kept + TOMBSTONE_MARGIN);
        match self {
            Self::Tombstones => format!(
                "{} WHERE is_deleted = 0, {longer} WHERE is_deleted = 1",
                after(kept)
            ),
            Self::Patches => format!("{longer} WHERE kind = 'patch'"),
        }
    }
}
