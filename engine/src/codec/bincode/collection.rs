//! Sequences and maps that are read: how many elements they have comes from the input and is not to be trusted.

use super::decode::DecodePart;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A sequence or a map.
pub(super) struct Collection<P>(pub(super) P);

impl<'i, 'de, V> Collection<DecodePart<'i, 'de, V>> {
    /// The crate hints at exactly as many elements as the input announces.
    #[inline]
    fn open<A, E: Error>(
        self,
        elements: A,
        announced: Option<usize>,
    ) -> Result<(V, Elements<DecodePart<'i, 'de, A>>), E> {
        self.0.input.announce(announced.unwrap_or_default(), E::custom)?;
        let (visitor, part) = self.0.enter(elements)?;
        Ok((visitor, Elements { left_before: part.input.left(), part }))
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Collection<DecodePart<'_, 'de, V>> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.of.expecting(f)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<V::Value, A::Error> {
        let announced = elements.size_hint();
        let (visitor, elements) = self.open(elements, announced)?;
        visitor.visit_seq(elements)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let announced = entries.size_hint();
        let (visitor, entries) = self.open(entries, announced)?;
        visitor.visit_map(entries)
    }
}

/// The elements of a sequence or the entries of a map.
struct Elements<P> {
    part: P,
    /// How many bytes were left when the present one began.
    left_before: usize,
}

impl<A> Elements<DecodePart<'_, '_, A>> {
    #[inline]
    fn ended<E: Error>(&self) -> Result<(), E> {
        let input = self.part.input;
        if input.left() == self.left_before { input.guard.was_empty(E::custom) } else { Ok(()) }
    }

    /// What a collection may reserve for: not more than the input could hold.
    #[inline]
    fn bounded(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|hint| hint.min(self.part.input.left()))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<DecodePart<'_, 'de, A>> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.left_before = self.part.input.left();
        let element = self.part.next_element_seed(seed)?;
        if element.is_some() {
            self.ended()?;
        }
        Ok(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.bounded(self.part.of.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<DecodePart<'_, 'de, A>> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.left_before = self.part.input.left();
        let seed = self.part.beside(seed);
        self.part.of.next_key_seed(seed)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.part.beside(seed);
        let value = self.part.of.next_value_seed(seed)?;
        self.ended()?;
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.bounded(self.part.of.size_hint())
    }
}
