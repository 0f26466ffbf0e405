//! Lists against a plain deque of vectors, over both encodings.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Push(End, Vec<u8>),
    PushAll(End, Vec<Vec<u8>>),
    Pop(End),
    PopMany(End, usize),
    Insert(usize, Vec<u8>),
    InsertBefore(Vec<u8>, Vec<u8>),
    InsertAfter(Vec<u8>, Vec<u8>),
    Set(usize, Vec<u8>),
    Remove(i64, Vec<u8>),
    Trim(usize, usize),
    Clone,
    RawRoundTrip,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0..20u32).prop_map(|n| n.to_string().into_bytes()),
        4 => prop::collection::vec(any::<u8>(), 0..40),
        2 => (200..400usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
        1 => (3000..9000usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (end(), element()).prop_map(|(end, element)| Step::Push(end, element)),
        3 => (end(), prop::collection::vec(element(), 0..60)).prop_map(|(end, all)| Step::PushAll(end, all)),
        3 => end().prop_map(Step::Pop),
        1 => (end(), 0..80usize).prop_map(|(end, count)| Step::PopMany(end, count)),
        3 => (any::<usize>(), element()).prop_map(|(index, element)| Step::Insert(index, element)),
        1 => (element(), element()).prop_map(|(pivot, element)| Step::InsertBefore(pivot, element)),
        1 => (element(), element()).prop_map(|(pivot, element)| Step::InsertAfter(pivot, element)),
        3 => (any::<usize>(), element()).prop_map(|(index, element)| Step::Set(index, element)),
        2 => (-3..4i64, element()).prop_map(|(count, element)| Step::Remove(count, element)),
        1 => (0..30usize, 0..30usize).prop_map(|(front, back)| Step::Trim(front, back)),
        1 => Just(Step::Clone),
        1 => Just(Step::RawRoundTrip),
    ]
}

fn remove_from_model(model: &mut VecDeque<Vec<u8>>, count: i64, element: &[u8]) -> usize {
    let mut hits: Vec<usize> = (0..model.len()).filter(|&index| model[index] == element).collect();
    if count < 0 {
        hits.reverse();
    }
    if count != 0 {
        hits.truncate(count.unsigned_abs() as usize);
    }
    hits.sort_unstable();
    for index in hits.iter().rev() {
        model.remove(*index);
    }
    hits.len()
}

/// Does one step on both and checks what it returns.
fn apply(list: &mut List, model: &mut VecDeque<Vec<u8>>, step: Step, limits: &ListLimits) {
    let push_model = |model: &mut VecDeque<Vec<u8>>, end, element| match end {
        End::Front => model.push_front(element),
        End::Back => model.push_back(element),
    };
    let pop_both = |list: &mut List, model: &mut VecDeque<Vec<u8>>, end| {
        let expected = match end {
            End::Front => model.pop_front(),
            End::Back => model.pop_back(),
        };
        assert_eq!(list.peek(end), expected.as_deref());
        assert_eq!(list.pop(end, limits), expected);
    };
    match step {
        Step::Push(end, element) => {
            list.push(end, &element, limits);
            push_model(model, end, element);
        }
        Step::PushAll(end, elements) => {
            list.push_all(end, elements.iter().map(Vec::as_slice), limits);
            elements.into_iter().for_each(|element| push_model(model, end, element));
        }
        Step::Pop(end) => pop_both(list, model, end),
        Step::PopMany(end, count) => (0..count).for_each(|_| pop_both(list, model, end)),
        Step::Insert(index, element) => {
            let index = index % (model.len() + 1);
            list.insert(index, &element, limits);
            model.insert(index, element);
        }
        Step::InsertBefore(pivot, element) => {
            let index = model.iter().position(|candidate| *candidate == pivot);
            assert_eq!(list.insert_before(&pivot, &element, limits), index.is_some());
            index.into_iter().for_each(|index| model.insert(index, element.clone()));
        }
        Step::InsertAfter(pivot, element) => {
            let index = model.iter().position(|candidate| *candidate == pivot);
            assert_eq!(list.insert_after(&pivot, &element, limits), index.is_some());
            index.into_iter().for_each(|index| model.insert(index + 1, element.clone()));
        }
        Step::Set(index, element) => {
            if !model.is_empty() {
                let index = index % model.len();
                list.set(index, &element, limits);
                model[index] = element;
            }
        }
        Step::Remove(count, element) => {
            let expected = remove_from_model(model, count, &element);
            assert_eq!(list.remove_matching(count, &element, limits), expected);
        }
        Step::Trim(front, back) => {
            let end = model.len().saturating_sub(back);
            let front = front.min(end);
            list.trim(front..end, limits);
            *model = model.range(front..end).cloned().collect();
        }
        Step::Clone => {
            let copy = list.clone();
            assert_eq!(copy, *list);
            *list = copy;
        }
        Step::RawRoundTrip => {
            let raw = std::mem::take(list).into_raw();
            assert_eq!(raw.as_ptr() as usize % 8, 0);
            // SAFETY: just given up by `into_raw`.
            *list = unsafe { List::from_raw(raw) };
        }
    }
}

