//! Sequences and maps that are read: how many elements they have comes from the input and is not to be trusted.

use super::decode::Part;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A sequence or a map.
pub(super) struct Collection<P>(pub(super) P);

impl<'g, V> Collection<Part<'g, V>> {
    /// The crate hints at exactly as many elements as the input announces.
    #[inline]
    fn open<A, E: Error>(
        self,
        elements: A,
        announced: Option<usize>,
    ) -> Result<(V, Elements<Part<'g, A>>), E> {
        self.0.guard.announce(announced.unwrap_or_default(), E::custom)?;
        let (visitor, elements) = self.0.enter(elements)?;
        Ok((visitor, Elements(elements)))
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Collection<Part<'_, V>> {
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
struct Elements<P>(P);

impl<A> Elements<Part<'_, A>> {
    #[inline]
    fn ended<E: Error>(&self) -> Result<(), E> {
        self.0.guard.element_ended(E::custom)
    }

    #[inline]
    fn bounded(&self, hint: Option<usize>) -> Option<usize> {
        hint.map(|hint| self.0.guard.bounded(hint))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<Part<'_, A>> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.guard.element_begins();
        let element = self.0.next_element_seed(seed)?;
        if element.is_some() {
            self.ended()?
        } else {
            self.0.guard.collection_ended()
        }
        Ok(element)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.bounded(self.0.of.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Elements<Part<'_, A>> {
    type Error = A::Error;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.guard.element_begins();
        let seed = self.0.beside(seed);
        let key = self.0.of.next_key_seed(seed)?;
        if key.is_none() {
            self.0.guard.collection_ended();
        }
        Ok(key)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.0.beside(seed);
        let value = self.0.of.next_value_seed(seed)?;
        self.ended()?;
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.bounded(self.0.of.size_hint())
    }
}
