//! The simulation's only source of randomness: the one that groups are simulated with, and choices.

#[path = "../../../cluster/tests/sim/rng.rs"]
mod of_groups;

pub use of_groups::Rng;

pub fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> Option<T> {
    (!choices.is_empty()).then(|| choices[rng.below(choices.len() as u64) as usize])
}
