//! Whether what clients have seen could have been seen if every operation had happened at one moment between its
//! beginning and its end: `Linearizable`, key by key.
//!
//! Counters only grow by one, and lists by elements of which there is each once. So the order of what was done to them
//! stands in what was seen, and only has to be compared with the order in time. For registers an order is searched for
//! (Wing and Gong).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::clients::{Act, Operation, Seen};
use crate::keys::{self, Kind};
use crate::truth::{Checked, Violation};

const CHECKER: &str = "Linearizable";

pub fn check(history: &[Operation]) -> Checked {
    let mut by_key: BTreeMap<usize, Vec<&Operation>> = BTreeMap::new();
    history.iter().for_each(|operation| by_key.entry(operation.key).or_default().push(operation));
    for (key, operations) in by_key {
        let checked = match keys::ALL[key].kind {
            Kind::Register => registers(&operations),
            Kind::Counter => counters(&operations),
            Kind::List => lists(&operations),
        };
        checked.map_err(|what| {
            let name = String::from_utf8_lossy(&keys::ALL[key].name);
            Violation { checker: CHECKER, what: format!("{name} in slot {}: {what}", keys::ALL[key].slot.number()) }
        })?;
    }
    Ok(())
}

/// What has ended, by the end, with what it has seen.
fn ended<'a>(operations: &[&'a Operation]) -> Vec<(u64, &'a Operation, &'a Seen)> {
    let mut ended: Vec<_> =
        operations.iter().filter_map(|one| one.ended.as_ref().map(|(at, seen)| (*at, *one, seen))).collect();
    ended.sort_by_key(|(at, ..)| *at);
    ended
}

fn counters(operations: &[&Operation]) -> Result<(), String> {
    let mut given: BTreeSet<i64> = BTreeSet::new();
    let most = operations.iter().filter(|one| one.act == Act::Add).count() as i64;
    let ended = ended(operations);
    // In the order of their ends: what began later sees at least as much as whoever has ended, and more if it adds.
    for (_, operation, seen) in &ended {
        let Seen::Number(number) = seen else { return Err(format!("{operation:?} has seen no number")) };
        if operation.act == Act::Add && !given.insert(*number) {
            return Err(format!("two have counted to {number}"));
        }
        if *number > most {
            return Err(format!("{number} was counted, and only {most} have counted"));
        }
    }
    let mut known: Vec<(u64, i64)> = Vec::new();
    for (at, _, seen) in &ended {
        let Seen::Number(number) = seen else { continue };
        let highest = known.last().map_or(0, |(_, number)| *number);
        known.push((*at, highest.max(*number)));
    }
    for (_, operation, seen) in &ended {
        let Seen::Number(number) = seen else { continue };
        let before = known.partition_point(|(at, _)| *at < operation.invoked);
        let least = before.checked_sub(1).map_or(0, |last| known[last].1) + i64::from(operation.act == Act::Add);
        if *number < least {
            return Err(format!("{operation:?} began when {least} was due"));
        }
    }
    begun_in_time(operations, &ended)
}

/// Nobody has seen more than had begun by then.
fn begun_in_time(operations: &[&Operation], ended: &[(u64, &Operation, &Seen)]) -> Result<(), String> {
    let mut beginnings: Vec<u64> = operations.iter().filter(|one| one.act == Act::Add).map(|one| one.invoked).collect();
    beginnings.sort_unstable();
    for (at, operation, seen) in ended {
        let begun = beginnings.partition_point(|begun| begun < at) as i64;
        if matches!(seen, Seen::Number(number) if *number > begun) {
            return Err(format!("{operation:?} has seen what had not begun"));
        }
    }
    Ok(())
}

