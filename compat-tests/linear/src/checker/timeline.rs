//! Requests and answers of a history in the order of time, as a list from which operations can be taken out and put
//! back in the opposite order.
//!
//! What may come next in an order are the requests before the first answer: whoever was answered before another one
//! asked comes before it. An operation that was never answered has no answer here, so nothing waits for it.

use crate::history::Operation;

/// Place of a request or an answer; place 0 is before all.
type Place = usize;

const HEAD: Place = 0;

pub struct Timeline {
    next: Vec<Place>,
    previous: Vec<Place>,
    /// What stands at each place; nothing at the head.
    events: Vec<Option<Event>>,
    requests: Vec<Place>,
    answers: Vec<Option<Place>>,
}

#[derive(Clone, Copy)]
enum Event {
    Request(usize),
    Answer,
}

impl Timeline {
    pub fn of(operations: &[Operation]) -> Timeline {
        let mut order = Vec::with_capacity(2 * operations.len());
        for (index, operation) in operations.iter().enumerate() {
            // A request at the very moment of an answer may have come before it.
            order.push((operation.invoked, 0, index));
            if operation.is_known() {
                order.push((operation.returned(), 1, index));
            }
        }
        order.sort_unstable();
        let places = order.len() + 1;
        let mut events = vec![None];
        let (mut requests, mut answers) = (vec![HEAD; operations.len()], vec![None; operations.len()]);
        for (place, (_, kind, index)) in (1..).zip(order) {
            if kind == 0 {
                events.push(Some(Event::Request(index)));
                requests[index] = place;
            } else {
                events.push(Some(Event::Answer));
                answers[index] = Some(place);
            }
        }
        let next = (0..places).map(|place| (place + 1) % places).collect();
        let previous = (0..places).map(|place| (place + places - 1) % places).collect();
        Timeline { next, previous, events, requests, answers }
    }

    /// Operations of which one must come next, if any that was answered is left.
    pub fn candidates(&self, mut visit: impl FnMut(usize)) {
        let mut place = self.next[HEAD];
        while let Some(Event::Request(index)) = self.events[place] {
            visit(index);
            place = self.next[place];
        }
    }

    pub fn take_out(&mut self, index: usize) {
        self.unlink(self.requests[index]);
        if let Some(answer) = self.answers[index] {
            self.unlink(answer);
        }
    }

    /// Undoes the last [`Timeline::take_out`] that is not undone.
    pub fn put_back(&mut self, index: usize) {
        if let Some(answer) = self.answers[index] {
            self.relink(answer);
        }
        self.relink(self.requests[index]);
    }

    fn unlink(&mut self, place: Place) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = after;
        self.previous[after] = before;
    }

    fn relink(&mut self, place: Place) {
        let (before, after) = (self.previous[place], self.next[place]);
        self.next[before] = place;
        self.previous[after] = place;
    }
}
