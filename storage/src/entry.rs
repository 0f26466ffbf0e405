//! One key with its value, expiry and access stamp, in one allocation behind one pointer.
//!
//! Layout, all little-endian and unaligned unless said otherwise:
//!
//! ```text
//! head: u32                      access stamp (upper 24 bits), flags (lower 8 bits)
//! expiry: i64                    unix time in ms; only with HAS_EXPIRY
//! key length: u8 | u32           u32 only with LONG_KEY
//! key bytes
//! payload                        Int: i64
//!                                Embstr, ShortRaw: u8 length, bytes
//!                                others: padding to 8, then one owning handle of 8 bytes (aligned)
//! ```
//!
//! Invariants: the allocation is `size_class::round_up` of the layout's size, so its size follows from the content; the
//! kind in the flags says which payload is alive; a handle payload is dropped exactly once. All `unsafe` of the
//! keyspace lives here; neighbours are [`crate::table`], which holds entries by their pointer, and [`crate::value`].

use crate::clock::UnixMs;
use crate::outline::Outline;
use crate::shared::{SHARED_MIN, SharedBytes};
use crate::size_class;
use crate::table::{Item, Loc, Table};
use crate::types::{Hash, List, Set, Zset};
use crate::value::{Str, StrForm, Value, string_free_effort};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

/// Longest string kept inside the entry; longer ones have a buffer of their own.
const EMBEDDED_MAX: usize = 255;
/// Most room that is kept behind a string that grows.
const SPARE_MAX: usize = 1 << 20;
const HEAD: usize = 4;
const KIND_MASK: u8 = 0b0000_1111;
const HAS_EXPIRY: u8 = 0b0001_0000;
const LONG_KEY: u8 = 0b0010_0000;
const ALIGN: usize = 8;

/// What the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Int,
    Embstr,
    ShortRaw,
    LongRaw,
    List,
    Set,
    Hash,
    Zset,
    /// Laid out like a handle that has been taken out.
    Hollow,
    Outline,
    /// A string of at least `SHARED_MIN` bytes, that others may hold too.
    Shared,
}

impl Kind {
    #[inline]
    fn from_flags(flags: u8) -> Kind {
        match flags & KIND_MASK {
            0 => Kind::Int,
            1 => Kind::Embstr,
            2 => Kind::ShortRaw,
            3 => Kind::LongRaw,
            4 => Kind::List,
            5 => Kind::Set,
            6 => Kind::Hash,
            7 => Kind::Zset,
            8 => Kind::Hollow,
            9 => Kind::Outline,
            10 => Kind::Shared,
            other => unreachable!("entry kind {other}"),
        }
    }

    #[inline]
    fn is_handle(self) -> bool {
        self as u8 >= Kind::LongRaw as u8
    }
}

/// A 24-bit access stamp: the LRU clock, or time and counter of LFU (Redis documentation, "Key eviction").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stamp(u32);

impl Stamp {
    pub const BITS: u32 = 24;

    #[inline]
    pub const fn new(bits: u32) -> Stamp {
        Stamp(bits & ((1 << Self::BITS) - 1))
    }

    #[inline]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// An owned entry. Not `Sync`: the access stamp changes through shared references, under the stripe's lock.
#[repr(transparent)]
pub struct Entry(NonNull<u8>);

// SAFETY: an entry owns everything it points to, and all payload types are `Send`.
unsafe impl Send for Entry {}

const _: () = assert!(size_of::<List>() == 8 && size_of::<Set>() == 8 && size_of::<Hash>() == 8);
const _: () = assert!(size_of::<Zset>() == 8 && size_of::<Box<Vec<u8>>>() == 8 && size_of::<Box<Outline>>() == 8);
const _: () = assert!(size_of::<SharedBytes>() == 8 && align_of::<SharedBytes>() == ALIGN);

/// Where the parts of an entry lie.
#[derive(Clone, Copy)]
struct Shape {
    key_start: usize,
    key_len: usize,
    payload: usize,
    size: usize,
}

impl Shape {
    #[inline]
    fn new(flags: u8, key_len: usize, embedded_len: usize) -> Shape {
        let expiry = if flags & HAS_EXPIRY != 0 { 8 } else { 0 };
        let length = if flags & LONG_KEY != 0 { 4 } else { 1 };
        let key_start = HEAD + expiry + length;
        let end = key_start + key_len;
        let (payload, size) = match Kind::from_flags(flags) {
            Kind::Int => (end, end + 8),
            Kind::Embstr | Kind::ShortRaw => (end, end + 1 + embedded_len),
            _ => {
                let aligned = (end + ALIGN - 1) & !(ALIGN - 1);
                (aligned, aligned + 8)
            }
        };
        Shape { key_start, key_len, payload, size: size_class::round_up(size) }
    }

