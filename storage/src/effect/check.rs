//! A place in a group's log at which its replicas compare what they have.

use super::{Batch, Effect, Mark, Passage, decode};
use crate::slot::Slot;
use std::ops::RangeInclusive;

/// What begins the name under which a check stands in the log. Names of migrations are drawn at random, so none of them
/// begins so, and nothing would be wrong if one did.
const OPENING: [u8; 8] = *b"\0compare";

/// Asks every replica that applies it for a digest of these slots as they are then.
///
/// In the log it is what takes away a mark that nobody has set: a replica of a version that knows nothing of checks
/// applies it as nothing, and so do all others besides comparing. It must stand in a batch of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Drawn at random by whoever asks.
    pub id: u64,
    pub slots: RangeInclusive<Slot>,
}

impl Check {
    pub fn batch(&self) -> Batch {
        let mut name = [0; Mark::NAME_BYTES];
        name[..8].copy_from_slice(&OPENING);
        name[8..16].copy_from_slice(&self.id.to_be_bytes());
        name[16..18].copy_from_slice(&self.slots.start().number().to_be_bytes());
        name[18..].copy_from_slice(&self.slots.end().number().to_be_bytes());
        vec![Effect::Unmark { passage: Passage::Arriving, name }]
    }

    /// The check that a batch of the log is, if it is one.
    #[inline]
    pub fn of(batch: &[u8]) -> Option<Check> {
        // Version, count, tag, passage, name. Hardly any other batch is as long and has this in its place.
        const HEAD: usize = 4;
        let name = batch.get(HEAD..)?;
        if name.len() == Mark::NAME_BYTES && name.starts_with(&OPENING) { Check::parse(batch) } else { None }
    }

    #[cold]
    fn parse(batch: &[u8]) -> Option<Check> {
        let batch = decode(batch).ok()?;
        let [Effect::Unmark { passage: Passage::Arriving, name }] = &batch[..] else { return None };
        let (id, slots) = name.strip_prefix(&OPENING[..])?.split_first_chunk()?;
        let (first, last) = slots.split_first_chunk()?;
        let slot = |bytes: [u8; 2]| Slot::new(u16::from_be_bytes(bytes));
        let slots = slot(*first)?..=slot(last.try_into().ok()?)?;
        (!slots.is_empty()).then(|| Check { id: u64::from_be_bytes(*id), slots })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::{encode, samples};
    use crate::rng::Rng;

    fn check(first: u16, last: u16) -> Check {
        Check { id: 7 << 40, slots: Slot::new(first).unwrap()..=Slot::new(last).unwrap() }
    }

    fn logged(batch: &[Effect]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(batch, &mut bytes);
        bytes
    }

    #[test]
    fn a_check_is_found_and_nothing_else_is_one() {
        for check in [check(0, 16383), check(5, 5)] {
            let bytes = logged(&check.batch());
            assert_eq!(Check::of(&bytes), Some(check));
            assert!((0..bytes.len()).all(|end| Check::of(&bytes[..end]).is_none()));
        }
        let unmark = Effect::Unmark { passage: Passage::Arriving, name: [9; Mark::NAME_BYTES] };
        assert_eq!(Check::of(&logged(&[unmark])), None);
        let twice = [check(0, 1).batch(), check(0, 1).batch()].concat();
        assert_eq!(Check::of(&logged(&twice)), None);
        let mut backwards = check(5, 6).batch();
        if let Effect::Unmark { name, .. } = &mut backwards[0] {
            name.swap(17, 19);
        }
        assert_eq!(Check::of(&logged(&backwards)), None);
        let mut rng = Rng::seeded(3);
        for _ in 0..500 {
            assert_eq!(Check::of(&logged(&[samples::effect(&mut rng)])), None);
        }
    }
}
