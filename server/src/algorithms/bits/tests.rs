//! What BITCOUNT and BITPOS of redis-server 7.0.15 answer, and laws of the rest against a bit-by-bit model.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |at: usize| (hex.as_bytes()[at] as char).to_digit(16).expect("a hex digit") as u8;
    (0..hex.len() / 2).map(|at| digit(2 * at) << 4 | digit(2 * at + 1)).collect()
}

/// Strings of every length around the block sizes, with runs of equal bytes.
fn samples() -> Vec<Vec<u8>> {
    let mut seed = 1u64;
    let mut strings = Vec::new();
    for len in (0..70).chain([255, 256, 257, 1000]) {
        let string = (0..len).map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            [0, 0xff, (seed >> 40) as u8, (seed >> 48) as u8][(seed >> 60) as usize % 4]
        });
        strings.push(string.collect());
    }
    strings
}

#[test]
fn ranges_are_counted_and_searched_as_in_redis() {
    for &(string, unit, start, end, wanted, [count, within, open, whole]) in RANGES {
        let label = format!("{string} {start} {end} {unit:?} {wanted:?}");
        let string = bytes(string);
        assert_eq!(count_in(&string, start, end, unit) as i64, count, "{label}");
        assert_eq!(position(Some(&string), wanted, start, Some(end), unit), within, "{label}");
        assert_eq!(position(Some(&string), wanted, start, None, Unit::Byte), open, "{label}");
        assert_eq!(position(Some(&string), wanted, 0, None, Unit::Byte), whole, "{label}");
    }
    assert_eq!(position(None, Bit::Set, 0, None, Unit::Byte), -1);
    assert_eq!(position(None, Bit::Clear, 5, Some(7), Unit::Byte), 0);
    assert_eq!(count_in(b"abc", i64::MIN, i64::MAX, Unit::Bit), 10);
}

#[test]
fn counts_are_sums_of_bits() {
    for string in samples() {
        let ones = (0..string.len() as u64 * 8).filter(|at| bit(&string, *at) == Bit::Set).count();
        assert_eq!(count(&string), ones as u64, "{string:02x?}");
    }
}

#[test]
fn combinations_pad_with_zeros() {
    for trio in samples().windows(3) {
        let mut inputs: Vec<&[u8]> = trio.iter().map(Vec::as_slice).collect();
        inputs.swap(0, 2);
        let len = inputs.iter().map(|input| input.len()).max().unwrap_or(0);
        for (operation, fold) in [
            (Operation::And, (|a, b| a & b) as fn(u8, u8) -> u8),
            (Operation::Or, |a, b| a | b),
            (Operation::Xor, |a, b| a ^ b),
        ] {
            let byte = |at: usize| inputs.iter().map(|input| input.get(at).copied().unwrap_or(0)).reduce(fold);
            let expected: Option<Vec<u8>> = (0..len).map(byte).collect();
            assert_eq!(Some(combine(operation, &inputs)), expected, "{operation:?}");
        }
        let flipped: Vec<u8> = trio[0].iter().map(|byte| !byte).collect();
        assert_eq!(combine(Operation::Not, &inputs[2..]), flipped);
    }
    assert_eq!(combine(Operation::Or, &[]), b"");
}

#[test]
fn bits_are_replaced_one_at_a_time() {
    let mut string = vec![0u8; 3];
    assert_eq!(replace_bit(&mut string, 7, Bit::Set), Bit::Clear);
    assert_eq!(replace_bit(&mut string, 8, Bit::Set), Bit::Clear);
    assert_eq!(replace_bit(&mut string, 23, Bit::Set), Bit::Clear);
    assert_eq!(string, [1, 0x80, 1]);
    assert_eq!(replace_bit(&mut string, 7, Bit::Clear), Bit::Set);
    assert_eq!(string, [0, 0x80, 1]);
    assert_eq!((bit(&string, 8), bit(&string, 9), bit(&string, 24)), (Bit::Set, Bit::Clear, Bit::Clear));
}

