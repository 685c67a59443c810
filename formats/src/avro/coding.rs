//! A schema together with what reads and writes its bytes, prepared once.

use super::schema::{fingerprint, full_name, layout};
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use millpond_engine::codec::CodecError;
use millpond_engine::{Error, Result};
use std::fmt;

struct Handles<'s> {
    reader: GenericDatumReader<'s>,
    writer: GenericDatumWriter<'s>,
}

self_cell::self_cell!(
    struct Cell {
        owner: Schema,
        #[covariant]
        dependent: Handles,
    }
);

/// A schema, ready to be read and written.
pub(super) struct Coding {
    cell: Cell,
    /// As it is registered.
    pub(super) text: String,
    pub(super) name: Option<String>,
}

impl fmt::Debug for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coding").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Coding {
    /// `text` is how the schema is registered; what the library makes of it unless it is given.
    pub(super) fn new(schema: Schema, text: Option<&str>) -> Result<Self> {
        let written = serde_json::to_string(&schema)
            .map_err(|error| Error::invalid("the Avro schema has no JSON form").with_source(error));
        let text = text.map_or(written, |text| Ok(text.to_owned()))?;
        let name = full_name(&schema);
        let cell = Cell::try_new(schema, |schema| {
            let reader = GenericDatumReader::builder(schema).human_readable(false).build()?;
            let writer = GenericDatumWriter::builder(schema).human_readable(false).build()?;
            Ok::<_, apache_avro::Error>(Handles { reader, writer })
        });
        let cell =
            cell.map_err(|error| Error::invalid(format!("the Avro schema does not hold together: {error}")))?;
        Ok(Self { cell, text, name })
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let schema = Schema::parse_str(text)
            .map_err(|error| Error::invalid(format!("the Avro schema is none: {error}")))?;
        Self::new(schema, Some(text))
    }

    pub(super) fn schema(&self) -> &Schema {
        self.cell.borrow_owner()
    }

    pub(super) fn reader(&self) -> &GenericDatumReader<'_> {
        &self.cell.borrow_dependent().reader
    }

    pub(super) fn writer(&self) -> &GenericDatumWriter<'_> {
        &self.cell.borrow_dependent().writer
    }

    /// What it is called where it may change as Avro lets it.
    pub(super) fn told(&self) -> String {
        match &self.name {
            Some(name) => format!("avro {name}"),
            None => format!("avro {}", self.schema().canonical_form()),
        }
    }

    /// What it is called where any change would make it another one.
    pub(super) fn told_exactly(&self) -> String {
        let layout = layout(self.schema());
        format!(
            "{} {:016x}",
            self.name.as_deref().map_or_else(|| "avro".to_owned(), |name| format!("avro {name}")),
            fingerprint(&layout)
        )
    }
}

/// How much of an error is shown of its beginning and of its end, in bytes: whole schemas stand in between.
const SHOWN: usize = 300;

/// An error of the library as one of a codec.
pub(super) fn refused(error: &apache_avro::Error) -> CodecError {
    let told = error.to_string();
    let begins = told.char_indices().map(|(start, _)| start).take_while(|start| *start <= SHOWN).last();
    let ends = told.char_indices().map(|(start, _)| start).find(|start| start + SHOWN >= told.len());
    match (begins, ends) {
        (Some(begins), Some(ends)) if begins < ends => {
            let shown = |part: Option<&str>| part.unwrap_or_default().to_owned();
            CodecError::new(format!("{} … {}", shown(told.get(..begins)), shown(told.get(ends..))))
        }
        _ => CodecError::new(told),
    }
}
