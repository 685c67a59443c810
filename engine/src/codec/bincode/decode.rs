//! The reading half: the crate reads, and the guard goes along through all parts of the value.
//!
//! Invariant: nothing is reserved beyond what the input can hold. Texts and bytes are borrowed from it, and a collection is
//! promised no more elements than the input has bytes.

use super::Failure;
use super::collection::Collection;
use super::guard::Guard;
use ::bincode::{config, serde::seed_decode_from_slice};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, SeqAccess, VariantAccess, Visitor,
};
use std::fmt;
use std::marker::PhantomData;

/// Decodes a value that is the whole of `bytes`.
#[inline]
pub(super) fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, Failure> {
    let guard = Guard::of_input(bytes.len());
    let whole = Part { of: PhantomData::<V>, guard: &guard, depth: 0 };
    match seed_decode_from_slice(whole, bytes, config::standard()) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => Err(left_over(bytes.len() - read)),
        Err(error) => Err(guard.failure().unwrap_or_else(|| Failure::of_reading(error))),
    }
}

#[cold]
fn left_over(bytes: usize) -> Failure {
    Failure::of_layout(format!("{bytes} bytes are left over after it"))
}

/// What the crate reads a part of the value with, or what is made of the part, and the guard beside it.
pub(super) struct Part<'g, T> {
    pub(super) of: T,
    pub(super) guard: &'g Guard,
    /// How many levels lie above.
    depth: u16,
}

impl<'g, T> Part<'g, T> {
    /// `of` at the depth of this part.
    #[inline]
    pub(super) fn beside<U>(&self, of: U) -> Part<'g, U> {
        Part { of, guard: self.guard, depth: self.depth }
    }

    /// This part one level deeper, and `inside` of it.
    #[inline]
    pub(super) fn enter<U, E: Error>(self, inside: U) -> Result<(T, Part<'g, U>), E> {
        let depth = self.guard.below(self.depth, E::custom)?;
        Ok((self.of, Part { of: inside, guard: self.guard, depth }))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Part<'_, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.beside(deserializer);
        self.of.deserialize(deserializer)
    }
}

/// What takes at least one byte and has nothing inside.
macro_rules! scalars {
    ($($method:ident by $inner:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.guard.pass();
            self.of.$inner(visitor)
        }
    )*};
}

/// What has parts, and takes no bytes besides.
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

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Part<'_, D> {
    type Error = D::Error;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }

    scalars! {
        deserialize_bool by deserialize_bool
        deserialize_u8 by deserialize_u8
        deserialize_u16 by deserialize_u16
        deserialize_u32 by deserialize_u32
        deserialize_u64 by deserialize_u64
        deserialize_u128 by deserialize_u128
        deserialize_i8 by deserialize_i8
        deserialize_i16 by deserialize_i16
        deserialize_i32 by deserialize_i32
        deserialize_i64 by deserialize_i64
        deserialize_i128 by deserialize_i128
        deserialize_f32 by deserialize_f32
        deserialize_f64 by deserialize_f64
        deserialize_char by deserialize_char
        deserialize_str by deserialize_str
        deserialize_bytes by deserialize_bytes
    }

    // An owned text would be reserved as long as it claims to be, before the input is looked at: it is borrowed first.
    scalars! {
        deserialize_string by deserialize_str
        deserialize_byte_buf by deserialize_bytes
    }

    parts! {
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
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.guard.pass();
        let visitor = self.beside(visitor);
        self.of.deserialize_option(visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: Names,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.guard.pass();
        let visitor = self.beside(visitor);
        self.of.deserialize_enum(name, variants, visitor)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.guard.pass();
        let visitor = Collection(self.beside(visitor));
        self.of.deserialize_seq(visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.guard.pass();
        let visitor = Collection(self.beside(visitor));
        self.of.deserialize_map(visitor)
    }
}

/// What has parts: options, newtypes, enums, and tuples and structs, whose number of fields the type knows.
impl<'de, V: Visitor<'de>> Visitor<'de> for Part<'_, V> {
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

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Part<'_, A> {
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

impl<'g, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Part<'g, A> {
    type Error = A::Error;
    type Variant = Part<'g, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let Part { of, guard, depth } = self;
        let (variant, content) = of.variant_seed(seed)?;
        Ok((variant, Part { of: content, guard, depth }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Part<'_, A> {
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
