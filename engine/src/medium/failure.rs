//! What a failure of RocksDB or of the file system means, and what to do about it: one judge for the changelog and the
//! state.
//!
//! RocksDB reports failures as text only, built as `kind: [subkind: ]what was done: file: [what the system said]`. File
//! names and what was done may hold any words, so nothing but the two ends is judged: the kind in front, and behind what
//! the system said, which is looked up among the system's own messages and so becomes an error code again.

use crate::ErrorKind;
use std::io;

/// What lies in the directory: it decides how damage is mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The truth: only a copy replaces it.
    Changelog,
    /// It can be folded again.
    State,
}

/// What failed, in terms of what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediumFailure {
    /// Another process or engine has the directory open.
    InUse,
    /// No space, or none that this user may use.
    Full,
    /// It may not be written or read.
    Forbidden,
    /// The limit of open files is reached.
    TooManyFiles,
    /// A file that should be there is not.
    Missing,
    /// Stored bytes are not what was written.
    Damaged,
    /// The device or the way to it failed.
    Medium,
    /// It will work later.
    Busy,
    /// It is being closed.
    Closing,
    /// Nothing that was expected: a defect.
    Unexpected,
}

/// Codes that no [`io::ErrorKind`] stands for. They are the same on every Unix.
const NO_DEVICE: i32 = 6;
const INPUT_OUTPUT: i32 = 5;
const FILES_OF_SYSTEM: i32 = 23;
const NAME_TOO_LONG: i32 = if cfg!(target_os = "linux") { 36 } else { 63 };
const FILES_OF_PROCESS: i32 = 24;

/// More error codes than any system has.
const CODES: std::ops::Range<i32> = 1..256;

impl MediumFailure {
    /// What RocksDB's message `text` tells.
    pub(crate) fn of_rocksdb(text: &str) -> Self {
        let Some((kind, rest)) = text.split_once(": ") else { return Self::Unexpected };
        match kind {
            "Corruption" => Self::Damaged,
            // What a read meets that runs into a cut-off file, among others.
            "Shutdown in progress" => Self::Closing,
            "Resource busy" | "Operation failed. Try again." | "Operation timed out" => Self::Busy,
            "IO error" => Self::of_io_error(rest),
            _ => Self::Unexpected,
        }
    }

    fn of_io_error(rest: &str) -> Self {
        // The words that it begins with are RocksDB's own.
        if rest.starts_with("While lock file") || rest.starts_with("lock hold by current process") {
            return Self::InUse;
        }
        let subkind = rest.split_once(": ").map_or(rest, |(subkind, _)| subkind);
        let said = rest.rsplit_once(": ").map_or(rest, |(_, said)| said);
        match subkind {
            "No space left on device" | "Space limit reached" => Self::Full,
            "No such file or directory" => Self::Missing,
            // It comes from a file that names others.
            _ if code_of(said) == Some(NAME_TOO_LONG) => Self::Damaged,
            _ => code_of(said).map_or(Self::Medium, |code| Self::of_io(&io::Error::from_raw_os_error(code))),
        }
    }

    /// What an error of the file system tells.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Self::Full,
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::Forbidden,
            Kind::NotFound => Self::Missing,
            // A name that no file can have: it was read from one.
            Kind::InvalidInput if error.raw_os_error().is_none() => Self::Damaged,
            Kind::Interrupted
            | Kind::WouldBlock
            | Kind::TimedOut
            | Kind::ResourceBusy
            | Kind::OutOfMemory => Self::Busy,
            Kind::StaleNetworkFileHandle | Kind::HostUnreachable | Kind::NetworkUnreachable => Self::Medium,
            _ => match error.raw_os_error() {
                Some(FILES_OF_SYSTEM | FILES_OF_PROCESS) => Self::TooManyFiles,
                Some(INPUT_OUTPUT | NO_DEVICE) => Self::Medium,
                _ => Self::Unexpected,
            },
        }
    }

    /// What kind of error it is to whoever has what is `kept` open, and what to do next.
    pub(crate) fn advice(self, kept: Kept) -> (ErrorKind, &'static str) {
        use ErrorKind::{Closed, Corrupt, Internal, Unavailable};
        match self {
            Self::InUse => {
                (Unavailable, "the directory is in use by another process or engine: close it first")
            }
            Self::Full => (Unavailable, "the disk is full: free some space, then open it again"),
            Self::Forbidden => (Unavailable, "it must be possible to read and write there"),
            Self::TooManyFiles => (Unavailable, "raise the limit of open files, then open it again"),
            Self::Medium => (
                Unavailable,
                "the medium failed: look after it (the log of the system says more), then open it again",
            ),
            Self::Busy => (Unavailable, "it did not work for now: open it again"),
            Self::Closing => (Closed, "it is being closed"),
            Self::Missing | Self::Damaged if kept == Kept::State => (
                Corrupt,
                "if the cause cannot be undone, and nothing but the state is kept there, delete the directory: the state is rebuilt \
                 from the changelog",
            ),
            Self::Missing => (Corrupt, "a file is missing: restore the changelog from a copy"),
            Self::Damaged => (Corrupt, "stored bytes are damaged: restore the changelog from a copy"),
            Self::Unexpected => {
                (Internal, "nothing like this should happen: keep the directory and report it")
            }
        }
    }
}

/// The error code for which the system says `text`.
fn code_of(text: &str) -> Option<i32> {
    CODES.into_iter().find(|&code| {
        let message = io::Error::from_raw_os_error(code).to_string();
        message.rsplit_once(" (os error").is_some_and(|(message, _)| message == text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ends_of_a_message_are_judged() {
        let cases = [
            ("IO error: While lock file: /d/LOCK: Resource temporarily unavailable", MediumFailure::InUse),
            (
                "IO error: lock hold by current process, acquire time 1 acquiring thread 2: /d/LOCK: No locks \
                 available",
                MediumFailure::InUse,
            ),
            (
                "IO error: No space left on device: While appending to file: /d/LOCK/1.log: x",
                MediumFailure::Full,
            ),
            (
                "IO error: While appending to file: /lock /LOCK/1.log: Disk quota exceeded",
                MediumFailure::Full,
            ),
            (
                "IO error: While fsync: /d/No space left on device: x/1.log: Input/output error",
                MediumFailure::Medium,
            ),
            (
                "IO error: While open a file for appending: /d/1.sst: Permission denied",
                MediumFailure::Forbidden,
            ),
            (
                "IO error: while open a file for lock: /d/LOCK: Read-only file system",
                MediumFailure::Forbidden,
            ),
            ("IO error: While open a file: /d/1.sst: Too many open files", MediumFailure::TooManyFiles),
            (
                "IO error: No such file or directory: While opening a file: /d/MANIFEST-1: x",
                MediumFailure::Missing,
            ),
            (
                "IO error: While pread offset 0 len 1: /d/Corruption: /1.sst: Invalid argument",
                MediumFailure::Unexpected,
            ),
            ("IO error: Stale file handle", MediumFailure::Medium),
            ("IO error: While opening a file: /d/MANIFEST-1xx: File name too long", MediumFailure::Damaged),
            (
                "Corruption: block checksum mismatch in /d/LOCK/No space left on device",
                MediumFailure::Damaged,
            ),
            ("Invalid argument: Corruption: lock : /d", MediumFailure::Unexpected),
            ("Shutdown in progress: ", MediumFailure::Closing),
            ("nonsense", MediumFailure::Unexpected),
        ];
        for (text, failure) in cases {
            assert_eq!(MediumFailure::of_rocksdb(text), failure, "{text}");
        }
    }
}
