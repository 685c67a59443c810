//! What the state knows of its tables, and how that is stored.

use super::TableId;
use super::frame::{FrameReader, FrameWriter};
use crate::Result;

/// The format of entries that know the type of the values by its name: those of 0.1.
const NAMES: u8 = 1;

/// The format of entries that know the shapes of keys and values.
const SHAPES: u8 = 2;

/// The format of entries that know, beside that, which fold wrote the rows.
const FOLDS: u8 = 3;

/// How an entry knows the types of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Types {
    /// Keys by their layout, values by the name of their type.
    Names,
    /// Both by their shapes.
    Shapes,
}

/// How far a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TableStage {
    /// Its rows do not yet include everything up to the main group's position.
    Building,
    /// It answers queries.
    Ready,
    /// It answers queries while its successor is built, and is not kept up to date any more.
    Former,
    /// It is gone; its id stays reserved.
    Retired,
}

/// What the state knows of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CatalogueEntry {
    /// The user's name for it.
    pub(crate) name: String,
    /// What its rows begin with.
    pub(crate) id: TableId,
    /// What it is, such as `table` or `index`.
    pub(crate) kind: String,
    /// The user's version; raising it rebuilds the table.
    pub(crate) version: u32,
    /// How its types are known.
    pub(crate) types: Types,
    /// What its keys are.
    pub(crate) key_schema: String,
    /// The id of the codec of its values.
    pub(crate) value_codec: String,
    /// What its values are.
    pub(crate) value_schema: String,
    /// The group whose position its rows stand at.
    pub(crate) group: u16,
    /// How far it is.
    pub(crate) state: TableStage,
    /// How its rows are written, [`ROW_FORMAT`](super::ROW_FORMAT).
    pub(crate) row_format: u16,
    /// The fold that writes it.
    pub(crate) fold_id: FoldId,
}

/// What is known of the fold that writes a table, so that another one is not taken for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FoldId {
    /// What the operator knows of itself, such as `top_k(5)`; empty if its meaning lies in closures alone.
    pub(crate) operator: String,
    /// What the user calls it; empty if nothing was said.
    pub(crate) said: String,
}

impl FoldId {
    /// Stands between the two parts where there are both.
    pub(crate) const SEPARATOR: char = '\u{1f}';

    pub(crate) fn is_empty(&self) -> bool {
        self.operator.is_empty() && self.said.is_empty()
    }

    /// What differs, if it is another fold: its parts here and there. A part of which nothing is said agrees with all.
    pub(crate) fn difference<'f>(&'f self, other: &'f Self) -> Option<(&'f str, &'f str)> {
        [(&*self.operator, &*other.operator), (&*self.said, &*other.said)]
            .into_iter()
            .find(|(here, there)| !here.is_empty() && !there.is_empty() && here != there)
    }

    /// Takes over what is said here for the first time. Whether that is anything.
    pub(crate) fn learn(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (known, said) in [(&mut self.operator, &other.operator), (&mut self.said, &other.said)] {
            if !said.is_empty() {
                known.clone_from(said);
            }
        }
        *self != before
    }

    fn to_text(&self) -> String {
        let Self { operator, said } = self;
        // Without an operator the text stands alone, as it did before operators were told.
        if operator.is_empty() && !said.contains(Self::SEPARATOR) {
            said.clone()
        } else {
            format!("{operator}{}{said}", Self::SEPARATOR)
        }
    }

    fn from_text(text: &str) -> Self {
        let (operator, said) = text.split_once(Self::SEPARATOR).unwrap_or(("", text));
        Self { operator: operator.to_owned(), said: said.to_owned() }
    }
}

/// The stored form of a catalogue entry.
pub(crate) fn encode_catalogue_entry(entry: &CatalogueEntry) -> Vec<u8> {
    let mut frame = FrameWriter::new(match entry.types {
        Types::Names => NAMES,
        Types::Shapes if entry.fold_id.is_empty() => SHAPES,
        Types::Shapes => FOLDS,
    });
    frame.number(u64::from(entry.id.raw()));
    frame.number(match entry.state {
        TableStage::Building => 0,
        TableStage::Ready => 1,
        TableStage::Retired => 2,
        TableStage::Former => 3,
    });
    frame.number(u64::from(entry.group));
    frame.number(u64::from(entry.version));
    frame.number(u64::from(entry.row_format));
    for field in [&entry.name, &entry.kind, &entry.key_schema, &entry.value_codec, &entry.value_schema] {
        frame.string(field);
    }
    if entry.types == Types::Shapes && !entry.fold_id.is_empty() {
        frame.string(&entry.fold_id.to_text());
    }
    frame.finish()
}

/// The entry that [`encode_catalogue_entry`] stored.
pub(crate) fn decode_catalogue_entry(stored: &[u8]) -> Result<CatalogueEntry> {
    let (format, mut fields) =
        FrameReader::open_one_of("a catalogue entry", &[NAMES, SHAPES, FOLDS], stored)?;
    let types = if format == NAMES { Types::Names } else { Types::Shapes };
    let id = TableId::new(fields.number_as()?).ok_or_else(|| fields.damaged("no such table id"))?;
    let state = match fields.number()? {
        0 => TableStage::Building,
        1 => TableStage::Ready,
        2 => TableStage::Retired,
        3 => TableStage::Former,
        _ => return Err(fields.damaged("no such table state")),
    };
    // The fields of a struct expression are evaluated in the order they are written in: the stored order.
    let entry = CatalogueEntry {
        id,
        state,
        types,
        group: fields.number_as()?,
        version: fields.number_as()?,
        row_format: fields.number_as()?,
        name: fields.string()?.to_owned(),
        kind: fields.string()?.to_owned(),
        key_schema: fields.string()?.to_owned(),
        value_codec: fields.string()?.to_owned(),
        value_schema: fields.string()?.to_owned(),
        fold_id: if format == FOLDS { FoldId::from_text(fields.string()?) } else { FoldId::default() },
    };
    fields.finish()?;
    Ok(entry)
}

/// Arbitrary fields as a stored catalogue entry whose checksum is right.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed_catalogue_entry(fields: &[u8]) -> Vec<u8> {
    FrameWriter([&[SHAPES], fields].concat()).finish()
}
