//! Tracing: from a type to its shape, by asking for values of it.
//!
//! A value is asked for again and again until every variant of every enum was seen; the samples of a leaf that are
//! refused are replaced by others. Then all is asked for again with the least and with the greatest samples, and with
//! nothing where nothing may be: a type that refuses one of them decides by the value. Each value that comes out is handed to the caller, who tries the codec
//! with it.
//!
//! Invariant: what is found depends on the type only. User code may panic or refuse whatever it likes: what it keeps
//! from being seen is unknown.

mod map;
mod parts;
mod place;
mod reader;
mod samples;

use super::node::{ANYTHING, ShapeNode, ShapeParts};
use super::{Growth, Shape, Trust, is_ours_or_of_std, short_name};
use map::{MetType, TypeMap, VariantSeen, united};
use reader::{Choice, TraceFailure, TraceReader};
use samples::{KINDS, Mode, SAMPLES};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Takes the values that tracing comes by; an error says why the codec cannot hold the type.
pub(in crate::codec) type Samples<'a, V> = &'a mut dyn FnMut(&V) -> Result<(), String>;

/// How often a type is asked for values at the most.
const MAX_PASSES: usize = 2_000;

/// How many levels deep something is put where nothing may be and nothing below.
const MAX_FILLED: usize = 4;

/// What tracing has found out.
pub(in crate::codec) struct Traced {
    pub(in crate::codec) shape: Shape,
    /// Why the type cannot be held, if so.
    pub(in crate::codec) refusal: Option<String>,
}

/// The shape of `V`; every value that comes of it is handed to `samples`.
pub(in crate::codec) fn trace<V: DeserializeOwned>(human: bool, samples: Samples<'_, V>) -> Traced {
    let mut map = TypeMap::default();
    let mut tracing =
        Tracing { map: &mut map, human, passes: MAX_PASSES, root: ShapeNode::unknown(), refusal: None };
    let mut smooth = tracing.explore(Mode::Usual, samples);
    if tracing.map.retry_refused() {
        smooth = tracing.explore(Mode::Usual, samples);
    }
    // A panic of user code that ends the process must not come of values that nobody has ever stored.
    if cfg!(panic = "unwind") && tracing.refusal.is_none() && !tracing.map.shapeless {
        for mode in [Mode::Least, Mode::Greatest].into_iter().chain((1..=MAX_FILLED).map(Mode::Filled)) {
            tracing.map.forget_what_was_seen();
            smooth &= tracing.explore(mode, samples);
        }
    }
    if human && tracing.refusal.is_none() {
        tracing.leave_out::<V>();
    }
    if human && tracing.root.is_any() && tracing.takes_anything::<V>() {
        tracing.root = ShapeNode::leaf(ANYTHING);
    }
    let Tracing { root, refusal, passes, .. } = tracing;
    let node = map.expanded(&root, human);
    let complete = node.is_complete() && (!map.any || node.is_anything());
    let node = if complete { node } else { ShapeNode::named(&short_name::<V>(), node) };
    let trust = match complete && smooth && passes > 0 && !map.any {
        false => Trust::Doubtful,
        true if is_ours_or_of_std(std::any::type_name::<V>()) => Trust::Proven,
        true => Trust::Likely,
    };
    let shapeless = || {
        "it must look at the data to know what it is (untagged, internally tagged or flattened?)".to_owned()
    };
    let refusal = refusal.or_else(|| map.shapeless.then(shapeless));
    Traced {
        shape: Shape { node, growth: Growth::None, trust, unordered: map.unordered, refuses: false },
        refusal,
    }
}

struct Tracing<'m> {
    map: &'m mut TypeMap,
    human: bool,
    /// How many are left.
    passes: usize,
    root: ShapeNode,
    refusal: Option<String>,
}

impl Tracing<'_> {
    /// Asks for values until every variant was seen. `false` if something was refused.
    fn explore<V: DeserializeOwned>(&mut self, mode: Mode, samples: Samples<'_, V>) -> bool {
        let mut smooth = true;
        while self.passes > 0 && self.refusal.is_none() && !self.map.shapeless {
            self.passes -= 1;
            let mut reader = TraceReader::new(&mut *self.map, self.human, mode);
            let value = catch_unwind(AssertUnwindSafe(|| V::deserialize(reader.place())));
            let (chosen, recent) = (std::mem::take(&mut reader.chosen), std::mem::take(&mut reader.recent));
            let node = std::mem::replace(&mut reader.last, ShapeNode::unknown());
            self.root = united(std::mem::replace(&mut self.root, ShapeNode::unknown()), node);
            let value = value.unwrap_or_else(|_| Err(TraceFailure::panicked()));
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
        let fields = |(number, met): (usize, &MetType)| {
            (0..met.fields).map(move |field| (number, field)).collect::<Vec<_>>()
        };
        let all: Vec<_> = self.map.types.iter().enumerate().flat_map(fields).collect();
        for omitted in all {
            self.map.omitted = Some(omitted);
            let mut reader = TraceReader::new(&mut *self.map, self.human, Mode::Usual);
            // What comes of it was noted where the field was left out.
            drop(catch_unwind(AssertUnwindSafe(|| V::deserialize(reader.place()).map(drop))));
        }
        self.map.omitted = None;
    }

    /// Whether the type takes every sample that says what it is.
    fn takes_anything<V: DeserializeOwned>(&mut self) -> bool {
        let takes = |choice| {
            self.map.choices = BTreeMap::from([(Vec::new(), choice)]);
            let mut reader = TraceReader::new(&mut *self.map, true, Mode::Usual);
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
                *seen = VariantSeen::Yes;
            } else if *seen == VariantSeen::No {
                *seen = VariantSeen::Refused;
            }
        }
    }
}
