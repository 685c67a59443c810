//! What a shape is made of, how it is stored, and how it is told.
//!
//! The stored form is JSON: a text for what has no parts, an object of one member for what has. It is golden.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A shape, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum ShapeNode {
    /// Something without parts, such as `u64`; `?` is unknown, `any` says itself what it is, and `anything`
    /// may be whatever it says.
    Leaf(String),
    Of(Box<ShapeParts>),
}

/// What has parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ShapeParts {
    Option(ShapeNode),
    Seq(ShapeNode),
    Map(ShapeNode, ShapeNode),
    Tuple(Vec<ShapeNode>),
    /// So many of the same.
    Array(ShapeNode, usize),
    Struct(Vec<(String, ShapeNode)>),
    /// A field that may be left out.
    Default(ShapeNode),
    /// The variants with what they carry.
    Enum(Vec<(String, ShapeNode)>),
    /// One of several, without a mark.
    Either(Vec<ShapeNode>),
    /// What is known of a type with this name.
    Named(String, ShapeNode),
    /// A type that was met while tracing; replaced by what it is.
    #[serde(skip)]
    Type(usize),
}

const UNKNOWN: &str = "?";
pub(super) const ANY: &str = "any";
pub(super) const RAW: &str = "raw bytes";
pub(super) const ANYTHING: &str = "anything";

impl ShapeNode {
    pub(super) fn leaf(name: &str) -> Self {
        Self::Leaf(name.to_owned())
    }

    pub(super) fn of(parts: ShapeParts) -> Self {
        Self::Of(Box::new(parts))
    }

    pub(super) fn unknown() -> Self {
        Self::leaf(UNKNOWN)
    }

    pub(super) fn named(name: &str, node: Self) -> Self {
        Self::of(ShapeParts::Named(name.to_owned(), node))
    }

    /// The node of a row that has the number of its members beside a value like this.
    pub(super) fn in_group(self) -> Self {
        let row = |value| {
            Self::of(ShapeParts::Struct(vec![("members".into(), Self::leaf("u64")), ("value".into(), value)]))
        };
        match self {
            // The name of a type that could not be traced stands around the whole.
            Self::Of(parts) if matches!(*parts, ShapeParts::Named(..)) => match *parts {
                ShapeParts::Named(name, value) => Self::named(&format!("Grouped<{name}>"), row(value)),
                _ => row(Self::unknown()),
            },
            value => row(value),
        }
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Leaf(name) if name == UNKNOWN)
    }

    pub(super) fn is_any(&self) -> bool {
        matches!(self, Self::Leaf(name) if name == ANY)
    }

    /// The parts, if there are any.
    pub(super) fn parts(&self) -> Option<&ShapeParts> {
        match self {
            Self::Of(parts) => Some(parts),
            Self::Leaf(_) => None,
        }
    }

    /// Whether it is a field that may be left out.
    pub(super) fn may_be_absent(&self) -> bool {
        matches!(self.parts(), Some(ShapeParts::Default(_)))
    }

    /// What a field is where it is there.
    pub(super) fn present(&self) -> &Self {
        match self.parts() {
            Some(ShapeParts::Default(node)) => node,
            _ => self,
        }
    }

    /// Whether anything is known of it.
    pub(super) fn is_told(&self) -> bool {
        !self.is_unknown() && !self.is_any()
    }

    /// Whether it takes whatever says itself what it is.
    pub(super) fn is_anything(&self) -> bool {
        matches!(self, Self::Leaf(name) if name == ANYTHING)
    }

    /// Whether it stands for bytes as they are, whatever they mean.
    pub(crate) fn is_raw(&self) -> bool {
        matches!(self, Self::Leaf(name) if name == RAW)
    }

    /// Whether some part is unknown that a layout without marks would have to know.
    pub(crate) fn has_gaps(&self) -> bool {
        match self.parts() {
            Some(ShapeParts::Named(_, node)) if node.is_unknown() => false,
            Some(parts) => parts.nodes().iter().any(|node| node.has_gaps()),
            None => self.is_unknown(),
        }
    }

    /// Whether each of its values surely has a JSON form of its own: there is no float, which may be no number, no `Some` that
    /// looks like `None`, no key of a map that has parts, and nothing that nests as deep as it likes.
    pub(crate) fn is_all_json(&self) -> bool {
        let all = |nodes: &[&Self]| nodes.iter().all(|node| node.is_all_json());
        match self {
            Self::Leaf(name) => {
                self.is_told()
                    && !self.is_anything()
                    && !name.starts_with('^')
                    && !matches!(&**name, "f32" | "f64")
            }
            Self::Of(parts) => match &**parts {
                ShapeParts::Option(inner) => match inner {
                    Self::Leaf(name) => name != "unit" && inner.is_all_json(),
                    Self::Of(parts) => !matches!(**parts, ShapeParts::Option(_)) && inner.is_all_json(),
                },
                ShapeParts::Map(key, value) => matches!(key, Self::Leaf(_)) && all(&[key, value]),
                parts => all(&parts.nodes()),
            },
        }
    }

    /// Whether all of it is known.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Leaf(_) => self.is_told(),
            Self::Of(parts) => parts.nodes().iter().all(|node| node.is_complete()),
        }
    }

    pub(crate) fn to_text(&self) -> String {
        // Shapes hold texts and numbers only, which always have a JSON form.
        serde_json::to_string(self).unwrap_or_else(|_| format!("\"{UNKNOWN}\""))
    }

    /// What [`to_text`](Self::to_text) wrote. Anything else is a shape of that name, which agrees with nothing traced.
    pub(crate) fn from_text(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|_| Self::leaf(text))
    }
}

