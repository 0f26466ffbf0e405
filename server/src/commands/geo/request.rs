//! The arguments of GEOSEARCH, GEORADIUS and kin, which are read in an order that clients see in the errors.

use super::{UNKNOWN_UNIT, parse_position, position_of};
use crate::algorithms::geohash::{Position, Shape, Unit};
use crate::commands::parse;
use crate::error::{CommandError, CommandResult, SYNTAX};
use crate::resp::Args;
use basalt_storage::number;
use basalt_storage::types::Zset;

/// The forms of a search, by command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// GEORADIUS: longitude, latitude and radius come first.
    Radius(Stores),
    /// GEORADIUSBYMEMBER: a member and a radius come first.
    RadiusByMember(Stores),
    /// GEOSEARCH: everything is an option.
    Search,
    SearchStore,
}

/// Whether STORE and STOREDIST are options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stores {
    Maybe,
    Never,
}

/// What is written with each member.
#[derive(Clone, Copy, Default)]
pub struct Extras {
    pub distance: bool,
    pub hash: bool,
    pub position: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Nearest,
    Farthest,
}

/// Where a result goes instead of being answered, and what becomes the score.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub key: &'a [u8],
    pub score: TargetScore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetScore {
    Place,
    Distance,
}

/// Where GEOSEARCH takes the centre from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CenterOption {
    Member,
    Position,
}

/// One search.
pub struct Request<'a> {
    form: Form,
    center_option: Option<CenterOption>,
    /// `None` if it is a member of an index that does not exist.
    pub center: Option<Position>,
    pub shape: Option<Shape>,
    pub unit: Unit,
    pub extras: Extras,
    pub order: Option<Order>,
    /// Zero for all.
    pub count: usize,
    /// ANY: the first that are found, not the nearest.
    pub any: bool,
    pub target: Option<Target<'a>>,
}

