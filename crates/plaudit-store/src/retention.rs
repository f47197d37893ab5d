//! How long rows are kept (`clickhouse.retention`), as TTLs of the tables.

use std::time::Duration;

use crate::{Store, StoreError};

/// The tables that lose what is too old.
const RETAINED: [(&str, Holds); 3] = [
    ("feedback", Holds::Feedback),
    ("changes", Holds::Changes),
    ("ledger", Holds::Outcomes),
];

/// What the rows of a table are.
#[derive(Clone, Copy, Debug)]
enum Holds {
    /// Feedback, and tombstones that hide it.
    Feedback,
    /// Patches, and retractions, which are kept for good.
    Changes,
    /// Outcomes of offsets. What was pending once goes before what became of it.
    Outcomes,
}

impl Store {
    /// How much longer than feedback what hides it is kept, and what says what became of
    /// it: the log must have lost its record by then.
    pub const RETENTION_MARGIN: Duration = Duration::from_secs(30 * 24 * 3600);

    /// Sets or removes the TTLs. What hides a feedback outlives it, and a
    /// retraction is kept for good.
    pub(crate) async fn apply_retention(&self) -> Result<(), StoreError> {
        for (table, holds) in RETAINED {
            let statement = match self.config().retention {
                Some(kept) => {
                    let ttl = holds.ttl(kept);
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

impl Holds {
    /// The TTL of a table, where feedback is `kept` for so long.
    fn ttl(self, kept: Duration) -> String {
        let time = match self {
            Self::Feedback | Self::Changes => "received_at",
            Self::Outcomes => "max_timestamp",
        };
        let after = |margins: u32| {
            let seconds = (kept + Store::RETENTION_MARGIN * margins).as_secs();
            format!("toDateTime({time}) + INTERVAL {seconds} SECOND DELETE")
        };
        let (at_once, later, last) = (after(0), after(1), after(2));
        match self {
            Self::Feedback => {
                format!("{at_once} WHERE is_deleted = 0, {later} WHERE is_deleted = 1")
            }
            Self::Changes => format!("{later} WHERE kind = 'patch'"),
            Self::Outcomes => {
                format!("{later} WHERE outcome = 'pending', {last} WHERE outcome != 'pending'")
            }
        }
    }
}
