//! Positions on Earth as scores of a sorted set: 52 bits, latitude and longitude interleaved, as Redis stores them.
//!
//! A cell is a rectangle named by the first bits of such a score: all positions in it are neighbours in score
//! order, which is what lets `search` turn an area into a few score ranges. Invariants: longitudes are within
//! 180 degrees and latitudes within the limits of Web Mercator; a position that went through a score is the
//! centre of its cell of 52 bits.

mod search;

pub use search::{Area, ScoreRange, Shape};

/// Bits per axis of a score.
const STEPS_MAX: u32 = 26;

const LONGITUDES: Axis = Axis { min: -180.0, max: 180.0 };

/// Web Mercator ends where the map becomes a square.
const LATITUDES: Axis = Axis { min: -85.051_128_78, max: 85.051_128_78 };

/// The latitudes of the geohash strings that other systems use.
const LATITUDES_OF_TEXT: Axis = Axis { min: -90.0, max: 90.0 };

const EARTH_RADIUS_M: f64 = 6_372_797.560_856;

/// The digits of geohash strings.
const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
const TEXT_LEN: usize = 11;

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    pub longitude: f64,
    pub latitude: f64,
}

/// A unit of distance that commands accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Meters,
    Kilometers,
    Feet,
    Miles,
}

impl Position {
    /// A place within the limits; `None` beyond them, where Redis answers "invalid longitude,latitude pair".
    pub fn new(longitude: f64, latitude: f64) -> Option<Position> {
        let valid = LONGITUDES.contains(longitude) && LATITUDES.contains(latitude);
        valid.then_some(Position { longitude, latitude })
    }

    /// The centre of the cell that a score names. Scores that GEOADD did not make give some place or other.
    pub fn of_score(score: f64) -> Position {
        let (longitudes, latitudes) = Cell { bits: score as u64, steps: STEPS_MAX }.bounds();
        Position {
            longitude: ((longitudes.min + longitudes.max) / 2.0).clamp(LONGITUDES.min, LONGITUDES.max),
            latitude: ((latitudes.min + latitudes.max) / 2.0).clamp(LATITUDES.min, LATITUDES.max),
        }
    }

    /// The score under which GEOADD stores the place.
    pub fn score(self) -> f64 {
        Cell::around(self, STEPS_MAX, LATITUDES).bits as f64
    }

    /// The eleven characters that GEOHASH answers: the standard's latitudes, and only 50 bits of them, so the
    /// last one is always a zero.
    pub fn text(self) -> [u8; TEXT_LEN] {
        let bits = Cell::around(self, STEPS_MAX, LATITUDES_OF_TEXT).bits;
        let mut text = [ALPHABET[0]; TEXT_LEN];
        for (place, digit) in text[..TEXT_LEN - 1].iter_mut().enumerate() {
            *digit = ALPHABET[(bits >> (47 - 5 * place)) as usize % 32];
        }
        text
    }

    /// The distance on the sphere in metres, by the haversine formula.
    pub fn distance_m(self, other: Position) -> f64 {
        let v = ((radians(other.longitude) - radians(self.longitude)) / 2.0).sin();
        if v == 0.0 {
            return self.latitude_distance_m(other);
        }
        let (latitude, other_latitude) = (radians(self.latitude), radians(other.latitude));
        let u = ((other_latitude - latitude) / 2.0).sin();
        let a = u * u + latitude.cos() * other_latitude.cos() * v * v;
        2.0 * EARTH_RADIUS_M * a.sqrt().asin()
    }

    /// The distance in metres as if both were on one meridian.
    fn latitude_distance_m(self, other: Position) -> f64 {
        EARTH_RADIUS_M * (radians(other.latitude) - radians(self.latitude)).abs()
    }
}

impl Unit {
    /// Parses "m", "km", "ft" or "mi", in either case.
    pub fn parse(text: &[u8]) -> Option<Unit> {
        let units = [(&b"m"[..], Unit::Meters), (b"km", Unit::Kilometers), (b"ft", Unit::Feet), (b"mi", Unit::Miles)];
        units.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name)).map(|(_, unit)| unit)
    }

    pub fn meters(self) -> f64 {
        match self {
            Unit::Meters => 1.0,
            Unit::Kilometers => 1000.0,
            Unit::Feet => 0.3048,
            Unit::Miles => 1609.34,
        }
    }
}

/// A distance as replies write it: four places.
pub fn distance_text(distance: f64) -> String {
    format!("{distance:.4}")
}

/// A range of degrees, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Axis {
    min: f64,
    max: f64,
}

impl Axis {
    fn contains(self, degrees: f64) -> bool {
        (self.min..=self.max).contains(&degrees)
    }

    /// Which of `2^steps` equal parts the value is in. The very end is one part too far, as it is in Redis.
    fn part_of(self, degrees: f64, steps: u32) -> u32 {
        let share = (degrees - self.min) / (self.max - self.min);
        (share * f64::from(1u32 << steps)) as u32
    }

    fn part(self, number: u32, steps: u32) -> Axis {
        let parts = f64::from(1u32 << steps);
        let length = self.max - self.min;
        Axis {
            min: self.min + f64::from(number) / parts * length,
            max: self.min + (f64::from(number) + 1.0) / parts * length,
        }
    }
}

/// The rectangle whose positions have scores that start with these `2 * steps` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    bits: u64,
    steps: u32,
}

impl Cell {
    fn around(position: Position, steps: u32, latitudes: Axis) -> Cell {
        let latitude = latitudes.part_of(position.latitude, steps);
        let longitude = LONGITUDES.part_of(position.longitude, steps);
        Cell { bits: spread(latitude) | spread(longitude) << 1, steps }
    }

    /// Its longitudes and latitudes.
    fn bounds(self) -> (Axis, Axis) {
        let longitudes = LONGITUDES.part(gather(self.bits >> 1), self.steps);
        (longitudes, LATITUDES.part(gather(self.bits), self.steps))
    }

    /// The cell so many cells east and north of here; the map's edges are joined.
    fn neighbour(self, east: i32, north: i32) -> Cell {
        let mask = (1u32 << self.steps) - 1;
        let shift = |part: u32, by: i32| {
            if by == 0 { part } else { part.wrapping_add_signed(by) & mask }
        };
        let longitude = shift(gather(self.bits >> 1), east);
        let latitude = shift(gather(self.bits), north);
        Cell { bits: spread(latitude) | spread(longitude) << 1, steps: self.steps }
    }
}

/// Puts the bits of a number at the even places.
fn spread(number: u32) -> u64 {
    let mut bits = u64::from(number);
    for (shift, mask) in SPREADING {
        bits = (bits | bits << shift) & mask;
    }
    bits
}

/// Takes the bits at the even places.
fn gather(bits: u64) -> u32 {
    let mut bits = bits & SPREADING[4].1;
    for level in (0..SPREADING.len()).rev() {
        let mask = if level == 0 { u64::from(u32::MAX) } else { SPREADING[level - 1].1 };
        bits = (bits | bits >> SPREADING[level].0) & mask;
    }
    bits as u32
}

/// Each step moves the upper half of every group of bits away from the lower one.
const SPREADING: [(u32, u64); 5] = [
    (16, 0x0000_ffff_0000_ffff),
    (8, 0x00ff_00ff_00ff_00ff),
    (4, 0x0f0f_0f0f_0f0f_0f0f),
    (2, 0x3333_3333_3333_3333),
    (1, 0x5555_5555_5555_5555),
];

fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

#[cfg(test)]
mod tests;
