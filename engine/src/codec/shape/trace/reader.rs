//! The reader: a deserializer without bytes, which answers with samples and notes what it is asked for.
//!
//! Types are told apart by names that never leave the process. A type that is met inside of
//! itself is given as little as it takes to end.

use super::samples::Mode;
use super::{Map, Node, Parts, Seen, united};
use crate::codec::shape::node::ANY;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::any::type_name;
use std::fmt;

/// How deep values may be nested.
const MAX_DEPTH: usize = 64;

/// How many things one value may be asked for.
const MAX_STEPS: usize = 100_000;

/// Why there is no value.
#[derive(Debug)]
pub(super) struct Failure;

impl Failure {
    pub(super) fn panicked() -> Self {
        Self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sample was refused")
    }
}

impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
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
pub(super) struct Reader<'m> {
    map: &'m mut Map,
    human: bool,
    mode: Mode,
    /// The types that are being read.
    inside: Vec<usize>,
    /// How many of them were met inside of themselves, and how often that happened.
    repeated: usize,
    repetitions: usize,
    path: Vec<usize>,
    steps: usize,
    /// What was read last.
    pub(super) last: Node,
    /// The leaf that was looked at last.
    pub(super) recent: Option<Vec<usize>>,
    pub(super) chosen: Vec<Choice>,
}

impl<'m> Reader<'m> {
    pub(super) fn new(map: &'m mut Map, human: bool, mode: Mode) -> Self {
        Self {
            map,
            human,
            mode,
            inside: Vec::new(),
            repeated: 0,
            repetitions: 0,
            path: Vec::new(),
            steps: 0,
            last: Node::unknown(),
            recent: None,
            chosen: Vec::new(),
        }
    }

    pub(super) fn place(&mut self) -> Place<'_, 'm> {
        Place(self)
    }

    fn step(&mut self) -> Result<(), Failure> {
        self.last = Node::unknown();
        self.steps += 1;
        let within = self.steps < MAX_STEPS && self.path.len() < MAX_DEPTH && self.inside.len() < MAX_DEPTH;
        if within { Ok(()) } else { Err(Failure) }
    }

    /// Whether something is put where there may be nothing.
    fn fills(&self) -> bool {
        self.mode.is_some() && self.repeated == 0
    }

    /// Which sample the leaf at this place gets.
    fn choice(&mut self, name: &str) -> Result<usize, Failure> {
        self.step()?;
        self.last = Node::leaf(name);
        let choice = self.map.choices.get(&self.path).copied().unwrap_or(0);
        self.recent = Some(self.path.clone());
        Ok(choice)
    }

    /// Reads a part of what is being read; what it is stays in `last`.
    fn part<'de, S: DeserializeSeed<'de>>(&mut self, index: usize, seed: S) -> Result<S::Value, Failure> {
        self.last = Node::unknown();
        self.path.push(index);
        let value = seed.deserialize(Place(self));
        self.path.pop();
        value
    }

    /// Reads a type that the visitor `V` stands for; `read` returns what it is, as far as that is known.
    fn meet<V, T>(
        &mut self,
        name: &'static str,
        parts: &'static [&'static str],
        read: impl FnOnce(&mut Self, usize) -> (Result<T, Failure>, Node),
    ) -> Result<T, Failure> {
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
            met.node = united(std::mem::replace(&mut met.node, Node::unknown()), node);
        }
        self.last = Node::of(Parts::Type(number));
        value
    }

    /// The variant to read next of the enum `number`.
    fn choose(&self, number: usize) -> usize {
        let Some(met) = self.map.types.get(number) else { return 0 };
        let running = || self.chosen.iter().filter(|choice| choice.number == number && !choice.ended);
        if self.repeated > 0 {
            let other = || (0..met.variants.len()).find(|at| running().all(|choice| choice.variant != *at));
            return met.leaf.or_else(other).unwrap_or(0);
        }
        if let Some(unseen) = met.variants.iter().position(|seen| *seen == Seen::No) {
            return unseen;
        }
        let payloads = match met.node.parts() {
            Some(Parts::Enum(variants)) => variants.as_slice(),
            _ => &[],
        };
        let pending = payloads.iter().position(|(_, node)| self.map.is_pending(node, &mut vec![number]));
        let seen = || met.variants.iter().position(|seen| *seen == Seen::Yes);
        pending.or(met.leaf).or_else(seen).unwrap_or(0)
    }

    /// The fields that were read, under their names. Where there are more names than fields, some are aliases.
    fn fields(names: &'static [&'static str], mut nodes: Vec<Node>, complete: bool) -> Node {
        if complete && nodes.len() < names.len() {
            let mut fields: Vec<_> =
                nodes.into_iter().enumerate().map(|(at, node)| (format!("#{at}"), node)).collect();
            fields.push((names.join("|"), Node::leaf("unit")));
            return Node::of(Parts::Struct(fields));
        }
        nodes.resize(names.len(), Node::unknown());
        Node::of(Parts::Struct(names.iter().map(|name| (*name).to_owned()).zip(nodes).collect()))
    }
}

