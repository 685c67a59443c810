//! `#[derive(Key)]`: keys of your own, as bytes that keep their order.
//!
//! What is derived is the code that a reader would write against `codec::KeyCodec`; nothing of the layout is decided
//! here but the tags of variants. All errors are found before the compiler sees the code, except a field whose type has
//! no codec: that is a bound of the implementation, written where the field's type stands, so that it is reported there
//! and once.

mod declaration;
mod implementation;
mod options;
mod tags;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

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
#[proc_macro_derive(Key, attributes(key))]
pub fn derive_key(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match declaration::Declaration::new(&input) {
        Ok(declaration) => implementation::implementation(&declaration).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
