//! What slots cost, as nodes tell each other: measured where a slot is led, said with the beats, and kept by everybody
//! who has a replica of the root group, so that a new leader knows at once.
//!
//! A beat may be lost, and nobody answers one. So what is said is said again, slot by slot in turn, and what was not
//! heard of for a while is not known any more. Figures are rounded to an eighth of a power of two: it takes no more to
//! spread slots, and two bytes are all that a slot needs.
//!
//! Bounds: [`PORTION_MAX`] slots in a message, one of them in each [`PAUSE`], and a place for each slot here.

use crate::placement::{Load, SlotLoad};
use crate::{SLOT_COUNT, Slot};
use basalt_storage::effect::wire::{Malformed, Reader, put_varint};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Slots in one message.
pub const PORTION_MAX: usize = 1024;

/// Between two messages that say something of slots.
const PAUSE: Duration = Duration::from_secs(1);

/// In so many messages each slot has its turn, whether it has changed or not.
const ROUND: usize = 64;

/// A figure that was not heard for so long, three rounds and a little, is not known any more.
const STALE: Duration = Duration::from_secs(200);

/// So many eighths of a power of two are a change that is worth saying before its turn.
const MATERIAL: u8 = 2;

/// An amount, as the number of eighths of a power of two that it is above some unit; zero is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Rounded(u8);

impl Rounded {
    fn of(amount: u64, unit: f64) -> Rounded {
        match amount {
            0 => Rounded(0),
            amount => Rounded((1.0 + 8.0 * (amount as f64 / unit).log2()).round().clamp(1.0, 255.0) as u8),
        }
    }

    fn amount(self, unit: f64) -> u64 {
        if self.0 == 0 { 0 } else { (unit * (f64::from(self.0 - 1) / 8.0).exp2()).round() as u64 }
    }

    fn differs(self, other: Rounded) -> bool {
        self.0.abs_diff(other.0) >= MATERIAL || (self.0 == 0) != (other.0 == 0)
    }
}

/// Up to 240 GiB in a slot can be told apart, and as many operations as there will be.
const BYTES_UNIT: f64 = 64.0;
const OPERATIONS_UNIT: f64 = 1.0;

/// What one slot costs, rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    bytes: Rounded,
    operations: Rounded,
}

impl Figure {
    pub fn of(load: SlotLoad) -> Figure {
        Figure { bytes: Rounded::of(load.bytes, BYTES_UNIT), operations: Rounded::of(load.operations, OPERATIONS_UNIT) }
    }

    pub fn load(self) -> SlotLoad {
        SlotLoad { bytes: self.bytes.amount(BYTES_UNIT), operations: self.operations.amount(OPERATIONS_UNIT) }
    }

    fn differs(self, other: Figure) -> bool {
        self.bytes.differs(other.bytes) || self.operations.differs(other.operations)
    }
}

/// Slots in ascending order, with what they cost.
pub type Figures = Vec<(Slot, Figure)>;

/// How many, then for each its distance from the one before, and two bytes.
pub fn put_figures(out: &mut Vec<u8>, figures: &Figures) {
    put_varint(out, figures.len() as u64);
    let mut next = 0;
    for (slot, figure) in figures {
        put_varint(out, (slot.number() - next).into());
        out.extend_from_slice(&[figure.bytes.0, figure.operations.0]);
        next = slot.number() + 1;
    }
}

pub fn read_figures(reader: &mut Reader<'_>) -> Result<Figures, Malformed> {
    let count = reader.count()?;
    let mut figures = Figures::with_capacity(count.min(SLOT_COUNT));
    let mut next = 0;
    for _ in 0..count {
        let number = reader.varint()?.checked_add(next).and_then(|number| u16::try_from(number).ok());
        let slot = number.and_then(Slot::new).ok_or(Malformed("a slot that does not exist"))?;
        let [bytes, operations] = reader.fixed()?;
        figures.push((slot, Figure { bytes: Rounded(bytes), operations: Rounded(operations) }));
        next = u64::from(slot.number()) + 1;
    }
    Ok(figures)
}

