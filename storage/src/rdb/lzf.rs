//! LZF, the compression of long strings in RDB files and DUMP payloads.
//!
//! The stream is a row of instructions. A first byte below 32 means "copy the next n + 1 bytes from the
//! stream"; else its upper three bits hold the length less two (7: a further byte is added), and the lower five
//! with the next byte the distance less one of an earlier piece of the output to repeat. A repeat may run into
//! what it writes itself. Invariant: `decompress` never writes more than it was told to and never reserves more
//! than the input could yield.

/// The longest literal run, the farthest repeat, and the longest one.
const LITERAL_MAX: usize = 32;
const DISTANCE_MAX: usize = 1 << 13;
const REPEAT_MAX: usize = 7 + 255 + 2;

/// The shortest repeat worth its two bytes.
const REPEAT_MIN: usize = 3;

/// What compression must win: a compressed string carries one more length in a dump.
const GAIN_MIN: usize = 4;

/// Size of the table of recent positions, as a power of two: as large as the input is long, within these bounds, since
/// clearing it is most of the work on a short string.
const TABLE_BITS_MIN: u32 = 8;
const TABLE_BITS_MAX: u32 = 14;

/// The stream is damaged, or does not stand for as many bytes as promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// Restores the `len` bytes that a stream stands for.
pub fn decompress(stream: &[u8], len: usize) -> Result<Vec<u8>, Corrupt> {
    restore(stream, len).ok_or(Corrupt)
}

fn restore(stream: &[u8], len: usize) -> Option<Vec<u8>> {
    // Three bytes yield at most 264: a length that claims more is a lie, and must not make us reserve memory.
    if len > stream.len().saturating_mul(REPEAT_MAX / 3 + 1) {
        return None;
    }
    let mut out = Vec::with_capacity(len);
    let mut rest = stream;
    while let [control, tail @ ..] = rest {
        let control = usize::from(*control);
        if control < LITERAL_MAX {
            let (literals, tail) = tail.split_at_checked(control + 1)?;
            if literals.len() > len - out.len() {
                return None;
            }
            out.extend_from_slice(literals);
            rest = tail;
            continue;
        }
        let (more, tail) = if control >> 5 == 7 {
            let (more, tail) = tail.split_first()?;
            (usize::from(*more), tail)
        } else {
            (0, tail)
        };
        let (low, tail) = tail.split_first()?;
        let distance = ((control & 0x1f) << 8 | usize::from(*low)) + 1;
        let count = (control >> 5) + more + 2;
        if count > len - out.len() {
            return None;
        }
        repeat(&mut out, distance, count)?;
        rest = tail;
    }
    (out.len() == len).then_some(out)
}

/// Compresses; `None` if that would not make the input shorter by at least `GAIN_MIN` bytes.
pub fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let budget = input.len().checked_sub(GAIN_MIN).filter(|budget| *budget > 0)?;
    let mut out = Vec::with_capacity(budget.min(input.len() / 2 + 64));
    // Positions are kept plus one: zero means that nothing was seen.
    let bits = (input.len().ilog2() + 1).clamp(TABLE_BITS_MIN, TABLE_BITS_MAX);
    let mut seen = vec![0u32; 1 << bits];
    let mut literals_from = 0;
    let mut at = 0;
    while at + REPEAT_MIN <= input.len() && at < u32::MAX as usize - REPEAT_MAX {
        let slot = &mut seen[bucket(&input[at..], bits)];
        let candidate = (*slot as usize).wrapping_sub(1);
        *slot = at as u32 + 1;
        let near = candidate < at && at - candidate <= DISTANCE_MAX;
        let len = if near { common_len(input, candidate, at) } else { 0 };
        if len < REPEAT_MIN {
            at += 1;
            continue;
        }
        push_literals(&mut out, &input[literals_from..at]);
        push_repeat(&mut out, at - candidate, len);
        if out.len() > budget {
            return None;
        }
        // The last positions inside the repeat are worth knowing; all of them would cost more than they bring.
        for position in (at + len).saturating_sub(2)..(at + len).min(input.len().saturating_sub(REPEAT_MIN - 1)) {
            seen[bucket(&input[position..], bits)] = position as u32 + 1;
        }
        at += len;
        literals_from = at;
    }
    push_literals(&mut out, &input[literals_from..]);
    (out.len() <= budget).then_some(out)
}

