//! Whether a graph's table can go on with, or at least be read from, the rows of a stored one.

use crate::graph::TableSpec;
use crate::store::layout::{self, CatalogueEntry};
use crate::{Error, Result};

/// Whether the rows of `entry` have the types of `spec`. What the table is for does not matter to its readers: a fold
/// may become a join and still answer meanwhile.
pub(super) fn can_read(entry: &CatalogueEntry, spec: &TableSpec) -> bool {
    entry.key_schema == spec.key_schema
        && entry.value_codec == spec.value_codec
        && entry.value_schema == spec.value_schema
        && entry.row_format == layout::ROW_FORMAT
}

/// Whether `spec` can go on with the table of `entry`.
///
/// # Errors
/// `Invalid` or `Corrupt`, saying what differs and what to do.
pub(super) fn unchanged(entry: &CatalogueEntry, spec: &TableSpec) -> Result<()> {
    let stored = [&entry.kind, &entry.key_schema, &entry.value_codec, &entry.value_schema];
    let wanted = [spec.kind, &spec.key_schema, spec.value_codec, &spec.value_schema];
    let names = ["kind", "key type", "value codec", "value type"];
    for ((name, stored), wanted) in names.iter().zip(stored).zip(wanted) {
        if stored != wanted {
            return Err(Error::invalid(format!(
                "the state holds table `{}` with {name} `{stored}`, the graph has `{wanted}`; go back to the former, or \
                 raise the table's version to rebuild it from the changelog",
                spec.name
            )));
        }
    }
    if entry.row_format != layout::ROW_FORMAT {
        return Err(Error::corrupt(format!(
            "table `{}` has rows of format {}, this build reads {}; raise its version to rebuild it",
            spec.name,
            entry.row_format,
            layout::ROW_FORMAT
        )));
    }
    Ok(())
}