    #[inline]
    fn layout(self) -> Layout {
        Layout::from_size_align(self.size, ALIGN).expect("an entry is smaller than the address space")
    }
}

impl Entry {
    /// An entry for `key`; strings are embedded when they are short enough.
    pub fn new(key: &[u8], value: Value, expiry: Option<UnixMs>, stamp: Stamp) -> Entry {
        match value {
            Value::Str(Str::Int(number)) => Entry::with_int(key, number, expiry, stamp),
            Value::Str(Str::Bytes(bytes, form)) if bytes.len() <= EMBEDDED_MAX => {
                Entry::with_embedded(key, &bytes, form, expiry, stamp)
            }
            Value::Str(Str::Bytes(bytes, _)) if bytes.len() >= SHARED_MIN => {
                Entry::with_shared(key, bytes.into(), expiry, stamp)
            }
            Value::Str(Str::Bytes(bytes, _)) => Entry::with_handle(key, Kind::LongRaw, Box::new(bytes), expiry, stamp),
            Value::Str(Str::Shared(bytes)) => Entry::with_shared(key, bytes, expiry, stamp),
            Value::List(list) => Entry::with_handle(key, Kind::List, list, expiry, stamp),
            Value::Set(set) => Entry::with_handle(key, Kind::Set, set, expiry, stamp),
            Value::Hash(hash) => Entry::with_handle(key, Kind::Hash, hash, expiry, stamp),
            Value::Zset(zset) => Entry::with_handle(key, Kind::Zset, zset, expiry, stamp),
            Value::Outline(outline) => Entry::with_handle(key, Kind::Outline, outline, expiry, stamp),
        }
    }

    /// An entry with a string value that is copied from `bytes`.
    #[inline]
    pub fn with_bytes(key: &[u8], bytes: &[u8], expiry: Option<UnixMs>, stamp: Stamp) -> Entry {
        if bytes.len() <= EMBEDDED_MAX {
            Entry::with_embedded(key, bytes, StrForm::Plain, expiry, stamp)
        } else {
            Entry::new(key, Value::Str(Str::Bytes(bytes.to_vec(), StrForm::Plain)), expiry, stamp)
        }
    }

    /// An entry with a string that stays where it is.
    pub fn with_shared(key: &[u8], bytes: SharedBytes, expiry: Option<UnixMs>, stamp: Stamp) -> Entry {
        Entry::with_handle(key, Kind::Shared, bytes, expiry, stamp)
    }

    #[inline]
    pub fn with_int(key: &[u8], number: i64, expiry: Option<UnixMs>, stamp: Stamp) -> Entry {
        let (entry, shape) = Entry::allocate(key, Kind::Int, 0, expiry, stamp);
        // SAFETY: the payload of an Int is 8 writable bytes at `shape.payload`.
        unsafe { ptr::write_unaligned(entry.at(shape.payload).cast::<i64>(), number) };
        entry
    }

    #[inline]
    fn with_embedded(key: &[u8], bytes: &[u8], form: StrForm, expiry: Option<UnixMs>, stamp: Stamp) -> Entry {
        let kind = if form == StrForm::Plain { Kind::Embstr } else { Kind::ShortRaw };
        let (entry, shape) = Entry::allocate(key, kind, bytes.len(), expiry, stamp);
        // SAFETY: the shape was made for `bytes.len() <= EMBEDDED_MAX` embedded bytes.
        unsafe { entry.write_embedded(shape.payload, bytes) };
        entry
    }

