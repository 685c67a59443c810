//! Reading all of a state once, with its checksums, before anybody relies upon it.

use super::secondary::{Instance, OPENED_FAMILIES};
use crate::Result;
use rocksdb::ReadOptions;

/// So many bytes are read ahead.
const READ_AHEAD_BYTES: usize = 1 << 20;

impl Instance {
    /// Reads every block of rows there is, and so what leads to them, also what later files hide or delete: a compaction
    /// will. What only saves time, filters, is not read: damaged ones are passed over whenever they are.
    pub(super) fn read_everything(&self) -> Result<()> {
        let opened = self.task.opened();
        for name in OPENED_FAMILIES {
            let Some(family) = opened.database.cf_handle(name) else { continue };
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            options.set_verify_checksums(true);
            #[expect(deprecated, reason = "what ranges of rows hide is to be read, too")]
            options.set_ignore_range_deletions(true);
            options.set_readahead_size(READ_AHEAD_BYTES);
            let mut rows = opened.database.raw_iterator_cf_opt(&family, options);
            rows.seek_to_first();
            while rows.valid() {
                rows.next();
            }
            rows.status().map_err(|error| self.task.failed("read all of the state", error))?;
        }
        Ok(())
    }
}
