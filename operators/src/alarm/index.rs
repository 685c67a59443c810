//! The index of alarms: keys in the order of the times under which they are filed.

use crate::stream::due;
use millpond_engine::codec::{CodecError, Key, KeyCodec, KeyPrefix};
use millpond_engine::dataflow::{Context, Event, Exchange, Failure, Stamp, Unread};
use millpond_engine::graph::TableRef;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Range;

/// A key and the time under which it is filed. Stored with the time first, on the shard of the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Filed<K> {
    pub(super) at_ms: i64,
    pub(super) key: K,
}

impl<K: KeyCodec + Hash> KeyCodec for Filed<K> {
    fn encode_key(&self, out: &mut Vec<u8>) {
        self.at_ms.encode_key(out);
        self.key.encode_key(out);
    }

    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        Ok(Self { at_ms: i64::decode_key(input)?, key: K::decode_key(input)? })
    }

    fn key_schema() -> String {
        format!("filed({})", K::key_schema())
    }

    fn key_shape() -> String {
        format!("filed({})", K::key_shape())
    }

    fn hash_route<H: Hasher>(&self, state: &mut H) {
        self.key.hash_route(state);
    }
}

/// All keys that are filed under a time.
#[derive(PartialEq, PartialOrd)]
struct At(i64);

impl<K: Key> KeyPrefix<Filed<K>> for At {
    fn encode_prefix(&self, out: &mut Vec<u8>) {
        self.0.encode_key(out);
    }
}

/// What is filed under the times that are due with this epoch. Nothing is filed under the last moment there is.
fn times(context: &Context<'_>) -> Range<At> {
    due::between(context, |at| At(at.saturating_add(1)))
}

/// Finds the entries of the index that have come due with this epoch, and sends each to the shard of its key.
/// Nothing is written under a time that has passed, so that what was there before the epoch is all there is.
pub(super) struct FindDue<K, T> {
    index: TableRef<Filed<K>, ()>,
    behind: PhantomData<fn() -> T>,
}

impl<K, T> FindDue<K, T> {
    pub(super) fn new(index: TableRef<Filed<K>, ()>) -> Self {
        Self { index, behind: PhantomData }
    }
}

impl<K: Key, T: 'static> Exchange for FindDue<K, T> {
    type Input = Unread<T>;
    type Item = Event<K, i64>;

    fn route(&self, context: &mut Context<'_>, _: Self::Input) -> Result<Vec<Vec<Self::Item>>, Failure> {
        let mut found = Vec::new();
        for row in due::rows(context, &self.index, times(context))? {
            let (Filed { at_ms, key }, ()) = row?;
            found.push(Event { key, value: at_ms, stamp: Stamp::of_closing(at_ms, &[], at_ms) });
        }
        Ok(context.router().split(found, |event| &event.key))
    }

    fn is_due(&self, context: &mut Context<'_>) -> Result<bool, Failure> {
        due::has_rows(context, &self.index, times(context))
    }
}
