//! For how long windows are kept.

use super::millis;
use millpond_engine::codec::{Key, KeyPrefix};
use millpond_engine::graph::{Builder, TableRef};
use std::time::Duration;

/// How long windows are kept behind their close: for ever if nothing is said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keep {
    ms: Option<i64>,
}

impl Keep {
    pub(super) fn of(keep: Duration) -> Self {
        Self { ms: Some(millis(keep)) }
    }

    /// Has `table` forget what is kept no more. With `first_open` of a watermark begin the keys of the first rows that have to do with
    /// windows which are not closed at it.
    pub(super) fn forget<K: Key, V, P: KeyPrefix<K>>(
        self,
        builder: &Builder,
        table: &TableRef<K, V>,
        first_open: impl Fn(i64) -> P + Send + Sync + 'static,
    ) {
        if let Some(keep_ms) = self.ms {
            builder.forgets(table, move |watermark_ms| first_open(watermark_ms.saturating_sub(keep_ms)));
        }
    }
}