    fn with_handle<T>(key: &[u8], kind: Kind, handle: T, expiry: Option<UnixMs>, stamp: Stamp) -> Entry {
        const { assert!(size_of::<T>() == 8 && align_of::<T>() == 8) };
        let (entry, shape) = Entry::allocate(key, kind, 0, expiry, stamp);
        // SAFETY: the payload of a handle kind is 8 writable, aligned bytes at `shape.payload`.
        unsafe { ptr::write(entry.at(shape.payload).cast::<T>(), handle) };
        entry
    }

    /// Allocates, and writes everything but the payload.
    #[inline]
    fn allocate(key: &[u8], kind: Kind, embedded: usize, expiry: Option<UnixMs>, stamp: Stamp) -> (Entry, Shape) {
        let mut flags = kind as u8;
        if expiry.is_some() {
            flags |= HAS_EXPIRY;
        }
        if key.len() > u8::MAX as usize {
            flags |= LONG_KEY;
        }
        let key_len = u32::try_from(key.len()).expect("keys are bounded by proto-max-bulk-len, which is below 4 GiB");
        let shape = Shape::new(flags, key.len(), embedded);
        // SAFETY: the layout is never empty.
        let raw = unsafe { alloc(shape.layout()) };
        let Some(raw) = NonNull::new(raw) else { handle_alloc_error(shape.layout()) };
        let entry = Entry(raw);
        // SAFETY: all writes lie below `shape.payload <= shape.size`, as `Shape::new` laid them out.
        unsafe {
            ptr::write(raw.as_ptr().cast::<u32>(), stamp.bits() << 8 | u32::from(flags));
            if let Some(at) = expiry {
                ptr::write_unaligned(entry.at(HEAD).cast::<i64>(), at.0);
            }
            if flags & LONG_KEY != 0 {
                ptr::write_unaligned(entry.at(shape.key_start - 4).cast::<u32>(), key_len);
            } else {
                *entry.at(shape.key_start - 1) = key_len as u8;
            }
            ptr::copy_nonoverlapping(key.as_ptr(), entry.at(shape.key_start), key.len());
        }
        (entry, shape)
    }

    /// SAFETY: `payload` must be this entry's embedded payload, laid out for at least `bytes.len()` bytes.
    #[inline]
    unsafe fn write_embedded(&self, payload: usize, bytes: &[u8]) {
        // SAFETY: by the contract; `bytes` may be part of this very entry's old value, hence `copy`.
        unsafe {
            ptr::copy(bytes.as_ptr(), self.at(payload + 1), bytes.len());
            *self.at(payload) = bytes.len() as u8;
        }
    }

    #[inline]
    fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: callers pass offsets inside the allocation, as given by `Shape`.
        unsafe { self.0.as_ptr().add(offset) }
    }