/// Appends `count` bytes that start `distance` before the end of what is there.
fn repeat(out: &mut Vec<u8>, distance: usize, count: usize) -> Option<()> {
    let from = out.len().checked_sub(distance)?;
    if distance >= count {
        out.extend_from_within(from..from + count);
    } else {
        for at in from..from + count {
            out.push(out[at]);
        }
    }
    Some(())
}

/// Mixes three bytes into an index of the table of recent positions.
fn bucket(bytes: &[u8], bits: u32) -> usize {
    let three = u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2]);
    (three.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

fn common_len(input: &[u8], earlier: usize, at: usize) -> usize {
    let limit = REPEAT_MAX.min(input.len() - at);
    let pairs = input[earlier..].iter().zip(&input[at..at + limit]);
    pairs.take_while(|(a, b)| a == b).count()
}

fn push_literals(out: &mut Vec<u8>, literals: &[u8]) {
    for run in literals.chunks(LITERAL_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

fn push_repeat(out: &mut Vec<u8>, distance: usize, len: usize) {
    let (distance, len) = (distance - 1, len - 2);
    let high = (distance >> 8) as u8;
    if len < 7 {
        out.push((len as u8) << 5 | high);
    } else {
        out.push(7 << 5 | high);
        out.push((len - 7) as u8);
    }
    out.push(distance as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let mut seed = 5u64;
        let mut next = move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize
        };
        let mut samples = vec![vec![], vec![7], b"aaa".to_vec(), vec![b'x'; 10_000], b"ab".repeat(500)];
        for round in 0..60 {
            // Words from a small vocabulary, with some noise: long and short repeats at all distances.
            let words: Vec<Vec<u8>> = (0..8).map(|_| (0..next() % 400 + 1).map(|_| next() as u8).collect()).collect();
            let mut sample = Vec::new();
            while sample.len() < round * 500 {
                sample.extend_from_slice(&words[next() % words.len()]);
                sample.extend((0..next() % 40).map(|_| (next() % 4) as u8));
            }
            samples.push(sample);
        }
        samples
    }

    #[test]
    fn what_is_compressed_comes_back() {
        let mut compressed = 0;
        for sample in samples() {
            if let Some(stream) = compress(&sample) {
                assert!(stream.len() + GAIN_MIN <= sample.len());
                assert_eq!(decompress(&stream, sample.len()), Ok(sample));
                compressed += 1;
            }
        }
        assert!(compressed > 50, "only {compressed} samples were worth compressing");
    }

    #[test]
    fn damaged_streams_are_refused() {
        for sample in samples() {
            let Some(stream) = compress(&sample) else {
                continue;
            };
            for len in [0, sample.len() - 1, sample.len() + 1, usize::MAX] {
                assert_eq!(decompress(&stream, len), Err(Corrupt));
            }
            for cut in (0..stream.len()).step_by(stream.len() / 40 + 1) {
                assert_eq!(decompress(&stream[..cut], sample.len()), Err(Corrupt));
            }
        }
        // A repeat from before the start, a literal run behind the end, an instruction that is cut off.
        for stream in [&b"\x20\x00"[..], b"\x00a\x20\x01", b"\x05abc", b"\xe0\x01", b"\x00a\x20"] {
            assert_eq!(decompress(stream, 4), Err(Corrupt), "{stream:?}");
        }
    }

    /// The compressed parts of DUMP payloads of redis-server 7.0.15.
    #[test]
    fn streams_of_redis_are_read() {
        for (expected, stream) in [
            (b"a".repeat(100), &b"\x01aa\xe0W\x00\x01aa"[..]),
            (b"hello world ".repeat(30), &b"\x0chello world h\xe0\xff\x0b\xe1H\x07\x01d "[..]),
            (
                b"abcdefghijklmnopqrstuvwxyz0123456789".repeat(2),
                &b"\x1fabcdefghijklmnopqrstuvwxyz012345\x046789a\xe0\x18#\x0189"[..],
            ),
        ] {
            assert_eq!(decompress(stream, expected.len()), Ok(expected));
        }
    }
}
