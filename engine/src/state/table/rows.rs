//! The rows of a table: how its keys and values become bytes, and come back from them.

use super::{Dirty, TableState};
use crate::codec::{CodecError, Key, Value};
use crate::flow::{Change, Failure, Router, Stamp};
use crate::state::entry::Entry;
use crate::state::generation::RowBatch;
use crate::state::row_size::RowSamples;
use crate::store::layout::{decode_row_key, row_prefix};
use crate::{Error, Result};

impl<K: Key, V: Value> TableState<K, V> {
    /// Appends the row of a key that the epoch has touched.
    pub(super) fn encode(
        &self,
        part: &mut RowBatch,
        rows: &mut RowSamples,
        dirty: &Dirty<K>,
        entry: &Entry<V>,
        is_sampled: bool,
    ) -> Result<(), Failure> {
        if entry.value.is_none() && entry.before.is_none() {
            return Ok(());
        }
        let write_key = |out: &mut Vec<u8>| {
            row_prefix(self.id, out);
            dirty.key.encode_key(out);
        };
        let write_value = |out: &mut Vec<u8>| match &entry.value {
            Some(value) => self.codec.encode(value, out).map(|()| true),
            None => Ok(false),
        };
        let is_new = entry.before.is_none();
        let (key_bytes, value_bytes) =
            part.push(is_new, write_key, write_value).map_err(|error| self.refused(&error, dirty.stamp))?;
        if let Some(owned) =
            entry.value.as_ref().filter(|_| is_sampled).and_then(|value| self.codec.owned_bytes(value))
        {
            rows.sample(value_bytes, owned);
        }
        rows.add(key_bytes, entry.value.as_ref().map(|_| value_bytes), entry.before.is_some());
        Ok(())
    }

    /// That the value which the record of `stamp` has left cannot be written.
    pub(super) fn refused(&self, error: &CodecError, stamp: Stamp) -> Failure {
        Failure::of_record(stamp, format!("table `{}`: a value does not encode: {error}", self.name))
    }

    /// About how many bytes `changes` hold.
    pub(super) fn waiting_bytes(&self, changes: &[Change<K, V>]) -> usize {
        let mut scratch = Vec::new();
        let mut owned = |encode: &mut dyn FnMut(&mut Vec<u8>)| {
            scratch.clear();
            encode(&mut scratch);
            scratch.len()
        };
        let mut bytes = size_of_val(changes);
        for change in changes {
            // What a type without a destructor takes is in the size of the change.
            if std::mem::needs_drop::<K>() {
                bytes += owned(&mut |out| change.key.encode_key(out));
            }
            if std::mem::needs_drop::<V>() {
                for value in change.old.iter().chain(&change.new) {
                    // It encoded when it was stored, so an error says nothing of its size.
                    bytes += owned(&mut |out| drop(self.codec.encode(value, out)));
                }
            }
        }
        bytes
    }

    /// Whether `epoch`, which was just published, has changed the value of `key`.
    pub(super) fn has_changed(&self, key: &K, epoch: u64) -> bool {
        let shard = self.shards.get(Router::new(self.shards.len()).shard(key));
        let changed = |entry: &Entry<V>| {
            let mut before = self.encoded();
            entry.epoch == epoch && {
                before.encode(&*self.codec, entry.before.as_ref());
                !before.is(&*self.codec, entry.value.as_ref())
            }
        };
        shard.and_then(|shard| shard.map.read(key, changed)).unwrap_or(false)
    }

    /// The key of the row of `key`.
    pub(crate) fn row_key(&self, key: &K) -> Vec<u8> {
        let mut row = Vec::with_capacity(24);
        self.write_row_key(key, &mut row);
        row
    }

    /// As [`row_key`](Self::row_key), appended to `row`.
    pub(super) fn write_row_key(&self, key: &K, row: &mut Vec<u8>) {
        row_prefix(self.id, row);
        key.encode_key(row);
    }

    pub(crate) fn decode(&self, key: &K, bytes: &[u8]) -> Result<V> {
        self.codec.decode(bytes).map_err(|error| {
            let mut encoded = Vec::new();
            key.encode_key(&mut encoded);
            self.undecodable(&encoded, error)
        })
    }

    /// A stored row as key and value.
    pub(crate) fn decode_row(&self, row: &[u8], value: &[u8]) -> Result<(K, V)> {
        let (_, encoded) = decode_row_key(row)?;
        let key = K::decode_whole_key(encoded).map_err(|error| self.undecodable(encoded, error))?;
        let value = self.codec.decode(value).map_err(|error| self.undecodable(encoded, error))?;
        Ok((key, value))
    }

    pub(super) fn undecodable(&self, key: &[u8], error: crate::codec::CodecError) -> Error {
        if self.shared.is_former() {
            return Error::unavailable(format!(
                "table `{}` is being rebuilt, and a row of its older version is not one of the new (key bytes \
                 {key:02x?}); wait with `Engine::ready`",
                self.name
            ))
            .with_source(error);
        }
        Error::corrupt(format!(
            "table `{}` holds a row that does not decode (key bytes {key:02x?}); if its type changed, raise the \
             table's version, otherwise delete the state directory: it is rebuilt from the changelog",
            self.name
        ))
        .with_source(error)
    }
}
