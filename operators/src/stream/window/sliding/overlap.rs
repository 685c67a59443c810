//! Sliding windows as windows that overlap: which rows there are, and what becomes of them.

use super::asked::Gathered;
use super::close::{Close, Defining, Due};
use super::moments::{Moments, add, key_of_row, place};
use super::{Sliding, SlidingStream};
use crate::stream::window::folding::Merging;
use crate::stream::window::overlap::{Folded, Overlapping};
use crate::stream::window::{GroupsBy, WindowRows, WindowView, Windowed};
use crate::stream::{GroupedStream, Stream};
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::Stamp;
use millpond_engine::graph::{Feeds, TableRef};
use std::marker::PhantomData;
use std::sync::Arc;

impl<K: Key, V: Value> GroupsBy<K, V> for Sliding {
    type Windowed = SlidingStream<K, V>;

    fn group(self, grouped: &GroupedStream<K, V>) -> SlidingStream<K, V> {
        SlidingStream::new(grouped, self)
    }
}

impl Overlapping for Sliding {
    type Row<A: Value> = Moments<A>;
    /// Since when in the stretch, and how much behind.
    type Place = (u64, u64);
    type Near = ();

    fn place(self, stamp: &Stamp, (): &mut ()) -> Option<(i64, (u64, u64))> {
        let behind = self.behind(stamp.timestamp_ms, stamp.stream_time_ms)?;
        Some((self.row_of(stamp.timestamp_ms), place(self, stamp.timestamp_ms, behind)))
    }

    fn row_key<K>(self, row_ms: i64, key: K) -> Windowed<K> {
        key_of_row(row_ms, key)
    }

    fn add<A: Value, V>(
        row: &mut Option<Moments<A>>,
        place: (u64, u64),
        value: V,
        first: impl FnOnce(V) -> A,
        more: impl FnOnce(&mut A, V),
    ) {
        add(row, place, value, first, more);
    }

    /// A window is told to be there by a moment in it or by the one before it. So it takes the rows that end there or later.
    fn first_kept(self, watermark_ms: i64) -> i64 {
        self.kept_with(self.first_open(watermark_ms))
    }

    fn kept_with(self, start_ms: i64) -> i64 {
        start_ms.saturating_sub(1)
    }

    fn on_close<K: Key, A: Value>(self, folded: &Folded<K, A, Self>) -> Stream<Windowed<K>, A> {
        let (builder, windows, rows) = (&folded.table.builder, self, folded.rows);
        let open: TableRef<Windowed<K>, Moments<A>> = builder.table("open", folded.store.beside("open"));
        let defining = Defining { windows, types: PhantomData::<fn() -> (K, A)> };
        let defined = builder.operator("defining", folded.table.node, &[], &[], defining);
        // It reads what stands behind it as it was before the epoch.
        let due = builder.exchange("due", defined, &[], Due { windows, open });
        let close = Close { windows, rows, open, merge: Arc::clone(&folded.merge) };
        let closed = builder.operator("on_close", (defined, due), &[open.index()], &[rows.index()], close);
        // Windows are kept at least until they are closed.
        builder.reads_kept_rows(closed);
        builder.looks_at_time(closed, windows.grace_ms);
        Stream::new(builder.clone(), closed, true)
    }

    fn asked<K: Key, A: Value>(
        self,
        rows: WindowRows<Windowed<K>, Moments<A>>,
        feeds: Feeds,
        merge: Arc<Merging<A>>,
    ) -> WindowView<K, A> {
        WindowView::new(Gathered { rows, windows: self, feeds, merge })
    }

    fn id(self) -> String {
        format!("sliding({} ms, grace {} ms)", self.difference_ms, self.grace_ms)
    }

    fn unfit(self) -> Option<String> {
        self.refused()
    }
}
