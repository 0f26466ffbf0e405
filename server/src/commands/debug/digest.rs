//! DEBUG DIGEST and DIGEST-VALUE: from entries to the digests of `algorithms::digest`.

use crate::algorithms::digest::{Digest, Kind, Lifetime};
use crate::commands::ctx::SessionCtx;
use crate::error::CommandResult;
use crate::resp::Args;
use basalt_storage::effect::DbIndex;
use basalt_storage::entry::{EntryRef, ValueRef};
use basalt_storage::keyspace::{Key, View};
use basalt_storage::number::format_i64;
use basalt_storage::slot::StripeSet;
use basalt_storage::value::Type;

pub fn digest(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let digest = ctx.with_stripes(StripeSet::ALL, |view| of_everything(view));
    ctx.out.simple(&digest.to_string());
    Ok(())
}

pub fn digest_value(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    ctx.out.array(args.len() - 1);
    let db = ctx.session.db;
    for bytes in args.from(1) {
        let key = Key::new(bytes);
        let digest = ctx.with_key(&key, |view| match view.peek(db, &key) {
            Some(entry) => finish(Digest::of_value(kind(entry)), entry),
            None => Digest::default(),
        });
        ctx.out.simple(&digest.to_string());
    }
    Ok(())
}

/// The digest of all databases; the view holds all stripes.
///
/// # Panics
/// If an entry cannot be read from disk: a digest of the rest would say that all is well.
pub fn of_everything(view: &mut View<'_>) -> Digest {
    let keyspace = view.keyspace();
    let mut digest = Digest::default();
    for number in 0..keyspace.databases() {
        let db = DbIndex(number);
        if keyspace.key_count(db) == 0 {
            continue;
        }
        digest.begin_database(number.into());
        view.load_all(db).unwrap_or_else(|unreadable| panic!("{unreadable}"));
        view.for_each_entry(db, |entry| digest.add_key(finish(Digest::of_key(entry.key(), kind(entry)), entry)));
    }
    digest
}

fn kind(entry: EntryRef<'_>) -> Kind {
    match entry.value().type_of() {
        Type::String => Kind::String,
        Type::List => Kind::List,
        Type::Set => Kind::Set,
        Type::Zset => Kind::SortedSet,
        Type::Hash => Kind::Hash,
    }
}

/// Adds the value of an entry.
fn finish(mut digest: Digest, entry: EntryRef<'_>) -> Digest {
    match entry.value() {
        ValueRef::Int(number) => digest.add_element(&format_i64(number)),
        ValueRef::Str(bytes) => digest.add_element(bytes),
        ValueRef::List(list) => list.iter().for_each(|element| digest.add_element(element)),
        ValueRef::Set(set) => set.iter().for_each(|member| digest.add_member(&member)),
        ValueRef::Hash(hash) => hash.iter().for_each(|field| digest.add_field(field.name(), field.value())),
        ValueRef::Zset(zset) => zset.iter().for_each(|(member, score)| digest.add_scored(member, score)),
        ValueRef::Outline(_) => unreachable!("everything was loaded"),
    }
    digest.finish(if entry.expiry().is_some() { Lifetime::Expires } else { Lifetime::Forever })
}
