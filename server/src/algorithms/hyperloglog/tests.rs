//! Strings and counts of redis-server 7.0.15, and what is done with strings that it did not make.

use super::*;

const SPARSE_MAX: usize = 3000;

/// FNV-1a: the tables below hold digests of strings that are too long to be shown.
fn digest(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn element(number: usize) -> Vec<u8> {
    format!("element:{number}").into_bytes()
}

/// What PFADD leaves under a new key.
fn with_elements(numbers: std::ops::Range<usize>) -> HyperLogLog<Vec<u8>> {
    let mut log = HyperLogLog::new();
    log.invalidate_count();
    for number in numbers {
        log.add(&element(number), SPARSE_MAX).expect("our own string");
    }
    log
}

fn foreign(runs: &[u8]) -> Vec<u8> {
    [b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80", runs].concat()
}

#[test]
fn small_strings_are_those_of_redis() {
    let mut log = HyperLogLog::new();
    assert!(log.add(b"a", SPARSE_MAX) == Ok(true) && log.add(b"a", SPARSE_MAX) == Ok(false));
    log.store_count(1);
    assert_eq!(log.add(b"a", SPARSE_MAX), Ok(false));
    assert_eq!(log.bytes, b"HYLL\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00q\xa6\x84NW");
    assert_eq!(log.cached_count(), Some(1));
    let mut log = HyperLogLog::new();
    for letter in [b"a", b"b", b"c", b"d", b"e"] {
        assert_eq!(log.add(letter, SPARSE_MAX), Ok(true));
    }
    let runs = "Z:7292 v:1,1 Z:1143 v:1,1 Z:4274 v:2,1 Z:2445 v:1,1 Z:622 v:1,1 Z:603";
    assert_eq!(log.describe_runs(), Some(Ok(runs.to_owned())));
    assert_eq!((log.cached_count(), log.count()), (None, Ok(5)));
}

#[test]
fn growing_strings_are_those_of_redis() {
    let mut log = HyperLogLog::new();
    let mut added = 0;
    for &(sparse_max, elements, count, len, stale, fresh) in GROWTH {
        if elements == 0 {
            log = HyperLogLog::new();
            log.invalidate_count();
            added = 0;
        }
        for number in added..elements {
            log.add(&element(number), sparse_max).expect("our own string");
        }
        added = elements;
        let label = format!("{elements} elements, at most {sparse_max} bytes");
        assert_eq!((log.bytes.len(), digest(&log.bytes)), (len, stale), "{label}");
        assert_eq!(log.count(), Ok(count), "{label}");
        log.store_count(count);
        assert_eq!(digest(&log.bytes), fresh, "{label}");
    }
}

#[test]
fn merged_strings_are_those_of_redis() {
    for ((a, b, target), union_count, merged, merged_count) in MERGES {
        let mut union = Union::new();
        for numbers in [a, b] {
            union.include(&with_elements(numbers.clone())).expect("our own string");
        }
        assert_eq!(union.count(), union_count);
        let mut log = match target {
            Some(numbers) => {
                let log = with_elements(numbers);
                union.include(&log).expect("our own string");
                log
            }
            None => HyperLogLog::new(),
        };
        log.raise_to(&union, SPARSE_MAX).expect("our own string");
        log.invalidate_count();
        assert_eq!(log.count(), Ok(merged_count));
        assert_eq!(digest(&log.bytes), merged);
    }
}

#[test]
fn both_encodings_hold_the_same_registers() {
    let sparse = with_elements(0..700);
    let mut dense = sparse.clone();
    dense.make_dense().expect("our own string");
    assert_eq!((sparse.encoding(), dense.encoding()), (Encoding::Sparse, Encoding::Dense));
    assert_eq!(sparse.registers(), dense.registers());
    assert_eq!(sparse.count(), dense.count());
    assert_eq!(dense.describe_runs(), None);
    let registers = dense.registers().expect("our own string");
    for (index, rank) in registers.iter().enumerate() {
        assert_eq!(dense::read(dense.body(), index), *rank);
    }
}

#[test]
fn strings_without_a_right_header_are_refused() {
    let dense = vec![0; DENSE_LEN - HEADER_LEN];
    let mut right = foreign(&dense);
    right[ENCODING_AT] = 0;
    assert!(HyperLogLog::open(&right).is_ok());
    let mut wrong = vec![Vec::new(), b"HYLL".to_vec(), right[..DENSE_LEN - 1].to_vec(), [&right[..], b"x"].concat()];
    for (at, byte) in [(0, b'h'), (3, b'M'), (4, 2), (4, 255)] {
        let mut string = right.clone();
        string[at] = byte;
        wrong.push(string);
    }
    for string in wrong {
        assert_eq!(HyperLogLog::open(&string).err(), Some(NotHyperLogLog));
    }
}

#[test]
fn runs_that_do_not_cover_the_registers_are_corrupt() {
    // Nothing, too few, too many in several ways, a code that is cut off.
    let corrupt: [&[u8]; 7] =
        [b"", b"\x7f\xfe", b"\x7f\xff\x00", b"\x7f\xfe\x01", b"\x7f", b"\x7f\xff\x80", b"\x7f\xff\x7f\xff"];
    for runs in corrupt {
        let mut log = HyperLogLog::open(foreign(runs)).expect("the header is right");
        assert_eq!(log.count(), Err(Corrupt), "{runs:x?}");
        assert_eq!(Union::new().include(&log), Err(Corrupt), "{runs:x?}");
        assert_eq!(log.make_dense(), Err(Corrupt), "{runs:x?}");
        // Adding looks no farther than the register it needs, as in Redis: it must only stay within the string.
        for number in 0..200 {
            let _ = log.add(&element(number), SPARSE_MAX);
        }
    }
    // A valid string that Redis would not write: a long code for a single zero, and four registers of rank one.
    let log = HyperLogLog::open(foreign(b"\x40\x00\x7f\xfe")).expect("the header is right");
    assert_eq!(log.count(), Ok(0));
    let log = HyperLogLog::open(foreign(b"\x83\x7f\xfb")).expect("the header is right");
    assert_eq!(log.count(), Ok(4));
}

#[test]
fn registers_no_hash_would_set_do_not_break_the_count() {
    let mut bytes = foreign(&[0xff; DENSE_LEN - HEADER_LEN]);
    bytes[ENCODING_AT] = 0;
    let log = HyperLogLog::open(bytes).expect("the header is right");
    assert_eq!(log.count(), Ok(1 << 63));
}

type Growth = (usize, usize, u64, usize, u64, u64);

/// hll-sparse-max-bytes, elements so far, PFCOUNT, length, digest before and after PFCOUNT stored the count.
const GROWTH: &[Growth] = &[
    (3000, 0, 0, 18, 0x524bc36d036c0579, 0xfd8f436a8f6e62f9),
    (3000, 1, 1, 21, 0x5db2e01c33707b73, 0xee0dc2daee4050ac),
    (3000, 2, 2, 24, 0xb5f439ba372b0f7f, 0x5d893b7a822f218c),
    (3000, 5, 5, 33, 0xa3e1cce9af225ff0, 0xb2a7452ed04ab5c9),
    (3000, 10, 10, 48, 0x0866bcd448ce3760, 0x911d310964ebaba7),
    (3000, 30, 30, 103, 0x825d009eae3ed93e, 0x169fd90550e0a4da),
    (3000, 100, 99, 285, 0x9d426bc7bb81a91a, 0x033e4e4e6be9ec79),
    (3000, 300, 301, 687, 0x26acffd849446284, 0x56def88b8ae4e3e3),
    (3000, 500, 502, 1050, 0x40ad8b9971745032, 0xc9dc690d7dab3bbd),
    (3000, 700, 703, 1401, 0x19084bb3733940b4, 0x00f1a383f6fe06ec),
    (3000, 1000, 997, 1897, 0x8f47c4247005f496, 0xb2a2cc508fc5ee31),
    (3000, 1500, 1500, 2722, 0xc01cc314f31854e0, 0xac1c3b14462300f7),
    (3000, 2000, 2004, 12304, 0x43e27285fcfba7ba, 0x6f0493b07f19385c),
    (3000, 5000, 5005, 12304, 0x65bc5e75e7b23a5b, 0x34cb6bb2d0f2df6a),
    (3000, 20000, 19986, 12304, 0x8e72a99184eb972f, 0x73d1f56db36cfbff),
    (3000, 100000, 100039, 12304, 0x6847c0e1a6b0ca2d, 0xf9c01647cea59fdd),
    (0, 0, 0, 18, 0x524bc36d036c0579, 0xfd8f436a8f6e62f9),
    (0, 1, 1, 12304, 0x0a729531e69893ca, 0x3f3d62d67371776b),
    (0, 10, 10, 12304, 0xb7f2e125ea893559, 0x63ace4b28034de56),
    (0, 100, 99, 12304, 0xda4ce1005bcc87a3, 0xad78a3829a66621e),
    (0, 1000, 997, 12304, 0xfe882a692fba9cc2, 0x911c455082d7f969),
    (0, 5000, 5005, 12304, 0x24ada5f8e8e10e12, 0x34cb6bb2d0f2df6a),
    (100, 0, 0, 18, 0x524bc36d036c0579, 0xfd8f436a8f6e62f9),
    (100, 1, 1, 21, 0x5db2e01c33707b73, 0xee0dc2daee4050ac),
    (100, 10, 10, 48, 0xe9218a38986c21dc, 0x911d310964ebaba7),
    (100, 100, 99, 12304, 0xda4ce1005bcc87a3, 0xad78a3829a66621e),
    (100, 1000, 997, 12304, 0xfe882a692fba9cc2, 0x911c455082d7f969),
    (100, 5000, 5005, 12304, 0x24ada5f8e8e10e12, 0x34cb6bb2d0f2df6a),
    (16000, 0, 0, 18, 0x524bc36d036c0579, 0xfd8f436a8f6e62f9),
    (16000, 1, 1, 21, 0x5db2e01c33707b73, 0xee0dc2daee4050ac),
    (16000, 10, 10, 48, 0xe9218a38986c21dc, 0x911d310964ebaba7),
    (16000, 100, 99, 285, 0x9cfdc47469f3e036, 0x033e4e4e6be9ec79),
    (16000, 1000, 997, 1897, 0xc2a82799d90e3700, 0xb2a2cc508fc5ee31),
    (16000, 5000, 5005, 7205, 0xbe0d841c095941a0, 0x7365d05d9be892d8),
];

type Numbers = std::ops::Range<usize>;
type Merge = ((Numbers, Numbers, Option<Numbers>), u64, u64, u64);

/// Elements of two sources and of the target of PFMERGE; PFCOUNT of the sources; digest and PFCOUNT of the target.
const MERGES: [Merge; 5] = [
    ((0..50, 25..75, None), 74, 0x67f6543564c4ec3d, 74),
    ((0..50, 1000..1100, Some(0..10)), 151, 0x1517855e33d93e0f, 151),
    ((0..5000, 4000..4100, None), 5005, 0x71b59976ab1aa332, 5005),
    ((0..20, 10..30, Some(0..6000)), 30, 0xbfd7afe9b91db487, 6009),
    ((0..0, 0..0, None), 0, 0x524bc36d036c0579, 0),
];