    #[inline]
    pub fn as_ref(&self) -> EntryRef<'_> {
        EntryRef { raw: self.0, entry: PhantomData }
    }

    /// Replaces the value by a string; keeps key and stamp. Rewrites in place where the size class stays.
    #[inline]
    pub fn put_bytes(&mut self, bytes: &[u8], expiry: Option<UnixMs>) {
        let this = self.as_ref();
        let flags = this.flags();
        let fits = bytes.len() <= EMBEDDED_MAX && !Kind::from_flags(flags).is_handle();
        if fits && expiry.is_some() == (flags & HAS_EXPIRY != 0) {
            let old = this.shape();
            let new_flags = flags & !KIND_MASK | Kind::Embstr as u8;
            let new = Shape::new(new_flags, old.key_len, bytes.len());
            if new.size == old.size {
                // SAFETY: same size class, same head and key; an old inline payload needs no drop.
                unsafe {
                    self.write_flags(new_flags);
                    self.write_embedded(new.payload, bytes);
                    if let Some(at) = expiry {
                        ptr::write_unaligned(self.at(HEAD).cast::<i64>(), at.0);
                    }
                }
                return;
            }
        }
        *self = Entry::with_bytes(this.key(), bytes, expiry, this.stamp());
    }

    /// Replaces the value by a string that stays where it is; keeps key and stamp.
    pub fn put_shared(&mut self, bytes: SharedBytes, expiry: Option<UnixMs>) {
        let this = self.as_ref();
        *self = Entry::with_shared(this.key(), bytes, expiry, this.stamp());
    }

    /// Replaces the value by an integer; keeps key and stamp.
    #[inline]
    pub fn put_int(&mut self, number: i64, expiry: Option<UnixMs>) {
        let this = self.as_ref();
        let flags = this.flags();
        if Kind::from_flags(flags) == Kind::Int && expiry.is_some() == (flags & HAS_EXPIRY != 0) {
            // SAFETY: the payload is that of an Int, and the expiry field exists if there is an expiry.
            unsafe {
                ptr::write_unaligned(self.at(this.shape().payload).cast::<i64>(), number);
                if let Some(at) = expiry {
                    ptr::write_unaligned(self.at(HEAD).cast::<i64>(), at.0);
                }
            }
            return;
        }
        *self = Entry::with_int(this.key(), number, expiry, this.stamp());
    }

    /// SAFETY: the payload must be (or become, before the next use) what the flags say.
    #[inline]
    unsafe fn write_flags(&self, flags: u8) {
        // SAFETY: the head lies at the start of every entry.
        unsafe { *self.at(0) = flags };
    }

    /// Changes the expiry, moving the value over when the field appears or disappears.
    pub fn put_expiry(&mut self, expiry: Option<UnixMs>) {
        let this = self.as_ref();
        if let (Some(at), Some(_)) = (expiry, this.expiry()) {
            // SAFETY: the expiry field exists.
            unsafe { ptr::write_unaligned(self.at(HEAD).cast::<i64>(), at.0) };
            return;
        }
        if expiry.is_none() && this.expiry().is_none() {
            return;
        }
        self.rebuild(|key, stamp, value| Entry::new(key, value, expiry, stamp));
    }

    /// Takes the value out and builds the entry anew around it.
    fn rebuild(&mut self, build: impl FnOnce(&[u8], Stamp, Value) -> Entry) {
        let value = self.take_value();
        let rebuilt = build(self.as_ref().key(), self.as_ref().stamp(), value);
        *self = rebuilt;
    }

    /// The entry's string as a growable buffer of its own; the value is then `raw` for good, as after Redis's APPEND.
    ///
    /// # Panics
    /// If the value is not a string: callers have checked the type.
    pub fn string_buffer(&mut self) -> &mut Vec<u8> {
        let this = self.as_ref();
        let has_grown_large = matches!(this.value(), ValueRef::Str(bytes) if bytes.len() >= SHARED_MIN);
        if this.kind() != Kind::Shared && (this.kind() != Kind::LongRaw || has_grown_large) {
            let expiry = this.expiry();
            self.rebuild(|key, stamp, value| {
                let Value::Str(string) = value else { panic!("string_buffer of a collection") };
                match string.into_bytes() {
                    bytes if has_grown_large => Entry::with_shared(key, bytes.into(), expiry, stamp),
                    bytes => Entry::with_handle(key, Kind::LongRaw, Box::new(bytes), expiry, stamp),
                }
            });
        }
        let (kind, payload) = (self.as_ref().kind(), self.as_ref().shape().payload);
        if kind == Kind::Shared {
            // SAFETY: the payload of this kind is a SharedBytes; `&mut self` makes the borrow exclusive.
            return unsafe { (*self.at(payload).cast::<SharedBytes>()).to_mut() };
        }
        // SAFETY: the kind is LongRaw, whose payload is a Box<Vec<u8>>; `&mut self` makes the borrow exclusive.
        unsafe { &mut *self.at(payload).cast::<Box<Vec<u8>>>() }
    }

    /// Writes `bytes` at `offset` into the string, extending it with zero bytes. Short strings stay embedded.
    ///
    /// # Panics
    /// If the value is not a string: callers have checked the type.
    pub fn splice(&mut self, offset: usize, bytes: &[u8]) {
        let this = self.as_ref();
        let (kind, shape) = (this.kind(), this.shape());
        let end = offset + bytes.len();
        if matches!(kind, Kind::Embstr | Kind::ShortRaw) {
            let ValueRef::Str(old) = this.value() else { unreachable!("embedded kinds are strings") };
            if end <= old.len() {
                // SAFETY: the range lies inside the embedded bytes; afterwards the string is a modified one.
                unsafe {
                    ptr::copy(bytes.as_ptr(), self.at(shape.payload + 1 + offset), bytes.len());
                    self.write_flags(this.flags() & !KIND_MASK | Kind::ShortRaw as u8);
                }
                return;
            }
            if end <= EMBEDDED_MAX / 4 {
                let mut grown = old.to_vec();
                grown.resize(end, 0);
                grown[offset..end].copy_from_slice(bytes);
                *self = Entry::with_embedded(this.key(), &grown, StrForm::Modified, this.expiry(), this.stamp());
                return;
            }
        }
        let buffer = self.string_buffer();
        if buffer.len() < end {
            if buffer.capacity() < end {
                // Large strings grow by little: the allocator has room behind most of them, so that they need not be
                // moved to where there is twice as much. One that has just begun is as long as it is meant to be.
                let spare = if buffer.is_empty() { 0 } else { end.min(SPARE_MAX) };
                buffer.reserve_exact(end - buffer.len() + spare);
            }
            buffer.resize(end, 0);
        }
        buffer[offset..end].copy_from_slice(bytes);
    }

    /// Takes the value out. What stays behind keeps its layout: the string itself, or a hollow handle.
    fn take_value(&mut self) -> Value {
        let this = self.as_ref();
        let shape = this.shape();
        let handle = self.at(shape.payload);
        // SAFETY: each arm reads the handle that the kind says is alive, exactly once: the flags change right below.
        let value = unsafe {
            match this.kind() {
                Kind::Int | Kind::Embstr | Kind::ShortRaw => return this.to_value(),
                Kind::LongRaw => Value::Str(Str::Bytes(*ptr::read(handle.cast::<Box<Vec<u8>>>()), StrForm::Modified)),
                Kind::List => Value::List(ptr::read(handle.cast::<List>())),
                Kind::Set => Value::Set(ptr::read(handle.cast::<Set>())),
                Kind::Hash => Value::Hash(ptr::read(handle.cast::<Hash>())),
                Kind::Zset => Value::Zset(ptr::read(handle.cast::<Zset>())),
                Kind::Outline => Value::Outline(ptr::read(handle.cast::<Box<Outline>>())),
                Kind::Shared => Value::Str(Str::Shared(ptr::read(handle.cast::<SharedBytes>()))),
                Kind::Hollow => unreachable!("a value is taken once"),
            }
        };
        // SAFETY: a hollow entry has the layout of a handle, and nothing to drop.
        unsafe { self.write_flags(this.flags() & !KIND_MASK | Kind::Hollow as u8) };
        value
    }

    /// Takes a heavy value out before something light is put in its place, so that it can be freed elsewhere. The
    /// entry holds an empty string until then.
    pub fn hollow_out(&mut self) -> Value {
        let value = self.take_value();
        let this = self.as_ref();
        *self = Entry::with_bytes(this.key(), b"", this.expiry(), this.stamp());
        value
    }

    /// The value, leaving the key behind.
    pub fn into_value(mut self) -> Value {
        self.take_value()
    }

    /// The collection inside, to change in place; `None` for strings.
    #[inline]
    pub fn collection_mut(&mut self) -> Option<CollectionMut<'_>> {
        let this = self.as_ref();
        let handle = self.at(this.shape().payload);
        // SAFETY: the kind says which handle is alive; `&mut self` makes the borrow exclusive.
        unsafe {
            match this.kind() {
                Kind::List => Some(CollectionMut::List(&mut *handle.cast())),
                Kind::Set => Some(CollectionMut::Set(&mut *handle.cast())),
                Kind::Hash => Some(CollectionMut::Hash(&mut *handle.cast())),
                Kind::Zset => Some(CollectionMut::Zset(&mut *handle.cast())),
                _ => None,
            }
        }
    }
}

