//! How keys and values become bytes.
//!
//! Keys are encoded so that the order of the bytes is the order of the values ([`KeyCodec`]); values by a
//! codec chosen per topic and per table ([`ValueCodec`]). Compression, checksums and format versions belong
//! to the frames around them (`changelog::frame`, `store::layout`), never to a codec.

mod as_key;
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
#[cfg(any(feature = "chrono", feature = "time"))]
mod temporal;
mod text;
#[cfg(feature = "uuid")]
mod unique;

#[cfg(test)]
mod tests_keys;

pub use self::bincode::Bincode;
pub use as_key::AsKey;
pub(crate) use checked::Checked;
#[doc(hidden)]
pub use compound::{fields_schema, fields_shape};
#[doc(hidden)]
pub use declared::assert_tags_ascend;
pub use grouped::Grouped;
pub(crate) use grouped::{GroupedCodec, RowCodec};
pub use json::Json;
/// Makes a struct or an enum the key of a table or a topic: implements `codec::KeyCodec` and, for the first fields of a
/// struct, `codec::KeyPrefix`.
///
/// A key is also `Clone`, `Eq`, `Ord` and `Hash`: derive them beside it. The *declaration is the stored layout*, and its
/// order is the order of the rows, as it is the one that `derive(Ord)` compares by:
/// - A struct is its fields, one after the other. A struct with a single field is stored as that field alone.
/// - A variant of an enum is its tag, one byte, followed by its fields. Tags count from 0 in the order of the
///   declaration, so one more at the end leaves those of the others as they are. A variant with a discriminant has
///   that as its tag; `#[key(tag = 3)]` says which it is where one was taken out or its name was.
///
/// Two declarations with the same parts have the same layout: what `key_codec!` was given
/// can be derived instead, and the table goes on. With another layout, be it one more variant, a topic needs a greater
/// revision and a table another version: both know what they hold.
///
/// # Options
/// | on | option | means |
/// |---|---|---|
/// | a variant | `#[key(tag = 3)]` | its first byte, 0 to 255; must ascend as the variants do in `Ord` |
/// | the type | `#[key(crate = path)]` | where millpond is, if it is not `::millpond` |
///
/// # Examples
/// ```
/// use millpond::codec::{KeyCodec, KeyPrefix};
/// use millpond::Key;
///
/// #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// struct Route {
///     origin: String,
///     dest: String,
/// }
///
/// #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// enum Event<T> {
///     Opened,
///     Moved { to: T },
///     #[key(tag = 9)]
///     Paid(u32, T),
/// }
///
/// fn encoded<K: KeyCodec>(key: &K) -> Vec<u8> {
///     let mut bytes = Vec::new();
///     key.encode_key(&mut bytes);
///     bytes
/// }
///
/// let route = Route { origin: "LHR".into(), dest: "SIN".into() };
/// assert_eq!(encoded(&route), b"LHR\0\0SIN\0\0");
/// assert_eq!(Route::decode_whole_key(b"LHR\0\0SIN\0\0")?, route);
///
/// let mut prefix = Vec::new();
/// KeyPrefix::<Route>::encode_prefix(&("LHR",), &mut prefix);
/// assert_eq!(prefix, b"LHR\0\0");
///
/// assert_eq!(encoded(&Event::<u8>::Opened), [0]);
/// assert_eq!(encoded(&Event::Moved { to: 7_u8 }), [1, 7]);
/// assert_eq!(encoded(&Event::Paid(2, 7_u8)), [9, 0, 0, 0, 2, 7]);
/// assert_eq!(Event::<u8>::key_schema(), "enum{0,1:u8,9:(u32,u8)}");
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
/// Discriminants, by which `derive(Ord)` compares, are tags:
/// ```
/// use millpond::Key;
/// use millpond::codec::KeyCodec;
///
/// #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// enum Priority {
///     High = 20,
///     Low = 10,
/// }
///
/// assert!(Priority::Low < Priority::High);
/// assert_eq!(Priority::decode_whole_key(&[10])?, Priority::Low);
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
///
/// # Refused
/// A field whose type is no key; the error points at it:
/// ```compile_fail,E0277
/// # use millpond::Key;
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// struct Reading {
///     station: String,
///     tags: Vec<String>,
/// }
/// ```
/// A type that is no key whatever its fields, because it has no order:
/// ```compile_fail,E0277
/// # use millpond::Key;
/// #[derive(Clone, PartialEq, Eq, Hash, Key)]
/// struct Tail(String);
/// ```
/// Tags that do not ascend as the variants do in `Ord`:
/// ```compile_fail
/// # use millpond::Key;
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// enum Side {
///     #[key(tag = 1)]
///     Left,
///     #[key(tag = 0)]
///     Right,
/// }
/// ```
/// A tag of more than a byte, for which one has to be given:
/// ```compile_fail
/// # use millpond::Key;
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// enum Code {
///     Fine = 200,
///     Missing = 404,
/// }
/// ```
/// References and lifetimes, as a key is kept:
/// ```compile_fail
/// # use millpond::Key;
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// struct Tail<'a>(&'a str);
/// ```
/// An enum without variants, a union, and options that there are not:
/// ```compile_fail
/// # use millpond::Key;
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// enum Never {}
/// ```
/// ```compile_fail
/// # use millpond::Key;
/// #[derive(Clone, Copy, Key)]
/// union Either {
///     a: u32,
///     b: i32,
/// }
/// ```
/// ```compile_fail
/// # use millpond::Key;
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// struct Tail(#[key(skip)] String);
/// ```
/// The name `Self` in a field's type:
/// ```compile_fail
/// # use millpond::Key;
/// # trait Named { type Id; }
/// #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Key)]
/// struct Tail(<Self as Named>::Id);
/// # impl Named for Tail { type Id = u32; }
/// ```
pub use millpond_derive::Key;
pub use prefix::{KeyPrefix, prefix_end};
pub use range::KeyRange;
pub use raw::Raw;
pub use shape::Shape;
pub(crate) use shape::{Growth, Node, is_told_by_its_name, short_name};

use std::fmt;
use std::hash::Hash;

/// Why bytes did not decode, or a value did not encode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError(String);

impl CodecError {
    /// An error that says `message`.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

    /// What a key looks like: its layout with the names of the fields of structs, so that two that are exchanged are
    /// noticed. A table and a topic remember it. By default it is [`key_schema`](Self::key_schema).
    #[must_use]
    fn key_shape() -> String {
        Self::key_schema()
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

/// A way to write values of type `V`, chosen per topic and per table.
///
/// # Contract
/// 1. `decode(encode(v)) == v`. What is not written is lost: a field with `#[serde(skip)]` has its value while the row is in
///    memory, and its default once the row was fetched from the state, so such fields must not matter to anybody.
/// 2. `decode` never panics, never aborts (a hostile length is refused before it is allocated) and refuses
///    trailing bytes.
/// 3. `id` names the layout for ever: a table remembers it, and opening it under another id is an error.
///
/// [`Bincode`] is the default; [`Json`] and [`Raw`] are the others. A codec of your own, for instance for
/// values that another system defines, is an implementation of this trait.
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
    /// If the bytes are not an encoding of a `V`.
    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError>;

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
