//! What the crate does not bound: how deep a value is nested, and how many of its elements take no bytes.
//!
//! One guard goes along with one value, through all of its parts. It counts and refuses; it reads and writes nothing.

use super::Failure;
use std::cell::Cell;
use std::fmt;

/// How deep a value may be nested. It bounds the stack: 8 KiB for each level on a thread that has 2 MiB.
pub(super) const DEPTH_LIMIT: u16 = 256;

/// How many elements of sequences and maps may take no bytes, in one value. The others are bounded by the
/// length of the input.
pub(super) const EMPTY_ELEMENTS_LIMIT: usize = 1 << 20;

/// Why the guard stopped.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refusal {
    TooDeep,
    TooManyEmpty,
    /// More elements are announced than the input could hold.
    TooMany {
        announced: usize,
        input_bytes: usize,
    },
    /// A sequence or map has another number of elements than it announced.
    WrongLength,
    /// This field is skipped on a condition.
    Skipped(&'static str),
}

impl Refusal {
    fn message(self) -> String {
        match self {
            Self::TooDeep => format!("it is nested deeper than {DEPTH_LIMIT} levels"),
            Self::TooManyEmpty => format!("more than {EMPTY_ELEMENTS_LIMIT} of its elements take no bytes"),
            Self::TooMany { announced, input_bytes } => {
                format!("{announced} elements are announced, but all of it has only {input_bytes} bytes")
            }
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
    /// How long the input is; nothing if a value is written.
    input_bytes: usize,
    /// Whether the present element has taken bytes. A flag and no count: it is set for every number that is read or written.
    has_bytes: Cell<bool>,
    empty_elements_left: Cell<usize>,
    refusal: Cell<Option<Refusal>>,
}

impl Guard {
    /// A guard of what is read from `input_bytes` bytes.
    #[inline]
    pub(super) fn of_input(input_bytes: usize) -> Self {
        Self {
            input_bytes,
            has_bytes: Cell::new(false),
            empty_elements_left: Cell::new(EMPTY_ELEMENTS_LIMIT),
            refusal: Cell::new(None),
        }
    }

    /// A guard of what is written.
    #[inline]
    pub(super) fn of_output() -> Self {
        Self::of_input(0)
    }

    /// How deep it is one level below `depth`.
    #[inline]
    pub(super) fn below<E>(&self, depth: u16, error: fn(Refused) -> E) -> Result<u16, E> {
        if depth < DEPTH_LIMIT { Ok(depth + 1) } else { Err(self.refuse(Refusal::TooDeep, error)) }
    }

    /// Notes that bytes are read or written.
    #[inline]
    pub(super) fn pass(&self) {
        self.has_bytes.set(true);
    }

    /// What a collection may reserve for, that is promised `elements`: not more than the input could hold.
    #[inline]
    pub(super) fn bounded(&self, elements: usize) -> usize {
        elements.min(self.input_bytes)
    }

    /// Refuses at once what can never be there: elements beyond the bytes of the input and those that need none.
    #[inline]
    pub(super) fn announce<E>(&self, elements: usize, error: fn(Refused) -> E) -> Result<(), E> {
        if elements.saturating_sub(self.input_bytes) <= self.empty_elements_left.get() {
            return Ok(());
        }
        let refusal = Refusal::TooMany { announced: elements, input_bytes: self.input_bytes };
        Err(self.refuse(refusal, error))
    }

    /// Notes that an element begins.
    #[inline]
    pub(super) fn element_begins(&self) {
        self.has_bytes.set(false);
    }

    /// Notes that an element ended.
    #[inline]
    pub(super) fn element_ended<E>(&self, error: fn(Refused) -> E) -> Result<(), E> {
        if !self.has_bytes.get() {
            match self.empty_elements_left.get().checked_sub(1) {
                Some(left) => self.empty_elements_left.set(left),
                None => return Err(self.refuse(Refusal::TooManyEmpty, error)),
            }
        }
        self.collection_ended();
        Ok(())
    }

    /// Notes that a collection may end here, which has bytes of its own, its length, and may be an element itself.
    #[inline]
    pub(super) fn collection_ended(&self) {
        self.has_bytes.set(true);
    }

    /// Notes why the value is refused, and makes an `error` of the crate of it.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse<E>(&self, refusal: Refusal, error: fn(Refused) -> E) -> E {
        self.refusal.set(Some(refusal));
        error(Refused)
    }

    /// Why the value was refused, if it was the guard that did so.
    #[cold]
    pub(super) fn failure(&self) -> Option<Failure> {
        self.refusal.get().map(|refusal| Failure::of_layout(refusal.message()))
    }
}

/// That the guard refused the value; why, it knows itself: the errors of the crate have no place for it.
pub(super) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("refused")
    }
}
