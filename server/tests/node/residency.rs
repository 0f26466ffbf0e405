//! Entries that are not in memory must not be missed: random commands run while copies are dropped and the engine lags
//! behind.
//!
//! The engine is a second keyspace to which the recorded batches are applied, some time later and a few at a time. All
//! the while resident copies are dropped, so that most of what commands ask for is cold, deleted in a batch that is not
//! applied, flushed, or in a database that has changed its number. At the end of each stretch both must be the same.

use crate::common::grammar::{Grammar, World};
use crate::common::{TestClient, TestServer, image};
use basalt_storage::clock::UnixMs;
use basalt_storage::effect::{Batch, DbIndex, Effect};
use basalt_storage::engine::{Extent, Found, Loaded, Lookup, Part, PartName, PhysicalDb, Summary, Tier};
use basalt_storage::entry::ValueRef;
use basalt_storage::keyspace::{BatchSink, ColdStore, Key, Keyspace, Stored, Unreadable};
use basalt_storage::outline::Outline;
use basalt_storage::rng::Rng;
use basalt_storage::seq::Seq;
use basalt_storage::slot::{Slot, StripeSet};
use basalt_storage::value::{Str, Value};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

const COMMANDS: usize = 60_000;
const CHECK_EVERY: usize = 400;

/// Keeps what is proposed until it is applied.
#[derive(Default)]
struct Log(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    last: u64,
    batches: VecDeque<(Seq, Batch)>,
}

impl BatchSink for Log {
    fn propose(&self, batch: Batch) -> Seq {
        let mut log = self.0.lock().expect("no holder panics");
        log.last += 1;
        let seq = Seq(log.last);
        log.batches.push_back((seq, batch));
        seq
    }
}

/// The engine: what is applied, and which database stands behind which number.
struct Model {
    data: Keyspace,
    numbers: Mutex<Numbers>,
    /// Values that were loaded as outlines, by version. They must stay what they are as long as the outlines are there.
    outlined: Mutex<Vec<Value>>,
}

struct Numbers {
    of: Vec<PhysicalDb>,
    next: u32,
}

impl Model {
    fn new(databases: u16) -> Model {
        let of = (0..u32::from(databases)).map(PhysicalDb).collect();
        Model {
            data: Keyspace::new(databases),
            numbers: Mutex::new(Numbers { of, next: databases.into() }),
            outlined: Mutex::default(),
        }
    }

    fn apply(&self, batch: Batch) {
        let mut numbers = self.numbers.lock().expect("no holder panics");
        for effect in &batch {
            match effect {
                Effect::Flush { db } => {
                    numbers.of[usize::from(db.0)] = PhysicalDb(numbers.next);
                    numbers.next += 1;
                }
                Effect::SwapDb { one, other } => numbers.of.swap(one.0.into(), other.0.into()),
                Effect::Key { .. }
                | Effect::Rename { .. }
                | Effect::Clear { .. }
                | Effect::Mark(_)
                | Effect::Unmark { .. } => {}
            }
        }
        self.data.apply(batch, UnixMs(1));
    }

    fn outline(&self, value: Value) -> Value {
        let mut outlined = self.outlined.lock().expect("no holder panics");
        let outline = Outline::of_model(value.type_of(), len(&value), outlined.len() as u64);
        outlined.push(value);
        Value::Outline(Box::new(outline))
    }

    fn database(&self, physical: PhysicalDb) -> Option<DbIndex> {
        let numbers = self.numbers.lock().expect("no holder panics");
        numbers.of.iter().position(|number| *number == physical).map(|at| DbIndex(at as u16))
    }
}

impl ColdStore for Model {
    fn load(&self, db: PhysicalDb, key: &Key<'_>, _: Tier, extent: Extent) -> Result<Lookup, Unreadable> {
        let Some(db) = self.database(db) else { return Ok(Found::Absent) };
        let mut view = self.data.lock(StripeSet::of(key.slot.stripe()), UnixMs(0));
        view.stop_expiring();
        let Some(entry) = view.peek(db, key) else { return Ok(Found::Absent) };
        let (mut value, expiry) = (owned(entry.value()), entry.expiry());
        if extent != Extent::Whole && !matches!(value, Value::Str(Str::Int(_))) {
            value = self.outline(value);
        }
        Ok(Found::Found(Loaded { value, expiry }))
    }

