//! The estimator: Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017), as Redis
//! uses it.
//!
//! The order of the floating-point operations is part of the contract: equal registers must give Redis's very
//! count.

use super::{RANK_MAX, REGISTERS};

/// 1 / (2 ln 2), the limit of the bias correction for many registers.
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// How many registers have each rank. A foreign string can hold ranks that no hash yields: they are counted,
/// not used.
pub(super) struct Histogram {
    registers: [u32; 64],
}

impl Histogram {
    pub(super) fn new() -> Histogram {
        Histogram { registers: [0; 64] }
    }

    pub(super) fn add(&mut self, rank: u8, count: u32) {
        self.registers[usize::from(rank)] += count;
    }

    pub(super) fn estimate(&self) -> u64 {
        let m = REGISTERS as f64;
        let registers = |rank: u8| f64::from(self.registers[usize::from(rank)]);
        let mut z = m * tau((m - registers(RANK_MAX)) / m);
        for rank in (1..RANK_MAX).rev() {
            z += registers(rank);
            z *= 0.5;
        }
        z += m * sigma(registers(0) / m);
        // All registers at ranks that no hash yields give an infinite estimate, and Redis the integer that C
        // makes of it.
        ((ALPHA * m * m / z).round() as u64).min(1 << 63)
    }
}

/// The correction for registers that are still zero; `x` is their share.
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        let before = z;
        x *= x;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

/// The correction for registers at the largest rank; `x` is the share of the others.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        let before = z;
        x = x.sqrt();
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}
