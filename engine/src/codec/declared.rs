//! `key_codec!`: key codecs for the types of users.
//!
//! A macro by example, for types of other crates and for layouts that are to stand apart from the type: the order of the
//! fields and the tags of the variants, which are the stored layout, are written out. `derive(Key)` takes them from the
//! declaration, and writes the same bytes.

/// Fails to compile when called in a constant with tags that do not ascend.
#[doc(hidden)]
pub const fn assert_tags_ascend(tags: &[u8]) {
    let mut rest = tags;
    while let [first, tail @ ..] = rest {
        if let [second, ..] = tail {
            assert!(*first < *second, "the tags of a key must ascend, as the variants do in `Ord`");
        }
        rest = tail;
    }
}

/// Implements [`KeyCodec`](crate::codec::KeyCodec) for a struct or an enum of your own.
///
/// The type is declared as usual, with derives of your choice; the macro repeats its shape, and that shape is
/// the stored layout:
/// - A struct is its fields in the order given to the macro. A struct with a single field is stored as
///   that field alone.
/// - An enum variant is its tag, one byte, followed by its fields. A tag is stable: it must keep its meaning
///   for as long as there is stored data.
///
/// A field or a variant that is left out does not compile. The first fields of a struct, up to six of them as
/// a tuple, are [prefixes](crate::codec::KeyPrefix) of it.
///
/// # The order
/// Tables are kept in the order of the bytes, which must agree with `Ord`. A derived `Ord` compares fields,
/// and variants, in the order of the *declaration*: give them to the macro in the same order, and number the
/// variants upwards (tags that do not ascend do not compile). An `Ord` written by hand must compare the same
/// way. The macro cannot check this; a property test that compares the order of keys with the order of their
/// encodings does.
///
/// # Limits
/// No type parameters, no variants with named fields, tags 0 to 255.
///
/// # Examples
/// ```
/// use millpond::codec::{CodecError, KeyCodec, KeyPrefix};
/// use millpond::key_codec;
///
/// #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// struct Route {
///     origin: String,
///     dest: String,
/// }
/// key_codec!(struct Route { origin: String, dest: String });
///
/// #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// struct Tail(String);
/// key_codec!(struct Tail(String));
///
/// #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// enum Shape {
///     Dot,
///     Circle(u32),
///     Rectangle(u32, u32),
/// }
/// key_codec!(enum Shape { 0 => Dot, 1 => Circle(u32), 4 => Rectangle(u32, u32) });
///
/// let route = Route { origin: "LHR".into(), dest: "SIN".into() };
/// let mut bytes = Vec::new();
/// route.encode_key(&mut bytes);
/// assert_eq!(bytes, b"LHR\0\0SIN\0\0");
/// assert_eq!(Route::decode_whole_key(&bytes)?, route);
///
/// let mut prefix = Vec::new();
/// KeyPrefix::<Route>::encode_prefix(&("LHR",), &mut prefix);
/// assert_eq!(prefix, b"LHR\0\0");
///
/// let mut bytes = Vec::new();
/// Shape::Circle(7).encode_key(&mut bytes);
/// assert_eq!(bytes, [1, 0, 0, 0, 7]);
/// assert!(Shape::decode_whole_key(&[2]).is_err());
///
/// assert_eq!(Route::key_schema(), "(string,string)");
/// assert_eq!(Route::key_shape(), "(origin:string,dest:string)");
/// assert_eq!(Tail::key_schema(), "string");
/// assert_eq!(Shape::key_schema(), "enum{0,1:u32,4:(u32,u32)}");
/// assert_eq!(Shape::key_shape(), "enum{0=Dot,1=Circle:u32,4=Rectangle:(u32,u32)}");
/// # Ok::<(), CodecError>(())
/// ```
///
/// Tags that do not ascend are refused by the compiler:
/// ```compile_fail
/// # use millpond::key_codec;
/// enum Side { Left, Right }
/// key_codec!(enum Side { 1 => Left, 0 => Right });
/// ```
/// So is a field that is left out:
/// ```compile_fail
/// # use millpond::key_codec;
/// struct Route { origin: String, dest: String }
/// key_codec!(struct Route { origin: String });
/// ```
#[macro_export]
macro_rules! key_codec {
    // Variants are collected one at a time, because a macro cannot expand to an arm of a match. Each field
    // gets a binding named `field`; they differ because each comes from an expansion of its own.
    (@variants $name:ident [$($done:tt)*] $tag:literal => $variant:ident $(, $($rest:tt)*)?) => {
        $crate::key_codec! { @variants $name [$($done)* { $tag $variant }] $($($rest)*)? }
    };
    (
        @variants $name:ident $done:tt
        $tag:literal => $variant:ident ($($type:ty),+ $(,)?) $(, $($rest:tt)*)?
    ) => {
        $crate::key_codec! { @bind variant [$name $done $tag $variant [$($($rest)*)?]] [] [$($type,)+] }
    };
    (@variants $name:ident [$({ $tag:literal $variant:ident $(($($field:ident $type:ty,)+))? })+]) => {
        const _: () = $crate::codec::assert_tags_ascend(&[$($tag),+]);

        impl $crate::codec::KeyCodec for $name {
            #[inline]
            fn encode_key(&self, out: &mut ::std::vec::Vec<u8>) {
                match self {$(
                    Self::$variant $(($($field),+))? => {
                        out.push($tag);
                        $($(<$type as $crate::codec::KeyCodec>::encode_key($field, out);)+)?
                    }
                )+}
            }

            #[inline]
            fn decode_key(input: &mut &[u8]) -> ::std::result::Result<Self, $crate::codec::CodecError> {
                match <u8 as $crate::codec::KeyCodec>::decode_key(input)? {
                    $($tag => ::std::result::Result::Ok(
                        Self::$variant $(($(<$type as $crate::codec::KeyCodec>::decode_key(input)?),+))?
                    ),)+
                    #[allow(unreachable_patterns, reason = "an enum may use all 256 tags")]
                    other => ::std::result::Result::Err($crate::codec::CodecError::new(::std::format!(
                        "{other} is not the tag of a {}", ::std::stringify!($name),
                    ))),
                }
            }

            fn key_schema() -> ::std::string::String {
                let variants: &[::std::string::String] = &[$(
                    [
                        ::std::stringify!($tag).to_owned(),
                        $($crate::codec::fields_schema(&[
                            $(<$type as $crate::codec::KeyCodec>::key_schema()),+
                        ]),)?
                    ].join(":")
                ),+];
                ::std::format!("enum{{{}}}", variants.join(","))
            }

            fn key_shape() -> ::std::string::String {
                let variants: &[::std::string::String] = &[$(
                    [
                        ::std::concat!(::std::stringify!($tag), "=", ::std::stringify!($variant)).to_owned(),
                        $($crate::codec::fields_schema(&[
                            $(<$type as $crate::codec::KeyCodec>::key_shape()),+
                        ]),)?
                    ].join(":")
                ),+];
                ::std::format!("enum{{{}}}", variants.join(","))
            }
        }
    };

    // Gives each field of a tuple struct or variant a binding.
    (@bind $kind:ident $context:tt [$($bound:tt)*] [$type:ty, $($types:ty,)*]) => {
        $crate::key_codec! { @bind $kind $context [$($bound)* field $type,] [$($types,)*] }
    };
    (@bind variant [$name:ident [$($done:tt)*] $tag:tt $variant:ident [$($rest:tt)*]] [$($bound:tt)+] []) => {
        $crate::key_codec! { @variants $name [$($done)* { $tag $variant ($($bound)+) }] $($rest)* }
    };
    (@bind structure [$name:ident] [$($field:ident $type:ty,)+] []) => {
        $crate::key_codec! { @structure unnamed $name ($name($($field),+)) [$($field $type,)+]
            |input| { $name($(<$type as $crate::codec::KeyCodec>::decode_key(input)?),+) } }
    };

    (@shape named [$($field:ident $type:ty,)+]) => {
        $crate::codec::fields_shape(&[
            $((::std::stringify!($field), <$type as $crate::codec::KeyCodec>::key_shape())),+
        ])
    };
    (@shape unnamed [$($field:ident $type:ty,)+]) => {
        $crate::codec::fields_schema(&[$(<$type as $crate::codec::KeyCodec>::key_shape()),+])
    };

    (@structure $names:ident $name:ident ($pattern:pat) [$($field:ident $type:ty,)+] |$input:ident| $decoded:block) => {
        impl $crate::codec::KeyCodec for $name {
            #[inline]
            fn encode_key(&self, out: &mut ::std::vec::Vec<u8>) {
                let $pattern = self;
                $(<$type as $crate::codec::KeyCodec>::encode_key($field, out);)+
            }

            #[inline]
            fn decode_key($input: &mut &[u8]) -> ::std::result::Result<Self, $crate::codec::CodecError> {
                ::std::result::Result::Ok($decoded)
            }

            fn key_schema() -> ::std::string::String {
                $crate::codec::fields_schema(&[$(<$type as $crate::codec::KeyCodec>::key_schema()),+])
            }

            fn key_shape() -> ::std::string::String {
                $crate::key_codec! { @shape $names [$($field $type,)+] }
            }
        }

        $crate::key_codec! { @prefixes $name [] [$($type,)+] [A a B b C c D d E e F f] }
    };

    // One prefix for each number of leading fields.
    (
        @prefixes $name:ident
        [$($done:tt)*] [$type:ty, $($types:ty,)*] [$part:ident $bound:ident $($parts:tt)*]
    ) => {
        $crate::key_codec! { @prefix $name [$($done)* $part $bound $type,] }
        $crate::key_codec! { @prefixes $name [$($done)* $part $bound $type,] [$($types,)*] [$($parts)*] }
    };
    (@prefixes $name:ident $done:tt $types:tt $parts:tt) => {};
    (@prefix $name:ident [$($part:ident $bound:ident $type:ty,)+]) => {
        impl<$($part: $crate::codec::AsKey<$type>),+> $crate::codec::KeyPrefix<$name> for ($($part,)+) {
            #[inline]
            fn encode_prefix(&self, out: &mut ::std::vec::Vec<u8>) {
                let ($($bound,)+) = self;
                $(<$part as $crate::codec::AsKey<$type>>::encode_as_key($bound, out);)+
            }
        }
    };

    (struct $name:ident { $($field:ident : $type:ty),+ $(,)? } $(;)?) => {
        $crate::key_codec! { @structure named $name ($name { $($field),+ }) [$($field $type,)+]
            |input| { $name { $($field: <$type as $crate::codec::KeyCodec>::decode_key(input)?),+ } } }
    };
    (struct $name:ident ( $($type:ty),+ $(,)? ) $(;)?) => {
        $crate::key_codec! { @bind structure [$name] [] [$($type,)+] }
    };
    (enum $name:ident { $($variants:tt)+ } $(;)?) => {
        $crate::key_codec! { @variants $name [] $($variants)+ }
    };
}
