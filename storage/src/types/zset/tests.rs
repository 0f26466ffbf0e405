//! Sorted sets against a sorted vector, over both encodings.

use std::cmp::Ordering;
use std::ops::Bound::{Excluded, Included, Unbounded};

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

/// Members and scores in order.
#[derive(Clone, Debug, Default)]
struct Model(Vec<(Vec<u8>, f64)>);

impl Model {
    fn position(&self, member: &[u8]) -> Option<usize> {
        self.0.iter().position(|(candidate, _)| candidate == member)
    }

    fn put(&mut self, member: &[u8], score: f64) -> Outcome {
        let outcome = match self.position(member) {
            Some(rank) if self.0[rank].1 == score => return Outcome::Unchanged,
            Some(rank) => {
                self.0.remove(rank);
                Outcome::Updated
            }
            None => Outcome::Added,
        };
        self.0.push((member.to_vec(), score));
        self.0.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal).then_with(|| a.0.cmp(&b.0)));
        outcome
    }

    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        self.position(member).map(|rank| self.0.remove(rank).1)
    }

    fn ranks(&self, holds: impl Fn(&(Vec<u8>, f64)) -> bool) -> Vec<(Vec<u8>, f64)> {
        self.0.iter().filter(|pair| holds(pair)).cloned().collect()
    }
}

fn owned<'a>(pairs: impl Iterator<Item = (&'a [u8], f64)>) -> Vec<(Vec<u8>, f64)> {
    pairs.map(|(member, score)| (member.to_vec(), score)).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Put(Vec<u8>, f64),
    Increment(Vec<u8>, f64),
    Remove(Vec<u8>),
    PopMin,
    PopMax,
    RemoveByRank(usize, usize),
    RemoveByScore(Bound<f64>, Bound<f64>),
    CountByScore(Bound<f64>, Bound<f64>),
    Clone,
    Compact,
    RawRoundTrip,
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        12 => (0..400u32).prop_map(|n| format!("m{n}").into_bytes()),
        1 => (60..70usize).prop_map(|len| vec![b'x'; len]),
        1 => Just(Vec::new()),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-5..6i32).prop_map(f64::from),
        6 => (0..1000i32).prop_map(|n| f64::from(n) / 8.0),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => Just(-0.0),
    ]
}

fn bound() -> impl Strategy<Value = Bound<f64>> {
    prop_oneof![Just(Unbounded), score().prop_map(Included), score().prop_map(Excluded)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (member(), score()).prop_map(|(member, score)| Step::Put(member, score)),
        10 => (member(), -3..4i32).prop_map(|(member, by)| Step::Increment(member, f64::from(by) / 16.0)),
        8 => member().prop_map(Step::Remove),
        2 => Just(Step::PopMin),
        2 => Just(Step::PopMax),
        1 => (0..300usize, 0..20usize).prop_map(|(from, len)| Step::RemoveByRank(from, len)),
        1 => (score(), score()).prop_map(|(a, b)| Step::RemoveByScore(Excluded(a), Included(b.min(a + 1.0)))),
        3 => (bound(), bound()).prop_map(|(a, b)| Step::CountByScore(a, b)),
        1 => Just(Step::Clone),
        1 => Just(Step::Compact),
        1 => Just(Step::RawRoundTrip),
    ]
}

fn in_range(score: f64, range: ScoreRange) -> bool {
    let above = match range.0 {
        Unbounded => true,
        Included(min) => score >= min,
        Excluded(min) => score > min,
    };
    let below = match range.1 {
        Unbounded => true,
        Included(max) => score <= max,
        Excluded(max) => score < max,
    };
    above && below
}

/// Does one step on both and checks what it returns.
fn apply(zset: &mut Zset, model: &mut Model, step: Step, limits: &ZsetLimits) {
    match step {
        Step::Put(member, score) => {
            assert_eq!(zset.put(&member, score, limits), model.put(&member, score));
        }
        Step::Increment(member, by) => {
            let old = zset.score(&member);
            let mut seen = None;
            let outcome = zset.put_with(&member, limits, |old| {
                seen = old;
                Some(old? + by)
            });
            assert_eq!(seen, old);
            let expected = old.map_or(Outcome::Unchanged, |old| model.put(&member, old + by));
            assert_eq!(outcome, expected);
        }
        Step::Remove(member) => assert_eq!(zset.remove(&member), model.remove(&member)),
        Step::PopMin => {
            let expected = (!model.0.is_empty()).then(|| model.0.remove(0));
            assert_eq!(zset.pop_min(), expected);
        }
        Step::PopMax => assert_eq!(zset.pop_max(), model.0.pop()),
        Step::RemoveByRank(from, len) => {
            let to = (from + len).min(model.0.len());
            let from = from.min(to);
            let mut removed = Vec::new();
            let count = zset.remove_by_rank(from..from + len, |member, score| removed.push((member.to_vec(), score)));
            assert_eq!(count, removed.len());
            assert_eq!(removed, model.0.drain(from..to).collect::<Vec<_>>());
        }
        Step::RemoveByScore(min, max) => {
            let mut removed = Vec::new();
            zset.remove_by_score((min, max), |member, score| removed.push((member.to_vec(), score)));
            assert_eq!(removed, model.ranks(|pair| in_range(pair.1, (min, max))));
            model.0.retain(|pair| !in_range(pair.1, (min, max)));
        }
        Step::CountByScore(min, max) => {
            let expected = model.ranks(|pair| in_range(pair.1, (min, max)));
            assert_eq!(zset.count_by_score((min, max)), expected.len());
            assert_eq!(owned(zset.by_score((min, max))), expected);
        }
        Step::Clone => {
            let copy = zset.clone();
            assert_eq!(copy, *zset);
            *zset = copy;
        }
        Step::Compact => zset.compact(limits),
        Step::RawRoundTrip => {
            let raw = std::mem::take(zset).into_raw();
            // SAFETY: just given up by `into_raw`.
            *zset = unsafe { Zset::from_raw(raw) };
        }
    }
}