    fn summary(&self, db: PhysicalDb, key: &Key<'_>, tier: Tier) -> Result<Found<Summary>, Unreadable> {
        Ok(match self.load(db, key, tier, Extent::Whole)? {
            Found::Found(Loaded { value, expiry }) => {
                Found::Found(Summary { value_type: value.type_of(), len: len(&value), expiry })
            }
            Found::Absent => Found::Absent,
            Found::NeedsDisk => Found::NeedsDisk,
        })
    }

    fn part(&self, slot: Slot, outline: &Outline, name: PartName<'_>, _: Tier) -> Result<Found<Part>, Unreadable> {
        let part = match (self.value(slot, outline)?, name) {
            (Value::Str(string), PartName::Range { start, len }) => {
                let bytes = string.into_bytes();
                let (start, end) = ((start as usize).min(bytes.len()), ((start + len) as usize).min(bytes.len()));
                Some(Part::Bytes(bytes[start..end].to_vec()))
            }
            (Value::List(list), PartName::Index(index)) => {
                let index = if index < 0 { index + list.len() as i64 } else { index };
                usize::try_from(index).ok().and_then(|index| list.get(index)).map(|found| Part::Bytes(found.to_vec()))
            }
            (Value::Set(set), PartName::Named(name)) => set.contains(name).then_some(Part::Member),
            (Value::Hash(hash), PartName::Named(name)) => {
                hash.get(name).map(|field| Part::Bytes(field.value().to_vec()))
            }
            (Value::Zset(zset), PartName::Named(name)) => zset.score(name).map(Part::Score),
            (value, PartName::Page { .. }) => page(&value),
            _ => None,
        };
        Ok(part.map_or(Found::Absent, Found::Found))
    }

    fn value(&self, _: Slot, outline: &Outline) -> Result<Value, Unreadable> {
        Ok(self.outlined.lock().expect("no holder panics")[outline.version() as usize].clone())
    }

    fn walk_slot(
        &self,
        db: PhysicalDb,
        slot: Slot,
        from: u32,
        _: usize,
        visit: &mut dyn FnMut(Stored<'_>),
    ) -> Result<Option<u32>, Unreadable> {
        // A slot is shown whole, as if all its keys had the lowest hash.
        let Some(db) = self.database(db).filter(|_| from == 0) else { return Ok(None) };
        let view = self.data.lock(StripeSet::of(slot.stripe()), UnixMs(0));
        view.for_each_entry(db, |entry| {
            if Slot::of_key(entry.key()) == slot {
                visit(Stored { key: entry.key(), value_type: entry.value().type_of(), expiry: entry.expiry() });
            }
        });
        Ok(None)
    }
}

/// All members, as if they had the same hash.
fn page(value: &Value) -> Option<Part> {
    let named = match value {
        Value::Set(set) => set.iter().map(|member| (member[..].into(), Part::Member)).collect(),
        Value::Hash(hash) => {
            hash.iter().map(|field| (field.name().into(), Part::Bytes(field.value().to_vec()))).collect()
        }
        Value::Zset(zset) => zset.iter().map(|(member, score)| (member.into(), Part::Score(score))).collect(),
        Value::Str(_) | Value::List(_) | Value::Outline(_) => return None,
    };
    Some(Part::Page { named, next: None })
}

fn len(value: &Value) -> u64 {
    match value {
        Value::Str(string) => string.clone().into_bytes().len() as u64,
        Value::List(list) => list.len() as u64,
        Value::Set(set) => set.len() as u64,
        Value::Hash(hash) => hash.len() as u64,
        Value::Zset(zset) => zset.len() as u64,
        Value::Outline(outline) => outline.len(),
    }
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Int(number) => Value::Str(Str::Int(number)),
        ValueRef::Str(bytes) => Value::Str(Str::compact(bytes.to_vec())),
        ValueRef::List(list) => Value::List(list.clone()),
        ValueRef::Set(set) => Value::Set(set.clone()),
        ValueRef::Hash(hash) => Value::Hash(hash.clone()),
        ValueRef::Zset(zset) => Value::Zset(zset.clone()),
        ValueRef::Outline(_) => unreachable!("the model has whole values"),
    }
}

