//! Keys made of keys: `()`, options, tuples and arrays.
//!
//! The parts follow each other without a mark between them; that is enough because no encoding of a part is a
//! proper prefix of another. An option begins with 0 (`None`) or 1.

use super::integers::{take, unknown_tag};
use super::{CodecError, KeyCodec};
use std::array;

/// The name of the layout of fields that follow each other. A single field has the layout of itself alone, so
/// that a key can be wrapped in a type of its own without a change to what is stored.
#[doc(hidden)]
#[must_use]
pub fn fields_schema(fields: &[String]) -> String {
    match fields {
        [only] => only.clone(),
        fields => format!("({})", fields.join(",")),
    }
}

/// As [`fields_schema`], with the names of the fields, if they have any.
#[doc(hidden)]
#[must_use]
pub fn fields_shape(fields: &[(&str, String)]) -> String {
    match fields {
        [(_, only)] => only.clone(),
        fields => {
            let fields: Vec<String> = fields.iter().map(|(name, shape)| format!("{name}:{shape}")).collect();
            format!("({})", fields.join(","))
        }
    }
}

impl KeyCodec for () {
    #[inline]
    fn encode_key(&self, _: &mut Vec<u8>) {}

    #[inline]
    fn decode_key(_: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(())
    }

    fn key_schema() -> String {
        fields_schema(&[])
    }
}

impl<T: KeyCodec> KeyCodec for Option<T> {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(key) => {
                out.push(1);
                key.encode_key(out);
            }
        }
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        match take(input)? {
            [0] => Ok(None),
            [1] => T::decode_key(input).map(Some),
            [other] => Err(unknown_tag("an option", other)),
        }
    }

    fn key_schema() -> String {
        format!("option<{}>", T::key_schema())
    }

    fn key_shape() -> String {
        format!("option<{}>", T::key_shape())
    }
}

impl<T: KeyCodec, const N: usize> KeyCodec for [T; N] {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        for key in self {
            key.encode_key(out);
        }
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let mut failure = None;
        let keys: [Option<T>; N] = array::from_fn(|_| {
            if failure.is_some() {
                return None;
            }
            T::decode_key(input).map_err(|error| failure = Some(error)).ok()
        });
        match failure {
            Some(error) => Err(error),
            #[expect(clippy::expect_used, reason = "an element is absent only after a failure")]
            None => Ok(keys.map(|key| key.expect("every element was decoded"))),
        }
    }

    fn key_schema() -> String {
        format!("[{};{N}]", T::key_schema())
    }

    fn key_shape() -> String {
        format!("[{};{N}]", T::key_shape())
    }
}

macro_rules! tuples {
    ($(($($part:ident $index:tt)+))+) => {$(
        impl<$($part: KeyCodec),+> KeyCodec for ($($part,)+) {
            #[inline]
            fn encode_key(&self, out: &mut Vec<u8>) {
                $(self.$index.encode_key(out);)+
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
                Ok(($($part::decode_key(input)?,)+))
            }

            fn key_schema() -> String {
                fields_schema(&[$($part::key_schema()),+])
            }

            fn key_shape() -> String {
                fields_schema(&[$($part::key_shape()),+])
            }
        }
    )+};
}

tuples! {
    (A 0)
    (A 0 B 1)
    (A 0 B 1 C 2)
    (A 0 B 1 C 2 D 3)
    (A 0 B 1 C 2 D 3 E 4)
    (A 0 B 1 C 2 D 3 E 4 F 5)
}