impl Drop for Entry {
    #[inline]
    fn drop(&mut self) {
        let this = self.as_ref();
        if this.kind().is_handle() && this.kind() != Kind::Hollow {
            drop(self.take_value());
        }
        let layout = self.as_ref().shape().layout();
        // SAFETY: allocated with this very layout; the payload is inline or was taken out above.
        unsafe { dealloc(self.0.as_ptr(), layout) };
    }
}

// SAFETY: the pointer owns the whole entry; the key bytes never move or change while the entry lives in a table,
// because all changes go through `Table::update`, which stores the new pointer.
unsafe impl Item for Entry {
    #[inline]
    fn key(&self) -> &[u8] {
        self.as_ref().key()
    }

    #[inline]
    fn into_raw(self) -> NonNull<u8> {
        ManuallyDrop::new(self).0
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Entry(raw)
    }
}

/// A collection to change in place.
pub enum CollectionMut<'a> {
    List(&'a mut List),
    Set(&'a mut Set),
    Hash(&'a mut Hash),
    Zset(&'a mut Zset),
}

/// A value to read.
#[derive(Clone, Copy)]
pub enum ValueRef<'a> {
    Int(i64),
    Str(&'a [u8]),
    List(&'a List),
    Set(&'a Set),
    Hash(&'a Hash),
    Zset(&'a Zset),
    Outline(&'a Outline),
}

/// An entry to read, for as long as its table is not changed.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    raw: NonNull<u8>,
    entry: PhantomData<&'a Entry>,
}

impl<'a> EntryRef<'a> {
    /// The entry at `loc`.
    #[inline]
    pub fn of(table: &'a Table<Entry>, loc: Loc) -> EntryRef<'a> {
        EntryRef { raw: table.raw(loc), entry: PhantomData }
    }

    #[inline]
    fn at(self, offset: usize) -> *mut u8 {
        // SAFETY: callers pass offsets inside the allocation, as given by `Shape`.
        unsafe { self.raw.as_ptr().add(offset) }
    }

    #[inline]
    fn head(self) -> u32 {
        // SAFETY: every entry starts with its head, aligned.
        unsafe { *self.raw.as_ptr().cast::<u32>() }
    }

    #[inline]
    fn flags(self) -> u8 {
        self.head() as u8
    }

    #[inline]
    fn kind(self) -> Kind {
        Kind::from_flags(self.flags())
    }

    #[inline]
    fn key_place(self) -> (usize, usize) {
        let flags = self.flags();
        let length_at = HEAD + if flags & HAS_EXPIRY != 0 { 8 } else { 0 };
        // SAFETY: the length field follows the head and the optional expiry.
        unsafe {
            if flags & LONG_KEY != 0 {
                (length_at + 4, ptr::read_unaligned(self.at(length_at).cast::<u32>()) as usize)
            } else {
                (length_at + 1, *self.at(length_at) as usize)
            }
        }
    }

    #[inline]
    fn shape(self) -> Shape {
        let flags = self.flags();
        let (start, len) = self.key_place();
        let embedded = match Kind::from_flags(flags) {
            // SAFETY: the payload of embedded kinds starts with its length, right behind the key.
            Kind::Embstr | Kind::ShortRaw => unsafe { *self.at(start + len) as usize },
            _ => 0,
        };
        Shape::new(flags, len, embedded)
    }

    #[inline]
    pub fn key(self) -> &'a [u8] {
        let (start, len) = self.key_place();
        // SAFETY: the key bytes were written at construction and never change.
        unsafe { std::slice::from_raw_parts(self.at(start), len) }
    }

    #[inline]
    pub fn expiry(self) -> Option<UnixMs> {
        if self.flags() & HAS_EXPIRY == 0 {
            return None;
        }
        // SAFETY: the flag says that the field exists.
        Some(UnixMs(unsafe { ptr::read_unaligned(self.at(HEAD).cast::<i64>()) }))
    }

    #[inline]
    pub fn stamp(self) -> Stamp {
        Stamp::new(self.head() >> 8)
    }

    /// Sets the access stamp. Shared access suffices: entries are not `Sync`, so nobody reads it meanwhile.
    #[inline]
    pub fn put_stamp(self, stamp: Stamp) {
        let head = stamp.bits() << 8 | u32::from(self.flags());
        // SAFETY: the head is only ever read and written by value, under the stripe's lock.
        unsafe { *self.raw.as_ptr().cast::<u32>() = head };
    }

    #[inline]
    pub fn value(self) -> ValueRef<'a> {
        let (start, len) = self.key_place();
        let end = start + len;
        let handle = self.at((end + ALIGN - 1) & !(ALIGN - 1));
        // SAFETY: the kind says which payload is alive; it cannot change while this borrow of the entry lasts.
        unsafe {
            match self.kind() {
                Kind::Int => ValueRef::Int(ptr::read_unaligned(self.at(end).cast::<i64>())),
                Kind::Embstr | Kind::ShortRaw => {
                    ValueRef::Str(std::slice::from_raw_parts(self.at(end + 1), *self.at(end) as usize))
                }
                Kind::LongRaw => ValueRef::Str((*handle.cast::<Box<Vec<u8>>>()).as_slice()),
                Kind::List => ValueRef::List(&*handle.cast()),
                Kind::Set => ValueRef::Set(&*handle.cast()),
                Kind::Hash => ValueRef::Hash(&*handle.cast()),
                Kind::Zset => ValueRef::Zset(&*handle.cast()),
                Kind::Outline => ValueRef::Outline(&*handle.cast::<Box<Outline>>()),
                Kind::Shared => ValueRef::Str(&*handle.cast::<SharedBytes>()),
                Kind::Hollow => unreachable!("a hollow entry is never read"),
            }
        }
    }

    /// Whether memory has no more of the value than its outline.
    #[inline]
    pub fn is_outline(self) -> bool {
        self.kind() == Kind::Outline
    }

    /// The string, if it is one that may be held without being copied.
    pub fn shared_string(self) -> Option<&'a SharedBytes> {
        let payload = self.shape().payload;
        // SAFETY: the payload of this kind is a SharedBytes, which cannot change while this borrow lasts.
        (self.kind() == Kind::Shared).then(|| unsafe { &*self.at(payload).cast::<SharedBytes>() })
    }

    /// How the string was made; collections count as plain.
    pub fn string_form(self) -> StrForm {
        match self.kind() {
            Kind::ShortRaw | Kind::LongRaw | Kind::Shared => StrForm::Modified,
            _ => StrForm::Plain,
        }
    }

    /// A deep copy of the value, but for large strings.
    pub fn to_value(self) -> Value {
        if let Some(bytes) = self.shared_string() {
            return Value::Str(Str::Shared(bytes.clone()));
        }
        match self.value() {
            ValueRef::Int(number) => Value::Str(Str::Int(number)),
            ValueRef::Str(bytes) => Value::Str(Str::Bytes(bytes.to_vec(), self.string_form())),
            ValueRef::List(list) => Value::List(list.clone()),
            ValueRef::Set(set) => Value::Set(set.clone()),
            ValueRef::Hash(hash) => Value::Hash(hash.clone()),
            ValueRef::Zset(zset) => Value::Zset(zset.clone()),
            ValueRef::Outline(outline) => Value::Outline(Box::new(outline.clone())),
        }
    }

    /// How much work dropping the value is: roughly the number of allocations.
    #[inline]
    pub fn free_effort(self) -> usize {
        match self.value() {
            ValueRef::Str(bytes) if self.kind() == Kind::Shared => string_free_effort(bytes.len()),
            ValueRef::Int(_) | ValueRef::Str(_) | ValueRef::Outline(_) => 1,
            ValueRef::List(list) => list.free_effort(),
            ValueRef::Set(set) => set.free_effort(),
            ValueRef::Hash(hash) => hash.free_effort(),
            ValueRef::Zset(zset) => zset.free_effort(),
        }
    }

    /// Bytes of this entry's own allocation and, for strings, of their buffer.
    pub fn heap_bytes(self) -> usize {
        let own = self.shape().size;
        own + match self.value() {
            ValueRef::Int(_) => 0,
            ValueRef::Str(bytes) if self.kind().is_handle() => size_of::<Vec<u8>>() + bytes.len(),
            ValueRef::Str(_) => 0,
            ValueRef::List(list) => list.heap_bytes(),
            ValueRef::Set(set) => set.heap_bytes(),
            ValueRef::Hash(hash) => hash.heap_bytes(),
            ValueRef::Zset(zset) => zset.heap_bytes(),
            ValueRef::Outline(_) => size_of::<Outline>(),
        }
    }
}

#[cfg(test)]
mod tests;
