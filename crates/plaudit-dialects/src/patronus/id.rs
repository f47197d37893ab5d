//! The ids of feedback: positive integers, inside UUIDs.
//!
//! Patronus's clients name a feedback by an integer, Plaudit by a UUID. A UUID of
//! version 8 holds a mark of this module and the integer, so either gives the
//! other and nothing has to be looked up. 63 bits are drawn at random.

use plaudit_event::Micros;
use uuid::Uuid;

use crate::Call;

/// The first 48 bits: `patron`.
const MARK: u128 = 0x7061_7472_6f6e;

/// Version 8, and zeros down to the highest bit of the integer.
const VERSION: u128 = 0x8000;

/// The variant of RFC 9562.
const VARIANT: u128 = 0b10;

/// How many bits of the integer stand behind the variant; its highest bit is the
/// lowest before it.
const LOW_BITS: u32 = 62;

/// The id and the version time of the feedback that a request gives: new, or
/// from the request's `Idempotency-Key`.
pub(super) fn name(call: &Call<'_>) -> (Uuid, Micros) {
    let named = call.name_put(0, None, None);
    let bits = match call.idempotency_key {
        Some(_) => named.id,
        None => Uuid::new_v4(),
    };
    // Of either, these are bits that are as good as random.
    let (high, low) = bits.as_u64_pair();
    let integer = (high & 1) << LOW_BITS | low & ((1 << LOW_BITS) - 1);
    let integer = i64::try_from(integer).unwrap_or(i64::MAX).max(1);
    (named_by(integer.unsigned_abs()), named.version_time)
}

/// The id of the feedback with an integer; `None` where no feedback has it.
pub(super) fn named(integer: i64) -> Option<Uuid> {
    let integer = u64::try_from(integer).ok()?;
    (integer > 0).then(|| named_by(integer))
}

/// The integer of a feedback; `None` for the ids of other APIs.
pub(super) fn integer(id: Uuid) -> Option<i64> {
    let bits = id.as_u128();
    let high = bits >> 64 & 1;
    let low = bits & ((1 << LOW_BITS) - 1);
    let integer = i64::try_from(high << LOW_BITS | low).ok()?;
    (named(integer) == Some(id)).then_some(integer)
}

fn named_by(integer: u64) -> Uuid {
    let integer = u128::from(integer);
    let high = MARK << 16 | VERSION | integer >> LOW_BITS;
    let low = VARIANT << LOW_BITS | integer & ((1 << LOW_BITS) - 1);
    Uuid::from_u128(high << 64 | low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::World;

    #[test]
    fn p3_an_integer_and_its_uuid_give_each_other() {
        for value in [1, 2, (1 << 62) - 1, 1 << 62, i64::MAX] {
            let id = named(value).unwrap();
            assert_eq!((id.get_version_num(), integer(id)), (8, Some(value)));
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        }
        assert_eq!(
            named(1).unwrap().to_string(),
            "70617472-6f6e-8000-8000-000000000001"
        );
        assert_eq!(
            named(i64::MAX).unwrap().to_string(),
            "70617472-6f6e-8001-bfff-ffffffffffff"
        );
        assert_eq!((named(0), named(-1)), (None, None));
        for other in [Uuid::nil(), Uuid::max(), Uuid::now_v7(), Uuid::new_v4()] {
            assert_eq!(integer(other), None);
        }
    }

    #[test]
    fn p3_a_retry_with_its_key_has_the_same_id() {
        let world = World::new("p");
        let plain = world.call(Micros(7));
        let keyed = Call {
            idempotency_key: Some("k"),
            ..world.call(Micros(7))
        };
        assert_eq!(name(&keyed), name(&keyed));
        assert_eq!(name(&keyed).1, Micros(0));
        assert_ne!(name(&plain).0, name(&plain).0);
        for call in [&plain, &keyed] {
            assert!(integer(name(call).0).is_some());
        }
    }
}
