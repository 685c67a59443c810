//! How keys and values become bytes.
//!
//! Keys are encoded so that the order of the bytes is the order of the values ([`KeyCodec`]); values by a
//! codec chosen per topic and per table ([`ValueCodec`]), and so are the keys of a topic that others write or read. Compression, checksums and format versions belong
//! to the frames around them (`changelog::frame`, `store::layout`), never to a codec.

mod alarmed;
mod as_key;
mod awaited;
mod bincode;
mod checked;
mod compound;
mod declared;
mod examine;
mod footprint;
mod grouped;
mod integers;
mod json;
mod prefix;
mod range;
mod raw;
mod shape;
mod spans;
#[cfg(any(feature = "chrono", feature = "time"))]
mod temporal;
mod text;
#[cfg(feature = "uuid")]
mod unique;
mod wire;

#[cfg(test)]
mod tests_keys;

pub use self::bincode::Bincode;
pub use alarmed::Alarmed;
pub(crate) use alarmed::AlarmedCodec;
pub use as_key::AsKey;
pub use awaited::Awaited;
pub(crate) use checked::CheckedCodec;
#[doc(hidden)]
pub use compound::{fields_schema, fields_shape};
#[doc(hidden)]
pub use declared::assert_tags_ascend;
pub use grouped::Grouped;
pub(crate) use grouped::{GroupedCodec, RowCodec};
pub use json::Json;
pub use millpond_derive::Key;
pub use prefix::{KeyPrefix, prefix_end};
pub use range::KeyRange;
pub use raw::Raw;
pub use shape::Shape;
pub(crate) use shape::{Growth, ShapeNode, is_told_by_its_name, short_name};
pub use spans::Span;
pub(crate) use spans::SpansCodec;
#[cfg(feature = "uuid")]
pub use wire::UuidText;
pub use wire::{BigEndian, Ordered, Utf8};

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Why bytes did not decode, or a value did not encode.
#[derive(Debug, Clone)]
pub struct CodecError(Box<Told>);

#[derive(Debug, Clone)]
struct Told {
    message: String,
    awaited: Option<Arc<dyn Awaited>>,
}

impl CodecError {
    /// An error that says `message`.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Told { message: message.into(), awaited: None }))
    }

    /// That bytes cannot be decoded yet, for want of `awaited`; see [`Awaited`].
    #[must_use]
    pub fn awaits(awaited: Arc<dyn Awaited>) -> Self {
        Self(Box::new(Told { message: format!("{awaited} is not there yet"), awaited: Some(awaited) }))
    }

    /// What has to be fetched before the same bytes can be decoded; `None` if nothing would help.
    #[must_use]
    pub fn awaited(&self) -> Option<&Arc<dyn Awaited>> {
        self.0.awaited.as_ref()
    }
}

impl PartialEq for CodecError {
    /// Whether they say the same.
    fn eq(&self, other: &Self) -> bool {
        self.0.message == other.0.message && self.0.awaited.is_some() == other.0.awaited.is_some()
    }
}

impl Eq for CodecError {}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for CodecError {}

/// A key encoding that preserves order and can be scanned by prefix.
///
/// # Contract
/// 1. `a < b` exactly when the encoding of `a` is less than the encoding of `b`, as bytes: a table is kept in
///    byte order and range reads rely on it.
/// 2. No encoding is a proper prefix of another: tuples are concatenations, and a prefix scan over the first
///    fields must not meet a longer neighbour.
/// 3. `decode_key` accepts exactly what `encode_key` wrote, advances `input` past it, and returns an error on
///    anything else; it never panics and never allocates more than the input is long.
///
/// Implemented for integers of fixed size, `bool`, `char`, strings and byte strings, `()`, options, arrays
/// and tuples of keys, and with the features of the same names for the types of `uuid`, `chrono` and `time`.
/// For types of your own there is `#[derive(Key)]`, and [`key_codec!`](crate::key_codec), which spells the layout out.
///
/// There is none for `f32` and `f64`, which have no order (`NaN`), and none for `usize`, whose size depends on the machine.
/// Keep a key that is a measure as an integer of a fixed unit: cents, milliseconds.
///
/// # Examples
/// ```
/// use millpond::codec::KeyCodec;
///
/// let mut keys = [("LHR".to_owned(), -1_i16), ("LHR".to_owned(), 1), ("LH".to_owned(), 7)].map(|key| {
///     let mut bytes = Vec::new();
///     key.encode_key(&mut bytes);
///     bytes
/// });
/// keys.sort();
/// let first = <(String, i16)>::decode_whole_key(&keys[0])?;
/// assert_eq!(first, ("LH".to_owned(), 7));
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key: it has no key codec",
    label = "no key codec",
    note = "a type of your own derives `Clone, PartialEq, Eq, PartialOrd, Ord, Hash` and `Key`, which makes its key codec, as \
            `key_codec!` does",
    note = "for `Uuid`, and for the times of `chrono` and `time`, there are the features `uuid`, `chrono` and `time` of millpond",
    note = "not `f32` and `f64`, as keys have an order and `NaN` has none: count in units of a fixed size, such as cents; \
            and not `usize` and `isize`, whose size depends on the machine",
    note = "not references: a key is kept, so it owns what it is made of, such as `String`; `get` and `append` take a `&str`"
)]
pub trait KeyCodec: Sized {
    /// Appends the encoding of `self` to `out`.
    fn encode_key(&self, out: &mut Vec<u8>);

