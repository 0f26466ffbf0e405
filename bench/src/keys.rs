//! Names of keys, and numbers drawn at random to choose among them.

pub fn key(number: u64) -> String {
    format!("key:{number:012}")
}

/// The chances of the ranks, summed up.
pub fn zipf(ranks: u64) -> Vec<f64> {
    let mut sums: Vec<f64> = (1..=ranks)
        .scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-0.99);
            Some(*sum)
        })
        .collect();
    let total = sums[sums.len() - 1];
    sums.iter_mut().for_each(|sum| *sum /= total);
    sums
}

/// Numbers drawn at random, the same ones each time: SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
