//! Histories made by hand, and random ones of an object that is atomic, or only nearly.

use super::brute;
use super::{Evidence, Limits, Verdict, check};
use crate::history::{ClientId, End, GroupId, Moment, Operation};
use crate::load::Kind;
use crate::model::{Command, Reply, State, Text};
use crate::random::{Chance, Random};

fn known(times: (u64, u64), command: Command, reply: Reply) -> Operation {
    let end = End::Answered { at: Moment(0).plus_ms(times.1), reply };
    Operation { client: ClientId(0), group: GroupId(0), command, invoked: Moment(0).plus_ms(times.0), end }
}

fn unknown(invoked: u64, command: Command) -> Operation {
    Operation { end: End::Unknown, ..known((invoked, invoked), command, Reply::Ok) }
}

fn set(times: (u64, u64), value: &str) -> Operation {
    known(times, Command::Set("key", value.into()), Reply::Ok)
}

fn get(times: (u64, u64), value: &str) -> Operation {
    known(times, Command::Get("key"), text(value))
}

fn text(value: &str) -> Reply {
    if value.is_empty() { Reply::Nil } else { Reply::Text(value.into()) }
}

fn is_linearizable(operations: &[Operation]) -> bool {
    let verdict = check(operations, Limits::default());
    assert_ne!(verdict, Verdict::Undecided, "a few operations are always decided");
    verdict == Verdict::Linearizable
}

#[test]
fn registers() {
    assert!(is_linearizable(&[]));
    assert!(is_linearizable(&[set((0, 10), "a"), get((20, 30), "a")]));
    assert!(!is_linearizable(&[set((0, 10), "a"), get((20, 30), "")]), "a lost write");
    assert!(!is_linearizable(&[set((0, 1), "a"), set((2, 3), "b"), get((4, 5), "a")]), "a stale read");
    assert!(is_linearizable(&[set((0, 10), "a"), get((5, 6), ""), get((7, 8), "a")]), "while it is written");
    let turned_back = [set((0, 10), "a"), get((1, 2), "a"), get((3, 4), "")];
    assert!(!is_linearizable(&turned_back), "what was seen cannot be unseen");
    assert!(!is_linearizable(&[get((0, 1), "a"), set((2, 3), "a")]), "out of nowhere");
    let swapped = [set((0, 9), "a"), set((0, 9), "b"), get((10, 11), "a"), get((12, 13), "b")];
    assert!(!is_linearizable(&swapped), "both orders of two writes");
    assert!(is_linearizable(&swapped[..3]));
}

#[test]
fn what_was_never_answered_may_happen_at_any_time_or_never() {
    let write = || unknown(5, Command::Set("key", "b".into()));
    assert!(is_linearizable(&[set((0, 1), "a"), write(), get((10, 11), "a")]));
    assert!(is_linearizable(&[set((0, 1), "a"), write(), get((10, 11), "b")]));
    assert!(is_linearizable(&[set((0, 1), "a"), write(), get((10, 11), "a"), get((900, 901), "b")]));
    assert!(!is_linearizable(&[set((0, 1), "a"), write(), get((10, 11), "b"), get((12, 13), "a")]), "not twice");
    assert!(!is_linearizable(&[get((0, 1), "b"), write()]), "not before it was sent");
    let counter = |reply| known((20, 30), Command::IncrBy("n", 1), Reply::Int(reply));
    let lost = || unknown(0, Command::IncrBy("n", 1));
    assert!(is_linearizable(&[lost(), lost(), counter(3)]));
    assert!(!is_linearizable(&[lost(), lost(), counter(4)]));
}

