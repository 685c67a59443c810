//! Whether a graph's table can go on with, or at least be read from, the rows of a stored one.
//!
//! Types are compared by their shapes. Entries of 0.1 know the name of the type only: under the same version that must
//! do, once; but rows of an older version are read by no type whose name does not say what it is.

use crate::codec::is_told_by_its_name;
use crate::graph::TableSpec;
use crate::store::layout::{self, CatalogueEntry, Types};
use crate::{Error, Result};

/// Whether the rows of `entry` have the types of `spec`. What the table is for does not matter to its readers: a fold
/// may become a join and still answer meanwhile.
pub(super) fn can_read(entry: &CatalogueEntry, spec: &TableSpec) -> bool {
    let known = match entry.types {
        Types::Names => is_told_by_its_name(&spec.value_name),
        Types::Shapes => !spec.value_shape.node().has_gaps(),
    };
    known && types_differ(entry, spec).is_none() && entry.row_format == layout::ROW_FORMAT
}

/// What differs between the types and the codec of `entry` and of `spec`.
fn types_differ(entry: &CatalogueEntry, spec: &TableSpec) -> Option<String> {
    let exact = |what: &str, stored: &str, wanted: &str| {
        (stored != wanted).then(|| format!("{what} `{stored}`, the graph has `{wanted}`"))
    };
    let codec = || exact("value codec", &entry.value_codec, spec.value_codec);
    match entry.types {
        Types::Names => exact("key type", &entry.key_schema, &spec.key_schema)
            .or_else(codec)
            .or_else(|| exact("value type", &entry.value_schema, &spec.value_name)),
        Types::Shapes => exact("key type", &entry.key_schema, &spec.key_shape).or_else(codec).or_else(|| {
            let differs = spec.value_shape.difference_from(&entry.value_schema)?;
            Some(format!("another value type than the graph: {differs}"))
        }),
    }
}

/// Whether `spec` can go on with the table of `entry`.
///
/// # Errors
/// `Invalid` or `Corrupt`, saying what differs and what to do.
pub(super) fn unchanged(entry: &CatalogueEntry, spec: &TableSpec) -> Result<()> {
    let kind =
        (entry.kind != spec.kind).then(|| format!("kind `{}`, the graph has `{}`", entry.kind, spec.kind));
    if let Some(differs) = kind.or_else(|| types_differ(entry, spec)) {
        return Err(Error::invalid(format!(
            "the state holds table `{}` with {differs}; go back to the former, or raise the table's version (`TableOptions::version`) to rebuild it \
             from the changelog",
            spec.name
        )));
    }
    // Whoever says nothing of its fold is trusted.
    if let Some((before, now)) = entry.fold_id.difference(&spec.fold_id) {
        return Err(Error::invalid(format!(
            "the rows of table `{}` were written by the fold `{before}`, the graph has `{now}`: half of them would be what the one makes of \
             records and half what the other does. Raise the table's version (`TableOptions::version`) to rebuild it from the \
             changelog; or go back to the former one",
            spec.name
        )));
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
