//! A place where a value is wanted: the deserializer, which answers with samples.

use super::map::VariantSeen;
use super::parts::{Items, Variant, read_fields, read_others};
use super::reader::{Choice, MAX_STEPS, TraceFailure, TraceReader};
use super::{ShapeNode, ShapeParts};
use crate::codec::shape::node::ANY;
use serde::de::{Deserializer, Visitor};

/// A place where a value is wanted.
pub(super) struct Place<'r, 'm>(pub(super) &'r mut TraceReader<'m>);

macro_rules! integers {
    ($($method:ident $visit:ident $integer:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
            let choice = self.0.choice(stringify!($integer))?;
            visitor.$visit(self.0.mode.number(choice, (<$integer>::MIN, <$integer>::MAX)))
        }
    )*};
}

impl<'de> Deserializer<'de> for Place<'_, '_> {
    type Error = TraceFailure;

    fn is_human_readable(&self) -> bool {
        self.0.human
    }

    integers! {
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        self.0.choice("bool")?;
        visitor.visit_bool(self.0.mode.is_some(0))
    }

    #[expect(clippy::cast_possible_truncation, reason = "the samples are in range")]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        let choice = self.0.choice("f32")?;
        visitor.visit_f32(self.0.mode.float(choice) as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        let choice = self.0.choice("f64")?;
        visitor.visit_f64(self.0.mode.float(choice))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        self.0.choice("char")?;
        visitor.visit_char(self.0.mode.char())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        let choice = self.0.choice("string")?;
        visitor.visit_str(self.0.mode.text(choice))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        let choice = self.0.choice("bytes")?;
        visitor.visit_bytes(&self.0.mode.bytes(choice))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        self.0.step()?;
        self.0.last = ShapeNode::leaf("unit");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, TraceFailure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        let reader = self.0;
        reader.step()?;
        let fills = reader.fills();
        let value = if fills {
            // A part of its own: the sample of an absent value is no other than that of the present one.
            reader.path.push(0);
            reader.filled += 1;
            let value = visitor.visit_some(Place(reader));
            reader.filled -= 1;
            reader.path.pop();
            value
        } else {
            visitor.visit_none()
        };
        let inner = std::mem::replace(&mut reader.last, ShapeNode::unknown());
        reader.last = ShapeNode::of(ShapeParts::Option(inner));
        value
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, TraceFailure> {
        self.0.meet::<V, _>(name, &[], |reader, _| {
            let value = visitor.visit_newtype_struct(Place(reader));
            (value, reader.last.clone())
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        let reader = self.0;
        reader.map.unordered |= fills_what_is_hashed::<V>();
        reader.step()?;
        let left = usize::from(reader.fills());
        reader.filled += left;
        let mut parts = Items::new(reader, left);
        let value = visitor.visit_seq(&mut parts);
        let Items { nodes, reader, .. } = parts;
        reader.filled -= left;
        reader.last =
            ShapeNode::of(ShapeParts::Seq(nodes.into_iter().next().unwrap_or_else(ShapeNode::unknown)));
        value
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, TraceFailure> {
        let reader = self.0;
        reader.step()?;
        let mut parts = Items::new(reader, len);
        let value = visitor.visit_seq(&mut parts);
        let Items { mut nodes, reader, .. } = parts;
        nodes.resize(len.min(MAX_STEPS), ShapeNode::unknown());
        reader.last = ShapeNode::of(ShapeParts::Tuple(nodes));
        value
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, TraceFailure> {
        self.0.meet::<V, _>(name, &[], |reader, _| {
            let value = Place(reader).deserialize_tuple(len, visitor);
            (value, reader.last.clone())
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        let reader = self.0;
        reader.map.unordered |= fills_what_is_hashed::<V>();
        reader.step()?;
        let left = usize::from(reader.fills());
        reader.filled += left;
        let mut entries = Items::new(reader, left);
        let value = visitor.visit_map(&mut entries);
        let Items { nodes, reader, .. } = entries;
        reader.filled -= left;
        let mut nodes = nodes.into_iter();
        let mut next = || nodes.next().unwrap_or_else(ShapeNode::unknown);
        reader.last = ShapeNode::of(ShapeParts::Map(next(), next()));
        value
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceFailure> {
        self.0.meet::<V, _>(name, fields, |reader, number| {
            let omitted = reader.map.omitted.filter(|(omitting, _)| *omitting == number);
            if let Some((_, omitted)) = omitted {
                let value = read_others(&mut *reader, fields, omitted, visitor);
                let met = reader.map.types.get_mut(number).filter(|_| value.is_ok());
                if let Some(met) = met.filter(|met| !met.optional.contains(&omitted)) {
                    met.optional.push(omitted);
                }
                return (value, ShapeNode::unknown());
            }
            if let Some(met) = reader.map.types.get_mut(number) {
                met.fields = fields.len();
            }
            read_fields(reader, fields, visitor)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, TraceFailure> {
        self.0.meet::<V, _>(name, variants, |reader, number| {
            if let Some(met) = reader.map.types.get_mut(number) {
                met.variants.resize(variants.len(), VariantSeen::No);
            }
            let chosen = reader.choose(number);
            let (at, repetitions) = (reader.chosen.len(), reader.repetitions);
            let repeated = reader.repeated > 0;
            reader.chosen.push(Choice { number, variant: chosen, ended: false, repeated });
            reader.path.push(chosen);
            let name = variants.get(chosen).copied().unwrap_or_default();
            reader.last = ShapeNode::unknown();
            let value = visitor.visit_enum(Variant { reader: &mut *reader, name });
            reader.path.pop();
            if let Some(chosen) = reader.chosen.get_mut(at).filter(|_| value.is_ok()) {
                chosen.ended = true;
            }
            if value.is_ok()
                && reader.repetitions == repetitions
                && let Some(met) = reader.map.types.get_mut(number)
            {
                met.leaf = met.leaf.or(Some(chosen));
            }
            let mut nodes = vec![ShapeNode::unknown(); variants.len()];
            if let Some(node) = nodes.get_mut(chosen) {
                node.clone_from(&reader.last);
            }
            let names = variants.iter().map(|name| (*name).to_owned());
            (value, ShapeNode::of(ShapeParts::Enum(names.zip(nodes).collect())))
        })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        if !self.0.human {
            self.0.map.shapeless = true;
            return Err(TraceFailure);
        }
        self.0.map.any = true;
        match self.0.choice(ANY)? {
            0 => visitor.visit_u64(1),
            1 => visitor.visit_str("a"),
            2 => visitor.visit_bool(true),
            3 => visitor.visit_f64(1.5),
            4 => visitor.visit_unit(),
            5 => visitor.visit_map(Items::new(self.0, 0)),
            6 => visitor.visit_seq(Items::new(self.0, 0)),
            _ => Err(TraceFailure),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, TraceFailure> {
        self.deserialize_any(visitor)
    }
}

/// Whether a visitor makes a map or set that is hashed. Its name says for whom it works; if it ever does not, such values are
/// compared like others.
fn fills_what_is_hashed<V>() -> bool {
    let name = std::any::type_name::<V>();
    ["HashMap", "HashSet", "RandomState"].iter().any(|hashed| name.contains(hashed))
}
