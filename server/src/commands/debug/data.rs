//! Subcommands that look at values, or make some.

use crate::commands::ctx::SessionCtx;
use crate::durability::groups::Groups;
use crate::error::{CommandError, CommandResult, NO_SUCH_KEY, NOT_INTEGER, NOT_POSITIVE};
use crate::resp::Args;
use basalt_storage::access;
use basalt_storage::effect::DbIndex;
use basalt_storage::entry::{Entry, EntryRef, ValueRef};
use basalt_storage::keyspace::{AccessPolicy, Key, NewExpiry, View};
use basalt_storage::number::parse_i64;
use basalt_storage::rdb::dump;
use basalt_storage::rdb::save::Compression;
use basalt_storage::types::Encoding;
use std::ffi::CString;
use std::fmt::Write;

/// Runs `f` on the entry of the key in the second argument.
fn with_entry<R>(
    ctx: &mut SessionCtx<'_, '_>,
    args: Args<'_>,
    f: impl FnOnce(EntryRef<'_>) -> Result<R, CommandError>,
) -> Result<R, CommandError> {
    let (db, key) = (ctx.session.db, args.key(1));
    ctx.with_key(&key, |view| f(view.peek(db, &key).ok_or(NO_SUCH_KEY)?))
}

pub fn object(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let (db, key) = (ctx.session.db, args.key(1));
    let text = ctx.with_key(&key, |view| {
        let now = view.now();
        let settings = &view.keyspace().settings;
        let entry = view.peek(db, &key).ok_or(NO_SUCH_KEY)?;
        /// Type byte and footer: what a payload has around the value.
        const FRAME: usize = 11;
        let length = dump::encode(&entry.value(), Compression::Lzf).len() - FRAME;
        let idle = match settings.access_policy() {
            AccessPolicy::Lru => access::idle_ms(entry.stamp(), now) / 1000,
            AccessPolicy::Lfu => 0,
        };
        Ok::<_, CommandError>(format!(
            "Value at:{:#x} refcount:1 encoding:{} serializedlength:{length} lru:{} lru_seconds_idle:{idle}",
            address(entry),
            entry.encoding(),
            entry.stamp().bits(),
        ))
    })?;
    ctx.out.simple(&text);
    Ok(())
}

/// Where the key's bytes are. Tests see from it whether an entry was written in place.
fn address(entry: EntryRef<'_>) -> usize {
    entry.key().as_ptr() as usize
}

pub fn string_lengths(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let text = with_entry(ctx, args, |entry| match entry.value() {
        ValueRef::Str(bytes) => Ok(format!(
            "key_sds_len:{key}, key_sds_avail:0, key_zmalloc: {size}, val_sds_len:{value}, val_sds_avail:0, \
             val_zmalloc: {size}",
            key = entry.key().len(),
            value = bytes.len(),
            size = entry.heap_bytes(),
        )),
        _ => Err(CommandError::new("ERR Not an sds encoded string.")),
    })?;
    ctx.out.simple(&text);
    Ok(())
}

pub fn listpack(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    with_entry(ctx, args, |entry| match entry.encoding() {
        Encoding::Listpack => Ok(()),
        _ => Err(CommandError::new("ERR Not a listpack encoded object.")),
    })?;
    ctx.out.simple("Listpack structure printed on stdout");
    Ok(())
}

pub fn quicklist(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    with_entry(ctx, args, |entry| match entry.encoding() {
        Encoding::Quicklist => Ok(()),
        _ => Err(CommandError::new("ERR Not a quicklist encoded object.")),
    })?;
    ctx.out.simple("Quicklist structure printed on stdout");
    Ok(())
}

/// Writes what Redis says of a hash table, as far as it means something for ours, which have no chains.
fn describe_table(text: &mut String, elements: u64) {
    const SMALLEST: u64 = 4;
    if elements == 0 {
        text.push_str("Hash table 0 stats (main hash table):\nNo stats available for empty dictionaries\n");
        return;
    }
    let size = elements.next_power_of_two().max(SMALLEST);
    write!(
        text,
        "Hash table 0 stats (main hash table):\n table size: {size}\n number of elements: {elements}\n \
         different slots: {elements}\n max chain length: 1\n avg chain length (counted): 1.00\n \
         avg chain length (computed): 1.00\n Chain length distribution:\n   0: {empty} ({empty_share:.2}%)\n   \
         1: {elements} ({share:.2}%)\n",
        empty = size - elements,
        empty_share = (size - elements) as f64 / size as f64 * 100.0,
        share = elements as f64 / size as f64 * 100.0,
    )
    .expect("writing to a string does not fail");
}

pub fn table_stats(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let number = parse_i64(args.at(1)).ok_or(NOT_INTEGER)?;
    let keyspace = &ctx.server.keyspace;
    let db = keyspace.database(number).ok_or(CommandError::new("ERR Out of range database"))?;
    let mut text = String::from("[Dictionary HT]\n");
    describe_table(&mut text, keyspace.key_count(db));
    text.push_str("[Expires HT]\n");
    describe_table(&mut text, keyspace.volatile_count(db));
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

pub fn table_stats_of_key(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let elements = with_entry(ctx, args, |entry| match (entry.encoding(), entry.value()) {
        (Encoding::Hashtable, ValueRef::Set(set)) => Ok(set.len()),
        (Encoding::Hashtable, ValueRef::Hash(hash)) => Ok(hash.len()),
        (Encoding::Skiplist, ValueRef::Zset(zset)) => Ok(zset.len()),
        _ => Err(CommandError::new("ERR The value stored at the specified key is not represented using an hash table")),
    })?;
    let mut text = String::new();
    describe_table(&mut text, elements as u64);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(())
}

pub fn struct_sizes(ctx: &mut SessionCtx<'_, '_>, _: Args<'_>) -> CommandResult {
    let text = format!("bits:{} entry:{} key:{}", usize::BITS, size_of::<Entry>(), size_of::<Key<'_>>());
    ctx.out.bulk_str(&text);
    Ok(())
}

pub fn allocator_control(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let size = CString::new(args.at(1)).ok().and_then(|name| crate::memory::control(&name));
    let size = size.ok_or(CommandError::new("ERR No such file or directory"))?;
    ctx.out.integer(size as i64);
    Ok(())
}

/// Others of the allocator's commands would pull the ground from under the server.
pub fn allocator_command(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    if !args.is(1, "thread.tcache.flush") {
        return Err(CommandError::new("ERR No such file or directory"));
    }
    crate::memory::flush_thread_cache();
    ctx.out.ok();
    Ok(())
}

pub fn log(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(args.at(1)));
    ctx.out.ok();
    Ok(())
}

pub fn populate(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    let natural = |text| parse_i64(text).and_then(|number| usize::try_from(number).ok()).ok_or(NOT_POSITIVE);
    let count = natural(args.at(1))?;
    let prefix = args.maybe(2).unwrap_or(b"key");
    let size = args.maybe(3).map(natural).transpose()?.filter(|size| *size > 0);
    let db = ctx.session.db;
    for number in 0..count {
        let name = [prefix, format!(":{number}").as_bytes()].concat();
        let mut value = format!("value:{number}").into_bytes();
        value.resize(size.unwrap_or(value.len()), 0);
        let key = Key::new(&name);
        ctx.with_key(&key, |view: &mut View<'_>| {
            if !view.survives(db, &key) {
                view.put_string(db, &key, &value, NewExpiry::Clear);
            }
        });
    }
    ctx.out.ok();
    Ok(())
}

/// So that CLUSTER VERIFY has something to find.
pub fn corrupt_replica(ctx: &mut SessionCtx<'_, '_>, args: Args<'_>) -> CommandResult {
    const NO_REPLICA: CommandError = CommandError::new("ERR this node has no copy of the key's slot on disk");
    let key = args.key(1);
    let (Some(cluster), Some(durability)) = (ctx.server.cluster(), ctx.server.durability()) else {
        return Err(NO_REPLICA);
    };
    let owner = cluster.picture().map.slots().owner(key.slot);
    let Groups::Cluster(replicas) = &durability.groups else { return Err(NO_REPLICA) };
    let replica = owner.and_then(|group| replicas.replica(group)).ok_or(NO_REPLICA)?;
    let is_damaged = replica.engine().ok_or(NO_REPLICA)?.damage(DbIndex(0), &key);
    match is_damaged.map_err(|error| CommandError::owned(format!("ERR {error}")))? {
        true => ctx.out.ok(),
        false => return Err(NO_SUCH_KEY),
    }
    Ok(())
}
