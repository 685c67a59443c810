//! Hopping windows as windows that overlap: which rows there are, and what becomes of them.

use super::asked::Sliced;
use super::close::{Close, Due, Entering};
use super::slices::{Slice, Whole, add, slice_key};
use super::{Hopping, HoppingStream};
use crate::stream::window::folding::Merging;
use crate::stream::window::overlap::{Folded, Overlapping};
use crate::stream::window::{GroupsBy, WindowRows, WindowView, Windowed};
use crate::stream::{GroupedStream, Stream};
use millpond_engine::codec::{Key, Value};
use millpond_engine::dataflow::Stamp;
use millpond_engine::graph::{Feeds, TableRef};
use std::marker::PhantomData;
use std::sync::Arc;

impl<K: Key, V: Value> GroupsBy<K, V> for Hopping {
    type Windowed = HoppingStream<K, V>;

    fn group(self, grouped: &GroupedStream<K, V>) -> HoppingStream<K, V> {
        HoppingStream::new(grouped, self)
    }
}

impl Overlapping for Hopping {
    type Row<A: Value> = Slice<A>;
    type Place = u64;
    type Near = Whole;

    fn place(self, stamp: &Stamp, near: &mut Whole) -> Option<(i64, u64)> {
        near.place(self, stamp)
    }

    fn row_key<K>(self, start_ms: i64, key: K) -> Windowed<K> {
        slice_key(self, start_ms, key)
    }

    fn add<A: Value, V>(
        row: &mut Option<Slice<A>>,
        class: u64,
        value: V,
        first: impl FnOnce(V) -> A,
        more: impl FnOnce(&mut A, V),
    ) {
        add(row, class, value, first, more);
    }

    /// The last window over a slice begins with the hop that the slice lies in. So the slices before a window are in none from there on.
    fn first_kept(self, watermark_ms: i64) -> i64 {
        self.first_open(watermark_ms)
    }

    fn kept_with(self, start_ms: i64) -> i64 {
        start_ms
    }

    fn on_close<K: Key, A: Value>(self, folded: &Folded<K, A, Self>) -> Stream<Windowed<K>, A> {
        let (builder, windows, slices) = (&folded.table.builder, self, folded.rows);
        let open: TableRef<Windowed<K>, Slice<A>> = builder.table("open", folded.store.beside("open"));
        let fronts: TableRef<Windowed<K>, Slice<A>> = builder.table("fronts", folded.store.beside("fronts"));
        let entering = Entering { windows, types: PhantomData::<fn() -> (K, A)> };
        let entering = builder.operator("entering", folded.table.node, &[], &[], entering);
        // It reads what stands behind it as it was before the epoch.
        let due = builder.exchange("due", entering, &[], Due { windows, open });
        let close = Close { windows, slices, open, fronts, merge: Arc::clone(&folded.merge) };
        let writes = [open.index(), fronts.index()];
        let closed = builder.operator("on_close", (entering, due), &writes, &[slices.index()], close);
        // Windows are kept at least until they are closed.
        builder.reads_kept_rows(closed);
        builder.looks_at_time(closed, windows.grace_ms);
        Stream::new(builder.clone(), closed, true)
    }

    fn asked<K: Key, A: Value>(
        self,
        rows: WindowRows<Windowed<K>, Slice<A>>,
        feeds: Feeds,
        merge: Arc<Merging<A>>,
    ) -> WindowView<K, A> {
        WindowView::of_grid(Sliced { rows, windows: self, feeds, merge })
    }

    fn id(self) -> String {
        format!("hopping({} ms every {} ms, grace {} ms)", self.size_ms, self.hop_ms, self.grace_ms)
    }

    fn unfit(self) -> Option<String> {
        self.refused()
    }
}
