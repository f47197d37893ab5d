//! Sets of offsets of one partition, as ranges.

use std::ops::Range;

/// Ranges of offsets, ascending, none of which touches another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Offsets(Vec<Range<i64>>);

impl Offsets {
    /// All of a range.
    pub(super) fn of(range: Range<i64>) -> Self {
        [range].into_iter().collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        let len = |range: &Range<i64>| u64::try_from(range.end - range.start).unwrap_or(0);
        self.0.iter().map(len).sum()
    }

    /// The ranges.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<i64>> {
        self.0.iter().cloned()
    }

    /// Whether this offset is one of them.
    pub(super) fn contains(&self, offset: i64) -> bool {
        let next = self.0.partition_point(|range| range.end <= offset);
        self.0.get(next).is_some_and(|range| range.start <= offset)
    }

    /// Those that `other` has, and those that it has not.
    pub(super) fn split(&self, other: &Self) -> (Self, Self) {
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        let mut others = other.0.iter().peekable();
        for range in &self.0 {
            let mut next = range.start;
            while let Some(of) = others.peek() {
                if of.end <= next {
                    others.next();
                    continue;
                }
                if of.start >= range.end {
                    break;
                }
                let (from, to) = (of.start.max(next), of.end.min(range.end));
                if next < from {
                    outside.push(next..from);
                }
                inside.push(from..to);
                next = to;
                if next == range.end {
                    break;
                }
            }
            if next < range.end {
                outside.push(next..range.end);
            }
        }
        (Self(inside), Self(outside))
    }
}

impl FromIterator<Range<i64>> for Offsets {
    fn from_iter<I: IntoIterator<Item = Range<i64>>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges
            .into_iter()
            .filter(|range| range.start < range.end)
            .collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut apart: Vec<Range<i64>> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        Self(apart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The set whose offsets are the bits of a number.
    fn bits(bits: u32) -> Offsets {
        let of = |bit: i64| bit..bit + 1;
        (0..6).filter(|bit| bits >> bit & 1 == 1).map(of).collect()
    }

    #[test]
    fn ranges_that_overlap_or_touch_are_one() {
        let offsets: Offsets = [5..7, 1..3, 2..4, 4..4, 7..9].into_iter().collect();
        assert_eq!(offsets.ranges().collect::<Vec<_>>(), [1..4, 5..9]);
        assert_eq!(offsets.len(), 7);
        assert_eq!(Offsets::of(3..3), Offsets::default());
    }

    #[test]
    fn a_split_agrees_with_counting_offset_by_offset() {
        for (one, other) in (0..64).flat_map(|one| (0..64).map(move |other| (one, other))) {
            let (inside, outside) = bits(one).split(&bits(other));
            let all = |offsets: &Offsets| (0..6).filter(|o| offsets.contains(*o)).count() as u64;
            for offset in 0..6 {
                let (in_one, in_other) = (one >> offset & 1 == 1, other >> offset & 1 == 1);
                assert_eq!(inside.contains(offset), in_one && in_other, "{one} {other}");
                assert_eq!(
                    outside.contains(offset),
                    in_one && !in_other,
                    "{one} {other}"
                );
            }
            assert_eq!((inside.len(), outside.len()), (all(&inside), all(&outside)));
        }
    }
}