/// What the slots cost that this node leads, and what of that others have been told.
pub struct OwnLoads(Mutex<Own>);

struct Own {
    measured: Vec<Option<Figure>>,
    told: Vec<Option<Figure>>,
    /// The slot whose turn is next.
    turn: usize,
    said_at: Option<Instant>,
}

impl Default for OwnLoads {
    fn default() -> OwnLoads {
        let none = || vec![None; SLOT_COUNT];
        OwnLoads(Mutex::new(Own { measured: none(), told: none(), turn: 0, said_at: None }))
    }
}

impl OwnLoads {
    /// What was measured: all slots of which something is known, in any order.
    pub fn put(&self, loads: impl Iterator<Item = (Slot, SlotLoad)>) {
        let own = &mut *self.0.lock();
        own.measured.fill(None);
        for (slot, load) in loads {
            own.measured[usize::from(slot.number())] = Some(Figure::of(load));
        }
    }

    /// What is to be said now, if it is time.
    pub fn due(&self) -> Figures {
        let own = &mut *self.0.lock();
        if own.said_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return Figures::new();
        }
        own.said_at = Some(Instant::now());
        own.portion()
    }
}

impl Own {
    /// Those whose turn it is, and what has changed, from there on.
    fn portion(&mut self) -> Figures {
        let (first, turns) = (self.turn, SLOT_COUNT.div_ceil(ROUND));
        self.turn = (first + turns) % SLOT_COUNT;
        let mut portion = Figures::new();
        let from_turn = Slot::all().skip(first).chain(Slot::all().take(first));
        for (position, slot) in from_turn.enumerate() {
            let told = &mut self.told[usize::from(slot.number())];
            let Some(figure) = self.measured[usize::from(slot.number())] else {
                *told = None;
                continue;
            };
            let is_news = told.is_none_or(|told| told.differs(figure));
            if (is_news || position < turns) && portion.len() < PORTION_MAX {
                *told = Some(figure);
                portion.push((slot, figure));
            }
        }
        portion.sort_unstable_by_key(|(slot, _)| *slot);
        portion
    }
}

/// What was heard of all slots.
pub struct Loads {
    began: Instant,
    slots: Mutex<Box<[Option<Heard>]>>,
}

#[derive(Clone, Copy)]
struct Heard {
    figure: Figure,
    /// Seconds after the beginning.
    at: u32,
}

impl Default for Loads {
    fn default() -> Loads {
        Loads { began: Instant::now(), slots: Mutex::new(vec![None; SLOT_COUNT].into()) }
    }
}

impl Loads {
    pub fn note(&self, figures: &Figures) {
        self.note_at(figures, self.seconds());
    }

    /// All that is known.
    pub fn figures(&self) -> Figures {
        self.figures_at(self.seconds())
    }

    pub fn load(&self) -> Load {
        load_of(&self.figures())
    }

    fn seconds(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_secs()).unwrap_or(u32::MAX)
    }

    fn note_at(&self, figures: &Figures, at: u32) {
        let mut slots = self.slots.lock();
        figures.iter().for_each(|&(slot, figure)| slots[usize::from(slot.number())] = Some(Heard { figure, at }));
    }

    fn figures_at(&self, now: u32) -> Figures {
        let slots = self.slots.lock();
        let is_fresh = |heard: &Heard| u64::from(now.saturating_sub(heard.at)) < STALE.as_secs();
        let known = Slot::all().zip(slots.iter().copied());
        known.filter_map(|(slot, heard)| Some((slot, heard.filter(is_fresh)?.figure))).collect()
    }
}

