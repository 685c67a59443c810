//! Types that are made up while a test runs: a value knows what it is, and is read by a schema.
//!
//! Structs, tuples, newtypes, options, sequences, maps of every kind of key and enums are read and written as derived
//! code does; what serde treats in ways of its own (tags, `flatten`, `skip`, defaults) is derived, around any inner type.

use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, SerializeTupleVariant, Serializer,
};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a value looks like.
#[derive(Debug, Clone)]
pub(crate) enum Schema {
    Unit,
    Bool,
    U8,
    U64,
    I128,
    F64,
    Char,
    Text,
    Option(Box<Schema>),
    Seq(Box<Schema>),
    Map(Key, Box<Schema>),
    Tuple(Vec<Schema>),
    Newtype(&'static str, Box<Schema>),
    Struct(Names, Vec<Schema>),
    /// Unit variants, newtype variants and tuple variants, by the number of their parts.
    Enum(Names, Vec<Vec<Schema>>),
    Internal(Box<Schema>),
    Adjacent(Box<Schema>),
    Untagged(Box<Schema>),
    Flat(Box<Schema>),
    Skipping(Box<Schema>),
    Shifted(Box<Schema>),
    Defaulted(Box<Schema>),
}

/// The name of a type and those of its parts, which no other type has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Names {
    of: &'static str,
    parts: &'static [&'static str],
}

/// What the keys of a map are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Key {
    Text,
    Number,
    Bool,
    Pair,
    Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum KeyValue {
    Text(String),
    Number(i16),
    Bool(bool),
    Pair(u8, bool),
    Bytes(Vec<u8>),
}