impl ShapeParts {
    pub(super) fn nodes(&self) -> Vec<&ShapeNode> {
        match self {
            Self::Option(node)
            | Self::Seq(node)
            | Self::Array(node, _)
            | Self::Default(node)
            | Self::Named(_, node) => vec![node],
            Self::Map(key, value) => vec![key, value],
            Self::Tuple(nodes) | Self::Either(nodes) => nodes.iter().collect(),
            Self::Struct(fields) | Self::Enum(fields) => fields.iter().map(|(_, node)| node).collect(),
            Self::Type(_) => Vec::new(),
        }
    }
}

impl fmt::Display for ShapeNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leaf(name) => f.write_str(name),
            Self::Of(parts) => parts.fmt(f),
        }
    }
}

impl fmt::Display for ShapeParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(node) => write!(f, "option<{node}>"),
            Self::Seq(node) => write!(f, "[{node}]"),
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
            Self::Tuple(nodes) => write!(f, "({})", Listed(nodes, ", ")),
            Self::Array(node, len) => write!(f, "[{node}; {len}]"),
            Self::Struct(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, node)| field(name, node)).collect();
                write!(f, "{{{}}}", fields.join(", "))
            }
            Self::Enum(variants) => {
                let variants: Vec<String> = variants.iter().map(|(name, node)| variant(name, node)).collect();
                write!(f, "<{}>", variants.join(" | "))
            }
            Self::Default(node) => node.fmt(f),
            Self::Either(nodes) => f.write_str(&Listed(nodes, " or ").to_string()),
            Self::Named(name, node) if node.is_unknown() => f.write_str(name),
            Self::Named(name, node) => write!(f, "{name} = {node}"),
            Self::Type(number) => write!(f, "@{number}"),
        }
    }
}

fn field(name: &str, node: &ShapeNode) -> String {
    let mark = if node.may_be_absent() { "?" } else { "" };
    format!("{name}{mark}: {node}")
}

fn variant(name: &str, payload: &ShapeNode) -> String {
    match payload {
        ShapeNode::Leaf(unit) if unit == "unit" => name.to_owned(),
        ShapeNode::Of(parts) if matches!(**parts, ShapeParts::Tuple(_) | ShapeParts::Struct(_)) => {
            format!("{name}{parts}")
        }
        payload => format!("{name}({payload})"),
    }
}

struct Listed<'a>(&'a [ShapeNode], &'a str);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(self.1))
    }
}