fn check(zset: &Zset, model: &Model) {
    if let Form::Table(skiplist) = zset.0.shared() {
        skiplist.tree().check();
    }
    let len = model.0.len();
    assert_eq!(zset.len(), len);
    assert_eq!(owned(zset.iter()), model.0);
    assert!(owned(zset.iter().rev()).iter().eq(model.0.iter().rev()));
    let (from, to) = (len / 4, len - len / 4);
    let mut range = zset.by_rank(from..to);
    let mut expected = model.0[from..to].iter().map(|(member, score)| (member.as_slice(), *score));
    while range.len() > 0 {
        assert_eq!(range.next_back(), expected.next_back());
        assert_eq!(range.next(), expected.next());
    }
    for rank in [0, len / 3, len.saturating_sub(1)] {
        let Some((member, score)) = model.0.get(rank) else {
            continue;
        };
        assert_eq!(zset.rank_and_score(member), Some((rank, *score)));
        assert_eq!(zset.rev_rank(member), Some(len - 1 - rank));
        assert_eq!(zset.nth(rank), Some((member.as_slice(), *score)));
    }
    assert_eq!(zset.first(), model.0.first().map(|(member, score)| (member.as_slice(), *score)));
    assert_eq!(zset.last(), model.0.last().map(|(member, score)| (member.as_slice(), *score)));
    assert_eq!(zset.rank(b"absent"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn behaves_like_a_sorted_vector(steps in prop::collection::vec(step(), 1..600), entries in prop_oneof![
        Just(0usize), Just(4), Just(128)
    ]) {
        let limits = ZsetLimits { max_listpack_entries: entries, ..ZsetLimits::default() };
        let (mut zset, mut model) = (Zset::new(), Model::default());
        for (number, step) in steps.into_iter().enumerate() {
            apply(&mut zset, &mut model, step, &limits);
            if number % 16 == 0 {
                check(&zset, &model);
            }
        }
        check(&zset, &model);
    }

    #[test]
    fn lexical_ranges_agree_with_a_filter(
        members in prop::collection::btree_set(prop::collection::vec(b'a'..b'e', 0..4), 0..200),
        min in prop::collection::vec(b'a'..b'e', 0..4),
        max in prop::collection::vec(b'a'..b'e', 0..4),
        entries in prop_oneof![Just(0usize), Just(1000)],
    ) {
        let limits = ZsetLimits { max_listpack_entries: entries, ..ZsetLimits::default() };
        let mut zset = Zset::new();
        members.iter().for_each(|member| { zset.put(member, 1.0, &limits); });
        let (min, max) = (min.as_slice(), max.as_slice());
        let count = |low: Bound<&[u8]>, high: Bound<&[u8]>| zset.count_by_lex((low, high));
        let filtered = |holds: &dyn Fn(&[u8]) -> bool| members.iter().filter(|member| holds(member)).count();
        prop_assert_eq!(count(Included(min), Included(max)), filtered(&|m| m >= min && m <= max));
        prop_assert_eq!(count(Excluded(min), Excluded(max)), filtered(&|m| m > min && m < max));
        prop_assert_eq!(count(Unbounded, Excluded(max)), filtered(&|m| m < max));
        prop_assert_eq!(count(Included(min), Unbounded), filtered(&|m| m >= min));
        let walked: Vec<_> = zset.by_lex((Included(min), Unbounded)).map(|(member, _)| member).collect();
        prop_assert!(walked.into_iter().eq(members.iter().map(Vec::as_slice).filter(|m| *m >= min)));
        zset.remove_by_lex((Unbounded, Excluded(max)), |_, _| ());
        prop_assert_eq!(zset.len(), filtered(&|m| m >= max));
    }
}

fn numbered(index: u64) -> Vec<u8> {
    format!("element:{index:08}").into_bytes()
}

/// A set of `len` members of 16 bytes with random scores, large from the start.
fn random_zset(rng: &mut Rng, len: u64) -> Zset {
    let mut zset = Zset::new();
    (0..len).for_each(|index| {
        zset.put(&numbered(index), rng.f64(), &SKIPLIST);
    });
    zset
}

const SKIPLIST: ZsetLimits = ZsetLimits { max_listpack_entries: 0, max_listpack_value: 0 };

#[test]
fn deep_trees_keep_their_invariants_through_growth_change_and_shrinking() {
    let mut rng = Rng::seeded(11);
    let len = 8000;
    let mut zset = random_zset(&mut rng, len);
    let check = |zset: &Zset| match zset.0.shared() {
        Form::Table(skiplist) => skiplist.tree().check(),
        _ => panic!("not large"),
    };
    check(&zset);
    for round in 0..4000 {
        let member = numbered(rng.below(len));
        // Small steps, many of which stay between their neighbours, and large ones.
        let step = if round % 2 == 0 { 1e-4 } else { 1.0 };
        let by = (rng.f64() - 0.5) * step;
        zset.put_with(&member, &SKIPLIST, |old| Some(old? + by));
        if round % 500 == 0 {
            check(&zset);
        }
    }
    check(&zset);
    while !zset.is_empty() {
        for _ in 0..200 {
            zset.remove(&numbered(rng.below(len)));
        }
        let start = rng.below(zset.len() as u64 + 1) as usize;
        zset.remove_by_rank(start..start + 100, |_, _| ());
        check(&zset);
    }
    let Form::Table(skiplist) = zset.0.shared() else { panic!("not large") };
    assert_eq!(skiplist.tree().heap_bytes(), 1024, "an empty tree is one leaf");
}

#[test]
fn members_in_order_fill_the_leaves() {
    for descending in [false, true] {
        let mut zset = Zset::new();
        let len = 6000u64;
        for index in 0..len {
            let score = if descending { -(index as f64) } else { index as f64 };
            zset.put(&numbered(index), score, &SKIPLIST);
        }
        let Form::Table(skiplist) = zset.0.shared() else { panic!("not large") };
        let each = skiplist.tree().heap_bytes() as f64 / len as f64;
        assert!(each < 19.0, "{each} bytes of tree per member, descending: {descending}");
    }
}

#[test]
fn random_members_of_sixteen_bytes_cost_less_than_seventy_five() {
    let mut rng = Rng::seeded(5);
    let len = 6000;
    let zset = random_zset(&mut rng, len);
    let each = zset.heap_bytes() as f64 / len as f64;
    assert!(each < 75.0, "{each} bytes per member");
}

#[test]
fn becomes_a_skiplist_by_count_and_by_length_and_stays_one() {
    let limits = ZsetLimits { max_listpack_entries: 3, max_listpack_value: 8 };
    let mut zset = Zset::new();
    for member in [&b"a"[..], b"b", b"c", b"a", b"b"] {
        zset.put(member, 1.0, &limits);
        assert_eq!(zset.encoding(), Encoding::Listpack);
    }
    zset.put(b"d", 1.0, &limits);
    assert_eq!(zset.encoding(), Encoding::Skiplist);
    while zset.pop_min().is_some() {}
    assert_eq!(zset.encoding(), Encoding::Skiplist);
    zset.compact(&limits);
    assert_eq!(zset.encoding(), Encoding::Listpack);
    zset.put(b"12345678", 1.0, &limits);
    assert_eq!(zset.encoding(), Encoding::Listpack);
    zset.put(b"123456789", 1.0, &limits);
    assert_eq!(zset.encoding(), Encoding::Skiplist);
    let mut zset = Zset::new();
    zset.anticipate(4, 1, &limits);
    assert_eq!(zset.encoding(), Encoding::Skiplist);
}

#[test]
fn draws_are_even_and_scans_complete() {
    let mut rng = Rng::seeded(9);
    for len in [20, 300] {
        let mut zset = Zset::new();
        (0..len).for_each(|index| {
            zset.put(&numbered(index), index as f64, &ZsetLimits::default());
        });
        let mut hits = vec![0u32; len as usize];
        for _ in 0..len * 200 {
            let (_, score) = zset.random(&mut rng).expect("the set has members");
            hits[score as usize] += 1;
        }
        assert!(hits.iter().all(|&hits| (120..300).contains(&hits)), "{hits:?}");
        let (mut cursor, mut seen) = (ScanCursor::START, Vec::new());
        loop {
            cursor = zset.scan(cursor, 10, |member, score| seen.push((member.to_vec(), score)));
            if cursor.is_end() {
                break;
            }
        }
        seen.sort_by(|a, b| a.0.cmp(&b.0));
        seen.dedup();
        assert_eq!(seen.len(), len as usize);
    }
}

#[test]
#[should_panic(expected = "NaN")]
fn refuses_nan() {
    Zset::new().put(b"m", f64::NAN, &ZsetLimits::default());
}