/// A value of some schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Dyn {
    Unit,
    Bool(bool),
    U8(u8),
    U64(u64),
    I128(i128),
    /// By its bits, so that what is no number equals itself.
    F64(u64),
    Char(char),
    Text(String),
    Option(Option<Box<Dyn>>),
    Seq(Vec<Dyn>),
    Map(Vec<(KeyValue, Dyn)>),
    Tuple(Vec<Dyn>),
    Newtype(&'static str, Box<Dyn>),
    Struct(Names, Vec<Dyn>),
    Enum(Names, usize, Vec<Dyn>),
    Internal(Box<Internal<Dyn>>),
    Adjacent(Box<Adjacent<Dyn>>),
    Untagged(Box<Untagged<Dyn>>),
    Flat(Box<Flat<Dyn>>),
    Skipping(Box<Skipping<Dyn>>),
    Shifted(Box<Shifted<Dyn>>),
    Defaulted(Box<Defaulted<Dyn>>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub(crate) enum Internal<T> {
    A { x: T },
    B,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "of")]
pub(crate) enum Adjacent<T> {
    A(T),
    B { y: T },
    C,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Untagged<T> {
    Pair { left: T, right: bool },
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flat<T> {
    id: u8,
    #[serde(flatten)]
    rest: Rest<T>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rest<T> {
    inner: T,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Skipping<T> {
    #[serde(skip_serializing_if = "Option::is_none", default = "nothing")]
    maybe: Option<T>,
    after: u8,
}

fn nothing<T>() -> Option<T> {
    None
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shifted<T> {
    A,
    #[serde(skip)]
    #[allow(dead_code, reason = "it only shifts the others")]
    Hidden,
    C(T),
    D,
    E,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Defaulted<T> {
    #[serde(default)]
    number: u8,
    #[serde(skip)]
    nothing: (),
    of: T,
}

/// What values are read as, where nothing else is said.
static ROOT: Mutex<Option<Schema>> = Mutex::new(None);

thread_local! {
    /// What the inner types of derived ones are.
    static INNER: RefCell<Vec<Schema>> = const { RefCell::new(Vec::new()) };
}

/// Lets all values be of `schema` from here on.
pub(crate) fn reads(schema: &Schema) {
    *ROOT.lock().unwrap() = Some(schema.clone());
}

/// Runs `read` with `inner` for the inner type.
fn around<T>(inner: &Schema, read: impl FnOnce() -> T) -> T {
    /// Also if user code panics.
    struct Pop;
    impl Drop for Pop {
        fn drop(&mut self) {
            INNER.with(|stack| stack.borrow_mut().pop());
        }
    }
    INNER.with(|stack| stack.borrow_mut().push(inner.clone()));
    let _pop = Pop;
    read()
}

impl<'de> Deserialize<'de> for Dyn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let inner = INNER.with(|stack| stack.borrow().last().cloned());
        let schema = inner.unwrap_or_else(|| ROOT.lock().unwrap().clone().unwrap());
        Seed(&schema).deserialize(deserializer)
    }
}

struct Seed<'s>(&'s Schema);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Dyn;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Dyn, D::Error> {
        Ok(match self.0 {
            Schema::Unit => <()>::deserialize(d).map(|()| Dyn::Unit)?,
            Schema::Bool => Dyn::Bool(bool::deserialize(d)?),
            Schema::U8 => Dyn::U8(u8::deserialize(d)?),
            Schema::U64 => Dyn::U64(u64::deserialize(d)?),
            Schema::I128 => Dyn::I128(i128::deserialize(d)?),
            Schema::F64 => Dyn::F64(f64::deserialize(d)?.to_bits()),
            Schema::Char => Dyn::Char(char::deserialize(d)?),
            Schema::Text => Dyn::Text(String::deserialize(d)?),
            Schema::Option(inner) => d.deserialize_option(Parts::Option(inner))?,
            Schema::Seq(inner) => d.deserialize_seq(Parts::Seq(inner))?,
            Schema::Map(key, value) => d.deserialize_map(Parts::Map(*key, value))?,
            Schema::Tuple(parts) => d.deserialize_tuple(parts.len(), Parts::Tuple(parts))?,
            Schema::Newtype(name, inner) => {
                d.deserialize_newtype_struct(name, Parts::Newtype(name, inner))?
            }
            Schema::Struct(names, parts) => {
                d.deserialize_struct(names.of, names.parts, Parts::Struct(*names, parts))?
            }
            Schema::Enum(names, variants) => {
                d.deserialize_enum(names.of, names.parts, Parts::Enum(*names, variants))?
            }
            Schema::Internal(inner) => Dyn::Internal(around(inner, || Box::deserialize(d))?),
            Schema::Adjacent(inner) => Dyn::Adjacent(around(inner, || Box::deserialize(d))?),
            Schema::Untagged(inner) => Dyn::Untagged(around(inner, || Box::deserialize(d))?),
            Schema::Flat(inner) => Dyn::Flat(around(inner, || Box::deserialize(d))?),
            Schema::Skipping(inner) => Dyn::Skipping(around(inner, || Box::deserialize(d))?),
            Schema::Shifted(inner) => Dyn::Shifted(around(inner, || Box::deserialize(d))?),
            Schema::Defaulted(inner) => Dyn::Defaulted(around(inner, || Box::deserialize(d))?),
        })
    }
}

/// What a visitor expects.
enum Parts<'s> {
    Option(&'s Schema),
    Seq(&'s Schema),
    Map(Key, &'s Schema),
    Tuple(&'s [Schema]),
    Newtype(&'static str, &'s Schema),
    Struct(Names, &'s [Schema]),
    Enum(Names, &'s [Vec<Schema>]),
}

/// The name of a field or variant, by its text or its number.
struct Name(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<usize, D::Error> {
        d.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Name {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {:?}", self.0)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<usize, E> {
        let number = usize::try_from(number).ok().filter(|number| *number < self.0.len());
        number.ok_or_else(|| E::custom("no such variant"))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        self.0.iter().position(|known| *known == name).ok_or_else(|| E::unknown_variant(name, self.0))
    }
}

fn all<'de, A: SeqAccess<'de>>(mut access: A, parts: &[Schema]) -> Result<Vec<Dyn>, A::Error> {
    let mut values = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let value = access.next_element_seed(Seed(part))?;
        values.push(value.ok_or_else(|| serde::de::Error::invalid_length(index, &"more parts"))?);
    }
    Ok(values)
}

impl<'de> Visitor<'de> for Parts<'_> {
    type Value = Dyn;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what the schema says")
    }

    fn visit_none<E>(self) -> Result<Dyn, E> {
        Ok(Dyn::Option(None))
    }

    fn visit_unit<E>(self) -> Result<Dyn, E> {
        Ok(Dyn::Option(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Dyn, D::Error> {
        let Self::Option(inner) = self else { return Err(serde::de::Error::custom("no option")) };
        Ok(Dyn::Option(Some(Box::new(Seed(inner).deserialize(d)?))))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Dyn, D::Error> {
        let Self::Newtype(name, inner) = self else { return Err(serde::de::Error::custom("no newtype")) };
        Ok(Dyn::Newtype(name, Box::new(Seed(inner).deserialize(d)?)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Dyn, A::Error> {
        match self {
            Self::Seq(inner) => {
                let mut values = Vec::new();
                while let Some(value) = access.next_element_seed(Seed(inner))? {
                    values.push(value);
                }
                Ok(Dyn::Seq(values))
            }
            Self::Tuple(parts) => Ok(Dyn::Tuple(all(access, parts)?)),
            Self::Struct(names, parts) => Ok(Dyn::Struct(names, all(access, parts)?)),
            _ => Err(serde::de::Error::custom("no sequence")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Dyn, A::Error> {
        match self {
            Self::Map(key, value) => {
                let mut entries = Vec::new();
                loop {
                    let key = match key {
                        Key::Text => access.next_key()?.map(KeyValue::Text),
                        Key::Number => access.next_key()?.map(KeyValue::Number),
                        Key::Bool => access.next_key()?.map(KeyValue::Bool),
                        Key::Pair => access.next_key()?.map(|(a, b)| KeyValue::Pair(a, b)),
                        Key::Bytes => access.next_key()?.map(KeyValue::Bytes),
                    };
                    let Some(key) = key else { return Ok(Dyn::Map(entries)) };
                    entries.push((key, access.next_value_seed(Seed(value))?));
                }
            }
            Self::Struct(names, parts) => {
                let mut values: Vec<Option<Dyn>> = vec![None; parts.len()];
                while let Some(field) = access.next_key_seed(Name(names.parts))? {
                    values[field] = Some(access.next_value_seed(Seed(&parts[field]))?);
                }
                let missing = || serde::de::Error::custom("missing field");
                let values: Option<Vec<Dyn>> = values.into_iter().collect();
                Ok(Dyn::Struct(names, values.ok_or_else(missing)?))
            }
            _ => Err(serde::de::Error::custom("no map")),
        }
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Dyn, A::Error> {
        let Self::Enum(names, variants) = self else { return Err(serde::de::Error::custom("no enum")) };
        let (chosen, access) = access.variant_seed(Name(names.parts))?;
        let payload = match variants[chosen].as_slice() {
            [] => {
                access.unit_variant()?;
                Vec::new()
            }
            [one] => vec![access.newtype_variant_seed(Seed(one))?],
            parts => match access.tuple_variant(parts.len(), Parts::Tuple(parts))? {
                Dyn::Tuple(values) => values,
                _ => return Err(serde::de::Error::custom("no tuple")),
            },
        };
        Ok(Dyn::Enum(names, chosen, payload))
    }
}

impl Serialize for KeyValue {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => text.serialize(s),
            Self::Number(number) => number.serialize(s),
            Self::Bool(is) => is.serialize(s),
            Self::Pair(a, b) => (a, b).serialize(s),
            Self::Bytes(bytes) => bytes.serialize(s),
        }
    }
}

impl Serialize for Dyn {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unit => ().serialize(s),
            Self::Bool(is) => is.serialize(s),
            Self::U8(number) => number.serialize(s),
            Self::U64(number) => number.serialize(s),
            Self::I128(number) => number.serialize(s),
            Self::F64(bits) => f64::from_bits(*bits).serialize(s),
            Self::Char(c) => c.serialize(s),
            Self::Text(text) => text.serialize(s),
            Self::Option(None) => s.serialize_none(),
            Self::Option(Some(inner)) => s.serialize_some(inner),
            Self::Seq(values) => {
                let mut seq = s.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| seq.serialize_element(value))?;
                seq.end()
            }
            Self::Map(entries) => {
                let mut map = s.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
            Self::Tuple(values) => {
                let mut tuple = s.serialize_tuple(values.len())?;
                values.iter().try_for_each(|value| tuple.serialize_element(value))?;
                tuple.end()
            }
            Self::Newtype(name, inner) => s.serialize_newtype_struct(name, inner),
            Self::Struct(names, values) => {
                let mut fields = s.serialize_struct(names.of, values.len())?;
                let mut all = names.parts.iter().zip(values);
                all.try_for_each(|(name, value)| fields.serialize_field(name, value))?;
                fields.end()
            }
            Self::Enum(names, chosen, payload) => {
                let (index, variant) = (u32::try_from(*chosen).unwrap(), names.parts[*chosen]);
                match payload.as_slice() {
                    [] => s.serialize_unit_variant(names.of, index, variant),
                    [one] => s.serialize_newtype_variant(names.of, index, variant, one),
                    values => {
                        let mut parts = s.serialize_tuple_variant(names.of, index, variant, values.len())?;
                        values.iter().try_for_each(|value| parts.serialize_field(value))?;
                        parts.end()
                    }
                }
            }
            Self::Internal(inner) => inner.serialize(s),
            Self::Adjacent(inner) => inner.serialize(s),
            Self::Untagged(inner) => inner.serialize(s),
            Self::Flat(inner) => inner.serialize(s),
            Self::Skipping(inner) => inner.serialize(s),
            Self::Shifted(inner) => inner.serialize(s),
            Self::Defaulted(inner) => inner.serialize(s),
        }
    }
}

/// Names that nothing else has, so that types are as different as those of a program.
fn names(parts: usize) -> Names {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let leak = |name: String| -> &'static str { Box::leak(name.into_boxed_str()) };
    let parts: Vec<&'static str> = (0..parts).map(|part| leak(format!("p{number}_{part}"))).collect();
    Names { of: leak(format!("T{number}")), parts: Box::leak(parts.into_boxed_slice()) }
}

/// Schemas of every kind.
pub(crate) fn schemas() -> impl Strategy<Value = Schema> {
    let leaf = prop_oneof![
        Just(Schema::Unit),
        Just(Schema::Bool),
        Just(Schema::U8),
        Just(Schema::U64),
        Just(Schema::I128),
        Just(Schema::F64),
        Just(Schema::Char),
        Just(Schema::Text),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let key = prop_oneof![
            3 => Just(Key::Text), 2 => Just(Key::Number), 1 => Just(Key::Bool), 1 => Just(Key::Pair),
            1 => Just(Key::Bytes),
        ];
        let plain = prop_oneof![
            boxed.clone().prop_map(Schema::Option),
            boxed.clone().prop_map(Schema::Seq),
            (key, boxed.clone()).prop_map(|(key, value)| Schema::Map(key, value)),
            vec(inner.clone(), 2..4).prop_map(Schema::Tuple),
            boxed.clone().prop_map(|inner| Schema::Newtype(names(0).of, inner)),
            vec(inner.clone(), 0..4).prop_map(|parts| Schema::Struct(names(parts.len()), parts)),
            vec(vec(inner, 0..3), 1..4).prop_map(|variants| Schema::Enum(names(variants.len()), variants)),
            boxed.clone().prop_map(Schema::Defaulted),
        ];
        let special = prop_oneof![
            boxed.clone().prop_map(Schema::Internal),
            boxed.clone().prop_map(Schema::Adjacent),
            boxed.clone().prop_map(Schema::Untagged),
            boxed.clone().prop_map(Schema::Flat),
            boxed.clone().prop_map(Schema::Skipping),
            boxed.prop_map(Schema::Shifted),
        ];
        prop_oneof![5 => plain, 1 => special]
    })
}

/// Values of `schema`.
#[allow(clippy::too_many_lines, reason = "one arm for each kind")]
pub(crate) fn values(schema: &Schema) -> BoxedStrategy<Dyn> {
    let boxed = |inner: &Schema| values(inner).prop_map(Box::new);
    let each = |parts: &[Schema]| parts.iter().map(values).collect::<Vec<_>>();
    match schema {
        Schema::Unit => Just(Dyn::Unit).boxed(),
        Schema::Bool => any::<bool>().prop_map(Dyn::Bool).boxed(),
        Schema::U8 => any::<u8>().prop_map(Dyn::U8).boxed(),
        Schema::U64 => prop_oneof![any::<u64>(), 0..3_u64, Just(u64::MAX)].prop_map(Dyn::U64).boxed(),
        Schema::I128 => prop_oneof![any::<i128>(), -3..3_i128].prop_map(Dyn::I128).boxed(),
        Schema::F64 => prop_oneof![
            8 => any::<f64>(), 4 => -2.0..2.0, 1 => Just(f64::NAN), 1 => Just(f64::INFINITY), 1 => Just(-0.0),
        ]
        .prop_map(|float: f64| Dyn::F64(float.to_bits()))
        .boxed(),
        Schema::Char => any::<char>().prop_map(Dyn::Char).boxed(),
        Schema::Text => ".{0,6}".prop_map(Dyn::Text).boxed(),
        Schema::Option(inner) => proptest::option::of(boxed(inner)).prop_map(Dyn::Option).boxed(),
        Schema::Seq(inner) => vec(values(inner), 0..4).prop_map(Dyn::Seq).boxed(),
        Schema::Map(key, value) => {
            let key = match key {
                Key::Text => ".{0,4}".prop_map(KeyValue::Text).boxed(),
                Key::Number => any::<i16>().prop_map(KeyValue::Number).boxed(),
                Key::Bool => any::<bool>().prop_map(KeyValue::Bool).boxed(),
                Key::Pair => any::<(u8, bool)>().prop_map(|(a, b)| KeyValue::Pair(a, b)).boxed(),
                Key::Bytes => any::<Vec<u8>>().prop_map(KeyValue::Bytes).boxed(),
            };
            let map = proptest::collection::btree_map(key, values(value), 0..4);
            map.prop_map(|map| Dyn::Map(map.into_iter().collect())).boxed()
        }
        Schema::Tuple(parts) => each(parts).prop_map(Dyn::Tuple).boxed(),
        Schema::Newtype(name, inner) => {
            let name = *name;
            boxed(inner).prop_map(move |inner| Dyn::Newtype(name, inner)).boxed()
        }
        Schema::Struct(names, parts) => {
            let names = *names;
            each(parts).prop_map(move |values| Dyn::Struct(names, values)).boxed()
        }
        Schema::Enum(names, variants) => {
            let names = *names;
            let variants = variants.iter().enumerate().map(|(chosen, parts)| {
                each(parts).prop_map(move |payload| Dyn::Enum(names, chosen, payload)).boxed()
            });
            proptest::strategy::Union::new(variants).boxed()
        }
        Schema::Internal(inner) => special(inner, |x| Internal::A { x }, vec![Internal::B], Dyn::Internal),
        Schema::Adjacent(inner) => {
            let (a, b) = (values(inner), values(inner));
            let variants =
                prop_oneof![a.prop_map(Adjacent::A), b.prop_map(|y| Adjacent::B { y }), Just(Adjacent::C),];
            variants.prop_map(|value| Dyn::Adjacent(Box::new(value))).boxed()
        }
        Schema::Untagged(inner) => special(
            inner,
            |left| Untagged::Pair { left, right: true },
            vec![Untagged::Text("pair".to_owned())],
            Dyn::Untagged,
        ),
        Schema::Flat(inner) => {
            special(inner, |inner| Flat { id: 7, rest: Rest { inner } }, Vec::new(), Dyn::Flat)
        }
        Schema::Skipping(inner) => special(
            inner,
            |value| Skipping { maybe: Some(value), after: 1 },
            vec![Skipping { maybe: None, after: 2 }],
            Dyn::Skipping,
        ),
        Schema::Shifted(inner) => {
            special(inner, Shifted::C, vec![Shifted::A, Shifted::D, Shifted::E], Dyn::Shifted)
        }
        Schema::Defaulted(inner) => {
            special(inner, |of| Defaulted { number: 3, nothing: (), of }, Vec::new(), Dyn::Defaulted)
        }
    }
}

fn special<T: Clone + fmt::Debug + 'static>(
    inner: &Schema,
    with: fn(Dyn) -> T,
    without: Vec<T>,
    wrap: fn(Box<T>) -> Dyn,
) -> BoxedStrategy<Dyn> {
    let with = values(inner).prop_map(move |value| wrap(Box::new(with(value))));
    if without.is_empty() {
        return with.boxed();
    }
    let without = proptest::sample::select(without).prop_map(move |value| wrap(Box::new(value)));
    prop_oneof![2 => with, 1 => without].boxed()
}

impl Schema {
    fn inner(&self) -> Vec<&Self> {
        match self {
            Self::Option(inner)
            | Self::Seq(inner)
            | Self::Map(_, inner)
            | Self::Newtype(_, inner)
            | Self::Internal(inner)
            | Self::Adjacent(inner)
            | Self::Untagged(inner)
            | Self::Flat(inner)
            | Self::Skipping(inner)
            | Self::Shifted(inner)
            | Self::Defaulted(inner) => vec![inner],
            Self::Tuple(parts) | Self::Struct(_, parts) => parts.iter().collect(),
            Self::Enum(_, variants) => variants.iter().flatten().collect(),
            _ => Vec::new(),
        }
    }

    fn has(&self, what: &dyn Fn(&Self) -> bool) -> bool {
        what(self) || self.inner().into_iter().any(|inner| inner.has(what))
    }

    /// Whether serde looks at the data, skips or shifts.
    pub(crate) fn is_special(&self) -> bool {
        self.has(&|schema| {
            matches!(
                schema,
                Self::Internal(_)
                    | Self::Adjacent(_)
                    | Self::Untagged(_)
                    | Self::Flat(_)
                    | Self::Skipping(_)
                    | Self::Shifted(_)
            )
        })
    }

    /// Whether a layout without names cannot hold it.
    pub(crate) fn needs_names(&self) -> bool {
        self.has(&|schema| {
            matches!(
                schema,
                Self::Internal(_) | Self::Untagged(_) | Self::Flat(_) | Self::Skipping(_) | Self::Shifted(_)
            )
        })
    }

    /// Whether JSON can hold all of its values: no floats, nothing that is absent twice, and no keys that are not texts.
    pub(crate) fn suits_json(&self) -> bool {
        !self.has(&|schema| match schema {
            Self::F64 | Self::Map(Key::Pair | Key::Bytes, _) => true,
            Self::Option(inner) => inner.may_be_null(),
            _ => false,
        })
    }

    fn may_be_null(&self) -> bool {
        match self {
            Self::Unit | Self::Option(_) => true,
            Self::Newtype(_, inner) => inner.may_be_null(),
            _ => false,
        }
    }
}
