//! What comes due with an epoch: rows of a table whose keys begin with times, between how far time had come before and how far it has now.
//!
//! One shard reads them, as they were before the epoch, and sends each where its key is: what the running epoch makes is known where it is
//! made, and who writes the table can stand behind. Where the table is built apart, so is whatever would take what is sent.

use millpond_engine::codec::{Key, KeyPrefix, Value};
use millpond_engine::dataflow::{Context, Failure};
use millpond_engine::graph::TableRef;
use millpond_engine::query::Scan;
use std::ops::Range;

/// With what the keys of the rows begin that come due with this epoch, from the first of them to the first behind them: `first` is with
/// what those of the first row begin that is not due where time has come as far as it is told.
pub(crate) fn between<P: PartialOrd>(context: &Context<'_>, first: impl Fn(i64) -> P) -> Range<P> {
    first(context.watermark_before())..first(context.watermark())
}

/// Whether `table` has rows that are due.
pub(crate) fn has_rows<K: Key, V: Value, P: KeyPrefix<K> + PartialOrd>(
    context: &Context<'_>,
    table: &TableRef<K, V>,
    due: Range<P>,
) -> Result<bool, Failure> {
    Ok(due.start < due.end && context.has_rows(table, due)?)
}

/// The rows of `table` that are due, in the order of their keys: on the shard that sends them, and on no other.
pub(crate) fn rows<K: Key, V: Value, P: KeyPrefix<K> + PartialOrd>(
    context: &Context<'_>,
    table: &TableRef<K, V>,
    due: Range<P>,
) -> Result<impl Iterator<Item = <Scan<K, V> as Iterator>::Item> + use<K, V, P>, Failure> {
    let is_read = context.shard() == 0 && due.start < due.end && context.has_table(table);
    let rows = if is_read { Some(context.table_before(table)?.prefixes(due)) } else { None };
    Ok(rows.into_iter().flatten())
}
