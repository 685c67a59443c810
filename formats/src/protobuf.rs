//! Values in Protobuf.
//!
//! A [`Protobuf`] codec reads and writes one message type of the crate `prost`. Bare messages need nothing else. With a
//! [registry](crate::registry), a message begins with the [id](crate::framing) of the schema that it was written in and
//! the place of its type in that schema's file; the id is not looked at, as the bytes of a message say all that is needed to read
//! them: so nothing is ever waited for, and tables may be kept in it.
//!
//! # Evolution
//! Fields are known by their numbers. One that is not there has its default, and one that is not known is passed over and is
//! lost if the message is written again: `prost` keeps no unknown fields. Numbers must not be given to other fields.
//!
//! # Examples
//! Any type that derives `prost::Message` will do; of those that `prost` brings itself this is the one that holds a text:
//! ```
//! use millpond::codec::ValueCodec;
//! use millpond_formats::protobuf::Protobuf;
//!
//! let codec = Protobuf::<String>::named("google.protobuf.StringValue");
//! let mut bytes = Vec::new();
//! codec.encode(&"tea".to_owned(), &mut bytes)?;
//! assert_eq!(bytes, b"\x0a\x03tea");
//! assert_eq!(codec.decode(&bytes)?, "tea");
//! # Ok::<(), millpond::codec::CodecError>(())
//! ```

use crate::framing;
#[cfg(feature = "registry")]
use crate::registry::{Reference, Registry, SchemaKind, Subject};
#[cfg(feature = "registry")]
use millpond_engine::Result;
use millpond_engine::codec::{CodecError, Shape, ValueCodec};
use prost::Message;
use std::fmt;
use std::marker::PhantomData;

/// How deep the types of a file may stand inside one another.
const MOST_LEVELS: usize = 64;

/// Messages of the type `M`; see [the module](self).
pub struct Protobuf<M> {
    name: String,
    framing: Option<Framing>,
    messages: PhantomData<fn() -> M>,
}

#[derive(Debug, Clone)]
struct Framing {
    /// Of the schema in which messages are written.
    id: Option<u32>,
    /// The place of the type in its file; `None` if that of others is not looked at.
    index: Option<Vec<u32>>,
}

impl<M> Clone for Protobuf<M> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), framing: self.framing.clone(), messages: PhantomData }
    }
}

impl<M> fmt::Debug for Protobuf<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protobuf").field("name", &self.name).field("framing", &self.framing).finish()
    }
}

impl<M> Protobuf<M> {
    /// Bare messages of the type with this full name, such as `acme.Order`. Topics and tables remember the name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), framing: None, messages: PhantomData }
    }

    /// Reads messages that begin with the id of their schema and `index`, the place of their type in its file, and writes none:
    /// `&[0]` for the first type in the file, `&[1, 0]` for the first within the second. A message of another type is refused.
    #[must_use]
    pub fn reading(self, index: &[u32]) -> Self {
        Self { framing: Some(Framing { id: None, index: Some(index.to_vec()) }), ..self }
    }

    /// As [`reading`](Self::reading), whatever the place of a message's type in its file: for topics with one type, whose
    /// file was put in another order.
    #[must_use]
    pub fn reading_any(self) -> Self {
        Self { framing: Some(Framing { id: None, index: None }), ..self }
    }

    /// Messages that begin with the id of their schema. The file `proto`, in which the type has the place `index`, is registered
    /// under `subject` now, if it is not there; `references` are what it imports.
    ///
    /// # Errors
    /// `Invalid`, with what the registry says, if it refuses the schema; `Unavailable` if it does not answer.
    #[cfg(feature = "registry")]
    pub fn registered(
        self,
        registry: &Registry,
        subject: &Subject,
        proto: &str,
        references: &[Reference],
        index: &[u32],
    ) -> Result<Self> {
        let subject = subject.name(Some(&self.name))?;
        let id = registry.register(&subject, SchemaKind::Protobuf, proto, references)?;
        Ok(self.framed(id, index))
    }

    /// Messages behind the id of their schema and the place of their type in it.
    #[cfg(feature = "registry")]
    fn framed(self, id: u32, index: &[u32]) -> Self {
        Self { framing: Some(Framing { id: Some(id), index: Some(index.to_vec()) }), ..self }
    }

    /// As [`registered`](Self::registered), with a schema that somebody else has registered.
    ///
    /// # Errors
    /// As there, and `Invalid` if it is not there.
    #[cfg(feature = "registry")]
    pub fn looked_up(
        self,
        registry: &Registry,
        subject: &Subject,
        proto: &str,
        references: &[Reference],
        index: &[u32],
    ) -> Result<Self> {
        let subject = subject.name(Some(&self.name))?;
        let id = registry.look_up(&subject, SchemaKind::Protobuf, proto, references)?;
        Ok(self.framed(id, index))
    }
}

