//! The writing half: the crate writes, and the guard goes along through all parts of the value.

use super::CodecFailure;
use super::guard::{Guard, GuardRefusal};
use ::bincode::enc::write::Writer;
use ::bincode::error::EncodeError;
use ::bincode::{config, serde::encode_into_writer};
use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::cell::Cell;

/// Appends `value` to `out`; on failure a part of it may have been appended.
#[inline]
pub(super) fn encode<V: Serialize>(value: &V, out: &mut Vec<u8>) -> Result<(), CodecFailure> {
    let walk = EncodeWalk { guard: Guard::new(), has_bytes: Cell::new(false) };
    let whole = EncodePart { of: value, walk: &walk, depth: 0 };
    encode_into_writer(whole, ByteOutput { out, walk: &walk }, config::standard())
        .map_err(|error| CodecFailure::of_writing(error, walk.guard.refusal()))
}

/// One walk through the parts of a value.
struct EncodeWalk {
    guard: Guard,
    /// Whether the present element of a sequence or a map has taken bytes.
    has_bytes: Cell<bool>,
}

/// Where the bytes go.
struct ByteOutput<'o, 'w> {
    out: &'o mut Vec<u8>,
    walk: &'w EncodeWalk,
}

impl Writer for ByteOutput<'_, '_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.walk.has_bytes.set(true);
        self.out.extend_from_slice(bytes);
        Ok(())
    }
}

/// A part of the value, or what the crate writes one with, and the walk it is met on.
struct EncodePart<'w, T> {
    of: T,
    walk: &'w EncodeWalk,
    /// How many levels lie above.
    depth: u16,
}

impl<'w, T> EncodePart<'w, T> {
    /// `of` at the depth of this part.
    #[inline]
    fn beside<U>(&self, of: U) -> EncodePart<'w, U> {
        EncodePart { of, walk: self.walk, depth: self.depth }
    }

    /// This part one level deeper.
    #[inline]
    fn enter<E: Error>(self) -> Result<Self, E> {
        let depth = self.walk.guard.below(self.depth, E::custom)?;
        Ok(Self { depth, ..self })
    }

    /// The same with what the crate made of `of`.
    #[inline]
    fn then<U, E>(self, next: impl FnOnce(T) -> Result<U, E>) -> Result<EncodePart<'w, U>, E> {
        Ok(EncodePart { of: next(self.of)?, walk: self.walk, depth: self.depth })
    }
}

impl<T: Serialize + ?Sized> Serialize for EncodePart<'_, &T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.of.serialize(self.beside(serializer))
    }
}

