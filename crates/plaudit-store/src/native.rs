//! A block in ClickHouse's Native format: its columns, one after the other.
//!
//! The engine stores columns. Given rows it takes them apart value by value, which
//! is a third of what an insert costs it; given columns it copies them. Rows are
//! what the sink counts, halves and compares, so they are taken apart here, once,
//! when a batch is closed.
//!
//! Format: <https://clickhouse.com/docs/interfaces/formats/Native>, as of revision
//! 0, which is what HTTP speaks.

use std::collections::{HashMap, VecDeque};

use crate::row::leb128;

/// Buffers of columns, used again by the next block, each for the column that it had:
/// ones of many megabytes that come and go leave holes that nothing else fits.
#[derive(Debug, Default)]
pub(crate) struct Buffers(VecDeque<Vec<u8>>);

/// A column of a table, as it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: &'static str,
    /// How a value stands in a row.
    pub(crate) kind: Kind,
}

/// How a value stands in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Always as many bytes.
    Fixed(&'static str, usize),
    /// `Nullable(Float64)`
    NullableFloat,
    /// `String`
    Text,
    /// `LowCardinality(String)`
    Word,
    /// `Map(LowCardinality(String), String)`
    Tags,
}

/// The values of a column so far, below its name and type.
enum Values<'d> {
    Fixed {
        bytes: Vec<u8>,
        width: usize,
    },
    Text(Vec<u8>),
    Nullable {
        nulls: Vec<u8>,
        numbers: Vec<u8>,
    },
    Words {
        head: Vec<u8>,
        words: Words<'d>,
        out: Vec<u8>,
    },
    Tags {
        /// Where each row's tags end, counted from the first row's.
        ends: Vec<u8>,
        count: u64,
        keys: Words<'d>,
        keys_out: Vec<u8>,
        texts: Vec<u8>,
    },
}

/// Words that repeat: each once, and an index for each time it is used.
#[derive(Default)]
struct Words<'d> {
    /// Each with its length before it.
    distinct: Vec<u8>,
    known: HashMap<&'d [u8], u32>,
    last: Option<(&'d [u8], u32)>,
    indexes: Vec<u32>,
}

/// Bytes of rows that are not read yet.
struct Unread<'d>(&'d [u8]);

/// Rows that tell how long texts are: a buffer that doubles until it fits takes twice
/// its room, and leaves holes of its smaller selves behind.
const SAMPLE: usize = 512;
/// The one version of how words are serialised.
const WORDS_VERSION: u64 = 1;
/// The words are in the block itself, and all of them are.
const WORDS_WITHIN: u64 = (1 << 9) | (1 << 10);

/// Turns `rows` rows in RowBinary into a block; `None` when the bytes are not that.
pub(crate) fn block(
    columns: &[Column],
    rows: usize,
    data: &[u8],
    buffers: &mut Buffers,
) -> Option<Vec<Vec<u8>>> {
    let mut shape = buffers.next();
    leb128(&mut shape, columns.len());
    leb128(&mut shape, rows);
    let mut values: Vec<Values<'_>> = columns
        .iter()
        .map(|column| Values::new(*column, rows, buffers))
        .collect();
    let mut unread = Unread(data);
    for row in 0..rows {
        if row == SAMPLE {
            values.iter_mut().for_each(|values| values.expect(rows));
        }
        for values in &mut values {
            values.push(&mut unread)?;
        }
    }
    if !unread.0.is_empty() {
        return None;
    }
    let mut block = vec![shape];
    for values in values {
        values.finish(&mut block);
    }
    Some(block)
}

// === impl Buffers ===

impl Buffers {
    fn next(&mut self) -> Vec<u8> {
        self.0.pop_front().unwrap_or_default()
    }

    /// Takes back what [`block`] returned, but for what has held far more than now.
    pub(crate) fn take_back(&mut self, block: Vec<Vec<u8>>) {
        self.0.extend(block.into_iter().map(|mut buffer| {
            if buffer.len() < buffer.capacity() / 8 {
                return Vec::new();
            }
            buffer.clear();
            buffer
        }));
    }
}

// === impl Column ===

impl Column {
    pub(crate) const fn new(name: &'static str, kind: Kind) -> Self {
        Self { name, kind }
    }
}

// === impl Kind ===

impl Kind {
    const fn type_name(self) -> &'static str {
        match self {
            Self::Fixed(name, _) => name,
            Self::NullableFloat => "Nullable(Float64)",
            Self::Text => "String",
            Self::Word => "LowCardinality(String)",
            Self::Tags => "Map(LowCardinality(String), String)",
        }
    }
}

// === impl Values ===

