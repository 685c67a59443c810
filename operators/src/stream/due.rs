//! What comes due with an epoch: rows of a table whose keys begin with times, between how far time had come before and how far it has now.
//!
//! The shards read them, each a part, as they were before the epoch, and send each where its key is: what the running epoch makes is known
//! where it is made, and who writes the table can stand behind. Where the table is built apart, so is whatever would take what is sent.

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

/// The rows of `table` that are due, as far as this shard is to send them: in the order of their keys, and those of the first shard before
/// those of the next.
pub(crate) fn rows<K: Key, V: Value, P: KeyPrefix<K> + PartialOrd>(
    context: &Context<'_>,
    table: &TableRef<K, V>,
    due: Range<P>,
) -> Result<impl Iterator<Item = <Scan<K, V> as Iterator>::Item> + use<K, V, P>, Failure> {
    let rows = if due.start < due.end { Some(context.share_of_rows(table, due)?) } else { None };
    Ok(rows.into_iter().flatten())
}
