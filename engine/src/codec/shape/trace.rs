//! Tracing: from a type to its shape, by asking for values of it.
//!
//! A value is asked for again and again until every variant of every enum was seen; the samples of a leaf that are
//! refused are replaced by others. Then all is asked for twice more, with the least and with the greatest samples: a type
//! that refuses one of them decides by the value. Each value that comes out is handed to the caller, who tries the codec
//! with it.
//!
//! Invariant: what is found depends on the type only. User code may panic or refuse whatever it likes: what it keeps
//! from being seen is unknown.

mod reader;
mod samples;

use super::node::{ANYTHING, Node, Parts};
use super::{Growth, Shape, Trust, short_name};
use reader::{Choice, Failure, Reader};
use samples::{KINDS, Mode, SAMPLES};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Takes the values that tracing comes by; an error says why the codec cannot hold the type.
pub(in crate::codec) type Samples<'a, V> = &'a mut dyn FnMut(&V) -> Result<(), String>;

/// How often a type is asked for values at the most.
const MAX_PASSES: usize = 2_000;

/// How many parts a shape has at the most. What lies behind them is unknown.
const MAX_PARTS: usize = 4_000;

/// How deep types may stand inside one another in a shape.
const MAX_DEPTH: usize = 40;

/// What tracing has found out.
pub(in crate::codec) struct Traced {
    pub(in crate::codec) shape: Shape,
    /// Why the type cannot be held, if so.
    pub(in crate::codec) refusal: Option<String>,
}

/// How far the variant of an enum is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    Yes,
    Refused,
}

/// A type that was met.
#[derive(Debug)]
struct Met {
    node: Node,
    variants: Vec<Seen>,
    /// A variant that ends a recursion.
    leaf: Option<usize>,
    /// How many fields it has, if it is a struct, and which of them may be left out.
    fields: usize,
    optional: Vec<usize>,
}

impl Met {
    /// What it is, its fields that may be left out marked as such.
    fn with_defaults(&self) -> Node {
        let mut node = self.node.clone();
        if let Node::Of(parts) = &mut node
            && let Parts::Struct(fields) = &mut **parts
        {
            for at in &self.optional {
                if let Some((_, field)) = fields.get_mut(*at) {
                    *field = Node::of(Parts::Default(std::mem::replace(field, Node::unknown())));
                }
            }
        }
        node
    }
}

/// What types are told apart by, within the process: the name of the visitor, the name of the type, and its parts.
type Identity = (&'static str, &'static str, &'static [&'static str]);

/// What is known of a type and of those it is made of.
#[derive(Default)]
struct Map {
    numbers: BTreeMap<Identity, usize>,
    types: Vec<Met>,
    /// Which sample the leaf at a path gets, if the first ones were refused.
    choices: BTreeMap<Vec<usize>, usize>,
    /// Whether some type looks at the data before it knows what it is.
    any: bool,
    /// Whether some type asks for what a layout without names cannot do.
    shapeless: bool,
    /// The field of a type that is left out for once.
    omitted: Option<(usize, usize)>,
}

impl Map {
    fn number(&mut self, of: Identity) -> usize {
        let next = self.types.len();
        let number = *self.numbers.entry(of).or_insert(next);
        if number == next {
            self.types.push(Met {
                node: Node::unknown(),
                variants: Vec::new(),
                leaf: None,
                fields: 0,
                optional: Vec::new(),
            });
        }
        number
    }

    /// Whether a variant of a type that `node` leads to was not seen yet.
    fn is_pending(&self, node: &Node, visited: &mut Vec<usize>) -> bool {
        match node.parts() {
            Some(Parts::Type(number)) if !visited.contains(number) => {
                visited.push(*number);
                self.types.get(*number).is_some_and(|met| {
                    met.variants.contains(&Seen::No)
                        || self.omitted.is_some_and(|(omitting, _)| omitting == *number)
                        || self.is_pending(&met.node, visited)
                })
            }
            Some(parts) => parts.nodes().into_iter().any(|node| self.is_pending(node, visited)),
            None => false,
        }
    }

    fn forget_what_was_seen(&mut self) {
        self.types.iter_mut().for_each(|met| met.variants.fill(Seen::No));
    }

    /// The variants that were refused get another chance once it is known how recursions end.
    fn retry_refused(&mut self) -> bool {
        let mut refused = false;
        for seen in
            self.types.iter_mut().flat_map(|met| &mut met.variants).filter(|seen| **seen == Seen::Refused)
        {
            *seen = Seen::No;
            refused = true;
        }
        refused
    }

