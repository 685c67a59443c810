//! Faithfulness: refuses the values that have a JSON form which is not theirs.
//!
//! JSON has one `null`. It is what an absent value is written as, so nothing else may be: not a float that is no
//! number, and not a present value that is itself absent or empty. Both would come back as another value or not at all.

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::fmt;

/// Refuses `value` if it would not come back.
pub(super) fn check<V: Serialize + ?Sized>(value: &V) -> Result<(), Unfaithful> {
    value.serialize(FaithfulWalk).map(|_| ())
}

/// Why a value would not come back.
#[derive(Debug)]
pub(super) struct Unfaithful(pub(super) String);

impl fmt::Display for Unfaithful {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfaithful {}

impl serde::ser::Error for Unfaithful {
    #[cold]
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Walks through a value without writing anything. What it returns is whether the value is written as `null`.
struct FaithfulWalk;

const IS_NULL: bool = true;
const IS_NOT_NULL: bool = false;

macro_rules! plain {
    ($($method:ident $type:ty;)*) => {$(
        #[inline]
        fn $method(self, _: $type) -> Result<bool, Unfaithful> {
            Ok(IS_NOT_NULL)
        }
    )*};
}

#[inline]
fn finite(value: f64) -> Result<bool, Unfaithful> {
    if value.is_finite() {
        return Ok(IS_NOT_NULL);
    }
    Err(Unfaithful(format!(
        "{value} is no number that JSON has; keep such values in `Bincode`, or leave them out"
    )))
}

impl Serializer for FaithfulWalk {
    type Ok = bool;
    type Error = Unfaithful;
    type SerializeSeq = Self;
    type SerializeMap = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    plain! {
        serialize_bool bool;
        serialize_u8 u8;
        serialize_u16 u16;
        serialize_u32 u32;
        serialize_u64 u64;
        serialize_u128 u128;
        serialize_i8 i8;
        serialize_i16 i16;
        serialize_i32 i32;
        serialize_i64 i64;
        serialize_i128 i128;
        serialize_char char;
        serialize_str &str;
        serialize_bytes &[u8];
    }

    #[inline]
    fn serialize_f32(self, value: f32) -> Result<bool, Unfaithful> {
        finite(value.into())
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<bool, Unfaithful> {
        finite(value)
    }

    fn serialize_none(self) -> Result<bool, Unfaithful> {
        Ok(IS_NULL)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<bool, Unfaithful> {
        if value.serialize(self)? == IS_NULL {
            return Err(Unfaithful::custom(
                "a value that is there, such as the `None` that is the least of several options, is written as null, as an \
                 absent one is; keep it in `Bincode` (the codec that a table or topic has by default), or leave out what is \
                 absent before",
            ));
        }
        Ok(IS_NOT_NULL)
    }

    fn serialize_unit(self) -> Result<bool, Unfaithful> {
        Ok(IS_NULL)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<bool, Unfaithful> {
        Ok(IS_NULL)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<bool, Unfaithful> {
        Ok(IS_NOT_NULL)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<bool, Unfaithful> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<bool, Unfaithful> {
        value.serialize(self).map(|_| IS_NOT_NULL)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Unfaithful> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Unfaithful> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Unfaithful> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Unfaithful> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Unfaithful> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unfaithful> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Unfaithful> {
        Ok(self)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, _: &T) -> Result<bool, Unfaithful> {
        Ok(IS_NOT_NULL)
    }
}

macro_rules! elements {
    ($($trait:ident $method:ident)*) => {$(
        impl $trait for FaithfulWalk {
            type Ok = bool;
            type Error = Unfaithful;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfaithful> {
                check(value)
            }

            #[inline]
            fn end(self) -> Result<bool, Unfaithful> {
                Ok(IS_NOT_NULL)
            }
        }
    )*};
}

macro_rules! fields {
    ($($trait:ident)*) => {$(
        impl $trait for FaithfulWalk {
            type Ok = bool;
            type Error = Unfaithful;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Result<(), Unfaithful> {
                check(value)
            }

            #[inline]
            fn end(self) -> Result<bool, Unfaithful> {
                Ok(IS_NOT_NULL)
            }
        }
    )*};
}

elements! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}
fields!(SerializeStruct SerializeStructVariant);

impl SerializeMap for FaithfulWalk {
    type Ok = bool;
    type Error = Unfaithful;

    /// Keys become texts, or are refused when they are written.
    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Unfaithful> {
        Ok(())
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfaithful> {
        check(value)
    }

    #[inline]
    fn end(self) -> Result<bool, Unfaithful> {
        Ok(IS_NOT_NULL)
    }
}
