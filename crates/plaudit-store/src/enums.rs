//! The enums of `feedback`: which number is what.
//!
//! They are sent and read as the numbers that they are, so that nothing makes a text
//! of each for a row.

use plaudit_event::{Dialect, TargetKind, ValueType};
use serde::de::{Deserialize, Deserializer, Error, Unexpected};

pub(crate) const fn target_kind(kind: TargetKind) -> i8 {
    match kind {
        TargetKind::Run => 2,
        TargetKind::Inference => 3,
        TargetKind::Episode => 4,
        TargetKind::Datapoint => 5,
        TargetKind::EvaluationResult => 6,
        TargetKind::EvaluationSample => 7,
        TargetKind::Project => 8,
        TargetKind::Experiment => 9,
        // `Trace`, and what a later version may add before its migration.
        _ => 1,
    }
}

pub(crate) const fn value_type(kind: Option<ValueType>) -> i8 {
    match kind {
        None => 0,
        Some(ValueType::Bool) => 1,
        Some(ValueType::Int) => 2,
        Some(ValueType::Float) => 3,
        Some(ValueType::Text) => 4,
        Some(_) => 5,
    }
}

pub(crate) const fn dialect(dialect: Dialect) -> i8 {
    match dialect {
        Dialect::Portkey => 2,
        Dialect::Tensorzero => 3,
        Dialect::Patronus => 4,
        Dialect::Humanloop => 5,
        Dialect::Langsmith => 6,
        _ => 1,
    }
}

/// Reads the column `target_kind`.
pub(crate) fn read_target_kind<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<TargetKind, D::Error> {
    read(deserializer, TargetKind::ALL, target_kind, "a target kind")
}

/// Reads the column `dialect`.
pub(crate) fn read_dialect<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Dialect, D::Error> {
    read(deserializer, Dialect::ALL, dialect, "a dialect")
}

fn read<'de, D: Deserializer<'de>, T: Copy, const N: usize>(
    deserializer: D,
    all: [T; N],
    number_of: fn(T) -> i8,
    expected: &str,
) -> Result<T, D::Error> {
    let number = i8::deserialize(deserializer)?;
    let mut all = all.into_iter();
    all.find(|one| number_of(*one) == number)
        .ok_or_else(|| D::Error::invalid_value(Unexpected::Signed(number.into()), &expected))
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, I8Deserializer};

    use super::*;

    #[test]
    fn every_number_reads_back_as_what_it_was_written_for() {
        read_back(TargetKind::ALL, target_kind, read_target_kind);
        read_back(Dialect::ALL, dialect, read_dialect);
    }

    fn read_back<T: Copy + Debug + PartialEq, const N: usize>(
        all: [T; N],
        number_of: fn(T) -> i8,
        read: fn(I8Deserializer<Error>) -> Result<T, Error>,
    ) {
        for one in all {
            assert_eq!(read(number_of(one).into_deserializer()), Ok(one));
        }
        let error = read(100_i8.into_deserializer()).unwrap_err().to_string();
        assert!(error.contains("100"), "{error}");
    }
}