#[test]
fn conditional_and_combined_writes() {
    let set_nx = |times, value: &str, reply| known(times, Command::SetNx("key", value.into()), reply);
    assert!(is_linearizable(&[set_nx((0, 9), "a", Reply::Ok), set_nx((0, 9), "b", Reply::Nil), get((10, 11), "a")]));
    assert!(!is_linearizable(&[set_nx((0, 9), "a", Reply::Ok), set_nx((0, 9), "b", Reply::Ok)]), "two winners");
    let swap = |times, value: &str, former| known(times, Command::GetSet("key", value.into()), text(former));
    assert!(is_linearizable(&[swap((0, 9), "a", ""), swap((0, 9), "b", "a"), swap((0, 9), "c", "b")]));
    assert!(!is_linearizable(&[swap((0, 9), "a", ""), swap((0, 9), "b", "a"), swap((0, 9), "c", "a")]), "seen twice");
    let watched = |times, expected: &str, value: &str| {
        known(times, Command::Swap("key", Some(expected.into()), value.into()), Reply::Ok)
    };
    assert!(is_linearizable(&[set((0, 1), "a"), watched((2, 9), "b", "c"), watched((2, 9), "a", "b")]));
    assert!(
        !is_linearizable(&[set((0, 1), "a"), watched((2, 9), "a", "b"), watched((2, 9), "a", "c")]),
        "an old watch"
    );
    let delete = |times, count| known(times, Command::Del("key"), Reply::Int(count));
    assert!(is_linearizable(&[set((0, 1), "a"), delete((2, 3), 1), delete((4, 5), 0), get((6, 7), "")]));
    assert!(!is_linearizable(&[set((0, 1), "a"), delete((2, 9), 1), delete((2, 9), 1)]));
}

#[test]
fn collections() {
    let push = |times, element: &str, len| known(times, Command::RPush("list", element.into()), Reply::Int(len));
    let pop = |times, element| known(times, Command::LPop("list"), text(element));
    let all = |times, elements: &[&str]| {
        let elements = elements.iter().map(|element| text(element)).collect();
        known(times, Command::LRange("list"), Reply::Array(elements))
    };
    assert!(is_linearizable(&[push((0, 9), "a", 2), push((0, 9), "b", 1), all((10, 11), &["b", "a"])]));
    assert!(!is_linearizable(&[push((0, 9), "a", 2), push((0, 9), "b", 1), all((10, 11), &["a", "b"])]));
    assert!(!is_linearizable(&[push((0, 1), "a", 1), pop((2, 9), "a"), pop((2, 9), "a")]), "popped twice");
    assert!(is_linearizable(&[push((0, 1), "a", 1), pop((2, 9), "a"), pop((2, 9), ""), all((10, 11), &[])]));
    let wait = |times, element| known(times, Command::LPopWait("list", 50), text(element));
    assert!(is_linearizable(&[wait((0, 60), "a"), push((40, 50), "a", 1), all((70, 71), &[])]));
    assert!(!is_linearizable(&[push((0, 1), "a", 1), wait((2, 60), ""), all((70, 71), &["a"])]), "waited in vain");
    let add = |times, reply| known(times, Command::SAdd("set", "m".into()), Reply::Int(reply));
    assert!(!is_linearizable(&[add((0, 9), 1), add((0, 9), 1)]), "added twice");
    let fields = |times, flat: &[&str]| {
        let flat = flat.iter().map(|word| text(word)).collect();
        known(times, Command::HGetAll("hash"), Reply::Array(flat))
    };
    let raise = |times, reply| known(times, Command::HIncrBy("hash", "n".into(), 1), Reply::Int(reply));
    assert!(is_linearizable(&[raise((0, 9), 2), raise((0, 9), 1), fields((10, 11), &["n", "2"])]));
    assert!(!is_linearizable(&[raise((0, 9), 2), raise((0, 9), 1), fields((10, 11), &["n", "1"])]));
}

#[test]
fn transactions_happen_at_one_moment() {
    let both = |times, replies: [&str; 2]| {
        let commands = vec![Command::Get("one"), Command::Get("two")];
        known(times, Command::Multi(commands), Reply::Array(replies.map(text).into()))
    };
    let write = |times| {
        let commands = vec![Command::Set("one", "a".into()), Command::Set("two", "b".into())];
        known(times, Command::Multi(commands), Reply::Array(vec![Reply::Ok, Reply::Ok]))
    };
    assert!(is_linearizable(&[write((0, 9)), both((1, 2), ["", ""]), both((3, 4), ["a", "b"])]));
    assert!(!is_linearizable(&[write((0, 9)), both((1, 2), ["a", ""])]), "half of a transaction");
    assert!(!is_linearizable(&[write((0, 1)), both((2, 3), ["", ""])]), "a lost transaction");
}

