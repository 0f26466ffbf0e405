//! The seeded random generator that is handed to everything that draws lots: RANDOMKEY, SPOP, sampling for eviction.
//!
//! It is wyrand: one addition and one widening multiplication per number, far better than the uses here need and
//! never a source of secrets. Code that decides something takes `&mut Rng`, so that a test can replay it from a seed.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// A deterministic stream of pseudo-random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// The same seed always yields the same stream.
    pub const fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A stream that differs from process to process and from call to call.
    pub fn from_entropy() -> Self {
        // The standard library keys its hash maps from the operating system's generator; an empty hash under such
        // a key is that entropy, without a dependency of our own.
        Self { state: RandomState::new().hash_one(()) }
    }

    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0xa076_1d64_78bd_642f);
        let wide = u128::from(self.state) * u128::from(self.state ^ 0xe703_7ed1_a0b4_28db);
        (wide >> 64) as u64 ^ wide as u64
    }

    /// A number in `0..bound`, uniform without the bias of a plain remainder.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number is below zero");
        let mut wide = u128::from(self.next_u64()) * u128::from(bound);
        if (wide as u64) < bound {
            // Lemire's method: the low halves under 2^64 mod bound belong to the numbers drawn once too often.
            let threshold = bound.wrapping_neg() % bound;
            while (wide as u64) < threshold {
                wide = u128::from(self.next_u64()) * u128::from(bound);
            }
        }
        (wide >> 64) as u64
    }

    /// A number in `0.0..1.0` with all 53 bits of precision.
    #[inline]
    pub fn f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_replays_its_stream_and_entropy_does_not() {
        let draw = |mut rng: Rng| (0..8).map(|_| rng.next_u64()).collect::<Vec<_>>();
        assert_eq!(draw(Rng::seeded(7)), draw(Rng::seeded(7)));
        assert_ne!(draw(Rng::seeded(7)), draw(Rng::seeded(8)));
        assert_ne!(draw(Rng::from_entropy()), draw(Rng::from_entropy()));
    }

    #[test]
    fn below_is_even_over_its_range() {
        let mut rng = Rng::seeded(1);
        let mut hits = [0u32; 10];
        for _ in 0..100_000 {
            hits[rng.below(10) as usize] += 1;
        }
        assert!(hits.iter().all(|&n| (9_500..10_500).contains(&n)), "{hits:?}");
        assert_eq!(rng.below(1), 0);
    }

    #[test]
    fn f64_stays_in_the_unit_interval() {
        let mut rng = Rng::seeded(2);
        let draws: Vec<f64> = (0..10_000).map(|_| rng.f64()).collect();
        assert!(draws.iter().all(|x| (0.0..1.0).contains(x)));
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((0.48..0.52).contains(&mean), "{mean}");
    }
}