    /// Decodes one key from the front of `input` and advances `input` past it.
    ///
    /// # Errors
    /// If the bytes are not an encoding of this type.
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError>;

    /// The name of the layout, such as `u64` or `(string,u32)`; part of a table's fingerprint.
    fn key_schema() -> String;

    /// What a key looks like: its layout with the names of fields and variants, so that two that are exchanged are
    /// noticed. A table and a topic remember it. By default it is [`key_schema`](Self::key_schema).
    #[must_use]
    fn key_shape() -> String {
        Self::key_schema()
    }

    /// Feeds `state` with what decides on which shard the key is: by default all of it. A key that is made of another one and of
    /// a time, say, may leave that to the other one, so that what is folded by either stays where it is. It is no part of anything
    /// stored.
    fn hash_route<H: Hasher>(&self, state: &mut H)
    where
        Self: Hash,
    {
        self.hash(state);
    }

    /// Decodes a key that is the whole of `bytes`.
    ///
    /// # Errors
    /// If the bytes are not an encoding of this type, or bytes are left over.
    fn decode_whole_key(mut bytes: &[u8]) -> Result<Self, CodecError> {
        let key = Self::decode_key(&mut bytes)?;
        if bytes.is_empty() {
            Ok(key)
        } else {
            Err(CodecError::new(format!("{} bytes left over after the key", bytes.len())))
        }
    }
}

/// Everything a key of a stream or table must be able to do. Implemented for every type that can.
///
/// `#[derive(Key)]`, the [macro](derive@Key) of the same name, makes the [`KeyCodec`] of a type of your own; the rest is
/// derived beside it.
///
/// # Examples
/// ```
/// use millpond::{Key, Topic};
///
/// #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// struct Route {
///     origin: String,
///     dest: String,
/// }
///
/// let delays = Topic::<Route, i32>::new("delays");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    label = "no key",
    note = "a type of your own derives `Clone, PartialEq, Eq, PartialOrd, Ord, Hash` and `Key`, which makes its key codec, as \
            `key_codec!` does",
    note = "for `Uuid`, and for the times of `chrono` and `time`, there are the features `uuid`, `chrono` and `time` of millpond",
    note = "not `f32` and `f64`, as keys have an order and `NaN` has none: count in units of a fixed size, such as cents; \
            and not `usize` and `isize`, whose size depends on the machine",
    note = "not references: a key is kept, so it owns what it is made of, such as `String`; `get` and `append` take a `&str`"
)]
pub trait Key: KeyCodec + Clone + Eq + Ord + Hash + Send + Sync + 'static {}

impl<T: KeyCodec + Clone + Eq + Ord + Hash + Send + Sync + 'static> Key for T {}

/// Everything a value of a stream or table must be able to do. Implemented for every type that can.
pub trait Value: Clone + Send + Sync + 'static {}

impl<T: Clone + Send + Sync + 'static> Value for T {}