fn lists(operations: &[&Operation]) -> Result<(), String> {
    let ended = ended(operations);
    let reads = || {
        ended.iter().filter_map(|(at, one, seen)| match seen {
            Seen::List(list) => Some((*at, *one, list)),
            _ => None,
        })
    };
    let longest: &[u64] = reads().map(|(.., list)| list.as_slice()).max_by_key(|list| list.len()).unwrap_or_default();
    let places: BTreeMap<u64, usize> = longest.iter().enumerate().map(|(at, element)| (*element, at)).collect();
    if places.len() < longest.len() {
        return Err(format!("an element is there twice: {longest:?}"));
    }
    if let Some((_, operation, _)) = reads().find(|(.., list)| !longest.starts_with(list)) {
        return Err(format!("{operation:?} has seen another beginning than {longest:?}"));
    }
    // Elements that are known to be there, by the end of who has put them there or seen them.
    let mut known: Vec<(u64, usize)> = Vec::new();
    for (at, operation, seen) in &ended {
        let length = match (seen, operation.act) {
            (Seen::List(list), _) => list.len(),
            (Seen::Number(length), Act::Push(element)) => {
                let length = *length as usize;
                let place = places.get(&element);
                if place.map_or(length <= longest.len(), |place| place + 1 != length) {
                    return Err(format!("{operation:?} is not where it was put, in {longest:?}"));
                }
                length
            }
            _ => return Err(format!("{operation:?} has seen something strange")),
        };
        known.push((*at, known.last().map_or(0, |(_, most)| *most).max(length)));
    }
    for (_, operation, seen) in &ended {
        let before = known.partition_point(|(at, _)| *at < operation.invoked);
        let least = before.checked_sub(1).map_or(0, |last| known[last].1);
        let has = match seen {
            Seen::List(list) => list.len(),
            Seen::Number(length) => *length as usize - 1,
            _ => continue,
        };
        if has < least {
            return Err(format!("{operation:?} began when there were {least}"));
        }
    }
    let begun: BTreeMap<u64, u64> = operations
        .iter()
        .filter_map(|one| if let Act::Push(element) = one.act { Some((element, one.invoked)) } else { None })
        .collect();
    let is_of_the_future =
        |at: u64, list: &[u64]| list.iter().any(|one| begun.get(one).is_none_or(|begun| *begun > at));
    match reads().find(|(at, _, list)| is_of_the_future(*at, list)) {
        Some((_, operation, _)) => Err(format!("{operation:?} has seen what had not begun")),
        None => Ok(()),
    }
}

/// An operation on a register, as the search sees it.
struct Step {
    invoked: u64,
    ended: u64,
    is_certain: bool,
    writes: Option<Option<u64>>,
    reads: Option<u64>,
}

fn registers(operations: &[&Operation]) -> Result<(), String> {
    let was_read: BTreeSet<u64> = operations
        .iter()
        .filter_map(|one| if let Some((_, Seen::Register(Some(value)))) = &one.ended { Some(*value) } else { None })
        .collect();
    // A write of unknown fate that nobody has seen makes no difference.
    let matters = |one: &&&Operation| match (one.act, &one.ended) {
        (Act::Write(value), None) => was_read.contains(&value),
        (Act::Read, None) => false,
        _ => true,
    };
    let mut steps: Vec<Step> = operations.iter().filter(matters).map(|one| Step::of(one)).collect();
    steps.sort_by_key(|step| step.invoked);
    if search(&steps) { Ok(()) } else { Err(format!("no order explains {operations:?}")) }
}

impl Step {
    fn of(operation: &Operation) -> Step {
        let (ended, reads) = match &operation.ended {
            Some((at, Seen::Register(value))) => (*at, *value),
            Some((at, _)) => (*at, None),
            None => (u64::MAX, None),
        };
        let writes = match operation.act {
            Act::Write(value) => Some(Some(value)),
            Act::Delete => Some(None),
            _ => None,
        };
        Step { invoked: operation.invoked, ended, is_certain: operation.ended.is_some(), writes, reads }
    }
}