impl<'d> Values<'d> {
    fn new(column: Column, rows: usize, buffers: &mut Buffers) -> Self {
        let mut head = buffers.next();
        for text in [column.name, column.kind.type_name()] {
            leb128(&mut head, text.len());
            head.extend_from_slice(text.as_bytes());
        }
        match column.kind {
            Kind::Fixed(_, width) => {
                head.reserve_exact(rows * width);
                Self::Fixed { bytes: head, width }
            }
            Kind::Text => {
                // Most texts are empty, and are one byte.
                head.reserve(rows);
                Self::Text(head)
            }
            Kind::NullableFloat => {
                let mut numbers = buffers.next();
                numbers.reserve_exact(rows * size_of::<f64>());
                Self::Nullable {
                    nulls: head,
                    numbers,
                }
            }
            Kind::Word => {
                head.extend_from_slice(&WORDS_VERSION.to_le_bytes());
                Self::Words {
                    head,
                    words: Words::of(rows),
                    out: buffers.next(),
                }
            }
            Kind::Tags => {
                head.extend_from_slice(&WORDS_VERSION.to_le_bytes());
                head.reserve(rows * size_of::<u64>());
                Self::Tags {
                    ends: head,
                    count: 0,
                    keys: Words::default(),
                    keys_out: buffers.next(),
                    texts: buffers.next(),
                }
            }
        }
    }

    /// Makes room for as many as `rows` in all, each like those of the sample or a little
    /// longer: one byte too few would double the buffer.
    fn expect(&mut self, rows: usize) {
        let left = rows.saturating_sub(SAMPLE);
        let more = |sampled: usize| (sampled * left * 17).div_ceil(SAMPLE * 16);
        match self {
            Self::Text(texts) => texts.reserve(more(texts.len())),
            Self::Tags { keys, texts, .. } => {
                keys.indexes.reserve(more(keys.indexes.len()));
                texts.reserve(more(texts.len()));
            }
            Self::Fixed { .. } | Self::Nullable { .. } | Self::Words { .. } => {}
        }
    }

    /// Takes the next value of a row.
    fn push(&mut self, unread: &mut Unread<'d>) -> Option<()> {
        match self {
            Self::Fixed { bytes, width } => bytes.extend_from_slice(unread.take(*width)?),
            Self::Text(texts) => texts.extend_from_slice(unread.text()?),
            Self::Nullable { nulls, numbers } => {
                let is_null = unread.take(1)?;
                nulls.extend_from_slice(is_null);
                if is_null == [0] {
                    numbers.extend_from_slice(unread.take(size_of::<f64>())?);
                } else {
                    numbers.extend_from_slice(&0f64.to_le_bytes());
                }
            }
            Self::Words { words, .. } => words.push(unread.text()?),
            Self::Tags {
                ends,
                count,
                keys,
                texts,
                ..
            } => {
                for _ in 0..unread.number()? {
                    keys.push(unread.text()?);
                    texts.extend_from_slice(unread.text()?);
                    *count += 1;
                }
                ends.extend_from_slice(&count.to_le_bytes());
            }
        }
        Some(())
    }

    /// In the order in which the buffers were taken.
    fn finish(self, block: &mut Vec<Vec<u8>>) {
        match self {
            Self::Fixed { bytes, .. } | Self::Text(bytes) => block.push(bytes),
            Self::Nullable { nulls, numbers } => block.extend([nulls, numbers]),
            Self::Words { head, words, out } => block.extend([head, words.finish(out)]),
            Self::Tags {
                ends,
                keys,
                keys_out,
                texts,
                ..
            } => block.extend([ends, keys.finish(keys_out), texts]),
        }
    }
}

// === impl Words ===

impl<'d> Words<'d> {
    /// Room for one word in each row.
    fn of(rows: usize) -> Self {
        let indexes = Vec::with_capacity(rows);
        Self {
            indexes,
            ..Self::default()
        }
    }

    fn push(&mut self, word: &'d [u8]) {
        let index = match self.last {
            Some((last, index)) if last == word => index,
            _ => self.index_of(word),
        };
        self.last = Some((word, index));
        self.indexes.push(index);
    }

    fn index_of(&mut self, word: &'d [u8]) -> u32 {
        // A block has fewer rows than that: see `sink.batch.max_bytes`.
        let next = u32::try_from(self.known.len()).unwrap_or(u32::MAX);
        *self.known.entry(word).or_insert_with(|| {
            self.distinct.extend_from_slice(word);
            next
        })
    }

