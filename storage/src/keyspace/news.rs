//! What a view tells besides its effects: which keys expired, were made, or were missed.
//!
//! Keys that expired are always told. The others cost memory for each of them, so they are told only on demand.

use crate::effect::DbIndex;
use std::sync::atomic::{AtomicU8, Ordering};

/// What happened to a key besides what the command was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It was deleted because it was due.
    Expired,
    /// It was not there before. Told before any other change of it.
    Created,
    /// A command wanted to read it and it was not there.
    Missed,
}

/// A key to which something happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNews {
    pub happened: Happened,
    pub db: DbIndex,
    pub key: Box<[u8]>,
}

const EFFECTS: u8 = 1 << 0;
const CREATED: u8 = 1 << 1;
const MISSED: u8 = 1 << 2;

/// What somebody wants of all views that are opened from now on.
#[derive(Default)]
pub(super) struct Demand(AtomicU8);

impl Demand {
    #[inline]
    pub fn now(&self) -> Demanded {
        Demanded(self.0.load(Ordering::Relaxed))
    }

    pub fn ask_for_effects(&self) {
        self.0.fetch_or(EFFECTS, Ordering::SeqCst);
    }

    pub fn end_effects(&self) {
        self.0.fetch_and(!EFFECTS, Ordering::SeqCst);
    }

    pub fn ask_for_news(&self, wanted: &[Happened]) {
        let asked = wanted.iter().fold(0, |asked, happened| asked | bit(*happened));
        let _ = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |was| Some(was & EFFECTS | asked));
    }
}

/// What is wanted of one view.
#[derive(Clone, Copy)]
pub(super) struct Demanded(u8);

impl Demanded {
    pub const NOTHING: Demanded = Demanded(0);

    #[inline]
    pub fn has_effects(self) -> bool {
        self.0 & EFFECTS != 0
    }

    #[inline]
    pub fn has_news_of(self, happened: Happened) -> bool {
        self.0 & bit(happened) != 0
    }
}

#[inline]
fn bit(happened: Happened) -> u8 {
    match happened {
        Happened::Expired => 0,
        Happened::Created => CREATED,
        Happened::Missed => MISSED,
    }
}
