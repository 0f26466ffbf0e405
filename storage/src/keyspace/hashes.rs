//! Changes of hashes.

use super::apply::slices;
use super::handle::Handle;
use crate::effect::KeyEffect;
use crate::types::{Hash, PutOutcome};

impl Handle<'_, '_, Hash> {
    /// Sets fields to values; returns how many fields are new.
    pub fn put<'f>(&mut self, fields: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8])> + Clone) -> usize {
        let limits = self.settings().hash_limits();
        let created = self.edit(|hash| {
            hash.anticipate(fields.len(), &limits);
            let is_new = |(field, value): &(&[u8], &[u8])| hash.put(field, value, &limits) == PutOutcome::Created;
            fields.clone().filter(is_new).count()
        });
        let owned = |(field, value): (&[u8], &[u8])| (field.into(), value.into());
        self.account(|| KeyEffect::HashPut { fields: fields.map(owned).collect() });
        created
    }

    /// Removes fields; returns how many were there.
    pub fn remove<'f>(&mut self, fields: impl Iterator<Item = &'f [u8]> + Clone) -> usize {
        let removed = self.edit(|hash| fields.clone().filter(|field| hash.remove(field)).count());
        if removed > 0 {
            self.account(|| KeyEffect::HashRemove { fields: fields.map(Box::from).collect() });
        }
        removed
    }

    pub(super) fn apply(&mut self, effect: KeyEffect) {
        match effect {
            KeyEffect::HashPut { fields } => {
                let fields: Vec<_> = fields.iter().map(|(field, value)| (&field[..], &value[..])).collect();
                self.put(fields.into_iter());
            }
            KeyEffect::HashRemove { fields } => drop(self.remove(slices(&fields).into_iter())),
            _ => unreachable!("only effects on hashes are applied to hashes"),
        }
    }
}
