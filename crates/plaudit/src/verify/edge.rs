//! Where a verification begins or ends: `--from`, `--to`.

use std::collections::BTreeMap;
use std::str::FromStr;

use plaudit_kafka::Admin;

use crate::moment::Moment;
use crate::topic::ASK;

/// Offsets of some partitions, or a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Edge {
    Offsets(BTreeMap<i32, i64>),
    Time(Moment),
}

/// The text is neither.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "must be PARTITION:OFFSET,… or a time such as 2026-01-02T03:04:05Z, or how long ago, such as 2h"
)]
pub(super) struct NoEdge;

impl Edge {
    /// The offset of each partition that this names.
    pub(super) async fn resolve(
        edge: Option<&Self>,
        admin: &Admin,
        topic: &str,
    ) -> anyhow::Result<BTreeMap<i32, i64>> {
        Ok(match edge {
            None => BTreeMap::new(),
            Some(Self::Offsets(offsets)) => offsets.clone(),
            Some(Self::Time(moment)) => {
                let offsets = admin.offsets_at(topic, moment.0.as_millis(), ASK).await?;
                offsets.into_iter().collect()
            }
        })
    }
}

impl FromStr for Edge {
    type Err = NoEdge;

    fn from_str(text: &str) -> Result<Self, NoEdge> {
        if let Ok(moment) = text.parse() {
            return Ok(Self::Time(moment));
        }
        let mut offsets = BTreeMap::new();
        for one in text.split(',') {
            let (partition, offset) = one.trim().split_once(':').ok_or(NoEdge)?;
            let partition = partition.parse().map_err(|_| NoEdge)?;
            let offset = offset.parse().map_err(|_| NoEdge)?;
            if partition < 0 || offset < 0 {
                return Err(NoEdge);
            }
            offsets.insert(partition, offset);
        }
        Ok(Self::Offsets(offsets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_is_offsets_or_a_time() {
        let edge = |text: &str| text.parse::<Edge>();
        let offsets = Edge::Offsets(BTreeMap::from([(0, 100), (3, 7)]));
        assert_eq!(edge("0:100, 3:7"), Ok(offsets));
        assert!(matches!(edge("2026-01-02T03:04:05Z"), Ok(Edge::Time(_))));
        assert!(matches!(edge("90m"), Ok(Edge::Time(_))));
        for text in ["", "7", "0:1,", "0:-1", "0:x", "soon"] {
            assert_eq!(edge(text), Err(NoEdge), "{text}");
        }
    }
}
