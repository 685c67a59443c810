//! The input: where the crate reads from, and the guard too knows how much is left.

use super::CodecFailure;
use super::guard::{Guard, GuardRefusal, GuardRefused};
use ::bincode::de::read::Reader;
use ::bincode::error::DecodeError;
use std::cell::Cell;

pub(super) struct ByteInput<'de> {
    pub(super) guard: Guard,
    rest: Cell<&'de [u8]>,
    /// The byte that was read last, if it was read by itself and is not in `rest` any more.
    byte: Cell<Option<u8>>,
}

impl<'de> ByteInput<'de> {
    #[inline]
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self { guard: Guard::new(), rest: Cell::new(bytes), byte: Cell::new(None) }
    }

    /// How many bytes are left.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.rest.get().len()
    }

    /// Takes `len` bytes, as they lie in the input.
    #[inline]
    pub(super) fn bytes<E>(&self, len: u64, error: fn(GuardRefused) -> E) -> Result<&'de [u8], E> {
        match usize::try_from(len).ok().and_then(|len| self.rest.get().split_at_checked(len)) {
            Some((bytes, rest)) => {
                self.rest.set(rest);
                Ok(bytes)
            }
            None => Err(self.too_short(len, error)),
        }
    }

    /// Takes a text of `len` bytes, as it lies in the input.
    #[inline]
    pub(super) fn text<E>(&self, len: u64, error: fn(GuardRefused) -> E) -> Result<&'de str, E> {
        let bytes = self.bytes(len, error)?;
        std::str::from_utf8(bytes).map_err(|_| self.guard.refuse(GuardRefusal::NotUtf8, error))
    }

    /// Refuses at once what can never be there: elements beyond the bytes that are left and those that need none.
    #[inline]
    pub(super) fn announce<E>(&self, elements: usize, error: fn(GuardRefused) -> E) -> Result<(), E> {
        if elements.saturating_sub(self.left()) <= self.guard.empty_elements_left() {
            return Ok(());
        }
        Err(self.too_short(elements as u64, error))
    }

    fn too_short<E>(&self, due: u64, error: fn(GuardRefused) -> E) -> E {
        self.guard.refuse(GuardRefusal::TooShort { due, left: self.left() }, error)
    }

    /// Why the value is not read, of which the crate says `error`.
    #[cold]
    pub(super) fn failure(&self, error: DecodeError) -> CodecFailure {
        if let Some(refusal) = self.guard.refusal() {
            return CodecFailure::of_layout(refusal.message());
        }
        match error {
            DecodeError::UnexpectedEnd { additional } => {
                let left = self.left();
                let due = (left as u64).saturating_add(additional as u64);
                CodecFailure::of_layout(GuardRefusal::TooShort { due, left }.message())
            }
            // Which types the crate names is not always right.
            DecodeError::InvalidIntegerType { .. } => {
                let tag = self.byte.get().or_else(|| self.rest.get().first().copied()).unwrap_or_default();
                CodecFailure::of_layout(format!("{tag:#04x} does not begin an integer of this size"))
            }
            other => CodecFailure::of_reading(other),
        }
    }
}

impl Reader for &ByteInput<'_> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), DecodeError> {
        let rest = self.rest.get();
        match rest.split_at_checked(bytes.len()) {
            Some((read, rest)) => {
                bytes.copy_from_slice(read);
                self.rest.set(rest);
                self.byte.set(read.first().copied());
                Ok(())
            }
            None => Err(DecodeError::UnexpectedEnd { additional: bytes.len() - rest.len() }),
        }
    }

    #[inline]
    fn peek_read(&mut self, len: usize) -> Option<&[u8]> {
        self.byte.set(None);
        self.rest.get().get(..len)
    }

    #[inline]
    fn consume(&mut self, len: usize) {
        self.rest.set(self.rest.get().get(len..).unwrap_or_default());
    }
}
