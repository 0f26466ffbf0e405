//! About how many bytes a batch will take in its written form, found out without writing it.

use super::{Effect, KeyEffect, Mark};

/// What an effect takes besides the byte strings in it, at most about.
const EFFECT_BYTES: usize = 16;
const ELEMENT_BYTES: usize = 4;
const RANGE_BYTES: usize = 6;

/// Roughly. Collections count by the memory they take: only small sets of integers take less than what is written.
#[inline]
pub fn bytes_about(batch: &[Effect]) -> usize {
    batch.iter().map(of_effect).sum()
}

#[inline]
fn of_effect(effect: &Effect) -> usize {
    EFFECT_BYTES
        + match effect {
            Effect::Key { key, change, .. } => key.len() + of_change(change),
            Effect::Rename { from, to, .. } => from.len() + to.len(),
            Effect::Flush { .. } | Effect::SwapDb { .. } | Effect::Clear { .. } => 0,
            Effect::Mark(mark) => Mark::NAME_BYTES + RANGE_BYTES * mark.slots.len(),
            Effect::Unmark { .. } => Mark::NAME_BYTES,
        }
}

#[inline]
fn of_change(change: &KeyEffect) -> usize {
    let all = |elements: &[Box<[u8]>]| elements.iter().map(|element| ELEMENT_BYTES + element.len()).sum();
    match change {
        KeyEffect::Put { value, .. } => value.heap_bytes(),
        KeyEffect::Splice { bytes, .. } => bytes.len(),
        KeyEffect::ListPush { elements, .. } => all(elements),
        KeyEffect::ListSet { element, .. }
        | KeyEffect::ListInsert { element, .. }
        | KeyEffect::ListRemove { element, .. } => element.len(),
        KeyEffect::SetAdd { members }
        | KeyEffect::SetRemove { members }
        | KeyEffect::ZsetRemove { members }
        | KeyEffect::HashRemove { fields: members } => all(members),
        KeyEffect::HashPut { fields } => {
            fields.iter().map(|(name, value)| 2 * ELEMENT_BYTES + name.len() + value.len()).sum()
        }
        KeyEffect::ZsetPut { members } => members.iter().map(|(member, _)| ELEMENT_BYTES + 8 + member.len()).sum(),
        KeyEffect::Delete(_) | KeyEffect::SetExpiry(_) | KeyEffect::ListPop { .. } | KeyEffect::ListTrim { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{codec, samples};
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn what_is_written_is_not_much_more() {
        let mut rng = Rng::seeded(11);
        for _ in 0..300 {
            let batch: Vec<Effect> = (0..20).map(|_| samples::effect(&mut rng)).collect();
            let mut bytes = Vec::new();
            codec::encode(&batch, &mut bytes);
            let about = bytes_about(&batch);
            assert!(bytes.len() < 3 * about, "{} bytes, {about} expected", bytes.len());
        }
    }
}
