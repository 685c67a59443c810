//! The map: what is known of a type and of those it is made of, gathered over many values.

use super::{ShapeNode, ShapeParts};
use std::collections::BTreeMap;

/// How many parts a shape has at the most. What lies behind them is unknown.
const MAX_PARTS: usize = 4_000;

/// How deep types may stand inside one another in a shape.
const MAX_DEPTH: usize = 40;

/// How far the variant of an enum is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VariantSeen {
    No,
    Yes,
    Refused,
}

/// A type that was met.
#[derive(Debug)]
pub(super) struct MetType {
    pub(super) node: ShapeNode,
    pub(super) variants: Vec<VariantSeen>,
    /// A variant that ends a recursion.
    pub(super) leaf: Option<usize>,
    /// How many fields it has, if it is a struct, and which of them may be left out.
    pub(super) fields: usize,
    pub(super) optional: Vec<usize>,
}

impl MetType {
    /// What it is, its fields that may be left out marked as such.
    fn with_defaults(&self) -> ShapeNode {
        let mut node = self.node.clone();
        if let ShapeNode::Of(parts) = &mut node
            && let ShapeParts::Struct(fields) = &mut **parts
        {
            for at in &self.optional {
                if let Some((_, field)) = fields.get_mut(*at) {
                    *field =
                        ShapeNode::of(ShapeParts::Default(std::mem::replace(field, ShapeNode::unknown())));
                }
            }
        }
        node
    }
}

/// What types are told apart by, within the process: the name of the visitor, the name of the type, and its parts.
pub(super) type Identity = (&'static str, &'static str, &'static [&'static str]);

/// What is known of a type and of those it is made of.
#[derive(Default)]
pub(super) struct TypeMap {
    numbers: BTreeMap<Identity, usize>,
    pub(super) types: Vec<MetType>,
    /// Which sample the leaf at a path gets, if the first ones were refused.
    pub(super) choices: BTreeMap<Vec<usize>, usize>,
    /// Whether some type looks at the data before it knows what it is.
    pub(super) any: bool,
    /// Whether some type asks for what a layout without names cannot do.
    pub(super) shapeless: bool,
    /// Whether some part has no order of its own, so that the same value is written in one order now and in another then.
    pub(super) unordered: bool,
    /// The field of a type that is left out for once.
    pub(super) omitted: Option<(usize, usize)>,
}

impl TypeMap {
    pub(super) fn number(&mut self, of: Identity) -> usize {
        let next = self.types.len();
        let number = *self.numbers.entry(of).or_insert(next);
        if number == next {
            self.types.push(MetType {
                node: ShapeNode::unknown(),
                variants: Vec::new(),
                leaf: None,
                fields: 0,
                optional: Vec::new(),
            });
        }
        number
    }

    /// Whether a variant of a type that `node` leads to was not seen yet.
    pub(super) fn is_pending(&self, node: &ShapeNode, visited: &mut Vec<usize>) -> bool {
        match node.parts() {
            Some(ShapeParts::Type(number)) if !visited.contains(number) => {
                visited.push(*number);
                self.types.get(*number).is_some_and(|met| {
                    met.variants.contains(&VariantSeen::No)
                        || self.omitted.is_some_and(|(omitting, _)| omitting == *number)
                        || self.is_pending(&met.node, visited)
                })
            }
            Some(parts) => parts.nodes().into_iter().any(|node| self.is_pending(node, visited)),
            None => false,
        }
    }

    pub(super) fn forget_what_was_seen(&mut self) {
        self.types.iter_mut().for_each(|met| met.variants.fill(VariantSeen::No));
    }

    /// The variants that were refused get another chance once it is known how recursions end.
    pub(super) fn retry_refused(&mut self) -> bool {
        let mut refused = false;
        for seen in self
            .types
            .iter_mut()
            .flat_map(|met| &mut met.variants)
            .filter(|seen| **seen == VariantSeen::Refused)
        {
            *seen = VariantSeen::No;
            refused = true;
        }
        refused
    }

    /// `node` with types replaced by what they are, and by how far up they stand where they are met in themselves.
    pub(super) fn expanded(&self, node: &ShapeNode, human: bool) -> ShapeNode {
        self.expand(node, human, &mut Vec::new(), &mut { MAX_PARTS })
    }

