//! The parts of a value: elements, entries, fields and variants, one after the other.

use super::ShapeNode;
use super::place::Place;
use super::reader::{TraceFailure, TraceReader};
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Reads the fields of a struct or of a variant; what they are, as far as it is known.
pub(super) fn read_fields<'de, V: Visitor<'de>>(
    reader: &mut TraceReader<'_>,
    fields: &'static [&'static str],
    visitor: V,
) -> (Result<V::Value, TraceFailure>, ShapeNode) {
    let mut parts = Items::new(reader, fields.len());
    let value = visitor.visit_seq(&mut parts);
    let Items { nodes, .. } = parts;
    let complete = value.is_ok();
    (value, TraceReader::fields(fields, nodes, complete))
}

/// The parts of something, one after the other.
pub(super) struct Items<'r, 'm> {
    pub(super) reader: &'r mut TraceReader<'m>,
    left: usize,
    pub(super) nodes: Vec<ShapeNode>,
}

impl<'r, 'm> Items<'r, 'm> {
    pub(super) fn new(reader: &'r mut TraceReader<'m>, left: usize) -> Self {
        Self { reader, left, nodes: Vec::new() }
    }

    fn read<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, TraceFailure> {
        let value = self.reader.part(self.nodes.len(), seed);
        self.nodes.push(std::mem::replace(&mut self.reader.last, ShapeNode::unknown()));
        value
    }
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = TraceFailure;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, TraceFailure> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.read(seed).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_, '_> {
    type Error = TraceFailure;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, TraceFailure> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.read(seed).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, TraceFailure> {
        self.read(seed)
    }
}

/// Reads the fields of a struct by their names, without the one numbered `omitted`.
pub(super) fn read_others<'de, V: Visitor<'de>>(
    reader: &mut TraceReader<'_>,
    fields: &'static [&'static str],
    omitted: usize,
    visitor: V,
) -> Result<V::Value, TraceFailure> {
    visitor.visit_map(Others { reader, fields, at: 0, omitted })
}

/// The fields of a struct but one, by their names.
struct Others<'r, 'm> {
    reader: &'r mut TraceReader<'m>,
    fields: &'static [&'static str],
    at: usize,
    omitted: usize,
}

impl<'de> MapAccess<'de> for Others<'_, '_> {
    type Error = TraceFailure;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, TraceFailure> {
        self.at += usize::from(self.at == self.omitted);
        let Some(name) = self.fields.get(self.at) else { return Ok(None) };
        let name: StrDeserializer<'_, TraceFailure> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, TraceFailure> {
        self.at += 1;
        self.reader.part(self.at - 1, seed)
    }
}

/// A variant that was chosen.
pub(super) struct Variant<'r, 'm> {
    pub(super) reader: &'r mut TraceReader<'m>,
    pub(super) name: &'static str,
}

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = TraceFailure;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), TraceFailure> {
        let name: StrDeserializer<'_, TraceFailure> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = TraceFailure;

    fn unit_variant(self) -> Result<(), TraceFailure> {
        self.reader.last = ShapeNode::leaf("unit");
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, TraceFailure> {
        self.reader.part(0, seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, TraceFailure> {
        Place(self.reader).deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceFailure> {
        let reader = self.reader;
        reader.step()?;
        let (value, node) = read_fields(reader, fields, visitor);
        reader.last = node;
        value
    }
}