impl<M: Message + Default + 'static> ValueCodec<M> for Protobuf<M> {
    fn id(&self) -> &'static str {
        if self.framing.is_some() { "protobuf-by-id" } else { "protobuf" }
    }

    fn encode(&self, message: &M, out: &mut Vec<u8>) -> Result<(), CodecError> {
        if let Some(Framing { id, index }) = &self.framing {
            let (Some(id), Some(index)) = (id, index) else {
                return Err(CodecError::new(
                    "the codec was made for reading: its schema is not registered; make it with `registered` or `looked_up`",
                ));
            };
            framing::begin(*id, out);
            put_index(index, out);
        }
        // It fails only where there is no room, and a vector grows.
        message.encode(out).map_err(|error| CodecError::new(error.to_string()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<M, CodecError> {
        let mut message = bytes;
        if let Some(Framing { index, .. }) = &self.framing {
            (_, message) = framing::split(bytes)?;
            let found = take_index(&mut message)?;
            if let Some(index) = index.as_ref().filter(|index| **index != found) {
                return Err(CodecError::new(format!(
                    "the message is the type at {found:?} in its file, and not `{}` at {index:?}",
                    self.name
                )));
            }
        }
        M::decode(message)
            .map_err(|error| CodecError::new(format!("bad Protobuf of `{}`: {error}", self.name)))
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(Shape::named(&format!("protobuf {}", self.name)))
    }
}

/// The numbers with their count before them; the first type of a file, which nearly all are, as one byte.
fn put_index(index: &[u32], out: &mut Vec<u8>) {
    if index == [0] {
        return out.push(0);
    }
    put_varint(index.len() as u64 * 2, out);
    for number in index {
        put_varint(u64::from(*number) * 2, out);
    }
}

fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7F).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or_default());
}

fn take_index(bytes: &mut &[u8]) -> Result<Vec<u32>, CodecError> {
    let refuse =
        || CodecError::new("the place of the message in its file is missing: was it written as Protobuf?");
    let count = take_number(bytes).ok_or_else(refuse)?;
    if count == 0 {
        return Ok(vec![0]);
    }
    if count as usize > MOST_LEVELS {
        return Err(refuse());
    }
    (0..count).map(|_| take_number(bytes).ok_or_else(refuse)).collect()
}

/// A number that is not negative, zigzag.
fn take_number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0_u64;
    for shift in 0..5 {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7F) << (7 * shift);
        if first & 0x80 == 0 {
            return number.is_multiple_of(2).then(|| u32::try_from(number / 2).ok()).flatten();
        }
    }
    None
}

