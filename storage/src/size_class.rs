//! The allocator's size classes, as far as our own layouts depend on them.
//!
//! Thin allocations (entries, members, fields, packed collections) do not store how large they are: they are always
//! asked for in a whole size class, so that the size follows from the content, and content may grow in place to the end
//! of its class. The classes are those that mimalloc and jemalloc share: steps of 8 bytes up to 64, from there four
//! steps per doubling. With another allocator the code stays correct and only wastes a little.

/// The smallest size class, in bytes, that holds `bytes`.
#[inline]
pub const fn round_up(bytes: usize) -> usize {
    if bytes <= 64 {
        let rounded = (bytes + 7) & !7;
        return if rounded == 0 { 8 } else { rounded };
    }
    // Four classes per doubling: the step is a quarter of the power of two below.
    let step = 1usize << (usize::BITS - 1 - (bytes - 1).leading_zeros() - 2);
    (bytes + step - 1) & !(step - 1)
}

#[cfg(test)]
mod tests {
    use super::round_up;

    #[test]
    fn classes_are_those_of_the_allocator() {
        let expected = [(0, 8), (1, 8), (8, 8), (9, 16), (24, 24), (57, 64), (64, 64), (65, 80), (81, 96), (97, 112)];
        for (bytes, class) in expected {
            assert_eq!(round_up(bytes), class, "{bytes}");
        }
        for (bytes, class) in [(113, 128), (128, 128), (129, 160), (257, 320), (1024, 1024), (1025, 1280)] {
            assert_eq!(round_up(bytes), class, "{bytes}");
        }
    }

    #[test]
    fn a_class_is_its_own_class() {
        for bytes in 0..10_000 {
            let class = round_up(bytes);
            assert!(class >= bytes && round_up(class) == class);
        }
    }
}
