//! The footprint of a value: about how many bytes it owns outside of itself.
//!
//! Nobody can ask a type what it owns, but serde walks through its parts. What they take is reckoned as in the standard
//! library: a text or a list is a header and an allocation, a map pays for each entry, and a number in a list takes its
//! whole width however few bytes its encoding has. A list of short texts takes ten times its encoding, a list of small
//! numbers eight times.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use std::fmt;

/// What an allocation costs beside its bytes, rounding included.
const ALLOCATION_BYTES: usize = 16;

/// Pointer, capacity and length.
const HEADER_BYTES: usize = 24;

/// What an entry of a map costs beside key and value, free places included.
const ENTRY_BYTES: usize = 24;

/// About how many bytes `value` owns; `None` if its own code fails to say what it is made of.
pub(super) fn of<V: Serialize + ?Sized>(value: &V) -> Option<usize> {
    let mut bytes = 0;
    value.serialize(FootprintWalk { bytes: &mut bytes, is_owned: false }).ok()?;
    Some(bytes)
}

/// That a value does not tell its parts.
#[derive(Debug)]
struct Untold;

impl fmt::Display for Untold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value does not say what it is made of")
    }
}

impl std::error::Error for Untold {}

impl serde::ser::Error for Untold {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Walks through one part of a value.
struct FootprintWalk<'a> {
    bytes: &'a mut usize,
    /// Whether the part itself lies in an allocation of the value, and not within it.
    is_owned: bool,
}

impl FootprintWalk<'_> {
    fn part<T: Serialize + ?Sized>(&mut self, value: &T, is_owned: bool) -> Result<(), Untold> {
        value.serialize(FootprintWalk { bytes: self.bytes, is_owned })
    }

    fn add(&mut self, bytes: usize) {
        *self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Something of `width` bytes.
    fn plain(mut self, width: usize) {
        self.add(if self.is_owned { width } else { 0 });
    }

    /// A header, and so many bytes that it leads to.
    fn list(&mut self, bytes: usize) {
        self.add(if self.is_owned { HEADER_BYTES } else { 0 });
        self.add(bytes + ALLOCATION_BYTES);
    }
}

macro_rules! plain {
    ($($method:ident $type:ty;)*) => {$(
        #[inline]
        fn $method(self, _: $type) -> Result<(), Untold> {
            self.plain(size_of::<$type>());
            Ok(())
        }
    )*};
}

impl<'a> Serializer for FootprintWalk<'a> {
    type Ok = ();
    type Error = Untold;
    type SerializeSeq = Owned<'a>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Owned<'a>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    plain! {
        serialize_bool bool;
        serialize_i8 i8;
        serialize_i16 i16;
        serialize_i32 i32;
        serialize_i64 i64;
        serialize_i128 i128;
        serialize_u8 u8;
        serialize_u16 u16;
        serialize_u32 u32;
        serialize_u64 u64;
        serialize_u128 u128;
        serialize_f32 f32;
        serialize_f64 f64;
        serialize_char char;
    }

    fn serialize_str(mut self, text: &str) -> Result<(), Untold> {
        self.list(text.len());
        Ok(())
    }

    fn serialize_bytes(mut self, bytes: &[u8]) -> Result<(), Untold> {
        self.list(bytes.len());
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Untold> {
        self.plain(size_of::<usize>());
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(mut self, value: &T) -> Result<(), Untold> {
        let is_owned = self.is_owned;
        self.part(value, is_owned)
    }

    fn serialize_unit(self) -> Result<(), Untold> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Untold> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Untold> {
        self.plain(size_of::<usize>());
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Untold> {
        let is_owned = self.is_owned;
        self.part(value, is_owned)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Untold> {
        let is_owned = self.is_owned;
        self.add(if is_owned { size_of::<usize>() } else { 0 });
        self.part(value, is_owned)
    }

    fn serialize_seq(mut self, _: Option<usize>) -> Result<Owned<'a>, Untold> {
        self.list(0);
        Ok(Owned(FootprintWalk { bytes: self.bytes, is_owned: true }))
    }

    fn serialize_map(mut self, _: Option<usize>) -> Result<Owned<'a>, Untold> {
        self.list(0);
        Ok(Owned(FootprintWalk { bytes: self.bytes, is_owned: true }))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Untold> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Untold> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Untold> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Untold> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Untold> {
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// What lies in an allocation of its own.
struct Owned<'a>(FootprintWalk<'a>);

impl SerializeSeq for Owned<'_> {
    type Ok = ();
    type Error = Untold;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Untold> {
        self.0.part(value, true)
    }

    fn end(self) -> Result<(), Untold> {
        Ok(())
    }
}

impl SerializeMap for Owned<'_> {
    type Ok = ();
    type Error = Untold;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Untold> {
        self.0.add(ENTRY_BYTES);
        self.0.part(key, true)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Untold> {
        self.0.part(value, true)
    }

    fn end(self) -> Result<(), Untold> {
        Ok(())
    }
}

macro_rules! within {
    ($($trait:ident $method:ident $(, $name:ident)?;)*) => {$(
        impl $trait for FootprintWalk<'_> {
            type Ok = ();
            type Error = Untold;

            fn $method<T: Serialize + ?Sized>(&mut self, $($name: &'static str,)? value: &T) -> Result<(), Untold> {
                $(let _ = $name;)?
                let is_owned = self.is_owned;
                self.part(value, is_owned)
            }

            fn end(self) -> Result<(), Untold> {
                Ok(())
            }
        }
    )*};
}

within! {
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
    SerializeStruct serialize_field, name;
    SerializeStructVariant serialize_field, name;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn what_lies_within_a_value_is_not_owned() {
        assert_eq!(of(&7_u64), Some(0));
        assert_eq!(of(&(1_u8, [2_u32; 4], Some('a'), ())), Some(0));
        assert_eq!(of(&"12345".to_owned()), Some(5 + 16));
        assert_eq!(of(&(1, vec![0_u8; 100])), Some(100 + 16));
    }

    #[test]
    fn parts_count_as_they_lie_in_memory() {
        assert_eq!(of(&vec![1_u64; 1000]), Some(8000 + 16), "an encoding takes 1,000");
        let texts = vec!["abc".to_owned(); 10];
        assert_eq!(of(&texts), Some(10 * (24 + 3 + 16) + 16), "an encoding takes 40");
        let map: BTreeMap<u32, String> = (0..4).map(|key| (key, "abc".to_owned())).collect();
        assert_eq!(of(&map), Some(4 * (24 + 4 + 24 + 3 + 16) + 16));
    }
}
