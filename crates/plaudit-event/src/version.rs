//! Which of two versions of a feedback is the later one (promise **P4**).

use crate::Micros;

/// The `version` column: version time << 12 | number of changes folded in.
///
/// Of two rows of one feedback the larger version is the one that readers see.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RowVersion(u64);

impl RowVersion {
    /// A retraction's: nothing is later.
    pub const FINAL: Self = Self(u64::MAX);

    const FOLD_BITS: u32 = 12;

    /// The largest number of changes that a version counts; more count as this.
    pub const MAX_CHANGES: u64 = (1 << Self::FOLD_BITS) - 1;

    /// A put's version with `changes` folded into it.
    ///
    /// Times before 1970 count as 1970; times beyond 2112 do not occur, since a
    /// version time is never later than the intake's clock.
    pub fn new(version_time: Micros, changes: usize) -> Self {
        let time = u64::try_from(version_time.0).unwrap_or(0);
        let changes =
            u64::try_from(changes).map_or(Self::MAX_CHANGES, |n| n.min(Self::MAX_CHANGES));
        Self(time << Self::FOLD_BITS | changes)
    }

    /// A version as it stands in the column.
    pub const fn from_column(version: u64) -> Self {
        Self(version)
    }

    /// The version as it stands in the column.
    pub const fn as_column(self) -> u64 {
        self.0
    }

    /// The version time of the put behind this row.
    pub fn version_time(self) -> Micros {
        // 52 bits always fit.
        Micros(i64::try_from(self.0 >> Self::FOLD_BITS).unwrap_or(i64::MAX))
    }

    /// The number of changes folded into this row.
    pub const fn changes(self) -> u64 {
        self.0 & Self::MAX_CHANGES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fold_is_later_than_its_put_and_earlier_than_the_next_put() {
        let put = RowVersion::new(Micros(1_767_323_045_000_000), 0);
        let fold = RowVersion::new(Micros(1_767_323_045_000_000), 4096);
        let next = RowVersion::new(Micros(1_767_323_045_000_001), 0);
        assert!(put < fold && fold < next && next < RowVersion::FINAL);
        assert_eq!(fold.changes(), RowVersion::MAX_CHANGES);
        assert_eq!(fold.version_time(), Micros(1_767_323_045_000_000));
        assert_eq!(
            RowVersion::new(Micros(-5), 0),
            RowVersion::new(Micros(0), 0)
        );
    }
}
