//! The reading half of the layout, safe on any bytes.
//!
//! Strings and bytes are checked against the input before they are reserved, elements of sequences are
//! promised to their collection only as far as the input could hold them, nesting is counted, and so are
//! elements without bytes, which the input does not bound.

use super::input::{Input, bad_integer};
use super::{DEPTH_LIMIT, EIGHT_BYTES, EMPTY_ELEMENTS_LIMIT, FOUR_BYTES, Failure, TWO_BYTES};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// Decodes a value that is the whole of `bytes`.
#[inline]
pub(super) fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, Failure> {
    let mut input = Input { bytes, empty_elements_left: EMPTY_ELEMENTS_LIMIT };
    let value = V::deserialize(Decoder { input: &mut input, depth: 0 })?;
    if input.bytes.is_empty() { Ok(value) } else { Err(left_over(input.bytes.len())) }
}

#[cold]
fn left_over(len: usize) -> Failure {
    Failure::new(format!("{len} bytes are left over after it"))
}

#[cold]
fn bad_tag(what: &str, tag: u8) -> Failure {
    Failure::new(format!("{tag:#04x} is not the first byte of {what}"))
}

#[cold]
fn shapeless() -> Failure {
    Failure::new(
        "the layout does not describe itself, so it cannot hold a type that is untagged, flattened, \
         internally tagged or skips unknown data; use `Json` for it",
    )
}

struct Decoder<'a, 'de> {
    input: &'a mut Input<'de>,
    depth: u16,
}

impl<'a, 'de> Decoder<'a, 'de> {
    /// The decoder of what is one level deeper.
    #[inline]
    fn enter(self) -> Result<Self, Failure> {
        if self.depth == DEPTH_LIMIT {
            return Err(Failure::too_deep());
        }
        Ok(Self { input: self.input, depth: self.depth + 1 })
    }

    #[inline]
    fn items(self, left: usize) -> Result<Items<'a, 'de>, Failure> {
        let Decoder { input, depth } = self.enter()?;
        Ok(Items { input, depth, left, before: 0 })
    }
}

macro_rules! scalars {
    ($($method:ident $visit:ident |$input:ident| $value:expr;)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            let $input = self.input;
            visitor.$visit($value)
        }
    )*};
}

macro_rules! narrow {
    ($value:expr, $tag:expr) => {
        $value.try_into().map_err(|_| bad_integer($tag))?
    };
}

impl<'de> Deserializer<'de> for Decoder<'_, 'de> {
    type Error = Failure;

    fn is_human_readable(&self) -> bool {
        false
    }

    scalars! {
        deserialize_u8 visit_u8 |input| input.byte()?;
        deserialize_u16 visit_u16 |input| narrow!(input.unsigned(TWO_BYTES)?, TWO_BYTES);
        deserialize_u32 visit_u32 |input| narrow!(input.unsigned(FOUR_BYTES)?, FOUR_BYTES);
        deserialize_u64 visit_u64 |input| input.unsigned(EIGHT_BYTES)?;
        deserialize_u128 visit_u128 |input| input.unsigned_128()?;
        deserialize_i8 visit_i8 |input| input.byte()?.cast_signed();
        deserialize_i16 visit_i16 |input| narrow!(input.signed(TWO_BYTES)?, TWO_BYTES);
        deserialize_i32 visit_i32 |input| narrow!(input.signed(FOUR_BYTES)?, FOUR_BYTES);
        deserialize_i64 visit_i64 |input| input.signed(EIGHT_BYTES)?;
        deserialize_f32 visit_f32 |input| f32::from_le_bytes(input.array()?);
        deserialize_f64 visit_f64 |input| f64::from_le_bytes(input.array()?);
        deserialize_char visit_char |input| input.char()?;
        deserialize_str visit_borrowed_str |input| input.string()?;
        deserialize_string visit_borrowed_str |input| input.string()?;
    }

    #[inline]
    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let zigzag = self.input.unsigned_128()?;
        visitor.visit_i128((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.input.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            tag => Err(bad_tag("a bool", tag)),
        }
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let len = self.input.len()?;
        visitor.visit_borrowed_bytes(self.input.slice(len)?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.input.byte()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.enter()?),
            tag => Err(bad_tag("an option", tag)),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self.enter()?)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let len = self.input.elements()?;
        visitor.visit_seq(Elements(self.items(len)?))
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let len = self.input.elements()?;
        visitor.visit_map(Elements(self.items(len)?))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_seq(self.items(len)?)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        visitor.visit_enum(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failure> {
        Err(shapeless())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failure> {
        Err(shapeless())
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Failure> {
        Err(shapeless())
    }
}

impl<'de> EnumAccess<'de> for Decoder<'_, 'de> {
    type Error = Failure;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Failure> {
        let index: u32 = narrow!(self.input.unsigned(FOUR_BYTES)?, FOUR_BYTES);
        let variant = seed.deserialize(IntoDeserializer::<Failure>::into_deserializer(index))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Decoder<'_, 'de> {
    type Error = Failure;

    #[inline]
    fn unit_variant(self) -> Result<(), Failure> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failure> {
        seed.deserialize(self.enter()?)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_tuple(fields.len(), visitor)
    }
}

/// Fields, whose number comes from the type.
struct Items<'a, 'de> {
    input: &'a mut Input<'de>,
    depth: u16,
    left: usize,
    before: usize,
}

impl<'de> Items<'_, 'de> {
    #[inline]
    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        seed.deserialize(Decoder { input: &mut *self.input, depth: self.depth })
    }

    /// Whether there is another item, which is then begun.
    #[inline]
    fn begin(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        self.before = self.input.bytes.len();
        true
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Failure;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        if self.begin() { self.read(seed).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// Elements, whose number comes from the input and is not to be trusted.
struct Elements<'a, 'de>(Items<'a, 'de>);

impl Elements<'_, '_> {
    /// What a collection may reserve for: not more than the input could hold.
    #[inline]
    fn bounded_hint(&self) -> usize {
        self.0.left.min(self.0.input.bytes.len())
    }
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Failure;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        if !self.0.begin() {
            return Ok(None);
        }
        let element = self.0.read(seed)?;
        self.0.input.element_ended(self.0.before)?;
        Ok(Some(element))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.bounded_hint())
    }
}

impl<'de> MapAccess<'de> for Elements<'_, 'de> {
    type Error = Failure;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        if self.0.begin() { self.0.read(seed).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        let value = self.0.read(seed)?;
        self.0.input.element_ended(self.0.before)?;
        Ok(value)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.bounded_hint())
    }
}
