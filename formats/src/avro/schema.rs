//! Schemas as resolution sees them: named types by their full names, logical types as what they stand on.

use apache_avro::Schema;
use apache_avro::schema::{
    EnumSchema, FixedSchema, InnerDecimalSchema, Name, RecordSchema, UnionSchema, UuidSchema,
};
use std::collections::HashMap;
use std::fmt::Write;

/// A schema and the namespace that it stands in.
#[derive(Debug, Clone)]
pub(super) struct Placed<'s> {
    pub(super) schema: &'s Schema,
    pub(super) space: Option<String>,
}

impl<'s> Placed<'s> {
    pub(super) fn root(schema: &'s Schema) -> Self {
        Self { schema, space: None }
    }

    pub(super) fn full(&self, name: &Name) -> String {
        name.fullname(self.space.as_deref())
    }

    /// Another schema that stands within this one.
    pub(super) fn inner(&self, schema: &'s Schema) -> Self {
        let space = match self.schema {
            Schema::Record(record) => {
                record.name.fully_qualified_name(self.space.as_deref()).namespace().map(str::to_owned)
            }
            _ => self.space.clone(),
        };
        Self { schema, space }
    }

    pub(super) fn base(&self) -> Base<'s> {
        match self.schema {
            Schema::Null => Base::Null,
            Schema::Boolean => Base::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Base::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Base::Long,
            Schema::Float => Base::Float,
            Schema::Double => Base::Double,
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Base::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Base::String,
            Schema::Array(array) => Base::Array(&array.items),
            Schema::Map(map) => Base::Map(&map.types),
            Schema::Union(union) => Base::Union(union),
            Schema::Record(record) => Base::Record(record),
            Schema::Enum(symbols) => Base::Enum(symbols),
            Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                Base::Fixed(fixed)
            }
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => Base::Bytes,
                InnerDecimalSchema::Fixed(fixed) => Base::Fixed(fixed),
            },
            Schema::Ref { name } => Base::Ref(name),
        }
    }

    /// Precision and scale of a decimal.
    pub(super) fn decimal(&self) -> Option<(usize, usize)> {
        match self.schema {
            Schema::Decimal(decimal) => Some((decimal.precision, decimal.scale)),
            _ => None,
        }
    }

    /// What it is called in messages.
    pub(super) fn told(&self) -> String {
        match self.base() {
            Base::Null => "null".to_owned(),
            Base::Boolean => "boolean".to_owned(),
            Base::Int => "int".to_owned(),
            Base::Long => "long".to_owned(),
            Base::Float => "float".to_owned(),
            Base::Double => "double".to_owned(),
            Base::Bytes => "bytes".to_owned(),
            Base::String => "string".to_owned(),
            Base::Array(_) => "an array".to_owned(),
            Base::Map(_) => "a map".to_owned(),
            Base::Union(_) => "a union".to_owned(),
            Base::Record(record) => format!("record `{}`", self.full(&record.name)),
            Base::Enum(symbols) => format!("enum `{}`", self.full(&symbols.name)),
            Base::Fixed(fixed) => format!("fixed `{}` of {} bytes", self.full(&fixed.name), fixed.size),
            Base::Ref(name) => format!("`{}`", self.full(name)),
        }
    }
}

/// What decides the bytes of a schema.
#[derive(Debug, Clone, Copy)]
pub(super) enum Base<'s> {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Array(&'s Schema),
    Map(&'s Schema),
    Union(&'s UnionSchema),
    Record(&'s RecordSchema),
    Enum(&'s EnumSchema),
    Fixed(&'s FixedSchema),
    Ref(&'s Name),
}

/// The named types of some schemas.
#[derive(Debug, Default)]
pub(super) struct Names<'s>(HashMap<String, Placed<'s>>);

impl<'s> Names<'s> {
    pub(super) fn of(schemas: impl IntoIterator<Item = &'s Schema>) -> Self {
        let mut names = Self::default();
        schemas.into_iter().for_each(|schema| names.add(&Placed::root(schema)));
        names
    }

    fn add(&mut self, placed: &Placed<'s>) {
        let name = match placed.base() {
            Base::Record(record) => &record.name,
            Base::Enum(symbols) => &symbols.name,
            Base::Fixed(fixed) => &fixed.name,
            Base::Array(inner) | Base::Map(inner) => return self.add(&placed.inner(inner)),
            Base::Union(union) => {
                return union.variants().iter().for_each(|branch| self.add(&placed.inner(branch)));
            }
            _ => return,
        };
        let full = placed.full(name);
        if self.0.contains_key(&full) {
            return;
        }
        self.0.insert(full, placed.clone());
        if let Base::Record(record) = placed.base() {
            record.fields.iter().for_each(|field| self.add(&placed.inner(&field.schema)));
        }
    }

    /// What `placed` refers to, if it does.
    ///
    /// # Errors
    /// If there is no such type.
    pub(super) fn follow(&self, placed: Placed<'s>) -> Result<Placed<'s>, String> {
        let Base::Ref(name) = placed.base() else { return Ok(placed) };
        let full = placed.full(name);
        self.0
            .get(&full)
            .cloned()
            .ok_or_else(|| format!("the schema refers to `{full}`, which it does not define"))
    }
}

/// The full name of a schema that has one.
pub(super) fn full_name(schema: &Schema) -> Option<String> {
    schema.name().map(|name| name.fullname(None))
}

/// What tells a layout from others: the canonical form, and the logical types that it leaves out.
pub(super) fn layout(schema: &Schema) -> String {
    let mut layout = schema.canonical_form();
    logical(schema, &mut layout);
    layout
}

fn logical(schema: &Schema, out: &mut String) {
    match schema {
        Schema::Array(array) => logical(&array.items, out),
        Schema::Map(map) => logical(&map.types, out),
        Schema::Union(union) => union.variants().iter().for_each(|branch| logical(branch, out)),
        Schema::Record(record) => record.fields.iter().for_each(|field| logical(&field.schema, out)),
        Schema::Decimal(decimal) => {
            // Writing to a string does not fail.
            _ = write!(out, " decimal({},{})", decimal.precision, decimal.scale);
        }
        Schema::Null
        | Schema::Boolean
        | Schema::Int
        | Schema::Long
        | Schema::Float
        | Schema::Double
        | Schema::Bytes
        | Schema::String
        | Schema::Enum(_)
        | Schema::Fixed(_)
        | Schema::Ref { .. } => {}
        other => _ = write!(out, " {other}"),
    }
}

/// A hash of 64 bits that is the same for ever: FNV-1a.
pub(super) fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