#[cfg(test)]
#[expect(clippy::ref_option, reason = "so a field of a message is handed to what encodes it")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use prost::DecodeError;
    use prost::bytes::{Buf, BufMut};
    use prost::encoding::{self, DecodeContext, WireType};

    /// What the derive of `prost` makes, by hand: it would bring what RocksDB is built with other features of.
    macro_rules! message {
        ($(#[$doc:meta])* $name:ident { $($tag:literal $encode:path, $merge:path, $len:path => $field:ident: $type:ty;)* }) => {
            $(#[$doc])*
            #[derive(Debug, Clone, Default, PartialEq)]
            struct $name { $($field: $type,)* }

            impl Message for $name {
                fn encode_raw(&self, buf: &mut impl BufMut) {
                    $(if self.$field != <$type>::default() { $encode($tag, &self.$field, buf); })*
                }

                fn merge_field(
                    &mut self,
                    tag: u32,
                    wire_type: WireType,
                    buf: &mut impl Buf,
                    context: DecodeContext,
                ) -> Result<(), DecodeError> {
                    match tag {
                        $($tag => $merge(wire_type, &mut self.$field, buf, context),)*
                        _ => encoding::skip_field(wire_type, tag, buf, context),
                    }
                }

                fn encoded_len(&self) -> usize {
                    0 $(+ if self.$field == <$type>::default() { 0 } else { $len($tag, &self.$field) })*
                }

                fn clear(&mut self) {
                    *self = Self::default();
                }
            }
        };
    }

    fn put_some<M: Message>(tag: u32, message: &Option<M>, buf: &mut impl BufMut) {
        if let Some(message) = message {
            encoding::message::encode(tag, message, buf);
        }
    }

    fn merge_some<M: Message + Default>(
        wire_type: WireType,
        message: &mut Option<M>,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        encoding::message::merge(wire_type, message.get_or_insert_default(), buf, context)
    }

    fn some_len<M: Message>(tag: u32, message: &Option<M>) -> usize {
        message.as_ref().map_or(0, |message| encoding::message::encoded_len(tag, message))
    }

    message!(Address {
        1 encoding::string::encode, encoding::string::merge, encoding::string::encoded_len => city: String;
    });

    message!(Person {
        1 encoding::string::encode, encoding::string::merge, encoding::string::encoded_len => name: String;
        2 encoding::sint32::encode, encoding::sint32::merge, encoding::sint32::encoded_len => floor: i32;
        3 put_some, merge_some, some_len => address: Option<Address>;
        4 encoding::double::encode_packed, encoding::double::merge_repeated, encoding::double::encoded_len_packed
            => weights: Vec<f64>;
        5 encoding::bytes::encode, encoding::bytes::merge, encoding::bytes::encoded_len => photo: Vec<u8>;
    });

    message!(
        /// `Person` before it had a photo and weights, and with something that it has no more.
        Older {
            1 encoding::string::encode, encoding::string::merge, encoding::string::encoded_len => name: String;
            9 encoding::uint64::encode, encoding::uint64::merge, encoding::uint64::encoded_len => shoes: u64;
        }
    );

    message!(Nested {
        1 put_boxed, merge_boxed, boxed_len => inner: Option<Box<Nested>>;
    });

    fn put_boxed(tag: u32, message: &Option<Box<Nested>>, buf: &mut impl BufMut) {
        if let Some(message) = message {
            encoding::message::encode(tag, &**message, buf);
        }
    }

    fn merge_boxed(
        wire_type: WireType,
        message: &mut Option<Box<Nested>>,
        buf: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        encoding::message::merge(wire_type, &mut **message.get_or_insert_default(), buf, context)
    }

    fn boxed_len(tag: u32, message: &Option<Box<Nested>>) -> usize {
        message.as_ref().map_or(0, |message| encoding::message::encoded_len(tag, &**message))
    }

    fn framed(id: u32, index: &[u32]) -> Protobuf<Person> {
        let framing = Some(Framing { id: Some(id), index: Some(index.to_vec()) });
        Protobuf { framing, ..Protobuf::named("acme.Person") }
    }

    proptest! {
        #[test]
        fn messages_round_trip(
            name in ".*", floor in any::<i32>(), city in proptest::option::of(".*"),
            weights in proptest::collection::vec(-1e9..1e9_f64, 0..5), photo in any::<Vec<u8>>(),
            index in proptest::collection::vec(0..300_u32, 1..4), id in any::<u32>(),
        ) {
            let address = city.map(|city| Address { city });
            let person = Person { name, floor, address, weights, photo };
            for codec in [Protobuf::named("acme.Person"), framed(id, &index), framed(id, &[0])] {
                let mut bytes = vec![7];
                codec.encode(&person, &mut bytes).unwrap();
                prop_assert_eq!(codec.decode(&bytes[1..]).unwrap(), person.clone());
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in any::<Vec<u8>>()) {
            _ = Protobuf::<Person>::named("acme.Person").decode(&bytes);
            _ = framed(1, &[0]).decode(&bytes);
            let framed_bytes = [&[0, 0, 0, 0, 1], &bytes[..]].concat();
            _ = framed(1, &[0]).decode(&framed_bytes);
        }
    }

    #[test]
    fn the_framing_is_golden() {
        let person = Person { name: "ada".into(), ..Person::default() };
        let mut bytes = Vec::new();
        framed(258, &[0]).encode(&person, &mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\x01\x02\0\x0a\x03ada");
        bytes.clear();
        framed(258, &[2, 130]).encode(&person, &mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\x01\x02\x04\x04\x84\x02\x0a\x03ada");
    }

    #[test]
    fn another_type_of_the_file_is_refused() {
        let mut bytes = Vec::new();
        framed(1, &[1]).encode(&Person::default(), &mut bytes).unwrap();
        let error = framed(1, &[0]).decode(&bytes).unwrap_err().to_string();
        assert!(error.contains("the type at [1]"), "{error}");
        assert!(Protobuf::<Person>::named("acme.Person").reading_any().decode(&bytes).is_ok());
        let reading = Protobuf::<Person>::named("acme.Person").reading(&[1]);
        assert!(reading.decode(&bytes).is_ok());
        assert!(
            reading.encode(&Person::default(), &mut bytes).unwrap_err().to_string().contains("for reading")
        );
    }

    #[test]
    fn fields_come_and_go() {
        let mut bytes = Vec::new();
        let older = Older { name: "ada".into(), shoes: 2 };
        Protobuf::named("acme.Person").encode(&older, &mut bytes).unwrap();
        let person = Protobuf::<Person>::named("acme.Person").decode(&bytes).unwrap();
        assert_eq!(person, Person { name: "ada".into(), ..Person::default() });
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let mut bytes = Vec::new();
        for _ in 0..10_000 {
            let mut outer = vec![0x0A];
            put_varint(bytes.len() as u64, &mut outer);
            outer.extend(&bytes);
            bytes = outer;
        }
        assert!(Protobuf::<Nested>::named("acme.Nested").decode(&bytes).is_err());
    }
}