/// What placement makes of it.
pub fn load_of(figures: &Figures) -> Load {
    let mut load = Load::even();
    figures.iter().for_each(|(slot, figure)| load.set(*slot, figure.load()));
    load
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::samples::slot;

    fn load(bytes: u64, operations: u64) -> SlotLoad {
        SlotLoad { bytes, operations }
    }

    #[test]
    fn rounding_takes_less_than_a_twentieth() {
        assert_eq!(Figure::of(load(0, 0)).load(), load(0, 0));
        assert_eq!(Figure::of(load(1, 1)).load(), load(64, 1));
        for bits in 6..37 {
            for step in 0..16 {
                let bytes = (1u64 << bits) + (step << bits) / 16;
                let back = Figure::of(load(bytes, 0)).load().bytes;
                assert!(back.abs_diff(bytes) * 20 < bytes, "{bytes} became {back}");
            }
        }
        assert_eq!(Figure::of(load(u64::MAX, u64::MAX)), Figure { bytes: Rounded(255), operations: Rounded(255) });
    }

    #[test]
    fn figures_come_back_as_they_were() {
        for slots in [vec![], vec![0], vec![16383], vec![0, 1, 5000, 16382, 16383]] {
            let figures: Figures =
                slots.iter().map(|&number| (slot(number), Figure::of(load(u64::from(number) << 10, 7)))).collect();
            let mut bytes = Vec::new();
            put_figures(&mut bytes, &figures);
            assert_eq!(read_figures(&mut Reader::new(&bytes)), Ok(figures));
            bytes.truncate(bytes.len().saturating_sub(1));
            assert!(read_figures(&mut Reader::new(&bytes)).is_err());
        }
        let beyond = [1, 0xff, 0xff, 0x03, 1, 1];
        assert!(read_figures(&mut Reader::new(&beyond)).is_err());
    }

    #[test]
    fn what_changes_is_said_at_once_and_everything_in_turn() {
        let own = OwnLoads::default();
        let put =
            |changed: u64| own.put(Slot::all().map(|at| (at, load(if at == slot(9) { changed } else { 100 }, 1))));
        let portion = || own.0.lock().portion();
        let has_ninth = |figures: &Figures| figures.iter().any(|(at, _)| *at == slot(9));
        put(100);
        let mut heard = vec![false; SLOT_COUNT];
        let mut note = |figures: Figures| {
            assert!(figures.len() <= PORTION_MAX && figures.is_sorted_by_key(|(slot, _)| *slot));
            figures.iter().for_each(|(at, _)| heard[usize::from(at.number())] = true);
            heard.iter().filter(|heard| **heard).count()
        };
        let first = (1..).find(|_| note(portion()) == SLOT_COUNT);
        assert!(first.is_some_and(|count| count <= 24), "{first:?} portions for all slots");
        put(105);
        assert!((1..ROUND).filter(|_| has_ninth(&portion())).count() <= 1, "it says little that is new");
        put(200);
        assert!(has_ninth(&portion()), "it has changed");
        let mut heard = vec![false; SLOT_COUNT];
        for _ in 0..ROUND {
            portion().iter().for_each(|(at, _)| heard[usize::from(at.number())] = true);
        }
        assert!(heard.iter().all(|heard| *heard), "all have their turn");
        own.put(std::iter::empty());
        assert_eq!(portion(), []);
    }

    #[test]
    fn what_is_not_said_again_is_forgotten() {
        let loads = Loads::default();
        let figure = |bytes| Figure::of(load(bytes, 0));
        loads.note_at(&vec![(slot(1), figure(64)), (slot(2), figure(128))], 10);
        loads.note_at(&vec![(slot(2), figure(256))], 100);
        assert_eq!(loads.figures_at(209), [(slot(1), figure(64)), (slot(2), figure(256))]);
        assert_eq!(loads.figures_at(210), [(slot(2), figure(256))]);
        let load = load_of(&loads.figures_at(210));
        assert_eq!((load.slot(slot(1)), load.slot(slot(2)).map(|load| load.bytes)), (None, Some(256)));
    }
}
