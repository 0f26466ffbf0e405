//! The request decoder against the redis-protocol crate, and against bytes that nobody should send.
//!
//! Goal: the hand-written decoder gives what the crate gives, however the bytes are split, and survives anything.
//! Method: seeded random requests, some of them damaged, cut at every byte. A failure prints its seed.

use basalt_server::resp::batch::{Batch, Stop};
use basalt_server::resp::decode::{Decoded, Decoder, Limits, ProtocolError};
use basalt_storage::rng::Rng;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

const LIMITS: Limits = Limits { bulk_len_max: 1 << 20, authenticated: true };
const SEEDS: u64 = 3000;

type Request = Vec<Vec<u8>>;

fn random_bytes(rng: &mut Rng, longest: u64) -> Vec<u8> {
    // Bytes that mean something in the protocol come often.
    const COMMON: &[u8] = b"\r\n*$+-:0123456789abc";
    let length = rng.below(longest + 1);
    (0..length)
        .map(|_| match rng.below(3) {
            0 => rng.below(256) as u8,
            _ => COMMON[rng.below(COMMON.len() as u64) as usize],
        })
        .collect()
}

fn encode(request: &Request) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend(format!("${}\r\n", argument.len()).bytes());
        bytes.extend(argument);
        bytes.extend(b"\r\n");
    }
    bytes
}

fn random_request(rng: &mut Rng) -> Request {
    (0..1 + rng.below(6)).map(|_| random_bytes(rng, 40)).collect()
}

/// What the crate makes of the bytes: all whole requests, if it finds nothing wrong.
fn by_the_crate(mut bytes: &[u8]) -> Option<Vec<Request>> {
    let mut requests = Vec::new();
    loop {
        match decode(bytes) {
            Ok(Some((OwnedFrame::Array(frames), used))) => {
                let argument = |frame| match frame {
                    OwnedFrame::BulkString(argument) => Some(argument),
                    _ => None,
                };
                requests.push(frames.into_iter().map(argument).collect::<Option<Request>>()?);
                bytes = &bytes[used..];
            }
            Ok(None) => return Some(requests),
            Ok(Some(_)) | Err(_) => return None,
        }
    }
}

/// What we make of the bytes when they arrive in pieces of this size.
fn by_us(bytes: &[u8], piece: usize) -> Result<Vec<Request>, ProtocolError> {
    let (mut decoder, mut requests) = (Decoder::default(), Vec::new());
    let (mut start, mut arrived, mut needed) = (0, 0, 1);
    loop {
        if arrived - start < needed {
            if arrived == bytes.len() {
                return Ok(requests);
            }
            arrived = (arrived + piece).min(bytes.len());
            continue;
        }
        let input = &bytes[start..arrived];
        match decoder.decode(input, LIMITS)? {
            Decoded::Request { bytes: used } => {
                if let Some(args) = decoder.args(input) {
                    requests.push(args.from(0).map(<[u8]>::to_vec).collect());
                }
                decoder.finish();
                start += used;
                needed = 1;
            }
            Decoded::Incomplete { needed: more } => {
                assert!(more > input.len(), "{more} of {} bytes are there already", input.len());
                needed = more;
            }
        }
    }
}

#[test]
fn pieces_of_any_size_give_what_the_crate_gives() {
    for seed in 0..SEEDS {
        let mut rng = Rng::seeded(seed);
        let requests: Vec<Request> = (0..1 + rng.below(4)).map(|_| random_request(&mut rng)).collect();
        let bytes: Vec<u8> = requests.iter().flat_map(encode).collect();
        assert_eq!(by_the_crate(&bytes).as_ref(), Some(&requests), "seed {seed}");
        for piece in [1, 2, 3, 7, 64, bytes.len()] {
            assert_eq!(by_us(&bytes, piece).as_ref(), Ok(&requests), "seed {seed}, pieces of {piece}");
        }
    }
}

#[test]
fn every_cut_of_a_request_asks_for_more_and_then_gives_the_whole() {
    for seed in 0..SEEDS / 10 {
        let request = random_request(&mut Rng::seeded(seed));
        let bytes = encode(&request);
        for cut in 1..bytes.len() {
            let mut decoder = Decoder::default();
            let early = decoder.decode(&bytes[..cut], LIMITS).expect("a prefix of a valid request");
            assert!(matches!(early, Decoded::Incomplete { needed } if needed > cut), "seed {seed}, cut {cut}");
            assert_eq!(decoder.decode(&bytes, LIMITS), Ok(Decoded::Request { bytes: bytes.len() }), "seed {seed}");
            let args = decoder.args(&bytes).expect("a request has arguments");
            assert!(args.from(0).eq(request.iter().map(Vec::as_slice)), "seed {seed}, cut {cut}");
        }
    }
}

#[test]
fn batches_give_the_same_requests() {
    for seed in 0..SEEDS {
        let mut rng = Rng::seeded(seed);
        let requests: Vec<Request> = (0..1 + rng.below(80)).map(|_| random_request(&mut rng)).collect();
        let bytes: Vec<u8> = requests.iter().flat_map(encode).collect();
        let (mut batch, mut decoder, mut found, mut at) = (Batch::default(), Decoder::default(), Vec::new(), 0);
        while at < bytes.len() {
            let stop = batch.fill(&mut decoder, &bytes, at, LIMITS);
            for index in 0..batch.len() {
                let args = batch.args(index, &bytes).expect("a request has arguments");
                found.push(args.from(0).map(<[u8]>::to_vec).collect::<Request>());
                if args.len() > 1 {
                    assert_eq!(args.key(1).bytes, args.at(1), "seed {seed}");
                }
                at = batch.end(index);
            }
            assert!(stop == Stop::Full || at == bytes.len(), "seed {seed}: {stop:?}");
        }
        assert_eq!(found, requests, "seed {seed}");
    }
}

#[test]
fn damaged_bytes_never_give_what_the_crate_would_not() {
    let mut understood = 0;
    for seed in 0..SEEDS * 10 {
        let mut rng = Rng::seeded(seed);
        let mut bytes: Vec<u8> = (0..1 + rng.below(3)).flat_map(|_| encode(&random_request(&mut rng))).collect();
        for _ in 0..1 + rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] = random_bytes(&mut rng, 1).first().copied().unwrap_or(b'*'),
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"*$\r\n-9"[rng.below(6) as usize]),
            }
            if bytes.is_empty() {
                bytes.push(b'*');
            }
        }
        let ours = by_us(&bytes, 1 + rng.below(64) as usize);
        // The outcome must not depend on how the bytes arrive.
        assert_eq!(ours, by_us(&bytes, bytes.len()), "seed {seed}: {:?}", String::from_utf8_lossy(&bytes));
        if let (Ok(ours), Some(theirs)) = (&ours, by_the_crate(&bytes)) {
            // Inline commands, empty requests and skipped line ends are ours alone: the crate knows none of them.
            if bytes.starts_with(b"*") && theirs.iter().all(|request| !request.is_empty()) {
                assert!(ours.starts_with(&theirs), "seed {seed}: {ours:?} and {theirs:?}");
                understood += 1;
            }
        }
    }
    assert!(understood > 1000, "only {understood} damaged inputs were understood by both");
}
