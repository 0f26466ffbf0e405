//! The tagged pointer: an enum of owning pointers squeezed into the one machine word that a keyspace entry has.
//!
//! A collection is in one of three forms. Each form owns one 8-aligned allocation, so the two lowest bits of its
//! address are free to tell which form it is. `Tagged` is that word; `Form` is the same thing as an ordinary enum,
//! which all code outside of this file works with. Together with `block` this is all the pointer work of the value
//! types.

use super::block::{ALIGN, Block};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The form that a collection is in: sorted integers, one packed allocation, or a table.
///
/// Also used for what the forms share out while they are borrowed.
#[derive(Clone, Copy, Debug)]
pub enum Form<I, P, T> {
    Ints(I),
    Packed(P),
    Table(T),
}

/// A value that is owned through one 8-aligned pointer.
///
/// # Safety
/// `into_raw` returns an 8-aligned pointer that owns the value and remains valid when the word moves; `from_raw` takes
/// exactly that ownership back; `share` reads only.
pub unsafe trait Thin: Sized {
    /// What readers see while the value stays where it is.
    type Shared<'a>
    where
        Self: 'a;

    fn into_raw(self) -> NonNull<u8>;

    /// # Safety
    /// `raw` comes from `into_raw` of this type, and ownership has not been taken back since.
    unsafe fn from_raw(raw: NonNull<u8>) -> Self;

    /// # Safety
    /// As for `from_raw`, and the value is neither changed nor taken back during `'a`.
    unsafe fn share<'a>(raw: NonNull<u8>) -> Self::Shared<'a>
    where
        Self: 'a;
}

/// A value that is a `Block` and a way to read it. All of these are `Thin`.
pub trait InBlock: Sized {
    type View<'a>
    where
        Self: 'a;

    fn into_block(self) -> Block;
    fn from_block(block: Block) -> Self;
    fn view_of(bytes: &[u8]) -> Self::View<'_>;
}

// SAFETY: `Block` keeps its 8-aligned allocation when its handle moves, and its own contract is the same as this one.
unsafe impl<B: InBlock> Thin for B {
    type Shared<'a>
        = B::View<'a>
    where
        B: 'a;

    fn into_raw(self) -> NonNull<u8> {
        self.into_block().into_raw()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> B {
        // SAFETY: the caller's promise is the one that `Block` asks for.
        B::from_block(unsafe { Block::from_raw(raw) })
    }

    unsafe fn share<'a>(raw: NonNull<u8>) -> B::View<'a>
    where
        B: 'a,
    {
        // SAFETY: as above.
        B::view_of(unsafe { Block::share(raw) })
    }
}

/// A value in an allocation of its own; a box, but of a type of ours.
#[derive(Debug)]
pub struct Boxed<V>(Box<V>);

impl<V> Boxed<V> {
    pub fn new(value: V) -> Boxed<V> {
        Boxed(Box::new(value))
    }
}

impl<V> Deref for Boxed<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0
    }
}

impl<V> DerefMut for Boxed<V> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.0
    }
}

// SAFETY: a box owns its pointee through one pointer, whose alignment is asserted to be sufficient at compile time.
unsafe impl<V> Thin for Boxed<V> {
    type Shared<'a>
        = &'a V
    where
        V: 'a;

    fn into_raw(self) -> NonNull<u8> {
        const { assert!(align_of::<V>() >= ALIGN && size_of::<V>() > 0) };
        NonNull::from(Box::leak(self.0)).cast()
    }

    unsafe fn from_raw(raw: NonNull<u8>) -> Boxed<V> {
        // SAFETY: the caller's promise: the pointer was leaked from a box of this type.
        Boxed(unsafe { Box::from_raw(raw.cast().as_ptr()) })
    }

    unsafe fn share<'a>(raw: NonNull<u8>) -> &'a V
    where
        V: 'a,
    {
        // SAFETY: the caller's promise: the pointee lives and does not change during `'a`.
        unsafe { raw.cast().as_ref() }
    }
}

/// The form that a type does not have: a hash never is a set of integers.
#[derive(Clone, Copy, Debug)]
pub enum Never {}

// SAFETY: there is no value, so no pointer is ever made from one.
unsafe impl Thin for Never {
    type Shared<'a> = Never;

    fn into_raw(self) -> NonNull<u8> {
        match self {}
    }

    unsafe fn from_raw(_: NonNull<u8>) -> Never {
        unreachable!("no word carries the tag of a form that does not exist")
    }

    unsafe fn share<'a>(_: NonNull<u8>) -> Never
    where
        Self: 'a,
    {
        unreachable!("no word carries the tag of a form that does not exist")
    }
}

const TAG_MASK: usize = 0b11;
const TAG_INTS: usize = 0;
const TAG_PACKED: usize = 1;
const TAG_TABLE: usize = 2;

/// A `Form` in one word.
#[repr(transparent)]
pub struct Tagged<I: Thin, P: Thin, T: Thin> {
    word: NonNull<u8>,
    owns: PhantomData<Form<I, P, T>>,
}