/// What has nothing inside.
macro_rules! scalars {
    ($($method:ident($($name:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<S::Ok, S::Error> {
            self.of.$method($($name),*)
        }
    )*};
}

/// What has one value inside.
macro_rules! around_a_value {
    ($($method:ident($($name:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<T: ?Sized + Serialize>(self, $($name: $type,)* value: &T) -> Result<S::Ok, S::Error> {
            let part = self.enter()?;
            let value = part.beside(value);
            part.of.$method($($name,)* &value)
        }
    )*};
}

/// What has fields, whose number the type knows.
macro_rules! with_fields {
    ($($method:ident($($name:ident: $type:ty),*) -> $fields:ident;)*) => {$(
        #[inline]
        fn $method(self, $($name: $type),*) -> Result<Self::$fields, S::Error> {
            self.enter()?.then(|of| of.$method($($name),*))
        }
    )*};
}

impl<'w, S: Serializer> Serializer for EncodePart<'w, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = EncodeElements<'w, S::SerializeSeq>;
    type SerializeMap = EncodeElements<'w, S::SerializeMap>;
    type SerializeTuple = EncodePart<'w, S::SerializeTuple>;
    type SerializeTupleStruct = EncodePart<'w, S::SerializeTupleStruct>;
    type SerializeTupleVariant = EncodePart<'w, S::SerializeTupleVariant>;
    type SerializeStruct = EncodePart<'w, S::SerializeStruct>;
    type SerializeStructVariant = EncodePart<'w, S::SerializeStructVariant>;

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.of.is_human_readable()
    }

    scalars! {
        serialize_bool(value: bool)
        serialize_u8(value: u8)
        serialize_u16(value: u16)
        serialize_u32(value: u32)
        serialize_u64(value: u64)
        serialize_u128(value: u128)
        serialize_i8(value: i8)
        serialize_i16(value: i16)
        serialize_i32(value: i32)
        serialize_i64(value: i64)
        serialize_i128(value: i128)
        serialize_f32(value: f32)
        serialize_f64(value: f64)
        serialize_char(value: char)
        serialize_str(value: &str)
        serialize_bytes(value: &[u8])
        serialize_none()
        serialize_unit()
        serialize_unit_struct(name: &'static str)
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str)
    }

    around_a_value! {
        serialize_some()
        serialize_newtype_struct(name: &'static str)
        serialize_newtype_variant(name: &'static str, index: u32, variant: &'static str)
    }

    with_fields! {
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeTupleVariant;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> SerializeStructVariant;
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        Ok(EncodeElements::begin(self.enter()?.then(|of| of.serialize_seq(len))?, len))
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        Ok(EncodeElements::begin(self.enter()?.then(|of| of.serialize_map(len))?, len))
    }
}

/// The elements of a sequence or the entries of a map, after their number.
struct EncodeElements<'w, S> {
    part: EncodePart<'w, S>,
    /// How many are still to come.
    left: usize,
}

impl<'w, S> EncodeElements<'w, S> {
    #[inline]
    fn begin(part: EncodePart<'w, S>, len: Option<usize>) -> Self {
        // Without a length the crate has refused it.
        Self { part, left: len.unwrap_or_default() }
    }

    #[inline]
    fn next<E: Error>(&mut self) -> Result<(), E> {
        self.left = self.left.checked_sub(1).ok_or_else(|| self.wrong_length())?;
        self.part.walk.has_bytes.set(false);
        Ok(())
    }

    #[inline]
    fn ended<E: Error>(&self) -> Result<(), E> {
        let walk = self.part.walk;
        // The sequence or map has bytes of its own, its length, and may be an element itself.
        if walk.has_bytes.replace(true) { Ok(()) } else { walk.guard.was_empty(E::custom) }
    }

    #[inline]
    fn finish<E: Error>(self) -> Result<S, E> {
        if self.left == 0 { Ok(self.part.of) } else { Err(self.wrong_length()) }
    }

    fn wrong_length<E: Error>(&self) -> E {
        self.part.walk.guard.refuse(GuardRefusal::WrongLength, E::custom)
    }
}

impl<S: SerializeSeq> SerializeSeq for EncodeElements<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), S::Error> {
        self.next()?;
        let value = self.part.beside(value);
        self.part.of.serialize_element(&value)?;
        self.ended()
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.finish()?.end()
    }
}

impl<S: SerializeMap> SerializeMap for EncodeElements<'_, S> {
    type Ok = S::Ok;
    type Error = S::Error;

    #[inline]
    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), S::Error> {
        self.next()?;
        let key = self.part.beside(key);
        self.part.of.serialize_key(&key)
    }

    #[inline]
    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), S::Error> {
        let value = self.part.beside(value);
        self.part.of.serialize_value(&value)?;
        self.ended()
    }

    #[inline]
    fn end(self) -> Result<S::Ok, S::Error> {
        self.finish()?.end()
    }
}

// The fields of a tuple, a struct or a variant, whose number the type knows.

macro_rules! positional {
    ($($trait:ident $method:ident)*) => {$(
        impl<S: $trait> $trait for EncodePart<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn $method<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), S::Error> {
                let value = self.beside(value);
                self.of.$method(&value)
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.of.end()
            }
        }
    )*};
}

macro_rules! named {
    ($($trait:ident)*) => {$(
        impl<S: $trait> $trait for EncodePart<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            #[inline]
            fn serialize_field<T: ?Sized + Serialize>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), S::Error> {
                let value = self.beside(value);
                self.of.serialize_field(name, &value)
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), S::Error> {
                Err(self.walk.guard.refuse(GuardRefusal::Skipped(name), S::Error::custom))
            }

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.of.end()
            }
        }
    )*};
}

positional! {
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}
named!(SerializeStruct SerializeStructVariant);
