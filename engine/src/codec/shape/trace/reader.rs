//! The reader: what is noted while one value is read that has no bytes.
//!
//! Types are told apart by names that never leave the process. A type that is met inside of
//! itself is given as little as it takes to end.

use super::map::{TypeMap, VariantSeen, united};
use super::place::Place;
use super::samples::Mode;
use super::{ShapeNode, ShapeParts};
use serde::de::DeserializeSeed;
use std::any::type_name;
use std::fmt;

/// How deep values may be nested.
const MAX_DEPTH: usize = 64;

/// How many things one value may be asked for.
pub(super) const MAX_STEPS: usize = 100_000;

/// Why there is no value.
#[derive(Debug)]
pub(super) struct TraceFailure;

impl TraceFailure {
    pub(super) fn panicked() -> Self {
        Self
    }
}

impl fmt::Display for TraceFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sample was refused")
    }
}

impl std::error::Error for TraceFailure {}

impl serde::de::Error for TraceFailure {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// The variant that was chosen for an enum.
pub(super) struct Choice {
    pub(super) number: usize,
    pub(super) variant: usize,
    /// Whether it was read to its end.
    pub(super) ended: bool,
    /// Whether that was inside of a type that was met before, so that not all of it was seen.
    pub(super) repeated: bool,
}

/// One value in the making.
pub(super) struct TraceReader<'m> {
    pub(super) map: &'m mut TypeMap,
    pub(super) human: bool,
    pub(super) mode: Mode,
    /// The types that are being read.
    inside: Vec<usize>,
    /// How many of them were met inside of themselves, and how often that happened.
    pub(super) repeated: usize,
    pub(super) repetitions: usize,
    pub(super) path: Vec<usize>,
    /// How much that might be nothing is being read.
    pub(super) filled: usize,
    steps: usize,
    /// What was read last.
    pub(super) last: ShapeNode,
    /// The leaf that was looked at last.
    pub(super) recent: Option<Vec<usize>>,
    pub(super) chosen: Vec<Choice>,
}

impl<'m> TraceReader<'m> {
    pub(super) fn new(map: &'m mut TypeMap, human: bool, mode: Mode) -> Self {
        Self {
            map,
            human,
            mode,
            inside: Vec::new(),
            repeated: 0,
            repetitions: 0,
            path: Vec::new(),
            filled: 0,
            steps: 0,
            last: ShapeNode::unknown(),
            recent: None,
            chosen: Vec::new(),
        }
    }

    pub(super) fn place(&mut self) -> Place<'_, 'm> {
        Place(self)
    }

    pub(super) fn step(&mut self) -> Result<(), TraceFailure> {
        self.last = ShapeNode::unknown();
        self.steps += 1;
        let within = self.steps < MAX_STEPS && self.path.len() < MAX_DEPTH && self.inside.len() < MAX_DEPTH;
        if within { Ok(()) } else { Err(TraceFailure) }
    }

    /// Whether something is put where there may be nothing.
    pub(super) fn fills(&self) -> bool {
        self.mode.is_some(self.filled) && self.repeated == 0
    }

    /// Which sample the leaf at this place gets.
    pub(super) fn choice(&mut self, name: &str) -> Result<usize, TraceFailure> {
        self.step()?;
        self.last = ShapeNode::leaf(name);
        let choice = self.map.choices.get(&self.path).copied().unwrap_or(0);
        self.recent = Some(self.path.clone());
        Ok(choice)
    }

    /// Reads a part of what is being read; what it is stays in `last`.
    pub(super) fn part<'de, S: DeserializeSeed<'de>>(
        &mut self,
        index: usize,
        seed: S,
    ) -> Result<S::Value, TraceFailure> {
        self.last = ShapeNode::unknown();
        self.path.push(index);
        let value = seed.deserialize(Place(self));
        self.path.pop();
        value
    }

    /// Reads a type that the visitor `V` stands for; `read` returns what it is, as far as that is known.
    pub(super) fn meet<V, T>(
        &mut self,
        name: &'static str,
        parts: &'static [&'static str],
        read: impl FnOnce(&mut Self, usize) -> (Result<T, TraceFailure>, ShapeNode),
    ) -> Result<T, TraceFailure> {
        self.step()?;
        let number = self.map.number((type_name::<V>(), name, parts));
        let again = usize::from(self.inside.contains(&number));
        self.inside.push(number);
        self.repeated += again;
        self.repetitions += again;
        let (value, node) = read(self, number);
        self.repeated -= again;
        self.inside.pop();
        if let Some(met) = self.map.types.get_mut(number) {
            met.node = united(std::mem::replace(&mut met.node, ShapeNode::unknown()), node);
        }
        self.last = ShapeNode::of(ShapeParts::Type(number));
        value
    }

    /// The variant to read next of the enum `number`.
    pub(super) fn choose(&self, number: usize) -> usize {
        let Some(met) = self.map.types.get(number) else { return 0 };
        let running = || self.chosen.iter().filter(|choice| choice.number == number && !choice.ended);
        if self.repeated > 0 {
            let other = || (0..met.variants.len()).find(|at| running().all(|choice| choice.variant != *at));
            return met.leaf.or_else(other).unwrap_or(0);
        }
        if let Some(unseen) = met.variants.iter().position(|seen| *seen == VariantSeen::No) {
            return unseen;
        }
        let payloads = match met.node.parts() {
            Some(ShapeParts::Enum(variants)) => variants.as_slice(),
            _ => &[],
        };
        let pending = payloads.iter().position(|(_, node)| self.map.is_pending(node, &mut vec![number]));
        let seen = || met.variants.iter().position(|seen| *seen == VariantSeen::Yes);
        pending.or(met.leaf).or_else(seen).unwrap_or(0)
    }

    /// The fields that were read, under their names. Where there are more names than fields, some are aliases.
    pub(super) fn fields(
        names: &'static [&'static str],
        mut nodes: Vec<ShapeNode>,
        complete: bool,
    ) -> ShapeNode {
        if complete && nodes.len() < names.len() {
            let mut fields: Vec<_> =
                nodes.into_iter().enumerate().map(|(at, node)| (format!("#{at}"), node)).collect();
            fields.push((names.join("|"), ShapeNode::leaf("unit")));
            return ShapeNode::of(ShapeParts::Struct(fields));
        }
        nodes.resize(names.len(), ShapeNode::unknown());
        ShapeNode::of(ShapeParts::Struct(names.iter().map(|name| (*name).to_owned()).zip(nodes).collect()))
    }
}