type Case = (&'static str, Unit, i64, i64, Bit, [i64; 4]);

/// String, unit, start, end, wanted bit; answers of BITCOUNT, BITPOS with both ends, with a start, with neither.
const RANGES: &[Case] = &[
    ("", Unit::Bit, 3, 0, Bit::Clear, [0, -1, -1, -1]),
    ("", Unit::Byte, 0, -1, Bit::Set, [0, -1, -1, -1]),
    ("", Unit::Bit, 1, 3, Bit::Set, [0, -1, -1, -1]),
    ("e384", Unit::Bit, -1, 7, Bit::Set, [0, -1, 8, 0]),
    ("ffffffffffffffff", Unit::Bit, -42, -1, Bit::Clear, [42, -1, 64, 64]),
    ("4a", Unit::Byte, 0, 1, Bit::Set, [3, 1, 1, 1]),
    ("0000000000000000000000000000000000", Unit::Byte, 0, -1, Bit::Set, [0, -1, -1, -1]),
    ("a900", Unit::Bit, 5, 6, Bit::Set, [0, -1, -1, 0]),
    ("007800", Unit::Byte, 0, 3, Bit::Clear, [4, 0, 0, 0]),
    ("c88186c2e7f3d10e24724725412e4494d9", Unit::Bit, -1, -1, Bit::Set, [1, 135, 128, 0]),
    ("9a866f58c5ffdccd08", Unit::Bit, 0, -1, Bit::Set, [39, 0, 0, 0]),
    ("ffff", Unit::Byte, 0, -1, Bit::Clear, [16, -1, 16, 16]),
    ("0a20", Unit::Byte, 5, -1, Bit::Set, [0, -1, -1, 4]),
    ("6742", Unit::Byte, -4, 0, Bit::Set, [5, 1, 1, 1]),
    ("ae58644d076a42a62b8ef615c0fdb8e2aa", Unit::Bit, -80, 118, Bit::Set, [34, 56, 0, 0]),
    ("2f52e8", Unit::Bit, -1, -1, Bit::Clear, [0, 23, 19, 0]),
    ("000000", Unit::Byte, 4, -1, Bit::Clear, [0, -1, -1, 0]),
    ("000000", Unit::Bit, -1, -1, Bit::Clear, [0, 23, 16, 0]),
    ("00", Unit::Byte, -1, 3, Bit::Set, [0, -1, -1, -1]),
    ("00003d000000000000", Unit::Bit, 0, -1, Bit::Clear, [5, 0, 0, 0]),
    ("000000000000000000", Unit::Bit, -1, 49, Bit::Clear, [0, -1, 64, 0]),
    ("00", Unit::Bit, 0, -1, Bit::Set, [0, -1, -1, -1]),
    ("69", Unit::Bit, 7, 3, Bit::Set, [0, -1, -1, 1]),
    ("00000000007d0000", Unit::Byte, -1, -1, Bit::Set, [0, -1, -1, 41]),
    ("8b59f3ebe54d2972b8a575d3dac62fcec3", Unit::Byte, -10, -19, Bit::Clear, [0, -1, 56, 1]),
    ("ffffff6cffffffffffffffffffffffffff", Unit::Byte, -1, -19, Bit::Clear, [0, -1, 136, 24]),
    ("00", Unit::Bit, 0, -1, Bit::Clear, [0, 0, 0, 0]),
    ("ffff", Unit::Bit, -1, 11, Bit::Set, [0, -1, 8, 0]),
    ("90a2bdb06dbcac9dd2176fa9d0f27e2569", Unit::Byte, -1, -5, Bit::Set, [0, -1, 129, 0]),
    ("a28988319824e3fa", Unit::Bit, -1, -47, Bit::Clear, [0, -1, 61, 1]),
    ("a3", Unit::Byte, -4, -1, Bit::Clear, [4, 1, 1, 1]),
    ("16", Unit::Bit, -1, -1, Bit::Set, [0, -1, 3, 3]),
    ("c00832", Unit::Bit, -1, -1, Bit::Clear, [0, 23, 16, 2]),
    ("0000000000000054000000000000000000", Unit::Bit, -1, -1, Bit::Set, [0, -1, -1, 57]),
    ("aaeb", Unit::Bit, 0, -1, Bit::Clear, [10, 1, 1, 1]),
    ("000000000000006400", Unit::Byte, -6, 1, Bit::Set, [0, -1, 57, 57]),
    ("ffff", Unit::Bit, 0, -1, Bit::Set, [16, 0, 0, 0]),
    ("70ee2c", Unit::Byte, -1, -1, Bit::Clear, [3, 16, 16, 0]),
    ("0000000000000000", Unit::Bit, -39, -1, Bit::Clear, [0, 25, 0, 0]),
    ("c017", Unit::Byte, -1, -4, Bit::Set, [0, -1, 11, 0]),
    ("c8", Unit::Byte, 0, -1, Bit::Set, [3, 0, 0, 0]),
    ("008e", Unit::Bit, -1, 14, Bit::Clear, [0, -1, 9, 0]),
    ("0000000000002b00000000000000000000", Unit::Byte, -1, -11, Bit::Set, [0, -1, -1, 50]),
    ("bee60282e425574aef9ac2a494dc74f385", Unit::Byte, -1, 11, Bit::Set, [0, -1, 128, 0]),
    ("000000005500000000", Unit::Byte, -1, 4, Bit::Set, [0, -1, -1, 33]),
    ("59e4c9", Unit::Byte, 0, 3, Bit::Set, [12, 1, 1, 1]),
    ("7c10de1e46bb9ce156", Unit::Byte, -1, -4, Bit::Set, [0, -1, 65, 1]),
    ("ffffffffffffffffff", Unit::Byte, -1, -6, Bit::Set, [0, -1, 64, 0]),
    ("0000000000000000", Unit::Bit, -19, -1, Bit::Set, [0, -1, -1, -1]),
    ("ffff", Unit::Byte, -1, -1, Bit::Set, [8, 8, 8, 0]),
    ("b26c87669db71bcaff550fdc318d6d52f9", Unit::Bit, -1, 44, Bit::Set, [0, -1, 128, 0]),
    ("335eae4830b9faab", Unit::Bit, 30, 48, Bit::Set, [8, 34, -1, 2]),
    ("d51e", Unit::Byte, 0, 5, Bit::Set, [9, 0, 0, 0]),
    ("ffffffff5fffffffffffffffffffffffff", Unit::Byte, 0, -1, Bit::Set, [134, 0, 0, 0]),
    ("68f6eb2a9f244e33", Unit::Byte, -1, -1, Bit::Set, [4, 58, 58, 1]),
    ("0000", Unit::Byte, 0, -1, Bit::Clear, [0, 0, 0, 0]),
    ("2905af", Unit::Byte, 3, 6, Bit::Set, [0, -1, -1, 2]),
    ("e3", Unit::Bit, -1, -1, Bit::Clear, [1, -1, 3, 3]),
    ("beea3b54e3c41e0b", Unit::Byte, 0, 1, Bit::Clear, [11, 1, 1, 1]),
    ("47542899adf48e7e", Unit::Bit, -1, -1, Bit::Set, [0, -1, 57, 1]),
    ("4c", Unit::Bit, -3, -1, Bit::Clear, [1, 6, 0, 0]),
    ("0000000000000000000000000000000000", Unit::Bit, -1, 106, Bit::Set, [0, -1, -1, -1]),
    ("a7ddcd2a0e0d64b9", Unit::Bit, 34, 37, Bit::Clear, [2, 34, -1, 1]),
    ("2ac6beaaf038b88d3c99e55504a5a8e838", Unit::Bit, 0, -1, Bit::Set, [64, 2, 2, 2]),
    ("ffffffffffffffff", Unit::Byte, -6, -3, Bit::Clear, [32, -1, 64, 64]),
    ("ffffff47ffffffff", Unit::Byte, 0, 2, Bit::Clear, [24, -1, 24, 24]),
    ("ffffffffffffffffff", Unit::Bit, -2, -38, Bit::Clear, [0, -1, 72, 72]),
    ("0061", Unit::Bit, -8, -19, Bit::Set, [0, -1, 9, 9]),
    ("4889fa2304418bdc81", Unit::Bit, -34, -16, Bit::Clear, [7, 38, 0, 0]),
    ("6100", Unit::Byte, -1, -1, Bit::Set, [0, -1, -1, 1]),
    ("0000000000000000", Unit::Bit, 18, -1, Bit::Set, [0, -1, -1, -1]),
    ("ae", Unit::Bit, 0, -1, Bit::Clear, [5, 1, 1, 1]),
    ("36", Unit::Bit, -10, -1, Bit::Clear, [4, 0, 0, 0]),
    ("000000007400000000", Unit::Byte, -1, 0, Bit::Clear, [0, -1, 64, 0]),
    ("0000", Unit::Bit, -1, -1, Bit::Set, [0, -1, -1, -1]),
    ("d895", Unit::Bit, 0, 15, Bit::Set, [8, 0, 0, 0]),
    ("00", Unit::Bit, 0, -11, Bit::Clear, [0, 0, 0, 0]),
    ("ff", Unit::Byte, -2, -1, Bit::Set, [8, 0, 0, 0]),
    ("ff", Unit::Byte, 0, -1, Bit::Set, [8, 0, 0, 0]),
    ("ffffff", Unit::Byte, 0, 6, Bit::Clear, [24, -1, 24, 24]),
    ("4e9e6cc083d98fc8", Unit::Bit, 0, -1, Bit::Clear, [31, 0, 0, 0]),
    ("48", Unit::Byte, -1, -2, Bit::Clear, [0, 0, 0, 0]),
    ("bd", Unit::Bit, 4, -1, Bit::Clear, [3, 6, -1, 1]),
    ("b294445a87647f68", Unit::Bit, -1, -1, Bit::Clear, [0, 63, 56, 1]),
    ("3cc08e8e8d2af8632f", Unit::Bit, 0, 4, Bit::Set, [3, 2, 2, 2]),
    ("ffffffffffffffffffffffffffffffffff", Unit::Byte, 0, -1, Bit::Clear, [136, -1, 136, 136]),
    ("ffffffffffffffff", Unit::Byte, 0, -1, Bit::Set, [64, 0, 0, 0]),
    ("f8379021c4d42eaf", Unit::Byte, -1, -1, Bit::Clear, [6, 57, 57, 5]),
    ("000000", Unit::Bit, -1, -1, Bit::Clear, [0, 23, 16, 0]),
    ("97be14", Unit::Byte, -1, -1, Bit::Set, [2, 19, 19, 0]),
    ("ffffffffffffffffff", Unit::Bit, 0, -1, Bit::Clear, [72, -1, 72, 72]),
    ("000000", Unit::Bit, -1, -1, Bit::Set, [0, -1, -1, -1]),
    ("0000000000000000000000003500000000", Unit::Bit, 0, -80, Bit::Set, [0, -1, 98, 98]),
    ("00", Unit::Byte, 2, 4, Bit::Clear, [0, -1, -1, 0]),
    ("ffffffffffffffffff", Unit::Byte, 0, 11, Bit::Set, [72, 0, 0, 0]),
    ("5ae592", Unit::Byte, 0, 4, Bit::Set, [12, 1, 1, 1]),
    ("3f00", Unit::Bit, -1, -1, Bit::Clear, [0, 15, 8, 0]),
    ("ebffff", Unit::Byte, 0, -1, Bit::Set, [22, 0, 0, 0]),
    ("ffffffffffffffff", Unit::Byte, -7, -10, Bit::Clear, [0, -1, 64, 64]),
    ("0000", Unit::Byte, -1, 1, Bit::Clear, [0, 8, 8, 0]),
    ("ca37dcb35c4e3773c4", Unit::Byte, 8, 8, Bit::Clear, [3, 66, 66, 2]),
    ("00000000006c0000000000000000000000", Unit::Bit, 0, 120, Bit::Set, [4, 41, 41, 41]),
    ("00", Unit::Byte, 2, -3, Bit::Clear, [0, -1, -1, 0]),
    ("3d", Unit::Bit, -8, -9, Bit::Set, [0, -1, 2, 2]),
    ("ffffff", Unit::Byte, 0, 0, Bit::Clear, [8, -1, 24, 24]),
    ("0000000000000000", Unit::Bit, 38, -1, Bit::Clear, [0, 38, -1, 0]),
    ("d12ec9d599e6d0259b723fc8283f229dc3", Unit::Bit, 0, -1, Bit::Clear, [69, 2, 2, 2]),
    ("ffffff", Unit::Bit, -1, -1, Bit::Clear, [1, -1, 24, 24]),
    ("e39d7ffbe597d4590a56d01646652460b8", Unit::Byte, -1, -1, Bit::Clear, [4, 129, 129, 3]),
    ("c62535", Unit::Bit, -8, -1, Bit::Clear, [4, 16, 2, 2]),
    ("ffffffffebffffffff", Unit::Bit, -1, -1, Bit::Clear, [1, -1, 72, 35]),
    ("0d1e", Unit::Bit, -1, 5, Bit::Set, [0, -1, 11, 4]),
    ("000000", Unit::Byte, 0, -1, Bit::Set, [0, -1, -1, -1]),
    ("0000", Unit::Bit, -1, -4, Bit::Set, [0, -1, -1, -1]),
    ("ffff", Unit::Bit, 3, 5, Bit::Clear, [3, -1, -1, 16]),
    ("fac78736e53cd019", Unit::Bit, 0, -1, Bit::Clear, [34, 5, 5, 5]),
    ("00", Unit::Byte, 0, -1, Bit::Set, [0, -1, -1, -1]),
    ("0000000000000000", Unit::Byte, -1, -1, Bit::Clear, [0, 56, 56, 0]),
    ("0edafd9cf1de958c", Unit::Byte, 0, -1, Bit::Set, [37, 4, 4, 4]),
    ("000000000000000000", Unit::Byte, 0, 11, Bit::Set, [0, -1, -1, -1]),
    ("ffffffffffffffffffffffffffffffffff", Unit::Bit, 0, -1, Bit::Set, [136, 0, 0, 0]),
    ("ffffffffffff76ffff", Unit::Byte, -1, -1, Bit::Set, [8, 64, 64, 0]),
    ("5fffff", Unit::Byte, -1, -1, Bit::Clear, [8, -1, 24, 0]),
    ("2dcf", Unit::Byte, 0, 0, Bit::Set, [4, 2, 2, 2]),
    ("ffffffffffffffff", Unit::Bit, 0, -1, Bit::Set, [64, 0, 0, 0]),
    ("fcf48c2c281c41c734", Unit::Byte, 0, -1, Bit::Clear, [32, 6, 6, 6]),
    ("ffffffffffff61ffff", Unit::Byte, 4, -1, Bit::Set, [35, 32, 32, 0]),
    ("ffffffffe3ffffffff", Unit::Bit, 0, 75, Bit::Clear, [69, 35, 35, 35]),
    ("0900", Unit::Byte, 0, -5, Bit::Set, [2, 4, 4, 4]),
    ("ffffffffffffffffffffffffffffffffff", Unit::Bit, 136, -1, Bit::Set, [0, -1, -1, 0]),
    ("295d885e52ca6f4c4e", Unit::Byte, -1, -1, Bit::Clear, [4, 64, 64, 0]),
    ("ff", Unit::Byte, -1, -1, Bit::Set, [8, 0, 0, 0]),
    ("d800", Unit::Bit, 0, -1, Bit::Clear, [4, 2, 2, 2]),
    ("173d21eddf20fec92a6c302df5cede41bc", Unit::Bit, 0, -64, Bit::Set, [39, 3, 3, 3]),
    ("ffffffffffffffffffffffffffffffffff", Unit::Bit, 0, -1, Bit::Clear, [136, -1, 136, 136]),
    ("aae8a92603da43fb", Unit::Bit, -1, 31, Bit::Clear, [0, -1, 61, 1]),
    ("000000003c000000000000000000000000", Unit::Byte, -3, -1, Bit::Clear, [0, 112, 112, 0]),
    ("332b26180f634b2c", Unit::Byte, -1, -1, Bit::Clear, [3, 56, 56, 0]),
    ("000000", Unit::Bit, 0, 0, Bit::Clear, [0, 0, 0, 0]),
    ("ffffffffffffffffffff53ffffffffffff", Unit::Bit, 0, -1, Bit::Clear, [132, 80, 80, 80]),
    ("c6197b2b7fc1b25b18f3ef593977524391", Unit::Byte, 0, -7, Bit::Clear, [51, 2, 2, 2]),
    ("0000000000000000", Unit::Bit, -1, -41, Bit::Clear, [0, -1, 56, 0]),
    ("d5e6a98b20faa5d2", Unit::Bit, 0, -1, Bit::Clear, [33, 2, 2, 2]),
];
