//! A drain: one sorted file, written beside the database and then taken over by it.
//!
//! The file is complete and on disk before RocksDB hears of it; RocksDB links it into its directory, syncs
//! that, and makes it part of the state by one record in its manifest, synced as well. Before that record
//! nothing of the file is visible, now or after a crash; after it, all of it is. What an interrupted drain
//! leaves in the sub-directory is removed at open.

use super::TaskFamily;
use super::failure::{during, on_path};
use crate::store::{Row, misplaced_row};
use crate::{Error, Result, fault};
use rocksdb::{IngestExternalFileOptions, SstFileWriter};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Where files are before they are taken over: on the same file system, so that they are linked, not copied.
const SUB_DIRECTORY: &str = "ingest";

/// Deletes the rows in `gone` and writes `rows`, in one atomic, durable step.
pub(super) fn ingest(
    task: &TaskFamily,
    gone: Option<Range<&[u8]>>,
    rows: &mut dyn Iterator<Item = Row<'_>>,
) -> Result<()> {
    fault::point("store.ingest.before_file")?;
    task.check_in_place()?;
    let gone = gone.filter(|gone| !gone.is_empty());
    let Some(file) = SortedFile::write(task, gone.as_ref(), rows)? else {
        return Ok(());
    };
    fault::point("store.ingest.after_file")?;
    file.hand_over(task)?;
    fault::point("store.ingest.after_ingest")?;
    task.check_in_place()
}

/// Removes what interrupted drains left, and makes the sub-directory ready for new ones.
///
/// IMPORTANT: only for whoever holds the lock of the database; another process could be writing there.
pub(super) fn remove_left_over_files(dir: &Path) -> Result<()> {
    let left_over = dir.join(SUB_DIRECTORY);
    match std::fs::remove_dir_all(&left_over) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(on_path("remove the left-over files in", &left_over, error));
        }
        _ => {}
    }
    std::fs::create_dir(&left_over).map_err(|error| on_path("create", &left_over, error))
}

/// A complete sorted file that no database knows yet. Dropping it removes it.
pub(super) struct SortedFile(PathBuf);

impl SortedFile {
    /// Writes and syncs a file, unless there is nothing to write.
    pub(super) fn write(
        task: &TaskFamily,
        gone: Option<&Range<&[u8]>>,
        rows: &mut dyn Iterator<Item = Row<'_>>,
    ) -> Result<Option<Self>> {
        let opened = task.opened();
        let mut rows = rows.peekable();
        if gone.is_none() && rows.peek().is_none() {
            return Ok(None);
        }
        let number = opened.next_file.fetch_add(1, Ordering::Relaxed);
        let file = Self(opened.dir.join(SUB_DIRECTORY).join(format!("{number:06}.sst")));
        let failed = |error| during("write a drain", &opened.dir, error);
        let mut writer = SstFileWriter::create(&opened.tuning.writer);
        writer.open(&file.0).map_err(failed)?;
        if let Some(gone) = gone {
            writer.delete_range(gone.start, gone.end).map_err(failed)?;
        }
        for (key, value) in rows {
            if gone.is_some_and(|gone| gone.contains(&key)) {
                return Err(misplaced_row(key));
            }
            let written = match value {
                Some(value) => writer.put(key, value),
                None => writer.delete(key),
            };
            written.map_err(|error| match error.kind() {
                rocksdb::ErrorKind::InvalidArgument => misplaced_row(key),
                _ => failed(error),
            })?;
        }
        writer.finish().map_err(failed)?;
        Ok(Some(file))
    }

    /// Makes the file part of the state.
    fn hand_over(self, task: &TaskFamily) -> Result<()> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        // There is nothing in the memtable that could have to be flushed first. If there ever is, say so.
        options.set_allow_blocking_flush(false);
        task.database()
            .ingest_external_file_cf_opts(task.family(), &options, vec![&self.0])
            .map_err(|error| -> Error { task.failed("take over a drain", error) })
    }
}

impl Drop for SortedFile {
    fn drop(&mut self) {
        // It is gone already if it was handed over. If it cannot be removed, the next open does that.
        let _ = std::fs::remove_file(&self.0);
    }
}
