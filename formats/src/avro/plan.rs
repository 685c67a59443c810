//! Plans: how bytes of a writer's schema become those of a reader's, by the rules of schema resolution.
//!
//! A plan is made once for each pair of schemas, when the writer's was fetched, and then followed for every value
//! ([`transcode`](super::transcode)). So no value is looked up by name, and which branch of a union is meant stands in its bytes:
//! it is not guessed from what the branch holds. What does not match is found when a value needs it, as Avro has it:
//! a branch that cannot be read fails those values that are of it.

use super::defaults;
use super::matching::{Fit, fit};
use super::schema::{Base, Names, Placed, layout};
use apache_avro::Schema;
use apache_avro::schema::{EnumSchema, RecordField, RecordSchema, UnionSchema};
use std::collections::HashMap;

/// A step of a plan, by its number.
pub(super) type Step = usize;

/// What to do with the next bytes.
#[derive(Debug)]
pub(super) enum Node {
    /// So many bytes as they are.
    Copy(usize),
    Boolean,
    Int,
    Long,
    LongToFloat,
    LongToDouble,
    FloatToDouble,
    /// A length and so many bytes.
    Bytes,
    Text,
    /// The number of the reader's symbol, for each of the writer's.
    Enum(Vec<Result<i64, String>>),
    Array(Step),
    Map(Step),
    Record(Vec<Field>),
    /// Fields whose order is another one: what the writer's become, and where the reader's come from.
    Shuffled {
        read: Vec<(Step, bool)>,
        put: Vec<Origin>,
    },
    /// What the branches of the writer's union become.
    FromUnion(Vec<Step>),
    /// A branch of the reader's union.
    IntoUnion(i64, Step),
    /// What cannot be read, and why.
    Refused(String),
}

/// A field in the order of the writer's, or a default between them.
#[derive(Debug)]
pub(super) enum Field {
    Read(Step),
    Skip(Step),
    Default(Vec<u8>),
}

#[derive(Debug)]
pub(super) enum Origin {
    /// The writer's field with this number.
    Field(usize),
    Default(Vec<u8>),
}

/// How values of one schema are read as another.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Step,
    /// Whether the bytes stay what they are.
    pub(super) identity: bool,
}

impl Plan {
    /// Reads what was written as `writer`, which may refer to types of `others`, as `reader`.
    pub(crate) fn new(writer: &Schema, others: &[Schema], reader: &Schema, any_names: bool) -> Self {
        let mut planner = Planner {
            writers: Names::of(std::iter::once(writer).chain(others)),
            readers: Names::of([reader]),
            nodes: Vec::new(),
            known: HashMap::new(),
            any_names,
        };
        let root = planner.plan(Placed::root(writer), Placed::root(reader));
        let identity = others.is_empty() && layout(writer) == layout(reader);
        Self { nodes: planner.nodes, root, identity }
    }

    /// Reads what was written as `schema` as that.
    pub(crate) fn identity(schema: &Schema) -> Self {
        Self { identity: true, ..Self::new(schema, &[], schema, false) }
    }
}

struct Planner<'s> {
    writers: Names<'s>,
    readers: Names<'s>,
    nodes: Vec<Node>,
    /// Records that were met, by the names of both: they may hold themselves.
    known: HashMap<(String, String), Step>,
    any_names: bool,
}