    /// `node` with types replaced by what they are, and by how far up they stand where they are met in themselves.
    fn expand(&self, node: &Node, human: bool, inside: &mut Vec<usize>, left: &mut usize) -> Node {
        if *left == 0 || inside.len() > MAX_DEPTH {
            return Node::unknown();
        }
        *left -= 1;
        let Some(parts) = node.parts() else { return node.clone() };
        if let Parts::Type(number) = parts {
            if let Some(above) = inside.iter().rev().position(|outer| outer == number) {
                return Node::leaf(&format!("^{}", above + 1));
            }
            let Some(met) = self.types.get(*number) else { return Node::unknown() };
            inside.push(*number);
            let expanded = self.expand(&met.with_defaults(), human, inside, left);
            inside.pop();
            return expanded;
        }
        let mut one = |node: &Node| self.expand(node, human, inside, left);
        Node::of(match parts {
            Parts::Option(node) => Parts::Option(one(node)),
            Parts::Seq(node) => Parts::Seq(one(node)),
            Parts::Map(key, value) => Parts::Map(one(key), one(value)),
            Parts::Array(node, len) => Parts::Array(one(node), *len),
            Parts::Tuple(nodes) => tuple(nodes.iter().map(one).collect()),
            Parts::Either(nodes) => Parts::Either(nodes.iter().map(one).collect()),
            Parts::Struct(fields) => Parts::Struct(members(fields, human, one)),
            Parts::Enum(variants) => Parts::Enum(members(variants, human, one)),
            Parts::Default(node) => Parts::Default(one(node)),
            Parts::Named(name, node) => Parts::Named(name.clone(), one(node)),
            Parts::Type(number) => Parts::Type(*number),
        })
    }
}

/// Members in the order of the layout: that of the declaration, or none where they are known by their names.
fn members(
    members: &[(String, Node)],
    human: bool,
    mut one: impl FnMut(&Node) -> Node,
) -> Vec<(String, Node)> {
    let mut members: Vec<_> = members.iter().map(|(name, node)| (name.clone(), one(node))).collect();
    if human {
        members.sort_by(|a, b| a.0.cmp(&b.0));
    }
    members
}

fn tuple(nodes: Vec<Node>) -> Parts {
    match nodes.as_slice() {
        [first, rest @ ..] if rest.len() > 15 && rest.iter().all(|node| node == first) => {
            Parts::Array(first.clone(), nodes.len())
        }
        _ => Parts::Tuple(nodes),
    }
}

/// What both of two views of one place say.
fn united(a: Node, b: Node) -> Node {
    if a.is_unknown() || a == b {
        return b;
    }
    if b.is_unknown() {
        return a;
    }
    let both = |a: Vec<Node>, b: Vec<Node>| a.into_iter().zip(b).map(|(a, b)| united(a, b)).collect();
    let named = |a: Vec<(String, Node)>, b: Vec<(String, Node)>| {
        a.into_iter().zip(b).map(|((name, a), (_, b))| (name, united(a, b))).collect()
    };
    let same = |a: &[(String, Node)], b: &[(String, Node)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0)
    };
    match (a, b) {
        (Node::Of(a), Node::Of(b)) => match (*a, *b) {
            (Parts::Option(a), Parts::Option(b)) => Node::of(Parts::Option(united(a, b))),
            (Parts::Seq(a), Parts::Seq(b)) => Node::of(Parts::Seq(united(a, b))),
            (Parts::Map(k, v), Parts::Map(l, w)) => Node::of(Parts::Map(united(k, l), united(v, w))),
            (Parts::Tuple(a), Parts::Tuple(b)) if a.len() == b.len() => Node::of(Parts::Tuple(both(a, b))),
            (Parts::Struct(a), Parts::Struct(b)) if same(&a, &b) => Node::of(Parts::Struct(named(a, b))),
            (Parts::Enum(a), Parts::Enum(b)) if same(&a, &b) => Node::of(Parts::Enum(named(a, b))),
            (a, b) => either(Node::of(a), Node::of(b)),
        },
        (a, b) => either(a, b),
    }
}

fn either(a: Node, b: Node) -> Node {
    let mut nodes = match a {
        Node::Of(parts) => match *parts {
            Parts::Either(nodes) => nodes,
            parts => vec![Node::of(parts)],
        },
        leaf => vec![leaf],
    };
    if !nodes.contains(&b) {
        nodes.push(b);
    }
    nodes.sort_by_cached_key(Node::to_text);
    Node::of(Parts::Either(nodes))
}

