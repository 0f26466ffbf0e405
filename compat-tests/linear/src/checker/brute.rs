//! Tries every order, which takes for ever on more than a handful of operations. The search is compared with it.

use crate::history::Operation;
use crate::model::State;

pub fn has_order(operations: &[Operation]) -> bool {
    extend(operations, &mut vec![Place::Left; operations.len()], &State::default())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Left,
    Taken,
}

fn extend(operations: &[Operation], places: &mut Vec<Place>, state: &State) -> bool {
    let left: Vec<usize> = (0..operations.len()).filter(|index| places[*index] == Place::Left).collect();
    if left.iter().all(|index| !operations[*index].is_known()) {
        return true;
    }
    for index in &left {
        let operation = &operations[*index];
        let must_come_first = |other: &usize| operations[*other].returned() < operation.invoked;
        if left.iter().any(must_come_first) {
            continue;
        }
        places[*index] = Place::Taken;
        let found = state.after(operation).iter().any(|after| extend(operations, places, after));
        places[*index] = Place::Left;
        if found {
            return true;
        }
    }
    false
}