// SAFETY: the word owns a form and nothing else, so it may go where the form may go.
unsafe impl<I: Thin + Send, P: Thin + Send, T: Thin + Send> Send for Tagged<I, P, T> {}
// SAFETY: as above.
unsafe impl<I: Thin + Sync, P: Thin + Sync, T: Thin + Sync> Sync for Tagged<I, P, T> {}

impl<I: Thin, P: Thin, T: Thin> Tagged<I, P, T> {
    pub fn new(form: Form<I, P, T>) -> Self {
        Tagged { word: encode(form), owns: PhantomData }
    }

    /// The form for reading. What it lends out lives as long as this borrow.
    pub fn shared(&self) -> Form<I::Shared<'_>, P::Shared<'_>, T::Shared<'_>> {
        let (raw, tag) = split(self.word);
        // SAFETY: the tag tells which type `raw` came from; `self` is borrowed for the lifetime that is handed out.
        unsafe {
            match tag {
                TAG_INTS => Form::Ints(I::share(raw)),
                TAG_PACKED => Form::Packed(P::share(raw)),
                _ => Form::Table(T::share(raw)),
            }
        }
    }

    /// Changes the form in place; `change` may also put another form there.
    ///
    /// A closure and not a guard, because a guard that is leaked would leave a stale pointer behind.
    pub fn edit<R>(&mut self, change: impl FnOnce(&mut Form<I, P, T>) -> R) -> R {
        struct WriteBack<'a, I: Thin, P: Thin, T: Thin> {
            word: &'a mut NonNull<u8>,
            form: ManuallyDrop<Form<I, P, T>>,
        }
        impl<I: Thin, P: Thin, T: Thin> Drop for WriteBack<'_, I, P, T> {
            fn drop(&mut self) {
                // SAFETY: the form is taken once, here.
                *self.word = encode(unsafe { ManuallyDrop::take(&mut self.form) });
            }
        }
        // SAFETY: the word's ownership goes to the guard, which gives it back on return and on unwinding alike; nobody
        // sees the word in between, for it is borrowed mutably.
        let form = ManuallyDrop::new(unsafe { decode(self.word) });
        let mut guard = WriteBack { word: &mut self.word, form };
        change(&mut guard.form)
    }

    pub fn into_raw(self) -> NonNull<u8> {
        let word = self.word;
        std::mem::forget(self);
        word
    }

    /// # Safety
    /// `raw` comes from `into_raw` of this type, and ownership has not been taken back since.
    pub unsafe fn from_raw(raw: NonNull<u8>) -> Self {
        Tagged { word: raw, owns: PhantomData }
    }
}

impl<I: Thin, P: Thin, T: Thin> Drop for Tagged<I, P, T> {
    fn drop(&mut self) {
        // SAFETY: the word owns its form, and is not looked at again.
        drop(unsafe { decode::<I, P, T>(self.word) });
    }
}

fn encode<I: Thin, P: Thin, T: Thin>(form: Form<I, P, T>) -> NonNull<u8> {
    let (raw, tag) = match form {
        Form::Ints(ints) => (ints.into_raw(), TAG_INTS),
        Form::Packed(packed) => (packed.into_raw(), TAG_PACKED),
        Form::Table(table) => (table.into_raw(), TAG_TABLE),
    };
    assert!(raw.addr().get() & TAG_MASK == 0, "the low bits of an owning pointer are free");
    raw.map_addr(|addr| addr | tag)
}

/// # Safety
/// `word` comes from `encode` with the same types, and has not been decoded since.
unsafe fn decode<I: Thin, P: Thin, T: Thin>(word: NonNull<u8>) -> Form<I, P, T> {
    let (raw, tag) = split(word);
    // SAFETY: the tag tells which type `raw` came from; the caller promises that it is still owned.
    unsafe {
        match tag {
            TAG_INTS => Form::Ints(I::from_raw(raw)),
            TAG_PACKED => Form::Packed(P::from_raw(raw)),
            _ => Form::Table(T::from_raw(raw)),
        }
    }
}

fn split(word: NonNull<u8>) -> (NonNull<u8>, usize) {
    let tag = word.addr().get() & TAG_MASK;
    let raw = NonNull::new(word.as_ptr().map_addr(|addr| addr & !TAG_MASK));
    (raw.expect("a tagged word holds a pointer"), tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::packed::Packed;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    type Word = Tagged<Never, Packed, Boxed<Vec<u8>>>;

    #[test]
    fn a_panic_while_editing_leaves_a_valid_word() {
        let mut word = Word::new(Form::Packed(Packed::new()));
        let result = catch_unwind(AssertUnwindSafe(|| {
            word.edit(|form| {
                *form = Form::Table(Boxed::new(vec![1, 2, 3]));
                panic!("half way");
            })
        }));
        assert!(result.is_err());
        assert!(matches!(word.shared(), Form::Table(bytes) if **bytes == [1, 2, 3]));
    }

    #[test]
    fn raw_words_round_trip() {
        let raw = Word::new(Form::Table(Boxed::new(vec![7]))).into_raw();
        // SAFETY: the word was given up in the line before.
        let word = unsafe { Word::from_raw(raw) };
        assert!(matches!(word.shared(), Form::Table(bytes) if **bytes == [7]));
    }
}