/// The shape of `V`; every value that comes of it is handed to `samples`.
pub(in crate::codec) fn trace<V: DeserializeOwned>(human: bool, samples: Samples<'_, V>) -> Traced {
    let mut map = Map::default();
    let mut tracing =
        Tracing { map: &mut map, human, passes: MAX_PASSES, root: Node::unknown(), refusal: None };
    let mut smooth = tracing.explore(Mode::Usual, samples);
    if tracing.map.retry_refused() {
        smooth = tracing.explore(Mode::Usual, samples);
    }
    // A panic of user code that ends the process must not come of values that nobody has ever stored.
    if cfg!(panic = "unwind") && tracing.refusal.is_none() && !tracing.map.shapeless {
        for mode in [Mode::Least, Mode::Greatest] {
            tracing.map.forget_what_was_seen();
            smooth &= tracing.explore(mode, samples);
        }
    }
    if human && tracing.refusal.is_none() {
        tracing.leave_out::<V>();
    }
    if human && tracing.root.is_any() && tracing.takes_anything::<V>() {
        tracing.root = Node::leaf(ANYTHING);
    }
    let Tracing { root, refusal, passes, .. } = tracing;
    let node = map.expand(&root, human, &mut Vec::new(), &mut { MAX_PARTS });
    let complete = node.is_complete() && (!map.any || node.is_anything());
    let node = if complete { node } else { Node::named(&short_name::<V>(), node) };
    let trust = if complete && smooth && passes > 0 && !map.any { Trust::Proven } else { Trust::Doubtful };
    let shapeless = || {
        "it must look at the data to know what it is (untagged, internally tagged or flattened?)".to_owned()
    };
    let refusal = refusal.or_else(|| map.shapeless.then(shapeless));
    Traced { shape: Shape { node, growth: Growth::None, trust }, refusal }
}

struct Tracing<'m> {
    map: &'m mut Map,
    human: bool,
    /// How many are left.
    passes: usize,
    root: Node,
    refusal: Option<String>,
}

impl Tracing<'_> {
    /// Asks for values until every variant was seen. `false` if something was refused.
    fn explore<V: DeserializeOwned>(&mut self, mode: Mode, samples: Samples<'_, V>) -> bool {
        let mut smooth = true;
        while self.passes > 0 && self.refusal.is_none() && !self.map.shapeless {
            self.passes -= 1;
            let mut reader = Reader::new(&mut *self.map, self.human, mode);
            let value = catch_unwind(AssertUnwindSafe(|| V::deserialize(reader.place())));
            let (chosen, recent) = (std::mem::take(&mut reader.chosen), std::mem::take(&mut reader.recent));
            let node = std::mem::replace(&mut reader.last, Node::unknown());
            self.root = united(std::mem::replace(&mut self.root, Node::unknown()), node);
            let value = value.unwrap_or_else(|_| Err(Failure::panicked()));
            if let Ok(value) = &value {
                let tried = catch_unwind(AssertUnwindSafe(|| samples(value)));
                match tried {
                    Ok(Ok(())) => {}
                    Ok(Err(refusal)) => self.refusal = Some(refusal),
                    Err(_) => smooth = false,
                }
            } else {
                smooth &= mode == Mode::Usual;
                if mode == Mode::Usual && self.another_sample(recent) {
                    continue;
                }
                smooth = false;
            }
            self.note(&chosen, value.is_ok());
            if !self.map.is_pending(&self.root, &mut Vec::new()) {
                break;
            }
        }
        smooth
    }

    /// Finds out which fields may be left out, one after the other.
    fn leave_out<V: DeserializeOwned>(&mut self) {
        let fields = |(number, met): (usize, &Met)| {
            (0..met.fields).map(move |field| (number, field)).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.map.types.iter().enumerate().flat_map(fields).collect();
        for omitted in all {
            self.map.omitted = Some(omitted);
            let mut reader = Reader::new(&mut *self.map, self.human, Mode::Usual);
            // What comes of it was noted where the field was left out.
            drop(catch_unwind(AssertUnwindSafe(|| V::deserialize(reader.place()).map(drop))));
        }
        self.map.omitted = None;
    }

    /// Whether the type takes every sample that says what it is.
    fn takes_anything<V: DeserializeOwned>(&mut self) -> bool {
        let takes = |choice| {
            self.map.choices = BTreeMap::from([(Vec::new(), choice)]);
            let mut reader = Reader::new(&mut *self.map, true, Mode::Usual);
            catch_unwind(AssertUnwindSafe(|| V::deserialize(reader.place()).is_ok())).unwrap_or(false)
        };
        (0..KINDS).all(takes)
    }

    /// Gives the leaf that was looked at last another sample. `false` if it has had them all.
    fn another_sample(&mut self, path: Option<Vec<usize>>) -> bool {
        let Some(path) = path else { return false };
        let choice = self.map.choices.entry(path).or_default();
        *choice += 1;
        *choice < SAMPLES
    }

    /// Notes which variants were seen. One must be, or the same would be tried for ever.
    fn note(&mut self, chosen: &[Choice], went_well: bool) {
        for &Choice { number, variant, ended, .. } in chosen.iter().filter(|choice| !choice.repeated) {
            let Some(seen) = self.map.types.get_mut(number).and_then(|met| met.variants.get_mut(variant))
            else {
                continue;
            };
            if went_well || ended {
                *seen = Seen::Yes;
            } else if *seen == Seen::No {
                *seen = Seen::Refused;
            }
        }
    }
}
