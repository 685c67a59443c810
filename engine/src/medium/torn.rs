//! A torn end, cut off before RocksDB sees it.
//!
//! Some file systems let a file grow before its bytes arrive: after a loss of power the newest write-ahead log then
//! ends in zeros or remains of something else, where its last, unacknowledged records should be, and so may a manifest.
//! RocksDB cuts a record that is too short, takes zeros for damage, and with some remains never comes to an end. So an end
//! in which our own reading found nothing valid is cut first; if RocksDB refuses all the same, it is put back, which
//! leaves the file as it was.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// An end that was cut off.
pub(crate) struct Cut {
    file: File,
    kept: u64,
    end: Vec<u8>,
}

impl Cut {
    /// Keeps the first `kept` bytes of the file.
    pub(crate) fn at(path: &Path, kept: u64) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(kept))?;
        file.read_to_end(&mut end)?;
        file.set_len(kept)?;
        file.sync_all()?;
        Ok(Self { file, kept, end })
    }

    /// Puts the end back.
    pub(crate) fn undo(mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.kept))?;
        self.file.write_all(&self.end)?;
        self.file.sync_all()
    }
}
