//! States that move from one database into another, and the records that say where they lie.

use super::Scratch;
use super::law::assert_same;
use super::steps::{DATABASES, batch};
use crate::engine::rocks::testing;
use crate::engine::{Cleaning, Engine, EngineError, GroupId, HOME_STORE, LogIndex, ReplicaRecord, Rocks, StateImport};
use crate::keyspace::Keyspace;
use crate::rdb::crc64::crc64;
use crate::rng::Rng;
use std::sync::Arc;

fn open(rocks: &Arc<Rocks>, store: GroupId) -> Engine {
    Engine::open(rocks.clone(), store, DATABASES).unwrap()
}

/// Applies random batches to a keyspace and to engines alike.
fn fill(rng: &mut Rng, keyspace: &Keyspace, engines: &[&Engine], indexes: std::ops::Range<u64>) {
    for index in indexes {
        let batch = batch(rng, keyspace);
        engines.iter().for_each(|engine| engine.apply([(LogIndex(index), batch.clone())].into_iter()).unwrap());
    }
}

fn chunks(engine: &Engine, bytes: usize) -> (LogIndex, Vec<Vec<u8>>) {
    let mut chunks = Vec::new();
    let applied = engine
        .export(
            bytes,
            |applied| applied,
            |_, chunk| {
                chunks.push(chunk);
                Ok::<_, EngineError>(())
            },
        )
        .unwrap();
    (applied, chunks)
}

#[test]
fn a_state_goes_on_elsewhere_as_if_it_had_always_been_there() {
    for seed in 0..6 {
        let mut rng = Rng::seeded(seed);
        let keyspace = Keyspace::new(DATABASES);
        let (here, there) = (Scratch::new("export"), Scratch::new("import"));
        let source = open(&here.open(), HOME_STORE);
        fill(&mut rng, &keyspace, &[&source], 1..400);
        let (applied, chunks) = chunks(&source, 1 + rng.below(5000) as usize);
        assert_eq!(applied, source.applied());

        let rocks = there.open();
        let store = rocks.new_store().unwrap();
        let mut import = StateImport::new(rocks.clone(), store);
        for chunk in &chunks {
            assert!(!import.is_complete());
            import.add(chunk).unwrap();
        }
        assert!(import.is_complete());
        rocks.put_replica(&ReplicaRecord { group: 9, replica: 4, store: Some(store) }, Some(b"state")).unwrap();
        assert_eq!(rocks.log_state(store).unwrap().as_deref(), Some(&b"state"[..]));

        let target = open(&rocks, store);
        assert_eq!(target.applied(), applied);
        assert_same(&target, &keyspace);
        fill(&mut rng, &keyspace, &[&source, &target], 400..600);
        assert_same(&source, &keyspace);
        assert_same(&target, &keyspace);
        while target.clean_some(1000).unwrap() == Cleaning::More {}
        testing::assert_tidy(&target);
    }
}

#[test]
fn damaged_lost_and_repeated_chunks_are_refused() {
    let mut rng = Rng::seeded(7);
    let keyspace = Keyspace::new(DATABASES);
    let scratch = Scratch::new("refuse");
    let rocks = scratch.open();
    let source = open(&rocks, HOME_STORE);
    fill(&mut rng, &keyspace, &[&source], 1..200);
    let (_, chunks) = chunks(&source, 500);
    assert!(chunks.len() > 3);
    let import = || StateImport::new(rocks.clone(), rocks.new_store().unwrap());
    for _ in 0..200 {
        let mut damaged = chunks[0].clone();
        let place = rng.below(damaged.len() as u64) as usize;
        damaged[place] ^= 1 << rng.below(8);
        assert!(import().add(&damaged).is_err());
        let len = rng.below(damaged.len() as u64) as usize;
        assert!(import().add(&chunks[0][..len]).is_err());
    }
    // Behind the number, and in front of the checksum of both.
    let mut foreign = chunks[0][..chunks[0].len() - 8].to_vec();
    foreign[4..8].copy_from_slice(&77u32.to_be_bytes());
    foreign.extend_from_slice(&crc64(0, &foreign).to_be_bytes());
    let refusal = import().add(&foreign).unwrap_err().to_string();
    assert!(refusal.contains("a copy of layout 77 was sent"), "{refusal}");
    let mut skipping = import();
    skipping.add(&chunks[0]).unwrap();
    assert!(skipping.add(&chunks[2]).is_err());
    let mut repeating = import();
    repeating.add(&chunks[0]).unwrap();
    assert!(repeating.add(&chunks[0]).is_err());
    // All of these have left something, and nothing refers to it.
    drop(source);
    assert!(rocks.delete_lost_stores().unwrap() >= 2);
    assert_eq!(rocks.delete_lost_stores().unwrap(), 0);
    assert_same(&open(&rocks, HOME_STORE), &keyspace);
}

#[test]
fn a_store_is_given_out_once_and_records_stay() {
    let scratch = Scratch::new("records");
    let rocks = scratch.open();
    assert_eq!((rocks.node_record().unwrap(), rocks.replicas().unwrap()), (None, vec![]));
    let stores: Vec<GroupId> = (0..3).map(|_| rocks.new_store().unwrap()).collect();
    let held = ReplicaRecord { group: 5, replica: 7, store: Some(stores[0]) };
    let gone = ReplicaRecord { group: u32::MAX - 1, replica: u64::MAX, store: None };
    rocks.put_node_record(b"me", &[held]).unwrap();
    rocks.put_replica(&gone, None).unwrap();
    drop(rocks);
    let rocks = scratch.open();
    assert_eq!(rocks.node_record().unwrap().as_deref(), Some(&b"me"[..]));
    assert_eq!(rocks.replicas().unwrap(), [held, gone]);
    let next = rocks.new_store().unwrap();
    assert!(!stores.contains(&next) && next != HOME_STORE);
}

#[test]
fn a_deleted_store_leaves_nothing_and_its_neighbours_alone() {
    let mut rng = Rng::seeded(11);
    let keyspace = Keyspace::new(DATABASES);
    let scratch = Scratch::new("delete");
    let rocks = scratch.open();
    let (one, other) = (rocks.new_store().unwrap(), rocks.new_store().unwrap());
    fill(&mut rng, &keyspace, &[&open(&rocks, one), &open(&rocks, other)], 1..100);
    rocks.delete_store(one).unwrap();
    assert_same(&open(&rocks, other), &keyspace);
    let empty = open(&rocks, one);
    assert_eq!(empty.applied(), LogIndex(0));
    assert_same(&empty, &Keyspace::new(DATABASES));
}

#[test]
fn a_document_is_replaced_with_its_index_and_goes_with_its_store() {
    let scratch = Scratch::new("document");
    let rocks = scratch.open();
    let store = rocks.new_store().unwrap();
    assert_eq!(rocks.document(store).unwrap(), None);
    rocks.put_document(store, LogIndex(3), b"one").unwrap();
    rocks.put_document(store, LogIndex(4), b"").unwrap();
    assert_eq!(rocks.document(store).unwrap(), Some((LogIndex(4), vec![])));
    rocks.delete_store(store).unwrap();
    assert_eq!(rocks.document(store).unwrap(), None);
}