impl<'s> Planner<'s> {
    fn add(&mut self, node: Node) -> Step {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn refuse(&mut self, writer: &Placed<'_>, reader: &Placed<'_>) -> Step {
        self.add(Node::Refused(format!(
            "it was written as {} and cannot be read as {}",
            writer.told(),
            reader.told()
        )))
    }

    fn plan(&mut self, writer: Placed<'s>, reader: Placed<'s>) -> Step {
        let (writer, reader) = match (self.writers.follow(writer), self.readers.follow(reader)) {
            (Ok(writer), Ok(reader)) => (writer, reader),
            (Err(error), _) | (_, Err(error)) => return self.add(Node::Refused(error)),
        };
        if let Base::Union(union) = writer.base() {
            let branches =
                union.variants().iter().map(|branch| self.plan(writer.inner(branch), reader.clone()));
            let branches = branches.collect();
            return self.add(Node::FromUnion(branches));
        }
        if let Base::Union(union) = reader.base() {
            return self.reader_branch(writer, &reader, union);
        }
        if fit(&writer, &reader, self.any_names) == Fit::Not {
            return self.refuse(&writer, &reader);
        }
        match (writer.base(), reader.base()) {
            (Base::Null, _) => self.add(Node::Copy(0)),
            (Base::Boolean, _) => self.add(Node::Boolean),
            (Base::Int, Base::Int | Base::Long) => self.add(Node::Int),
            (Base::Long, Base::Long) => self.add(Node::Long),
            (Base::Int | Base::Long, Base::Float) => self.add(Node::LongToFloat),
            (Base::Int | Base::Long, _) => self.add(Node::LongToDouble),
            (Base::Float, Base::Float) => self.add(Node::Copy(4)),
            (Base::Float, _) => self.add(Node::FloatToDouble),
            (Base::Double, _) => self.add(Node::Copy(8)),
            (Base::Bytes | Base::String, Base::String) => self.add(Node::Text),
            (Base::Bytes | Base::String, _) => self.add(Node::Bytes),
            (Base::Fixed(fixed), _) => self.add(Node::Copy(fixed.size)),
            (Base::Enum(w), Base::Enum(r)) => {
                let symbols = symbols(w, r);
                self.add(Node::Enum(symbols))
            }
            (Base::Array(w), Base::Array(r)) => {
                let items = self.plan(writer.inner(w), reader.inner(r));
                self.add(Node::Array(items))
            }
            (Base::Map(w), Base::Map(r)) => {
                let values = self.plan(writer.inner(w), reader.inner(r));
                self.add(Node::Map(values))
            }
            (Base::Record(w), Base::Record(r)) => self.record(&writer, w, &reader, r),
            _ => self.refuse(&writer, &reader),
        }
    }

    /// The best branch for what the writer has written, of those as good the first.
    fn reader_branch(&mut self, writer: Placed<'s>, reader: &Placed<'s>, union: &'s UnionSchema) -> Step {
        let mut best: Option<(Fit, usize, Placed<'s>)> = None;
        for (number, branch) in union.variants().iter().enumerate() {
            let branch = match self.readers.follow(reader.inner(branch)) {
                Ok(branch) => branch,
                Err(error) => return self.add(Node::Refused(error)),
            };
            let fit = fit(&writer, &branch, self.any_names);
            if fit > best.as_ref().map_or(Fit::Not, |(fit, ..)| *fit) {
                best = Some((fit, number, branch));
            }
        }
        let Some((_, number, branch)) = best else { return self.refuse(&writer, reader) };
        let step = self.plan(writer, branch);
        self.add(Node::IntoUnion(i64::try_from(number).unwrap_or(i64::MAX), step))
    }

    fn record(
        &mut self,
        writer: &Placed<'s>,
        w: &'s RecordSchema,
        reader: &Placed<'s>,
        r: &'s RecordSchema,
    ) -> Step {
        let key = (writer.full(&w.name), reader.full(&r.name));
        if let Some(&step) = self.known.get(&key) {
            return step;
        }
        // A place for it first, to which it may refer itself.
        let step = self.add(Node::Copy(0));
        self.known.insert(key, step);
        let node = self.fields(writer, w, reader, r).unwrap_or_else(Node::Refused);
        if let Some(place) = self.nodes.get_mut(step) {
            *place = node;
        }
        step
    }

    fn fields(
        &mut self,
        writer: &Placed<'s>,
        w: &'s RecordSchema,
        reader: &Placed<'s>,
        r: &'s RecordSchema,
    ) -> Result<Node, String> {
        let mut origins = Vec::with_capacity(r.fields.len());
        for field in &r.fields {
            origins.push(match written_as(field, w) {
                Some(number) => Origin::Field(number),
                None => Origin::Default(self.default(reader, r, field)?),
            });
        }
        let taken: Vec<usize> = origins
            .iter()
            .filter_map(|origin| match origin {
                Origin::Field(number) => Some(*number),
                Origin::Default(_) => None,
            })
            .collect();
        let mut read = Vec::with_capacity(w.fields.len());
        for (number, field) in w.fields.iter().enumerate() {
            let wanted =
                origins.iter().position(|origin| matches!(origin, Origin::Field(taken) if *taken == number));
            let wanted = wanted.and_then(|index| r.fields.get(index));
            let from = writer.inner(&field.schema);
            read.push(match wanted {
                Some(wanted) => (self.plan(from, reader.inner(&wanted.schema)), true),
                None => (self.skip(from), false),
            });
        }
        if !taken.is_sorted_by(|a, b| a < b) {
            let mut once = taken.clone();
            once.sort_unstable();
            once.dedup();
            if once.len() < taken.len() {
                return Err(format!("two fields of {} are to be read from one, by an alias", reader.told()));
            }
            return Ok(Node::Shuffled { read, put: origins });
        }
        Ok(Node::Record(in_order(read, origins)))
    }

    /// Passes over what was written as `writer`: it is read as itself, and nothing is made of it.
    fn skip(&mut self, writer: Placed<'s>) -> Step {
        let writer = match self.writers.follow(writer) {
            Ok(writer) => writer,
            Err(error) => return self.add(Node::Refused(error)),
        };
        match writer.base() {
            Base::Null => self.add(Node::Copy(0)),
            Base::Boolean => self.add(Node::Boolean),
            Base::Int => self.add(Node::Int),
            Base::Long => self.add(Node::Long),
            Base::Float => self.add(Node::Copy(4)),
            Base::Double => self.add(Node::Copy(8)),
            Base::Bytes | Base::String => self.add(Node::Bytes),
            Base::Fixed(fixed) => self.add(Node::Copy(fixed.size)),
            Base::Enum(symbols) => {
                let numbers = (0_i64..).take(symbols.symbols.len()).map(Ok).collect();
                self.add(Node::Enum(numbers))
            }
            Base::Array(inner) => {
                let items = self.skip(writer.inner(inner));
                self.add(Node::Array(items))
            }
            Base::Map(inner) => {
                let values = self.skip(writer.inner(inner));
                self.add(Node::Map(values))
            }
            Base::Union(union) => {
                let branches =
                    union.variants().iter().map(|branch| self.skip(writer.inner(branch))).collect();
                self.add(Node::FromUnion(branches))
            }
            Base::Record(record) => {
                // No reader has a record without a name.
                let key = (writer.full(&record.name), String::new());
                if let Some(&step) = self.known.get(&key) {
                    return step;
                }
                let step = self.add(Node::Copy(0));
                self.known.insert(key, step);
                let fields =
                    record.fields.iter().map(|field| Field::Skip(self.skip(writer.inner(&field.schema))));
                let node = Node::Record(fields.collect());
                if let Some(place) = self.nodes.get_mut(step) {
                    *place = node;
                }
                step
            }
            Base::Ref(name) => {
                let told = format!("the schema refers to `{}` in a circle", writer.full(name));
                self.add(Node::Refused(told))
            }
        }
    }

    fn default(
        &self,
        reader: &Placed<'s>,
        record: &RecordSchema,
        field: &'s RecordField,
    ) -> Result<Vec<u8>, String> {
        let name = &field.name;
        let Some(default) = &field.default else {
            let record = reader.full(&record.name);
            return Err(format!(
                "field `{name}` of `{record}` was not written, and has no default to be read instead"
            ));
        };
        let mut bytes = Vec::new();
        defaults::encode(default, reader.inner(&field.schema), &self.readers, &mut bytes)
            .map_err(|error| format!("the default of field `{name}` is not one of its schema: {error}"))?;
        Ok(bytes)
    }
}

/// Which of the writer's fields a field is read from: the one of its name, or of one of its aliases.
fn written_as(field: &RecordField, writer: &RecordSchema) -> Option<usize> {
    let find = |name: &str| writer.fields.iter().position(|written| written.name == name);
    find(&field.name).or_else(|| field.aliases.iter().find_map(|alias| find(alias)))
}

/// The fields in the order of the writer's, which is that of the reader's.
fn in_order(read: Vec<(Step, bool)>, origins: Vec<Origin>) -> Vec<Field> {
    let mut fields = Vec::with_capacity(read.len() + origins.len());
    let mut origins = origins.into_iter().peekable();
    for (step, wanted) in read {
        if !wanted {
            fields.push(Field::Skip(step));
            continue;
        }
        while let Some(Origin::Default(bytes)) =
            origins.next_if(|origin| matches!(origin, Origin::Default(_)))
        {
            fields.push(Field::Default(bytes));
        }
        origins.next();
        fields.push(Field::Read(step));
    }
    for origin in origins {
        if let Origin::Default(bytes) = origin {
            fields.push(Field::Default(bytes));
        }
    }
    fields
}

fn symbols(writer: &EnumSchema, reader: &EnumSchema) -> Vec<Result<i64, String>> {
    let number = |symbol: &String| {
        let number = reader.symbols.iter().position(|known| known == symbol)?;
        i64::try_from(number).ok()
    };
    let default = reader.default.as_ref().and_then(number);
    let read = |symbol: &String| {
        number(symbol).or(default).ok_or_else(|| {
            format!("`{symbol}` is no symbol of enum `{}`, which has no default", reader.name.name())
        })
    };
    writer.symbols.iter().map(read).collect()
}