    /// The words, then the indexes in the smallest type that holds them.
    fn finish(self, mut out: Vec<u8>) -> Vec<u8> {
        // Of no words at all nothing is written, not even that there are none.
        if self.indexes.is_empty() {
            return out;
        }
        let (kind, width) = match self.known.len() {
            0..=0x100 => (0_u64, 1),
            0x101..=0x1_0000 => (1, 2),
            _ => (2, 4),
        };
        let length = self.distinct.len() + self.indexes.len() * width;
        out.reserve_exact(3 * size_of::<u64>() + length);
        out.extend_from_slice(&(WORDS_WITHIN | kind).to_le_bytes());
        out.extend_from_slice(&(self.known.len() as u64).to_le_bytes());
        out.extend_from_slice(&self.distinct);
        out.extend_from_slice(&(self.indexes.len() as u64).to_le_bytes());
        for index in self.indexes {
            out.extend(index.to_le_bytes().into_iter().take(width));
        }
        out
    }
}

// === impl Unread ===

impl<'d> Unread<'d> {
    fn take(&mut self, bytes: usize) -> Option<&'d [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number in LEB128.
    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A text with its length before it, which is how a column holds it too.
    fn text(&mut self) -> Option<&'d [u8]> {
        let start = self.0;
        let length = self.number()?;
        self.take(length)?;
        start.get(..start.len() - self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 5] = [
        Column::new("w", Kind::Word),
        Column::new("n", Kind::Fixed("UInt16", 2)),
        Column::new("s", Kind::NullableFloat),
        Column::new("t", Kind::Text),
        Column::new("m", Kind::Tags),
    ];

    const ROWS: &[u8] = b"\x01a\x01\x02\x01\x02xy\x01\x01k\x01v\
        \x01b\x03\x04\x00\x00\x00\x00\x00\x00\x00\xf0\x3f\x00\x00\
        \x01a\x05\x06\x01\x00\x02\x01k\x00\x01l\x01w";

    fn number(number: u64) -> Vec<u8> {
        number.to_le_bytes().to_vec()
    }

    #[test]
    fn rows_become_columns() {
        let mut buffers = Buffers::default();
        let block = block(&COLUMNS, 3, ROWS, &mut buffers).unwrap();
        let expected = [
            b"\x05\x03".to_vec(),
            b"\x01w\x16LowCardinality(String)".to_vec(),
            [number(1), number(0x600), number(2)].concat(),
            b"\x01a\x01b".to_vec(),
            number(3),
            b"\x00\x01\x00".to_vec(),
            b"\x01n\x06UInt16\x01\x02\x03\x04\x05\x06".to_vec(),
            b"\x01s\x11Nullable(Float64)\x01\x00\x01".to_vec(),
            [0.0, 1.0, 0.0].map(f64::to_le_bytes).concat(),
            b"\x01t\x06String\x02xy\x00\x00".to_vec(),
            b"\x01m\x23Map(LowCardinality(String), String)".to_vec(),
            [number(1), number(1), number(1), number(3)].concat(),
            [number(0x600), number(2)].concat(),
            b"\x01k\x01l".to_vec(),
            number(3),
            b"\x00\x00\x01".to_vec(),
            b"\x01v\x00\x01w".to_vec(),
        ];
        assert_eq!(block.concat(), expected.concat());

        let place = |block: &[Vec<u8>]| block.iter().map(|b| b.as_ptr()).collect::<Vec<_>>();
        let places = place(&block);
        buffers.take_back(block);
        let again = super::block(&COLUMNS, 3, ROWS, &mut buffers).unwrap();
        assert_eq!(again.concat(), expected.concat());
        assert_eq!(place(&again), places, "each buffer for its column again");
        let mut held_more = again;
        held_more[0].reserve(1000);
        buffers.take_back(held_more);
        assert_eq!(buffers.next().capacity(), 0);
    }

    #[test]
    fn bytes_that_are_not_these_rows_are_no_block() {
        for rows in [2, 4] {
            assert!(block(&COLUMNS, rows, ROWS, &mut Buffers::default()).is_none());
        }
        for end in 0..ROWS.len() {
            let cut = block(&COLUMNS, 3, &ROWS[..end], &mut Buffers::default());
            assert!(cut.is_none(), "{end}");
        }
    }

    #[test]
    fn many_words_have_wider_indexes() {
        for (words, width) in [(0x100, 1), (0x101, 2), (0x1_0001, 4)] {
            let texts: Vec<u8> = (0..words)
                .flat_map(|word: u32| [&[4_u8][..], &word.to_le_bytes()].concat())
                .collect();
            let mut unread = Unread(&texts);
            let mut column = Words::default();
            while let Some(word) = unread.text() {
                column.push(word);
            }
            let rest = column.finish(Vec::new()).len() - texts.len() - 3 * size_of::<u64>();
            assert_eq!(rest, words as usize * width);
        }
    }
}
