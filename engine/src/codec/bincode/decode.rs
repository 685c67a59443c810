//! The reading half: the crate reads, and the guard goes along through all parts of the value.
//!
//! Invariant: nothing is reserved beyond what the input can hold. Texts and bytes are borrowed from it, and a collection is
//! promised no more elements than there are bytes left.

use super::CodecFailure;
use super::collection::Collection;
use super::input::ByteInput;
use ::bincode::{config, serde::OwnedSerdeDecoder};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, SeqAccess, VariantAccess, Visitor,
};
use std::fmt;

/// Decodes a value that is the whole of `bytes`.
#[inline]
pub(super) fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, CodecFailure> {
    let input = ByteInput::new(bytes);
    let mut decoder = OwnedSerdeDecoder::from_reader(&input, config::standard());
    match V::deserialize(DecodePart { of: decoder.as_deserializer(), input: &input, depth: 0 }) {
        Ok(value) if input.left() == 0 => Ok(value),
        Ok(_) => Err(left_over(input.left())),
        Err(error) => Err(input.failure(error)),
    }
}

#[cold]
fn left_over(bytes: usize) -> CodecFailure {
    CodecFailure::of_layout(format!("{bytes} bytes are left over after it"))
}

/// What the crate reads a part of the value with, or what is made of the part, and the input with its guard.
pub(super) struct DecodePart<'i, 'de, T> {
    pub(super) of: T,
    pub(super) input: &'i ByteInput<'de>,
    /// How many levels lie above.
    depth: u16,
}

impl<'i, 'de, T> DecodePart<'i, 'de, T> {
    /// `of` at the depth of this part.
    #[inline]
    pub(super) fn beside<U>(&self, of: U) -> DecodePart<'i, 'de, U> {
        DecodePart { of, input: self.input, depth: self.depth }
    }

    /// This part one level deeper, and `inside` of it.
    #[inline]
    pub(super) fn enter<U, E: Error>(self, inside: U) -> Result<(T, DecodePart<'i, 'de, U>), E> {
        let depth = self.input.guard.below(self.depth, E::custom)?;
        Ok((self.of, DecodePart { of: inside, input: self.input, depth }))
    }
}

impl<'de, D: Deserializer<'de>> DecodePart<'_, 'de, D> {
    /// How long the text or the bytes are that come next.
    #[inline]
    fn length(self) -> Result<u64, D::Error> {
        self.of.deserialize_u64(Length)
    }
}

struct Length;

impl Visitor<'_> for Length {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length")
    }

    #[inline]
    fn visit_u64<E>(self, length: u64) -> Result<u64, E> {
        Ok(length)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for DecodePart<'_, 'de, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.beside(deserializer);
        self.of.deserialize(deserializer)
    }
}

/// What has nothing inside.
macro_rules! scalars {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.of.$method(visitor)
        }
    )*};
}

/// What is as long as it says. The crate would reserve that before it looks at the input; so it reads the length only.
macro_rules! texts {
    ($($method:ident is $what:ident for $visit:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            let input = self.input;
            let length = self.length()?;
            visitor.$visit(input.$what(length, D::Error::custom)?)
        }
    )*};
}

/// What has parts.
macro_rules! parts {
    ($($method:ident($($name:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            let visitor = self.beside(visitor);
            self.of.$method($($name,)* visitor)
        }
    )*};
}

/// What takes no bytes, or what the layout has no way to say: the crate refuses it.
macro_rules! as_they_are {
    ($($method:ident($($name:ident: $type:ty)?))*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($name: $type,)? visitor: V) -> Result<V::Value, D::Error> {
            self.of.$method($($name,)? visitor)
        }
    )*};
}

type Names = &'static [&'static str];

impl<'de, D: Deserializer<'de>> Deserializer<'de> for DecodePart<'_, 'de, D> {
    type Error = D::Error;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }

    scalars! {
        deserialize_bool
        deserialize_u8
        deserialize_u16
        deserialize_u32
        deserialize_u64
        deserialize_u128
        deserialize_i8
        deserialize_i16
        deserialize_i32
        deserialize_i64
        deserialize_i128
        deserialize_f32
        deserialize_f64
        deserialize_char
    }

    texts! {
        deserialize_str is text for visit_borrowed_str
        deserialize_string is text for visit_borrowed_str
        deserialize_bytes is bytes for visit_borrowed_bytes
        deserialize_byte_buf is bytes for visit_borrowed_bytes
    }

    parts! {
        deserialize_option()
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_struct(name: &'static str, fields: Names)
    }

    as_they_are! {
        deserialize_unit()
        deserialize_unit_struct(name: &'static str)
        deserialize_any()
        deserialize_identifier()
        deserialize_ignored_any()
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: Names,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.beside(visitor);
        self.of.deserialize_enum(name, variants, visitor)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = Collection(self.beside(visitor));
        self.of.deserialize_seq(visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = Collection(self.beside(visitor));
        self.of.deserialize_map(visitor)
    }
}

/// What has parts: options, newtypes, enums, and tuples and structs, whose number of fields the type knows.
impl<'de, V: Visitor<'de>> Visitor<'de> for DecodePart<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.of.expecting(f)
    }

    #[inline]
    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.of.visit_none()
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let (visitor, deserializer) = self.enter(deserializer)?;
        visitor.visit_some(deserializer)
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let (visitor, deserializer) = self.enter(deserializer)?;
        visitor.visit_newtype_struct(deserializer)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, fields: A) -> Result<V::Value, A::Error> {
        let (visitor, fields) = self.enter(fields)?;
        visitor.visit_seq(fields)
    }

    #[inline]
    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.beside(access);
        self.of.visit_enum(access)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for DecodePart<'_, 'de, A> {
    type Error = A::Error;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let seed = self.beside(seed);
        self.of.next_element_seed(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.of.size_hint()
    }
}

impl<'i, 'de, A: EnumAccess<'de>> EnumAccess<'de> for DecodePart<'i, 'de, A> {
    type Error = A::Error;
    type Variant = DecodePart<'i, 'de, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let DecodePart { of, input, depth } = self;
        let (variant, content) = of.variant_seed(seed)?;
        Ok((variant, DecodePart { of: content, input, depth }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for DecodePart<'_, 'de, A> {
    type Error = A::Error;

    #[inline]
    fn unit_variant(self) -> Result<(), A::Error> {
        self.of.unit_variant()
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let (access, seed) = self.enter(seed)?;
        access.newtype_variant_seed(seed)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.beside(visitor);
        self.of.tuple_variant(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: Names, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.beside(visitor);
        self.of.struct_variant(fields, visitor)
    }
}
