//! Changes of sorted sets.

use super::apply::slices;
use super::handle::Handle;
use crate::effect::KeyEffect;
use crate::types::Zset;
use crate::types::zset::Outcome;
use std::ops::Range;

impl Handle<'_, '_, Zset> {
    /// Announces how many members a command is about to add, and the longest of them: the sorted set takes the encoding
    /// that Redis would choose beforehand.
    pub fn anticipate(&mut self, count: usize, longest: usize) {
        let limits = self.settings().zset_limits();
        self.edit(|zset| zset.anticipate(count, longest, &limits));
    }

    /// Sets a member's score to what `decide` makes of the present one, with a single search; `None` leaves it.
    pub fn put_with(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) -> Outcome {
        let limits = self.settings().zset_limits();
        let mut decided = 0.0;
        let outcome = self.edit(|zset| {
            zset.put_with(member, &limits, |present| {
                let score = decide(present);
                decided = score.unwrap_or_default();
                score
            })
        });
        if outcome != Outcome::Unchanged {
            if decided == 0.0 {
                // A packed sorted set keeps no sign of zero, and what is recorded is what is kept.
                decided = self.value().score(member).unwrap_or(decided);
            }
            self.account(|| KeyEffect::ZsetPut { members: vec![(member.into(), decided)] });
        }
        outcome
    }

    pub fn put(&mut self, member: &[u8], score: f64) -> Outcome {
        self.put_with(member, |_| Some(score))
    }

    /// Removes members; returns how many were there.
    pub fn remove<'m>(&mut self, members: impl Iterator<Item = &'m [u8]> + Clone) -> usize {
        let removed = self.edit(|zset| members.clone().filter(|member| zset.remove(member).is_some()).count());
        if removed > 0 {
            self.account(|| KeyEffect::ZsetRemove { members: members.map(Box::from).collect() });
        }
        removed
    }

    /// Removes the members of these ranks; `visit` sees each. Ranges by score and by member come down to ranks:
    /// [`Zset::ranks_by_score`], [`Zset::ranks_by_lex`].
    pub fn remove_by_rank(&mut self, ranks: Range<usize>, mut visit: impl FnMut(&[u8], f64)) -> usize {
        let (mut members, is_recording) = (Vec::new(), self.is_recording());
        let removed = self.edit(|zset| {
            zset.remove_by_rank(ranks, |member, score| {
                visit(member, score);
                if is_recording {
                    members.push(Box::from(member));
                }
            })
        });
        if removed > 0 {
            self.account(|| KeyEffect::ZsetRemove { members });
        }
        removed
    }

    pub(super) fn apply(&mut self, effect: KeyEffect) {
        match effect {
            KeyEffect::ZsetPut { members } => {
                for (member, score) in &members {
                    self.put(member, *score);
                }
            }
            KeyEffect::ZsetRemove { members } => drop(self.remove(slices(&members).into_iter())),
            _ => unreachable!("only effects on sorted sets are applied to sorted sets"),
        }
    }
}
