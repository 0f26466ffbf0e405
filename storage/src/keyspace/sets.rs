//! Changes of sets.

use super::apply::slices;
use super::handle::Handle;
use crate::effect::KeyEffect;
use crate::rng::Rng;
use crate::types::Set;

impl Handle<'_, '_, Set> {
    /// Adds members; returns how many were new.
    pub fn add<'m>(&mut self, members: impl ExactSizeIterator<Item = &'m [u8]> + Clone) -> usize {
        let limits = self.settings().set_limits();
        let added = self.edit(|set| {
            set.anticipate(members.len(), &limits);
            members.clone().filter(|member| set.add(member, &limits)).count()
        });
        if added > 0 {
            self.account(|| KeyEffect::SetAdd { members: members.map(Box::from).collect() });
        }
        added
    }

    /// Removes members; returns how many were there.
    pub fn remove<'m>(&mut self, members: impl Iterator<Item = &'m [u8]> + Clone) -> usize {
        let removed = self.edit(|set| members.clone().filter(|member| set.remove(member)).count());
        if removed > 0 {
            self.account(|| KeyEffect::SetRemove { members: members.map(Box::from).collect() });
        }
        removed
    }

    /// Removes a random member.
    pub fn pop(&mut self, rng: &mut Rng) -> Option<Vec<u8>> {
        let member = self.edit(|set| set.pop_random(rng))?;
        self.account(|| KeyEffect::SetRemove { members: vec![member.as_slice().into()] });
        Some(member)
    }

    /// Removes `count` random members, or all if there are fewer.
    pub fn pop_many(&mut self, count: usize, rng: &mut Rng) -> Vec<Vec<u8>> {
        let members: Vec<Vec<u8>> = self.edit(|set| (0..count).map_while(|_| set.pop_random(rng)).collect());
        if !members.is_empty() {
            self.account(|| KeyEffect::SetRemove { members: members.iter().map(|member| member[..].into()).collect() });
        }
        members
    }

    pub(super) fn apply(&mut self, effect: KeyEffect) {
        match effect {
            KeyEffect::SetAdd { members } => drop(self.add(slices(&members).into_iter())),
            KeyEffect::SetRemove { members } => drop(self.remove(slices(&members).into_iter())),
            _ => unreachable!("only effects on sets are applied to sets"),
        }
    }
}
