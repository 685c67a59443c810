//! The writing half of the layout.

use super::output::Output;
use super::{DEPTH_LIMIT, EMPTY_ELEMENTS_LIMIT, Failure};
use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Appends `value` to `out`; on failure a part of it may have been appended.
#[inline]
pub(super) fn encode<V: Serialize>(value: &V, out: &mut Vec<u8>) -> Result<(), Failure> {
    let mut output = Output { out, empty_elements_left: EMPTY_ELEMENTS_LIMIT };
    value.serialize(Encoder { output: &mut output, depth: 0 })
}

struct Encoder<'a, 'o> {
    output: &'a mut Output<'o>,
    depth: u16,
}

impl<'a, 'o> Encoder<'a, 'o> {
    /// The encoder of what is one level deeper.
    #[inline]
    fn enter(self) -> Result<Self, Failure> {
        if self.depth == DEPTH_LIMIT {
            return Err(Failure::too_deep());
        }
        Ok(Self { output: self.output, depth: self.depth + 1 })
    }

    #[inline]
    fn fields(self) -> Result<Fields<'a, 'o>, Failure> {
        let Encoder { output, depth } = self.enter()?;
        Ok(Fields { output, depth })
    }

    #[inline]
    fn elements(self, len: Option<usize>) -> Result<Elements<'a, 'o>, Failure> {
        let Some(left) = len else {
            return Err(Failure::new("the length of a sequence or map is not known beforehand (`flatten`?)"));
        };
        let Encoder { output, depth } = self.enter()?;
        output.len(left)?;
        Ok(Elements { output, depth, left, start: 0 })
    }
}

macro_rules! scalars {
    ($($method:ident: $type:ty, |$output:ident, $value:ident| $write:expr;)*) => {$(
        #[inline]
        fn $method(self, $value: $type) -> Result<(), Failure> {
            let $output = self.output;
            $write;
            Ok(())
        }
    )*};
}

impl<'a, 'o> Serializer for Encoder<'a, 'o> {
    type Ok = ();
    type Error = Failure;
    type SerializeSeq = Elements<'a, 'o>;
    type SerializeMap = Elements<'a, 'o>;
    type SerializeTuple = Fields<'a, 'o>;
    type SerializeTupleStruct = Fields<'a, 'o>;
    type SerializeTupleVariant = Fields<'a, 'o>;
    type SerializeStruct = Fields<'a, 'o>;
    type SerializeStructVariant = Fields<'a, 'o>;

    fn is_human_readable(&self) -> bool {
        false
    }

    scalars! {
        serialize_bool: bool, |output, value| output.out.push(value.into());
        serialize_u8: u8, |output, value| output.out.push(value);
        serialize_u16: u16, |output, value| output.unsigned(value.into());
        serialize_u32: u32, |output, value| output.unsigned(value.into());
        serialize_u64: u64, |output, value| output.unsigned(value);
        serialize_u128: u128, |output, value| output.unsigned_128(value);
        serialize_i8: i8, |output, value| output.out.push(value.cast_unsigned());
        serialize_i16: i16, |output, value| output.signed(value.into());
        serialize_i32: i32, |output, value| output.signed(value.into());
        serialize_i64: i64, |output, value| output.signed(value);
        serialize_i128: i128, |output, value| output.signed_128(value);
        serialize_f32: f32, |output, value| output.out.extend_from_slice(&value.to_le_bytes());
        serialize_f64: f64, |output, value| output.out.extend_from_slice(&value.to_le_bytes());
        serialize_char: char, |output, value| output.char(value);
        serialize_str: &str, |output, value| output.bytes(value.as_bytes())?;
        serialize_bytes: &[u8], |output, value| output.bytes(value)?;
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Failure> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Failure> {
        self.output.out.push(1);
        value.serialize(self.enter()?)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Failure> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Failure> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<(), Failure> {
        self.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        value.serialize(self.enter()?)
    }

    #[inline]
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Failure> {
        self.output.unsigned(index.into());
        value.serialize(self.enter()?)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, Failure> {
        self.elements(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, Failure> {
        self.elements(len)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Failure> {
        self.fields()
    }

    #[inline]
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Failure> {
        self.fields()
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Failure> {
        self.fields()
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Failure> {
        self.output.unsigned(index.into());
        self.fields()
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Failure> {
        self.output.unsigned(index.into());
        self.fields()
    }
}

/// The elements of a sequence or the entries of a map, after their number.
struct Elements<'a, 'o> {
    output: &'a mut Output<'o>,
    depth: u16,
    left: usize,
    start: usize,
}

impl Elements<'_, '_> {
    #[inline]
    fn begin(&mut self) -> Result<(), Failure> {
        self.left = self.left.checked_sub(1).ok_or_else(wrong_length)?;
        self.start = self.output.out.len();
        Ok(())
    }

    #[inline]
    fn write<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        value.serialize(Encoder { output: &mut *self.output, depth: self.depth })
    }

    #[inline]
    fn finish(&self) -> Result<(), Failure> {
        if self.left == 0 { Ok(()) } else { Err(wrong_length()) }
    }
}

#[cold]
fn wrong_length() -> Failure {
    Failure::new("a sequence or map announced another number of elements than it has")
}

impl SerializeSeq for Elements<'_, '_> {
    type Ok = ();
    type Error = Failure;

    #[inline]
    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        self.begin()?;
        self.write(value)?;
        self.output.element_ended(self.start)
    }

    #[inline]
    fn end(self) -> Result<(), Failure> {
        self.finish()
    }
}

impl SerializeMap for Elements<'_, '_> {
    type Ok = ();
    type Error = Failure;

    #[inline]
    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Failure> {
        self.begin()?;
        self.write(key)
    }

    #[inline]
    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        self.write(value)?;
        self.output.element_ended(self.start)
    }

    #[inline]
    fn end(self) -> Result<(), Failure> {
        self.finish()
    }
}

/// The fields of a tuple, a struct or a variant, whose number the type knows.
struct Fields<'a, 'o> {
    output: &'a mut Output<'o>,
    depth: u16,
}

impl Fields<'_, '_> {
    #[inline]
    fn write<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        value.serialize(Encoder { output: &mut *self.output, depth: self.depth })
    }
}

#[cold]
fn skipped(field: &str) -> Failure {
    Failure::new(format!(
        "field `{field}` is skipped on a condition, and a layout without names cannot say so"
    ))
}

macro_rules! positional {
    ($($trait:ident $method:ident)*) => {$(
        impl $trait for Fields<'_, '_> {
            type Ok = ();
            type Error = Failure;

            #[inline]
            fn $method<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Failure> {
                self.write(value)
            }

            #[inline]
            fn end(self) -> Result<(), Failure> {
                Ok(())
            }
        }
    )*};
}

macro_rules! named {
    ($($trait:ident)*) => {$(
        impl $trait for Fields<'_, '_> {
            type Ok = ();
            type Error = Failure;

            #[inline]
            fn serialize_field<T: ?Sized + Serialize>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Result<(), Failure> {
                self.write(value)
            }

            fn skip_field(&mut self, field: &'static str) -> Result<(), Failure> {
                Err(skipped(field))
            }

            #[inline]
            fn end(self) -> Result<(), Failure> {
                Ok(())
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
