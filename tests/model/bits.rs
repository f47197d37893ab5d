//! Small sets of small numbers: records, ids, partitions.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub, SubAssign};

/// A set of numbers below sixteen.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Bits(u16);

impl Bits {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn of(one: u8) -> Self {
        Self(1 << one)
    }

    pub(crate) fn has(self, one: u8) -> bool {
        self.0 & 1 << one != 0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub(crate) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..16).filter(move |one| self.has(*one))
    }

    pub(crate) fn filter(self, keep: impl Fn(u8) -> bool) -> Self {
        self.iter().filter(|one| keep(*one)).collect()
    }

    /// Every set of some of its members.
    pub(crate) fn subsets(self) -> Vec<Self> {
        self.iter().fold(vec![Self::NONE], |mut sets, one| {
            let with: Vec<Self> = sets.iter().map(|set| *set | Self::of(one)).collect();
            sets.extend(with);
            sets
        })
    }

    /// The lower half of its members, and the upper.
    pub(crate) fn halves(self) -> (Self, Self) {
        let half = self.iter().count() / 2;
        let lower: Self = self.iter().take(half).collect();
        (lower, self - lower)
    }
}

impl FromIterator<u8> for Bits {
    fn from_iter<I: IntoIterator<Item = u8>>(members: I) -> Self {
        members
            .into_iter()
            .fold(Self::NONE, |set, one| set | Self::of(one))
    }
}

impl BitOr for Bits {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Bits {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for Bits {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Bits {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl SubAssign for Bits {
    fn sub_assign(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