    fn expand(&self, node: &ShapeNode, human: bool, inside: &mut Vec<usize>, left: &mut usize) -> ShapeNode {
        if *left == 0 || inside.len() > MAX_DEPTH {
            return ShapeNode::unknown();
        }
        *left -= 1;
        let Some(parts) = node.parts() else { return node.clone() };
        if let ShapeParts::Type(number) = parts {
            if let Some(above) = inside.iter().rev().position(|outer| outer == number) {
                return ShapeNode::leaf(&format!("^{}", above + 1));
            }
            let Some(met) = self.types.get(*number) else { return ShapeNode::unknown() };
            inside.push(*number);
            let expanded = self.expand(&met.with_defaults(), human, inside, left);
            inside.pop();
            return expanded;
        }
        let mut one = |node: &ShapeNode| self.expand(node, human, inside, left);
        ShapeNode::of(match parts {
            ShapeParts::Option(node) => ShapeParts::Option(one(node)),
            ShapeParts::Seq(node) => ShapeParts::Seq(one(node)),
            ShapeParts::Map(key, value) => ShapeParts::Map(one(key), one(value)),
            ShapeParts::Array(node, len) => ShapeParts::Array(one(node), *len),
            ShapeParts::Tuple(nodes) => tuple(nodes.iter().map(one).collect()),
            ShapeParts::Either(nodes) => ShapeParts::Either(nodes.iter().map(one).collect()),
            ShapeParts::Struct(fields) => ShapeParts::Struct(members(fields, human, one)),
            ShapeParts::Enum(variants) => ShapeParts::Enum(members(variants, human, one)),
            ShapeParts::Default(node) => ShapeParts::Default(one(node)),
            ShapeParts::Named(name, node) => ShapeParts::Named(name.clone(), one(node)),
            ShapeParts::Type(number) => ShapeParts::Type(*number),
        })
    }
}

/// Members in the order of the layout: that of the declaration, or none where they are known by their names.
fn members(
    members: &[(String, ShapeNode)],
    human: bool,
    mut one: impl FnMut(&ShapeNode) -> ShapeNode,
) -> Vec<(String, ShapeNode)> {
    let mut members: Vec<_> = members.iter().map(|(name, node)| (name.clone(), one(node))).collect();
    if human {
        members.sort_by(|a, b| a.0.cmp(&b.0));
    }
    members
}

fn tuple(nodes: Vec<ShapeNode>) -> ShapeParts {
    match nodes.as_slice() {
        [first, rest @ ..] if rest.len() > 15 && rest.iter().all(|node| node == first) => {
            ShapeParts::Array(first.clone(), nodes.len())
        }
        _ => ShapeParts::Tuple(nodes),
    }
}

/// What both of two views of one place say.
pub(super) fn united(a: ShapeNode, b: ShapeNode) -> ShapeNode {
    if a.is_unknown() || a == b {
        return b;
    }
    if b.is_unknown() {
        return a;
    }
    let both =
        |a: Vec<ShapeNode>, b: Vec<ShapeNode>| a.into_iter().zip(b).map(|(a, b)| united(a, b)).collect();
    let named = |a: Vec<(String, ShapeNode)>, b: Vec<(String, ShapeNode)>| {
        a.into_iter().zip(b).map(|((name, a), (_, b))| (name, united(a, b))).collect()
    };
    let same = |a: &[(String, ShapeNode)], b: &[(String, ShapeNode)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0)
    };
    match (a, b) {
        (ShapeNode::Of(a), ShapeNode::Of(b)) => match (*a, *b) {
            (ShapeParts::Option(a), ShapeParts::Option(b)) => ShapeNode::of(ShapeParts::Option(united(a, b))),
            (ShapeParts::Seq(a), ShapeParts::Seq(b)) => ShapeNode::of(ShapeParts::Seq(united(a, b))),
            (ShapeParts::Map(key, value), ShapeParts::Map(other_key, other_value)) => {
                ShapeNode::of(ShapeParts::Map(united(key, other_key), united(value, other_value)))
            }
            (ShapeParts::Tuple(a), ShapeParts::Tuple(b)) if a.len() == b.len() => {
                ShapeNode::of(ShapeParts::Tuple(both(a, b)))
            }
            (ShapeParts::Struct(a), ShapeParts::Struct(b)) if same(&a, &b) => {
                ShapeNode::of(ShapeParts::Struct(named(a, b)))
            }
            (ShapeParts::Enum(a), ShapeParts::Enum(b)) if same(&a, &b) => {
                ShapeNode::of(ShapeParts::Enum(named(a, b)))
            }
            (a, b) => either(ShapeNode::of(a), ShapeNode::of(b)),
        },
        (a, b) => either(a, b),
    }
}

fn either(a: ShapeNode, b: ShapeNode) -> ShapeNode {
    let mut nodes = match a {
        ShapeNode::Of(parts) => match *parts {
            ShapeParts::Either(nodes) => nodes,
            parts => vec![ShapeNode::of(parts)],
        },
        leaf @ ShapeNode::Leaf(_) => vec![leaf],
    };
    if !nodes.contains(&b) {
        nodes.push(b);
    }
    nodes.sort_by_cached_key(ShapeNode::to_text);
    ShapeNode::of(ShapeParts::Either(nodes))
}
