//! A tail that is torn into zeros.
//!
//! Some file systems let a file grow before its bytes arrive: after a loss of power the newest write-ahead log then
//! ends in zeros where its last, unacknowledged records should be. RocksDB cuts a record that is too short, but takes
//! this for damage. So when it refuses to open, whole sectors of zeros at the very end are cut and it is asked again;
//! if it still refuses, the damage is elsewhere and the zeros are put back, which leaves the file as it was.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

const SECTOR_BYTES: usize = 512;

/// A tail that was cut off.
pub(super) struct Cut {
    file: File,
    length: u64,
}

impl Cut {
    /// Cuts the zeros at the end of the newest write-ahead log in `dir`, if there are sectors full of them.
    pub(super) fn zeros(dir: &Path) -> io::Result<Option<Self>> {
        let Some(path) = newest_log(dir)? else { return Ok(None) };
        let bytes = fs::read(&path)?;
        let kept = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        if kept.next_multiple_of(SECTOR_BYTES) >= bytes.len() {
            return Ok(None);
        }
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(kept as u64)?;
        Ok(Some(Self { file, length: bytes.len() as u64 }))
    }

    /// Puts the zeros back.
    pub(super) fn undo(self) -> io::Result<()> {
        self.file.set_len(self.length)
    }
}

fn newest_log(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if path.extension().is_some_and(|extension| extension == "log") {
            newest = newest.max(number.map(|number| (number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}