impl<'a> Request<'a> {
    pub fn parse(args: Args<'a>, form: Form, zset: Option<&Zset>) -> Result<Request<'a>, CommandError> {
        let mut request = Request {
            form,
            center_option: None,
            center: None,
            shape: None,
            unit: Unit::Meters,
            extras: Extras::default(),
            order: None,
            count: 0,
            any: false,
            target: None,
        };
        let mut at = match form {
            Form::Radius(_) => {
                request.center = Some(parse_position(args, 2)?);
                request.parse_circle(args, 4)?;
                6
            }
            Form::RadiusByMember(_) => {
                // Without an index the radius is not even looked at.
                if let Some(zset) = zset {
                    request.parse_member(args.at(2), zset)?;
                    request.parse_circle(args, 3)?;
                }
                5
            }
            Form::Search => 2,
            Form::SearchStore => {
                request.target = Some(Target { key: args.at(1), score: TargetScore::Place });
                3
            }
        };
        while at < args.len() {
            at += request.parse_option(args, at, zset)?;
        }
        request.check(args)?;
        Ok(request)
    }

    fn is_search(&self) -> bool {
        matches!(self.form, Form::Search | Form::SearchStore)
    }

    /// Reads the option at `at`; returns how many arguments it takes.
    fn parse_option(&mut self, args: Args<'a>, at: usize, zset: Option<&Zset>) -> Result<usize, CommandError> {
        const COUNT_NOT_POSITIVE: CommandError = CommandError::new("ERR COUNT must be > 0");
        let is = |word| args.is(at, word);
        let has_value = at + 1 < args.len();
        let may_store = matches!(self.form, Form::Radius(Stores::Maybe) | Form::RadiusByMember(Stores::Maybe));
        if is("WITHDIST") {
            self.extras.distance = true;
        } else if is("WITHHASH") {
            self.extras.hash = true;
        } else if is("WITHCOORD") {
            self.extras.position = true;
        } else if is("ANY") {
            self.any = true;
        } else if is("ASC") {
            self.order = Some(Order::Nearest);
        } else if is("DESC") {
            self.order = Some(Order::Farthest);
        } else if is("COUNT") && has_value {
            let count = parse::integer(args.at(at + 1))?;
            self.count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(COUNT_NOT_POSITIVE)?;
            return Ok(2);
        } else if may_store && has_value && (is("STORE") || is("STOREDIST")) {
            let score = if is("STORE") { TargetScore::Place } else { TargetScore::Distance };
            self.target = Some(Target { key: args.at(at + 1), score });
            return Ok(2);
        } else if self.is_search() {
            return self.parse_search_option(args, at, zset);
        } else {
            return Err(SYNTAX);
        }
        Ok(1)
    }

    /// The options that only GEOSEARCH and GEOSEARCHSTORE have.
    fn parse_search_option(&mut self, args: Args<'a>, at: usize, zset: Option<&Zset>) -> Result<usize, CommandError> {
        let is = |word| args.is(at, word);
        let left = args.len() - at - 1;
        if is("FROMMEMBER") && left >= 1 && self.center_option != Some(CenterOption::Position) {
            self.center_option = Some(CenterOption::Member);
            if let Some(zset) = zset {
                self.parse_member(args.at(at + 1), zset)?;
            }
            Ok(2)
        } else if is("FROMLONLAT") && left >= 2 && self.center_option != Some(CenterOption::Member) {
            self.center = Some(parse_position(args, at + 1)?);
            self.center_option = Some(CenterOption::Position);
            Ok(3)
        } else if is("BYRADIUS") && left >= 2 && !matches!(self.shape, Some(Shape::Rectangle { .. })) {
            self.parse_circle(args, at + 1)?;
            Ok(3)
        } else if is("BYBOX") && left >= 3 && !matches!(self.shape, Some(Shape::Circle { .. })) {
            self.parse_box(args, at + 1)?;
            Ok(4)
        } else if is("STOREDIST")
            && let Some(target) = &mut self.target
        {
            target.score = TargetScore::Distance;
            Ok(1)
        } else {
            Err(SYNTAX)
        }
    }

    fn parse_member(&mut self, member: &[u8], zset: &Zset) -> CommandResult {
        const NO_MEMBER: CommandError = CommandError::new("ERR could not decode requested zset member");
        self.center = Some(position_of(zset, member).ok_or(NO_MEMBER)?);
        Ok(())
    }

    /// A radius and its unit.
    fn parse_circle(&mut self, args: Args<'_>, at: usize) -> CommandResult {
        const NOT_NUMBER: CommandError = CommandError::new("ERR need numeric radius");
        const NEGATIVE: CommandError = CommandError::new("ERR radius cannot be negative");
        let radius = number::parse_f64(args.at(at)).ok_or(NOT_NUMBER)?;
        if radius < 0.0 {
            return Err(NEGATIVE);
        }
        self.unit = Unit::parse(args.at(at + 1)).ok_or(UNKNOWN_UNIT)?;
        self.shape = Some(Shape::Circle { radius_m: radius * self.unit.meters() });
        Ok(())
    }

    /// A width, a height and their unit.
    fn parse_box(&mut self, args: Args<'_>, at: usize) -> CommandResult {
        const WIDTH_NOT_NUMBER: CommandError = CommandError::new("ERR need numeric width");
        const HEIGHT_NOT_NUMBER: CommandError = CommandError::new("ERR need numeric height");
        const NEGATIVE: CommandError = CommandError::new("ERR height or width cannot be negative");
        let width = number::parse_f64(args.at(at)).ok_or(WIDTH_NOT_NUMBER)?;
        let height = number::parse_f64(args.at(at + 1)).ok_or(HEIGHT_NOT_NUMBER)?;
        if width < 0.0 || height < 0.0 {
            return Err(NEGATIVE);
        }
        self.unit = Unit::parse(args.at(at + 2)).ok_or(UNKNOWN_UNIT)?;
        let meters = self.unit.meters();
        self.shape = Some(Shape::Rectangle { width_m: width * meters, height_m: height * meters });
        Ok(())
    }

    /// What only all options together show.
    fn check(&self, args: Args<'_>) -> CommandResult {
        const ANY_WITHOUT_COUNT: CommandError = CommandError::new("ERR the ANY argument requires COUNT argument");
        let name = String::from_utf8_lossy(args.at(0));
        let Extras { distance, hash, position } = self.extras;
        let refuse = |text: String| Err(CommandError::owned(text));
        if self.target.is_some() && (distance || hash || position) {
            let what = if self.form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return refuse(format!("ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"));
        }
        if self.is_search() && self.center_option.is_none() {
            return refuse(format!("ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for {name}"));
        }
        if self.is_search() && self.shape.is_none() {
            return refuse(format!("ERR exactly one of BYRADIUS and BYBOX can be specified for {name}"));
        }
        if self.any && self.count == 0 { Err(ANY_WITHOUT_COUNT) } else { Ok(()) }
    }
}