#[test]
fn keys_end_when_their_time_is_over() {
    let brief = |times| known(times, Command::SetPx("key", "a".into(), 100), Reply::Ok);
    assert!(is_linearizable(&[brief((0, 10)), get((50, 60), "a"), get((200, 210), "")]));
    assert!(!is_linearizable(&[brief((0, 10)), get((20, 30), "")]), "too early");
    assert!(is_linearizable(&[brief((0, 10)), get((85, 95), "")]), "a little early");
    assert!(is_linearizable(&[brief((0, 50)), get((140, 145), "a"), get((146, 148), "")]));
    assert!(!is_linearizable(&[brief((0, 50)), get((140, 145), ""), get((146, 148), "a")]), "back from the dead");
    assert!(!is_linearizable(&[brief((0, 10)), get((5000, 5001), "a")]), "far too late");
    let replaced = [brief((0, 10)), set((20, 30), "b"), get((5000, 5001), "b")];
    assert!(is_linearizable(&replaced));
    let never_answered = [unknown(0, Command::SetPx("key", "a".into(), 100)), get((5000, 5001), "a")];
    assert!(is_linearizable(&never_answered), "it may have been carried out just now");
}

#[test]
fn the_evidence_is_small_and_names_the_answer_that_does_not_fit() {
    let mut random = Random::seeded(1);
    let mut operations = simulate(&mut random, Kind::Register, 60, Mistake::None);
    let end =
        operations.iter().filter(|one| one.is_known()).map(Operation::returned).max().expect("some were answered");
    let lie = Operation { client: ClientId(77), invoked: end.plus_ms(1), ..get((0, 0), "never written") };
    let at = end.plus_ms(2);
    let lie = Operation { command: Command::Get("register"), end: End::Answered { at, reply: text("never") }, ..lie };
    operations.push(lie.clone());
    for number in 10..20 {
        operations.push(Operation { invoked: end.plus_ms(number), ..unknown(0, Command::Del("register")) });
    }
    let Verdict::Broken(deepest) = check(&operations, Limits::default()) else { panic!("nobody has written that") };
    let evidence = Evidence::of(&operations, deepest);
    assert_eq!(*evidence.culprit(), lie);
    let reads = evidence.operations().iter().filter(|one| !one.command.changes()).count();
    assert_eq!(reads, 1, "other reads do not matter\n{evidence}");
    assert!(evidence.to_string().contains("\n  > "), "{evidence}");
    assert!(evidence.operations().len() < 30, "what is long over is only summed up\n{evidence}");
}

#[test]
fn a_search_that_takes_too_long_is_given_up() {
    // Nobody has set the last value, and which of the unanswered increments have happened cannot be known.
    let mut operations: Vec<Operation> = (0..40).map(|number| unknown(0, Command::IncrBy("n", 1 << number))).collect();
    operations.push(known((10, 11), Command::Get("n"), text("nonsense")));
    let limits = Limits { steps: 10_000, ..Limits::default() };
    assert_eq!(check(&operations, limits), Verdict::Undecided);
}

/// How an object can fail to be atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    LostWrite,
    StaleRead,
    Duplicate,
}

