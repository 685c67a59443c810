//! What the crate does not bound: how deep a value is nested, and how many of its elements take no bytes.
//!
//! One guard goes along with one value, through all of its parts. It counts and refuses; it reads and writes nothing.

use std::cell::Cell;
use std::fmt;

/// How deep a value may be nested. It bounds the stack: 128 KiB for each level on the threads of an engine, and 8 KiB on one
/// that has 2 MiB, such as those on which a value is appended, or a row is asked for.
pub(super) const DEPTH_LIMIT: u16 = 256;

/// How many elements of sequences and maps may take no bytes, in one value. The others are bounded by the
/// length of the input.
pub(super) const EMPTY_ELEMENTS_LIMIT: usize = 1 << 20;

/// Why the guard stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum GuardRefusal {
    TooDeep,
    TooManyEmpty,
    /// More bytes are due, or elements that take any, than there are.
    TooShort {
        due: u64,
        left: usize,
    },
    NotUtf8,
    /// A sequence or map has another number of elements than it announced.
    WrongLength,
    /// This field is skipped on a condition.
    Skipped(&'static str),
}

impl GuardRefusal {
    pub(super) fn message(self) -> String {
        match self {
            Self::TooDeep => format!("it is nested deeper than {DEPTH_LIMIT} levels"),
            Self::TooManyEmpty => format!("more than {EMPTY_ELEMENTS_LIMIT} of its elements take no bytes"),
            Self::TooShort { due, left } => {
                format!("{due} more bytes or elements are due, but only {left} bytes are left")
            }
            Self::NotUtf8 => "a string is not UTF-8".to_owned(),
            Self::WrongLength => {
                "a sequence or map announced another number of elements than it has".to_owned()
            }
            Self::Skipped(field) => {
                format!("field `{field}` is skipped on a condition, and a layout without names cannot say so")
            }
        }
    }
}

/// Goes along with one value that is read or written.
pub(super) struct Guard {
    empty_elements_left: Cell<usize>,
    refusal: Cell<Option<GuardRefusal>>,
}

impl Guard {
    #[inline]
    pub(super) fn new() -> Self {
        Self { empty_elements_left: Cell::new(EMPTY_ELEMENTS_LIMIT), refusal: Cell::new(None) }
    }

    /// How deep it is one level below `depth`.
    #[inline]
    pub(super) fn below<E>(&self, depth: u16, error: fn(GuardRefused) -> E) -> Result<u16, E> {
        if depth < DEPTH_LIMIT { Ok(depth + 1) } else { Err(self.refuse(GuardRefusal::TooDeep, error)) }
    }

    /// How many elements may still take no bytes.
    #[inline]
    pub(super) fn empty_elements_left(&self) -> usize {
        self.empty_elements_left.get()
    }

    /// Notes that an element took no bytes.
    #[inline]
    pub(super) fn was_empty<E>(&self, error: fn(GuardRefused) -> E) -> Result<(), E> {
        match self.empty_elements_left.get().checked_sub(1) {
            Some(left) => {
                self.empty_elements_left.set(left);
                Ok(())
            }
            None => Err(self.refuse(GuardRefusal::TooManyEmpty, error)),
        }
    }

    /// Notes why the value is refused, and makes an `error` of the crate of it.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse<E>(&self, refusal: GuardRefusal, error: fn(GuardRefused) -> E) -> E {
        self.refusal.set(Some(refusal));
        error(GuardRefused)
    }

    /// Why the value was refused, if it was the guard that did so.
    #[cold]
    pub(super) fn refusal(&self) -> Option<GuardRefusal> {
        self.refusal.get()
    }
}

/// That the guard refused the value; why, it knows itself: the errors of the crate have no place for it.
pub(super) struct GuardRefused;

impl fmt::Display for GuardRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}