/// A place where a value is wanted.
pub(super) struct Place<'r, 'm>(&'r mut Reader<'m>);

macro_rules! integers {
    ($($method:ident $visit:ident $integer:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            let choice = self.0.choice(stringify!($integer))?;
            visitor.$visit(self.0.mode.number(choice, (<$integer>::MIN, <$integer>::MAX)))
        }
    )*};
}

impl<'de> Deserializer<'de> for Place<'_, '_> {
    type Error = Failure;

    fn is_human_readable(&self) -> bool {
        self.0.human
    }

    integers! {
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
        deserialize_i8 visit_i8 i8;
        deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.choice("bool")?;
        visitor.visit_bool(self.0.mode.is_some())
    }

    #[expect(clippy::cast_possible_truncation, reason = "the samples are in range")]
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let choice = self.0.choice("f32")?;
        visitor.visit_f32(self.0.mode.float(choice) as f32)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let choice = self.0.choice("f64")?;
        visitor.visit_f64(self.0.mode.float(choice))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.choice("char")?;
        visitor.visit_char(self.0.mode.char())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let choice = self.0.choice("string")?;
        visitor.visit_str(self.0.mode.text(choice))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let choice = self.0.choice("bytes")?;
        visitor.visit_bytes(&self.0.mode.bytes(choice))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.0.step()?;
        self.0.last = Node::leaf("unit");
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let reader = self.0;
        reader.step()?;
        let fills = reader.fills();
        let value = if fills {
            // A part of its own: the sample of an absent value is no other than that of the present one.
            reader.path.push(0);
            let value = visitor.visit_some(Place(reader));
            reader.path.pop();
            value
        } else {
            visitor.visit_none()
        };
        let inner = std::mem::replace(&mut reader.last, Node::unknown());
        reader.last = Node::of(Parts::Option(inner));
        value
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.0.meet::<V, _>(name, &[], |reader, _| {
            let value = visitor.visit_newtype_struct(Place(reader));
            (value, reader.last.clone())
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let reader = self.0;
        reader.step()?;
        let mut parts = Items { left: usize::from(reader.fills()), nodes: Vec::new(), reader };
        let value = visitor.visit_seq(&mut parts);
        let Items { nodes, reader, .. } = parts;
        reader.last = Node::of(Parts::Seq(nodes.into_iter().next().unwrap_or_else(Node::unknown)));
        value
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        let reader = self.0;
        reader.step()?;
        let mut parts = Items { left: len, nodes: Vec::new(), reader };
        let value = visitor.visit_seq(&mut parts);
        let Items { mut nodes, reader, .. } = parts;
        nodes.resize(len.min(MAX_STEPS), Node::unknown());
        reader.last = Node::of(Parts::Tuple(nodes));
        value
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.0.meet::<V, _>(name, &[], |reader, _| {
            let value = Place(reader).deserialize_tuple(len, visitor);
            (value, reader.last.clone())
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        let reader = self.0;
        reader.step()?;
        let mut entries = Items { left: usize::from(reader.fills()), nodes: Vec::new(), reader };
        let value = visitor.visit_map(&mut entries);
        let Items { nodes, reader, .. } = entries;
        let mut nodes = nodes.into_iter();
        let mut next = || nodes.next().unwrap_or_else(Node::unknown);
        reader.last = Node::of(Parts::Map(next(), next()));
        value
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.0.meet::<V, _>(name, fields, |reader, number| {
            let omitted = reader.map.omitted.filter(|(omitting, _)| *omitting == number);
            if let Some((_, omitted)) = omitted {
                let value = visitor.visit_map(Others { reader: &mut *reader, fields, at: 0, omitted });
                let met = reader.map.types.get_mut(number).filter(|_| value.is_ok());
                if let Some(met) = met.filter(|met| !met.optional.contains(&omitted)) {
                    met.optional.push(omitted);
                }
                return (value, Node::unknown());
            }
            if let Some(met) = reader.map.types.get_mut(number) {
                met.fields = fields.len();
            }
            read_fields(reader, fields, visitor)
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.0.meet::<V, _>(name, variants, |reader, number| {
            if let Some(met) = reader.map.types.get_mut(number) {
                met.variants.resize(variants.len(), Seen::No);
            }
            let chosen = reader.choose(number);
            let (at, repetitions) = (reader.chosen.len(), reader.repetitions);
            let repeated = reader.repeated > 0;
            reader.chosen.push(Choice { number, variant: chosen, ended: false, repeated });
            reader.path.push(chosen);
            let name = variants.get(chosen).copied().unwrap_or_default();
            reader.last = Node::unknown();
            let value = visitor.visit_enum(Variant { reader: &mut *reader, name });
            reader.path.pop();
            if let Some(chosen) = reader.chosen.get_mut(at).filter(|_| value.is_ok()) {
                chosen.ended = true;
            }
            if value.is_ok()
                && reader.repetitions == repetitions
                && let Some(met) = reader.map.types.get_mut(number)
            {
                met.leaf = met.leaf.or(Some(chosen));
            }
            let mut nodes = vec![Node::unknown(); variants.len()];
            if let Some(node) = nodes.get_mut(chosen) {
                node.clone_from(&reader.last);
            }
            let names = variants.iter().map(|name| (*name).to_owned());
            (value, Node::of(Parts::Enum(names.zip(nodes).collect())))
        })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if !self.0.human {
            self.0.map.shapeless = true;
            return Err(Failure);
        }
        self.0.map.any = true;
        match self.0.choice(ANY)? {
            0 => visitor.visit_u64(1),
            1 => visitor.visit_str("a"),
            2 => visitor.visit_bool(true),
            3 => visitor.visit_f64(1.5),
            4 => visitor.visit_unit(),
            5 => visitor.visit_map(Items { left: 0, nodes: Vec::new(), reader: self.0 }),
            6 => visitor.visit_seq(Items { left: 0, nodes: Vec::new(), reader: self.0 }),
            _ => Err(Failure),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_any(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_any(visitor)
    }
}

fn read_fields<'de, V: Visitor<'de>>(
    reader: &mut Reader<'_>,
    fields: &'static [&'static str],
    visitor: V,
) -> (Result<V::Value, Failure>, Node) {
    let mut parts = Items { reader, left: fields.len(), nodes: Vec::new() };
    let value = visitor.visit_seq(&mut parts);
    let Items { nodes, .. } = parts;
    let complete = value.is_ok();
    (value, Reader::fields(fields, nodes, complete))
}

/// The parts of something, one after the other.
struct Items<'r, 'm> {
    reader: &'r mut Reader<'m>,
    left: usize,
    nodes: Vec<Node>,
}

impl Items<'_, '_> {
    fn read<'de, S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        let value = self.reader.part(self.nodes.len(), seed);
        self.nodes.push(std::mem::replace(&mut self.reader.last, Node::unknown()));
        value
    }
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Failure;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.read(seed).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_, '_> {
    type Error = Failure;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        self.read(seed).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        self.read(seed)
    }
}

/// The fields of a struct but one, by their names.
struct Others<'r, 'm> {
    reader: &'r mut Reader<'m>,
    fields: &'static [&'static str],
    at: usize,
    omitted: usize,
}

impl<'de> MapAccess<'de> for Others<'_, '_> {
    type Error = Failure;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        self.at += usize::from(self.at == self.omitted);
        let Some(name) = self.fields.get(self.at) else { return Ok(None) };
        let name: StrDeserializer<'_, Failure> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        self.at += 1;
        self.reader.part(self.at - 1, seed)
    }
}

/// A variant that was chosen.
struct Variant<'r, 'm> {
    reader: &'r mut Reader<'m>,
    name: &'static str,
}

impl<'de, 'r, 'm> EnumAccess<'de> for Variant<'r, 'm> {
    type Error = Failure;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Failure> {
        let name: StrDeserializer<'_, Failure> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Failure;

    fn unit_variant(self) -> Result<(), Failure> {
        self.reader.last = Node::leaf("unit");
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Failure> {
        self.reader.part(0, seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Failure> {
        Place(self.reader).deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let reader = self.reader;
        reader.step()?;
        let (value, node) = read_fields(reader, fields, visitor);
        reader.last = node;
        value
    }
}