/// The history of clients of one object, which makes one mistake.
fn simulate(random: &mut Random, kind: Kind, count: usize, mistake: Mistake) -> Vec<Operation> {
    const CLIENTS: usize = 4;
    let start = Moment(0).plus_ms(10_000);
    let mut free_at = [start; CLIENTS];
    let mut planned: Vec<(Moment, Operation, Fate)> = Vec::new();
    for number in 0..count {
        let client = random.index(CLIENTS);
        let invoked = Moment(free_at[client].0 + random.below(3_000_000));
        let point = Moment(invoked.0 + random.below(4_000_000));
        let returned = Moment(point.0 + random.below(4_000_000));
        free_at[client] = Moment(returned.0 + 1);
        let command = kind.command(random, Text::from(format!("v{number}")));
        let (point, fate) = match random.below(40) {
            0 => (point, Fate::Never),
            1 => (Moment(point.0 + random.below(40_000_000)), Fate::Unanswered),
            _ => (point, Fate::Answered),
        };
        let end = End::Answered { at: returned, reply: Reply::Ok };
        let client = ClientId(client as u16);
        planned.push((point, Operation { client, group: GroupId(0), command, invoked, end }, fate));
    }
    planned.sort_by_key(|(point, _, _)| *point);
    let (mut state, mut former) = (State::default(), State::default());
    // Made at the first operation from there on at which it makes a difference.
    let mut due = if mistake == Mistake::None { None } else { Some(random.index(count)) };
    let mut operations = Vec::new();
    for (number, (point, mut operation, fate)) in planned.into_iter().enumerate() {
        let command = operation.command.clone();
        let run = |state: &State| {
            let mut after = state.clone();
            let reply = after.run_at(&command, point).normal_for(&command);
            (after, reply)
        };
        let (mut after, mut reply) = run(&state);
        if due.is_some_and(|due| number >= due) && fate == Fate::Answered {
            let right = (after.clone(), reply.clone());
            match mistake {
                Mistake::LostWrite => after = state.clone(),
                Mistake::Duplicate => after = run(&after).0,
                Mistake::StaleRead if !command.changes() => reply = run(&former).1,
                Mistake::StaleRead | Mistake::None => {}
            }
            if (&after, &reply) != (&right.0, &right.1) {
                due = None;
            }
        }
        if random.percent(30) == Chance::Yes {
            former = state.clone();
        }
        if fate != Fate::Never {
            state = after;
        }
        match &mut operation.end {
            End::Answered { reply: answer, .. } if fate == Fate::Answered => *answer = reply,
            end => *end = End::Unknown,
        }
        if operation.is_known() || command.changes() {
            operations.push(operation);
        }
    }
    operations
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Answered,
    Unanswered,
    Never,
}

#[test]
fn histories_of_an_atomic_object_are_accepted() {
    for seed in 0..60 {
        let mut random = Random::seeded(seed);
        for kind in Kind::ALL {
            let operations = simulate(&mut random, kind, 100, Mistake::None);
            assert!(is_linearizable(&operations), "seed {seed}, {kind:?}");
        }
    }
}

#[test]
fn the_search_agrees_with_trying_every_order() {
    let mut broken = 0;
    for seed in 0..3000 {
        let mut random = Random::seeded(seed);
        let mistake = [Mistake::None, Mistake::LostWrite, Mistake::StaleRead, Mistake::Duplicate][seed as usize % 4];
        let kind = Kind::ALL[random.index(Kind::ALL.len())];
        let count = 4 + random.index(5);
        let operations = simulate(&mut random, kind, count, mistake);
        let expected = brute::has_order(&operations);
        let shown = || operations.iter().map(|one| format!("{one}\n")).collect::<String>();
        assert_eq!(is_linearizable(&operations), expected, "seed {seed}, {kind:?}, {mistake:?}\n{}", shown());
        assert!(expected || mistake != Mistake::None, "seed {seed}\n{}", shown());
        broken += usize::from(!expected);
    }
    assert!(broken > 300, "only {broken} of the histories with a mistake showed it");
}

#[test]
fn most_long_histories_with_a_mistake_are_rejected() {
    for (mistake, at_least) in [(Mistake::LostWrite, 50), (Mistake::StaleRead, 50), (Mistake::Duplicate, 40)] {
        let mut found = 0;
        for seed in 0..100 {
            let mut random = Random::seeded(seed);
            let operations = simulate(&mut random, Kind::ALL[seed as usize % 7], 100, mistake);
            found += usize::from(!is_linearizable(&operations));
        }
        assert!(found >= at_least, "{mistake:?} was found in {found} of 100 histories");
    }
}
