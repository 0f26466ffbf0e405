//! Drawing lots: the count of HRANDFIELD, SRANDMEMBER and ZRANDMEMBER, and how distinct elements are drawn.
//!
//! Every subset of the wanted size has the same probability, whichever way it is drawn.

use crate::error::{CommandError, NOT_INTEGER};
use basalt_storage::number;
use basalt_storage::rng::Rng;
use hashbrown::HashSet;

/// How many elements are drawn, and whether one may be drawn again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    Distinct(usize),
    WithRepeats(usize),
}

const COUNT_OUT_OF_RANGE: CommandError =
    CommandError::new("ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807");

impl Draw {
    /// A negative count allows repeats.
    pub fn parse(text: &[u8]) -> Result<Draw, CommandError> {
        match number::parse_i64(text).ok_or(NOT_INTEGER)? {
            i64::MIN => Err(COUNT_OUT_OF_RANGE),
            count if count < 0 => Ok(Draw::WithRepeats(count.unsigned_abs() as usize)),
            count => Ok(Draw::Distinct(count as usize)),
        }
    }

    pub fn count(self) -> usize {
        match self {
            Draw::Distinct(count) | Draw::WithRepeats(count) => count,
        }
    }
}

/// Whether `count` of `len` elements are so few that drawing one by one, again if it was drawn before, beats walking
/// through all of them.
pub fn is_few(count: usize, len: usize) -> bool {
    count < len / 3
}

/// Draws `count` distinct elements one by one. There must be more than that.
pub fn distinct<E>(
    count: usize,
    mut draw: impl FnMut() -> Option<E>,
    name: impl Fn(&E) -> &[u8],
    mut take: impl FnMut(&E),
) {
    let mut drawn: HashSet<Box<[u8]>> = HashSet::with_capacity(count);
    while drawn.len() < count {
        let element = draw().expect("a collection at a key is not empty");
        if drawn.insert(name(&element).into()) {
            take(&element);
        }
    }
}

/// Takes `count` of the `len` elements that `all` yields, in their order.
pub fn sample<E>(count: usize, len: usize, all: impl Iterator<Item = E>, rng: &mut Rng, take: impl FnMut(E)) {
    split(count, len, all, rng, take, drop);
}

/// Takes `count` of the `len` elements that `all` yields and leaves the others, each in their order. An element is
/// taken with the probability that the number still wanted has among those still to come.
pub fn split<E>(
    count: usize,
    len: usize,
    all: impl Iterator<Item = E>,
    rng: &mut Rng,
    mut take: impl FnMut(E),
    mut leave: impl FnMut(E),
) {
    let mut wanted = count.min(len);
    for (index, element) in all.enumerate() {
        if wanted > 0 && rng.below((len - index) as u64) < wanted as u64 {
            take(element);
            wanted -= 1;
        } else {
            leave(element);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_size_and_every_element_has_its_chance() {
        let mut rng = Rng::seeded(3);
        let mut hits = [0u32; 10];
        for _ in 0..10_000 {
            let mut taken = Vec::new();
            sample(3, 10, 0..10, &mut rng, |element: usize| taken.push(element));
            assert_eq!(taken.len(), 3);
            assert!(taken.is_sorted());
            taken.iter().for_each(|&element| hits[element] += 1);
        }
        assert!(hits.iter().all(|&hits| (2_700..3_300).contains(&hits)), "{hits:?}");
    }

    #[test]
    fn a_negative_count_allows_repeats() {
        assert_eq!(Draw::parse(b"-3"), Ok(Draw::WithRepeats(3)));
        assert_eq!(Draw::parse(b"3"), Ok(Draw::Distinct(3)));
        assert_eq!(Draw::parse(b"-9223372036854775808"), Err(COUNT_OUT_OF_RANGE));
        assert_eq!(Draw::parse(b"x"), Err(NOT_INTEGER));
    }
}
