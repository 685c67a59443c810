//! Shapes: what a type looks like in a codec, independent of its name and of the compiler.
//!
//! A table and a topic remember the shape of what they hold, so that another type is refused instead of misread. The
//! shape of a type that serde can read is traced: a reader that has no bytes is asked for a value, notes what it is
//! asked for, and answers with samples ([`trace`]). Names of fields and variants belong to a shape, names of types do
//! not, and a newtype is what it wraps.
//!
//! What cannot be traced (a type that looks at its data before it knows what it is, or that accepts none of the
//! samples) is unknown from there on, and agrees with anything; the name of the whole type, without the paths of its
//! modules, then stands beside the shape.

mod difference;
mod grow;
mod node;
mod trace;

#[cfg(test)]
mod tests;

pub(crate) use grow::Growth;
pub(crate) use node::ShapeNode;
pub(super) use trace::{Samples, trace};

use serde::de::DeserializeOwned;
use std::fmt;

/// What a type looks like in a codec: its fingerprint in tables and topics.
///
/// # Examples
/// ```
/// use millpond::codec::{Bincode, Shape, ValueCodec};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Account {
///     paid: u64,
///     owed: Option<u64>,
/// }
///
/// let shape: Shape = ValueCodec::<Account>::shape(&Bincode)?;
/// assert_eq!(shape.to_string(), "{paid: u64, owed: option<u64>}");
/// assert_ne!(shape, ValueCodec::<(u64, Option<u64>)>::shape(&Bincode)?);
/// # Ok::<(), millpond::codec::CodecError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Shape {
    node: ShapeNode,
    growth: Growth,
    trust: Trust,
    unordered: bool,
    refuses: bool,
}

/// How far a codec can be relied on to read back what it writes of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// All samples came back as they were, and no code but that of the standard library or our own decides which do: none is
    /// looked at again.
    Proven,
    /// All samples came back as they were, but code of the user may decide otherwise by the value: every value is read back.
    Likely,
    /// The type decides by the value, or could not be looked at: every value is read back before it is stored.
    Doubtful,
    /// Nothing is known of the codec: every value must decode.
    Unknown,
}

impl Shape {
    /// A shape that is known by a name only, for instance that of a schema kept elsewhere. It agrees with itself.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::of(ShapeNode::named(name, ShapeNode::unknown()), Trust::Unknown)
    }

    /// The shape of the type `V` by its name, without the paths of its modules.
    pub(crate) fn of_name<V>() -> Self {
        Self::named(&short_name::<V>())
    }

    /// The shape of `V` as serde tells it to a format that is or is not
    /// [human readable](serde::Deserializer::is_human_readable): for codecs that stand on serde.
    #[must_use]
    pub fn traced<V: DeserializeOwned>(human_readable: bool) -> Self {
        let samples: Samples<'_, V> = &mut |_| Ok(());
        Self { trust: Trust::Unknown, ..trace(human_readable, samples).shape }
    }

    /// Bytes as they are, whatever they mean.
    pub(super) fn of_any_bytes() -> Self {
        Self::of(ShapeNode::leaf(node::RAW), Trust::Proven)
    }

    /// Text.
    pub(super) fn of_text() -> Self {
        Self::of(ShapeNode::leaf("string"), Trust::Proven)
    }

    /// A layout that has no parts, such as `u64`.
    pub(super) fn of_layout(layout: &str, trust: Trust) -> Self {
        Self::of(ShapeNode::leaf(layout), trust)
    }

    fn of(node: ShapeNode, trust: Trust) -> Self {
        Self { node, growth: Growth::None, trust, unordered: false, refuses: false }
    }

    pub(super) fn growing(self, growth: Growth) -> Self {
        Self { growth, ..self }
    }

    pub(crate) fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether every value is read back as what it was.
    pub(crate) fn is_proven(&self) -> bool {
        self.trust == Trust::Proven
    }

    /// Says that the codec refuses single values of the type.
    pub(super) fn refusing(self, refuses: bool) -> Self {
        Self { refuses, ..self }
    }

    /// Whether there may be values which the codec cannot write although it takes the type.
    pub(crate) fn may_refuse(&self) -> bool {
        self.refuses || matches!(self.trust, Trust::Doubtful | Trust::Unknown)
    }

    /// Whether one value may be written in several ways, because some part of it is hashed.
    pub(crate) fn is_unordered(&self) -> bool {
        self.unordered
    }

    /// The shape of a [group's row](super::Grouped) whose value has this one.
    pub(super) fn in_group(self) -> Self {
        Self { node: self.node.in_group(), ..self }
    }

    pub(crate) fn growth(&self) -> Growth {
        self.growth
    }

    pub(crate) fn node(&self) -> &ShapeNode {
        &self.node
    }

    /// The stored form.
    pub(crate) fn to_text(&self) -> String {
        self.node.to_text()
    }

    /// What differs between the shape whose stored form is `stored` and this one; `None` if they agree.
    pub(crate) fn difference_from(&self, stored: &str) -> Option<String> {
        difference::difference(&ShapeNode::from_text(stored), &self.node)
    }
}

impl PartialEq for Shape {
    /// Whether the shapes agree as far as they are known.
    fn eq(&self, other: &Self) -> bool {
        difference::difference(&self.node, &other.node).is_none()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

/// The name of a type without the paths of its modules, so that moving it does not change what it is called.
pub(crate) fn short_name<V>() -> String {
    shortened(std::any::type_name::<V>())
}

fn shortened(full: &str) -> String {
    let mut short = String::with_capacity(full.len());
    let mut segment = String::new();
    for c in full.chars() {
        if c.is_alphanumeric() || c == '_' {
            segment.push(c);
        } else if c == ':' {
            segment.clear();
        } else {
            short.push_str(&segment);
            segment.clear();
            if c != ' ' {
                short.push(c);
            }
        }
    }
    short.push_str(&segment);
    short
}

/// Whether the type with this full name is made of the standard library's types, of which any value that encodes decodes,
/// and our own accumulators.
pub(super) fn is_ours_or_of_std(full: &str) -> bool {
    const OURS: &str = "millpond_operators::aggregate::";
    let paths = full.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let mut paths = paths.filter(|path| !path.is_empty() && !path.bytes().all(|byte| byte.is_ascii_digit()));
    paths.all(|path| {
        let of_std =
            ["alloc::", "core::", "std::"].iter().any(|root| path.starts_with(root)) || !path.contains("::");
        path.starts_with(OURS) || (of_std && is_told_by_its_name(path.rsplit("::").next().unwrap_or(path)))
    })
}

/// Whether a type is one of the standard library's alone, whose name says all of its shape.
pub(crate) fn is_told_by_its_name(name: &str) -> bool {
    const KNOWN: [&str; 29] = [
        "bool",
        "char",
        "u8",
        "u16",
        "u32",
        "u64",
        "u128",
        "i8",
        "i16",
        "i32",
        "i64",
        "i128",
        "f32",
        "f64",
        "usize",
        "isize",
        "str",
        "String",
        "Option",
        "Vec",
        "VecDeque",
        "Box",
        "Arc",
        "BTreeMap",
        "BTreeSet",
        "HashMap",
        "HashSet",
        "RandomState",
        "Global",
    ];
    let words = name.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    words.into_iter().all(|word| KNOWN.contains(&word) || word.bytes().all(|byte| byte.is_ascii_digit()))
}