/// Tries all orders, none of them twice.
fn search(steps: &[Step]) -> bool {
    let words = steps.len().div_ceil(64);
    let mut tried: HashSet<(Vec<u64>, Option<u64>)> = HashSet::new();
    let mut open: Vec<(Vec<u64>, Option<u64>)> = vec![(vec![0; words], None)];
    while let Some((done, value)) = open.pop() {
        let is_done = |at: usize| done[at / 64] >> (at % 64) & 1 == 1;
        let left = || (0..steps.len()).filter(|at| !is_done(*at));
        let Some(first_end) = left().filter(|at| steps[*at].is_certain).map(|at| steps[at].ended).min() else {
            return true;
        };
        for at in left().take_while(|at| steps[*at].invoked < first_end) {
            let after = match steps[at].writes {
                Some(written) => written,
                None if steps[at].reads == value => value,
                None => continue,
            };
            let mut next = done.clone();
            next[at / 64] |= 1 << (at % 64);
            if tried.insert((next.clone(), after)) {
                open.push((next, after));
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(act: Act, invoked: u64, ended: u64, seen: Seen) -> Operation {
        let ended = (ended > 0).then_some((ended, seen));
        Operation { key: 0, act, invoked, ended }
    }

    fn is_fine(check: fn(&[&Operation]) -> Result<(), String>, operations: &[Operation]) -> bool {
        check(&operations.iter().collect::<Vec<_>>()).is_ok()
    }

    #[test]
    fn a_register_shows_what_was_written_last() {
        let write = operation(Act::Write(1), 1, 2, Seen::Done);
        let other = operation(Act::Write(2), 3, 6, Seen::Done);
        let read = |value, invoked, ended| operation(Act::Read, invoked, ended, Seen::Register(value));
        assert!(is_fine(registers, &[write.clone(), other.clone(), read(Some(1), 4, 5), read(Some(2), 7, 8)]));
        assert!(!is_fine(registers, &[write.clone(), other.clone(), read(Some(2), 4, 5), read(Some(1), 7, 8)]));
        assert!(!is_fine(registers, &[write.clone(), read(None, 3, 4)]), "what was acknowledged is lost");
        let unknown = operation(Act::Delete, 3, 0, Seen::Done);
        assert!(is_fine(registers, &[write, unknown, read(None, 4, 5)]));
    }

    #[test]
    fn a_counter_gives_each_number_once_and_never_goes_back() {
        let add = |number, invoked, ended| operation(Act::Add, invoked, ended, Seen::Number(number));
        let count = |number, invoked, ended| operation(Act::Count, invoked, ended, Seen::Number(number));
        assert!(is_fine(counters, &[add(2, 1, 4), add(1, 2, 3), count(2, 5, 6)]));
        assert!(!is_fine(counters, &[add(1, 1, 2), add(1, 3, 4)]));
        assert!(!is_fine(counters, &[add(1, 1, 2), count(0, 3, 4)]));
        assert!(!is_fine(counters, &[add(2, 1, 2), add(1, 3, 4)]));
        assert!(!is_fine(counters, &[count(1, 1, 2), add(1, 3, 4)]));
    }

    #[test]
    fn a_list_only_grows_at_its_end() {
        let push =
            |element, length, invoked, ended| operation(Act::Push(element), invoked, ended, Seen::Number(length));
        let range = |list: &[u64], invoked, ended| operation(Act::Range, invoked, ended, Seen::List(list.to_vec()));
        assert!(is_fine(lists, &[push(1, 1, 1, 2), push(2, 2, 3, 4), range(&[1, 2], 5, 6)]));
        assert!(!is_fine(lists, &[push(1, 1, 1, 2), range(&[], 3, 4)]));
        assert!(!is_fine(lists, &[push(1, 1, 1, 2), range(&[1, 1], 3, 4)]));
        assert!(!is_fine(lists, &[push(1, 1, 1, 2), push(2, 2, 3, 4), range(&[2, 1], 5, 6)]));
        assert!(!is_fine(lists, &[push(1, 1, 1, 2), push(2, 1, 3, 4)]));
    }
}