struct Node {
    seed: u64,
    test: TestServer,
    log: Arc<Log>,
    model: Arc<Model>,
    since: Vec<String>,
}

impl Node {
    fn new(seed: u64) -> Node {
        let test = TestServer::start();
        let keyspace = &test.server.keyspace;
        let (log, model) = (Arc::new(Log::default()), Arc::new(Model::new(keyspace.databases())));
        let numbers: Vec<PhysicalDb> = (0..u32::from(keyspace.databases())).map(PhysicalDb).collect();
        keyspace.read_through(model.clone(), &numbers, PhysicalDb(keyspace.databases().into()));
        keyspace.record_to(log.clone());
        Node { seed, test, log, model, since: Vec::new() }
    }

    /// Applies up to `count` batches.
    fn apply(&self, count: usize) {
        for _ in 0..count {
            let Some((seq, batch)) = self.log.0.lock().expect("no holder panics").batches.pop_front() else { return };
            self.model.apply(batch);
            self.test.server.keyspace.note_applied(seq);
        }
    }

    fn cool(&self) {
        let mut view = self.test.server.keyspace.lock(StripeSet::ALL, self.test.now());
        view.cool_all();
    }

    fn check(&mut self) {
        self.apply(usize::MAX);
        let keyspace = &self.test.server.keyspace;
        let expected = image::of(&self.model.data);
        image::assert_counts(keyspace, &expected);
        {
            let mut view = keyspace.lock(StripeSet::ALL, UnixMs(0));
            view.stop_expiring();
            for db in (0..keyspace.databases()).map(DbIndex) {
                view.load_all(db).expect("the model can be read");
            }
        }
        assert!(!keyspace.has_cold(), "everything was loaded");
        self.model.outlined.lock().expect("no holder panics").clear();
        let seen = image::of(keyspace);
        if seen != expected {
            let difference = image::difference(&seen, &expected);
            panic!("seed {}:\n{difference}\nafter\n{}", self.seed, self.since.join("\n"));
        }
        self.since.clear();
        self.cool();
    }
}

fn stream(seed: u64) {
    let grammar = Grammar::of_data();
    let mut rng = Rng::seeded(seed);
    let mut node = Node::new(seed);
    let mut client: TestClient = node.test.client();
    let world = World { now: node.test.now(), dumps: Vec::new() };
    let mut cooled = 0;
    for called in 1..=COMMANDS {
        node.test.advance(rng.below(20) as i64);
        let command = match (client.session.transaction.is_queueing(), rng.below(100)) {
            (false, 0..=2) => vec![b"multi".to_vec()],
            (true, 0..=19) => vec![b"exec".to_vec()],
            _ => grammar.generate(&mut rng, &world),
        };
        node.since.push(command.iter().map(|arg| arg.escape_ascii().to_string() + " ").collect());
        if client.call(&command).is_none() {
            client.time_out();
        }
        match rng.below(8) {
            0 => node.apply(rng.below(6) as usize),
            1 => node.apply(rng.below(40) as usize),
            2 => node.cool(),
            _ => {}
        }
        cooled += usize::from(node.test.server.keyspace.has_cold());
        if called % CHECK_EVERY == 0 {
            node.check();
        }
    }
    node.check();
    assert!(cooled > COMMANDS / 4, "there were cold keys at only {cooled} of {COMMANDS} commands");
}

macro_rules! pieces {
    ($($name:ident = $seed:expr),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                stream($seed);
            }
        )*
    };
}

pieces! { piece_1 = 1, piece_2 = 2, piece_3 = 3, piece_4 = 4, piece_5 = 5, piece_6 = 6 }