/// A way to write values of type `V`, chosen per topic and per table; and [keys](crate::Topic::keys) of a topic, where they are
/// those of another system.
///
/// # Contract
/// 1. `decode(encode(v)) == v`. What is not written is lost: a field with `#[serde(skip)]` has its value while the row is in
///    memory, and its default once the row was fetched from the state, so such fields must not matter to anybody.
/// 2. `decode` never panics, never aborts (a hostile length is refused before it is allocated) and refuses
///    trailing bytes.
/// 3. `id` names the layout for ever: a table remembers it, and opening it under another id is an error.
///
/// [`Bincode`] is the default of values, [`Ordered`] of keys; there are [`Json`] and [`Raw`], and for what the serializers of
/// Java write [`Utf8`], [`BigEndian`] and `UuidText` (with the feature `uuid`). A codec of your own, for instance for
/// values that another system defines, is an implementation of this trait.
///
/// # Examples
/// Times of day as another system writes them, `hh:mm`:
/// ```
/// use millpond::codec::{CodecError, Shape, ValueCodec};
/// use millpond::testing::Driver;
/// use millpond::{GraphBuilder, TableOptions, Topic};
///
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// struct TimeOfDay {
///     minutes: u16,
/// }
///
/// #[derive(Debug, Clone, Copy)]
/// struct HoursAndMinutes;
///
/// impl ValueCodec<TimeOfDay> for HoursAndMinutes {
///     fn id(&self) -> &'static str {
///         "hh:mm"
///     }
///
///     fn encode(&self, value: &TimeOfDay, out: &mut Vec<u8>) -> Result<(), CodecError> {
///         if value.minutes >= 24 * 60 {
///             return Err(CodecError::new(format!("{} minutes are more than a day", value.minutes)));
///         }
///         out.extend(format!("{:02}:{:02}", value.minutes / 60, value.minutes % 60).bytes());
///         Ok(())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<TimeOfDay, CodecError> {
///         let refuse = || CodecError::new(format!("{bytes:?} is no time of the form hh:mm"));
///         let number = |part: &str, below: u16| {
///             part.parse::<u16>().ok().filter(|number| part.len() == 2 && *number < below)
///         };
///         let text = std::str::from_utf8(bytes).map_err(|_| refuse())?;
///         let (hours, minutes) = text.split_once(':').ok_or_else(refuse)?;
///         let (hours, minutes) = number(hours, 24).zip(number(minutes, 60)).ok_or_else(refuse)?;
///         Ok(TimeOfDay { minutes: hours * 60 + minutes })
///     }
///
///     // Another definition of the layout would be another name, and topics and tables would be refused to it.
///     fn shape(&self) -> Result<Shape, CodecError> {
///         Ok(Shape::named("time of day, hh:mm"))
///     }
/// }
///
/// let opening = Topic::<String, TimeOfDay>::with_codec("opening", HoursAndMinutes);
/// let graph = GraphBuilder::new();
/// let latest = graph.table(&opening, TableOptions::with_codec("latest", HoursAndMinutes));
/// let mut driver = Driver::new(&graph.build()?)?;
/// driver.put(&opening, "museum".to_owned(), TimeOfDay { minutes: 9 * 60 + 30 }, 0)?;
/// driver.run()?;
/// assert_eq!(driver.table(&latest)?["museum"], TimeOfDay { minutes: 570 });
/// # Ok::<(), millpond::Error>(())
/// ```
/// The laws that it has to obey are property tests of the kit for tests, `testing::laws::value_codec`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no codec of `{V}`",
    label = "no codec of this type",
    note = "`Utf8` is one of text, `BigEndian` of numbers of fixed size, `UuidText` of a `Uuid`, `Raw` of bytes, `Ordered` of keys, \
            `Bincode` and `Json` of what has serde; for anything else implement `ValueCodec`"
)]
#[doc(alias = "Serde")]
#[doc(alias = "Serializer")]
#[doc(alias = "Deserializer")]
pub trait ValueCodec<V>: Send + Sync + 'static {
    /// The stable name of the layout, such as `bincode-2` or `json`.
    fn id(&self) -> &'static str;

    /// Appends the encoding of `value` to `out`.
    ///
    /// # Errors
    /// If the value cannot be represented.
    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Decodes a value that is the whole of `bytes`.
    ///
    /// # Errors
    /// If the bytes are not an encoding of a `V`, or something [has to be fetched](Awaited) first.
    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError>;

    /// Whether `decode` may answer that something [has to be fetched](Awaited) first; it does not unless this says so. Such a
    /// codec is one for topics: no table can be kept in it, as queries, which must not wait, read rows.
    fn awaits(&self) -> bool {
        false
    }

    /// About how many bytes `value` owns outside of itself; `None` if the codec cannot tell, and as many as its encoding has
    /// are reckoned with. Tables ask it of some of their rows, to keep within their part of the memory budget.
    fn owned_bytes(&self, value: &V) -> Option<usize> {
        let _ = value;
        None
    }

    /// What a `V` looks like in this layout: a table or topic remembers it, and is refused to another one. By default that
    /// is the name of the type. A codec on top of serde answers with [`Shape::traced`], one whose layout is defined
    /// elsewhere with a [name](Shape::named) of the definition that changes when it does.
    ///
    /// # Errors
    /// If the layout cannot hold the type, whatever the value; the message names a codec that can. A graph or a producer
    /// that declares it is then refused.
    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(Shape::of_name::<V>())
    }
}

/// The examples at the derive macro, as tests. (They cannot run where they stand: its crate is compiled for the host, so that
/// whatever they need, RocksDB among it, would be compiled a second time.)
#[cfg(doctest)]
#[doc = include_str!("../../../derive/src/key.md")]
struct DeriveKey;
