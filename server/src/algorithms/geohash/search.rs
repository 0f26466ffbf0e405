//! Areas around a centre: which ranges of scores can hold members inside, and which members really are inside.
//!
//! The area is covered by the cell of its centre and the eight around it, cells chosen as small as still covers
//! it. The ranges come in Redis's order (centre, north, south, east, west, then the corners), because replies
//! that are not sorted show that order. A range holds more than the area: each member is to be asked for its
//! distance.

use super::{Axis, Cell, EARTH_RADIUS_M, LATITUDES, Position, STEPS_MAX, degrees, radians};

/// Half the length of the equator on the Mercator map.
const MERCATOR_MAX_M: f64 = 20_037_726.37;

/// Where the neighbours lie, east and north of the centre, in the order in which they are searched.
const NEIGHBOURS: [(i32, i32); 9] = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];

/// The form of an area, in metres.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Circle { radius_m: f64 },
    Rectangle { width_m: f64, height_m: f64 },
}

/// A shape around a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub center: Position,
    pub shape: Shape,
}

/// Scores from `start` on, below `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub start: f64,
    pub end: f64,
}

impl Area {
    /// The score ranges, at most nine, that together hold every member inside.
    pub fn score_ranges(&self) -> impl Iterator<Item = ScoreRange> {
        let (longitudes, latitudes) = self.bounds();
        let mut steps = self.steps_estimate();
        let mut middle = Cell::around(self.center, steps, LATITUDES);
        if steps > 1 && !covered(middle, longitudes, latitudes) {
            steps -= 1;
            middle = Cell::around(self.center, steps, LATITUDES);
        }
        // With four cells on the whole map the edges are joined and no direction is useless.
        let (own_longitudes, own_latitudes) = middle.bounds();
        let useful = move |(east, north): &(i32, i32)| {
            let reached = |direction: i32, own: Axis, wanted: Axis| match direction {
                1 => own.max <= wanted.max,
                -1 => own.min >= wanted.min,
                _ => true,
            };
            steps < 2 || (reached(*north, own_latitudes, latitudes) && reached(*east, own_longitudes, longitudes))
        };
        // On coarse maps neighbours in a row can be the same cell.
        let mut last = None;
        let cells = NEIGHBOURS.into_iter().filter(useful);
        let cells = cells.map(move |(east, north)| middle.neighbour(east, north));
        cells.filter(move |cell| last.replace(*cell) != Some(*cell)).map(Cell::scores)
    }

    /// The distance of a member from the centre in metres, if the member is inside.
    pub fn distance_within_m(&self, member: Position) -> Option<f64> {
        match self.shape {
            Shape::Circle { radius_m } => {
                let distance = self.center.distance_m(member);
                (distance <= radius_m).then_some(distance)
            }
            Shape::Rectangle { width_m, height_m } => {
                // The width is measured at the member's own latitude.
                let beside = Position { longitude: self.center.longitude, ..member };
                let inside = self.center.latitude_distance_m(member) <= height_m / 2.0
                    && member.distance_m(beside) <= width_m / 2.0;
                inside.then(|| self.center.distance_m(member))
            }
        }
    }

    /// The longitudes and latitudes that enclose the area. Near the poles they can lie off the map.
    fn bounds(&self) -> (Axis, Axis) {
        let (half_width_m, half_height_m) = match self.shape {
            Shape::Circle { radius_m } => (radius_m, radius_m),
            Shape::Rectangle { width_m, height_m } => (width_m / 2.0, height_m / 2.0),
        };
        let Position { longitude, latitude } = self.center;
        let latitude_reach = degrees(half_height_m / EARTH_RADIUS_M);
        // A degree of longitude is shortest at the side that is nearer to a pole.
        let polar = if latitude < 0.0 { latitude - latitude_reach } else { latitude + latitude_reach };
        let longitude_reach = degrees(half_width_m / EARTH_RADIUS_M / radians(polar).cos());
        (
            Axis { min: longitude - longitude_reach, max: longitude + longitude_reach },
            Axis { min: latitude - latitude_reach, max: latitude + latitude_reach },
        )
    }

    /// How fine the cells can be so that three in a row are about as long as the area.
    fn steps_estimate(&self) -> u32 {
        let mut reach_m = match self.shape {
            Shape::Circle { radius_m } => radius_m,
            Shape::Rectangle { width_m, height_m } => {
                ((width_m / 2.0) * (width_m / 2.0) + (height_m / 2.0) * (height_m / 2.0)).sqrt()
            }
        };
        if reach_m == 0.0 {
            return STEPS_MAX;
        }
        let mut steps = 1i32;
        while reach_m < MERCATOR_MAX_M {
            reach_m *= 2.0;
            steps += 1;
        }
        // Two coarser for a margin, and more where the map is stretched.
        steps -= 2;
        let latitude = self.center.latitude.abs();
        steps -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        steps.clamp(1, STEPS_MAX as i32) as u32
    }
}

impl Cell {
    fn scores(self) -> ScoreRange {
        let shift = 2 * (STEPS_MAX - self.steps);
        ScoreRange { start: (self.bits << shift) as f64, end: ((self.bits + 1) << shift) as f64 }
    }
}

/// Whether the neighbours in the four directions reach the ends of the area.
fn covered(middle: Cell, longitudes: Axis, latitudes: Axis) -> bool {
    let north = middle.neighbour(0, 1).bounds().1;
    let south = middle.neighbour(0, -1).bounds().1;
    let east = middle.neighbour(1, 0).bounds().0;
    let west = middle.neighbour(-1, 0).bounds().0;
    north.max >= latitudes.max && south.min <= latitudes.min && east.max >= longitudes.max && west.min <= longitudes.min
}