fn check(list: &List, model: &VecDeque<Vec<u8>>) {
    assert_eq!(list.len(), model.len());
    assert!(list.iter().eq(model.iter().map(Vec::as_slice)));
    assert!(list.iter().rev().eq(model.iter().rev().map(Vec::as_slice)));
    let len = model.len();
    for index in [0, len / 3, len / 2, len.saturating_sub(1), len] {
        assert_eq!(list.get(index), model.get(index).map(Vec::as_slice));
    }
    let (from, to) = (len / 4, len - len / 4);
    let mut range = list.range(from..to);
    let mut expected = model.range(from..to).map(Vec::as_slice);
    while range.len() > 0 {
        assert_eq!(range.next_back(), expected.next_back());
        assert_eq!(range.next(), expected.next());
    }
    let needle = model.get(len / 2).cloned().unwrap_or_default();
    let all: Vec<usize> = (0..len).filter(|&index| model[index] == needle).collect();
    assert!(list.positions(&needle, Direction::Forward, len).eq(all.iter().copied()));
    assert!(list.positions(&needle, Direction::Backward, len).eq(all.iter().rev().copied()));
    check_structure(list);
}

/// The listpack size that is kept is the true one, and a quicklist has no empty chunk.
fn check_structure(list: &List) {
    let (first, second) = list.chunks();
    for chunk in first.iter().chain(second) {
        let mut counted = chunk.clone();
        let kept = counted.listpack_bytes();
        counted.forget_listpack_bytes();
        assert_eq!(counted.listpack_bytes(), kept);
        assert!(chunk.count() > 0 || list.encoding() == Encoding::Listpack);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn behaves_like_a_deque(steps in prop::collection::vec(step(), 1..120), size in prop_oneof![
        Just(-2i64), Just(-1), Just(1), Just(4), Just(40), Just(128), Just(-5)
    ]) {
        let limits = ListLimits::new(size);
        let (mut list, mut model) = (List::new(), VecDeque::new());
        for step in steps {
            apply(&mut list, &mut model, step, &limits);
            check(&list, &model);
        }
    }
}

fn numbered(index: usize) -> Vec<u8> {
    format!("element:{index:08}").into_bytes()
}

#[test]
fn sixteen_byte_elements_cost_less_than_two_more() {
    let limits = ListLimits::default();
    for end in [End::Front, End::Back] {
        let mut list = List::new();
        (0..100_000).for_each(|index| list.push(end, &numbered(index), &limits));
        let each = list.heap_bytes() as f64 / 100_000.0;
        assert!(each < 17.6, "{each} bytes per element when pushing at the {end:?}");
    }
}

#[test]
fn a_queue_stays_small_while_elements_pass_through() {
    let limits = ListLimits::default();
    for live in [10, 400, 5000] {
        let mut list = List::new();
        (0..live).for_each(|index| list.push(End::Back, &numbered(index), &limits));
        for index in 0..30_000 {
            list.push(End::Back, &numbered(live + index), &limits);
            assert_eq!(list.pop(End::Front, &limits), Some(numbered(index)));
        }
        assert!(list.heap_bytes() < live * 24 + 20_000, "{} bytes for {live}", list.heap_bytes());
    }
}

#[test]
fn the_next_chunk_of_a_long_list_is_as_large_as_a_full_one_but_not_as_an_oversized_one() {
    let limits = ListLimits::default();
    let mut list = List::new();
    (0..20).for_each(|_| list.push(End::Front, &[b'x'; 100_000], &limits));
    let before = list.heap_bytes();
    list.push(End::Front, b"y", &limits);
    assert_eq!(list.heap_bytes() - before, limits.chunk_bytes_max());
}

#[test]
fn becomes_a_quicklist_past_the_limit_and_a_listpack_at_half_of_it() {
    let limits = ListLimits::new(128);
    let mut list = List::new();
    (0..128).for_each(|index| list.push(End::Back, &numbered(index), &limits));
    assert_eq!(list.encoding(), Encoding::Listpack);
    list.push(End::Back, b"x", &limits);
    assert_eq!(list.encoding(), Encoding::Quicklist);
    while list.len() > 65 {
        list.pop(End::Back, &limits);
        assert_eq!(list.encoding(), Encoding::Quicklist);
    }
    list.pop(End::Back, &limits);
    assert_eq!(list.encoding(), Encoding::Listpack);
}

#[test]
fn integers_count_as_a_listpack_stores_them() {
    // 4095 fits the two-byte form, so that 2000 such elements take 6000 bytes, but 8000 as text.
    let limits = ListLimits::new(-2);
    let mut list = List::new();
    (0..2000).for_each(|_| list.push(End::Back, b"4095", &limits));
    assert_eq!(list.encoding(), Encoding::Listpack);
    (0..1000).for_each(|_| list.push(End::Back, b"4095", &limits));
    assert_eq!(list.encoding(), Encoding::Quicklist);
}

#[test]
fn many_empty_elements_do_not_overflow_a_chunk() {
    let limits = ListLimits::new(-5);
    let mut list = List::new();
    let elements = vec![&b""[..]; 200_000];
    list.push_all(End::Front, elements.iter().copied(), &limits);
    assert_eq!(list.len(), 200_000);
    (0..150_000).for_each(|_| assert_eq!(list.pop(End::Front, &limits).as_deref(), Some(&b""[..])));
    assert!(list.iter().all(<[u8]>::is_empty));
    assert_eq!(list.iter().len(), 50_000);
}
