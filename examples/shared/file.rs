//! Files of rows: where they are, what tells them apart, and their fields.
//!
//! A file may be compressed or not, whatever it is called. `NA` and an empty field stand for "not known".

use flate2::Crc;
use flate2::read::MultiGzDecoder;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A field, if it is known.
pub(crate) fn known<'de, D: Deserializer<'de>, T: FromStr>(field: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(field)?;
    if text.is_empty() || text == "NA" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| D::Error::custom(format!("`{text}` is no such value")))
}

/// Where rows are read from.
pub(crate) enum Input {
    /// Part of the program: what it is, and its bytes.
    Shipped(&'static str, &'static [u8]),
    File(PathBuf),
}

impl Input {
    /// Its bytes as they are stored.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read>> {
        match self {
            Self::Shipped(_, bytes) => Ok(Box::new(*bytes)),
            Self::File(path) => {
                let file = File::open(path).map_err(|error| named(path, &error))?;
                Ok(Box::new(Named { path: path.clone(), file }))
            }
        }
    }

    /// Tells files apart: their length and their checksum.
    pub(crate) fn fingerprint(&self) -> io::Result<(u64, u32)> {
        let mut crc = Crc::new();
        let mut bytes = 0;
        let mut reader = BufReader::with_capacity(1 << 20, self.open()?);
        loop {
            let piece = reader.fill_buf()?;
            if piece.is_empty() {
                return Ok((bytes, crc.sum()));
            }
            crc.update(piece);
            let length = piece.len();
            bytes += length as u64;
            reader.consume(length);
        }
    }
}

/// A file whose errors say which it is: that it is a directory shows only when it is read.
struct Named {
    path: PathBuf,
    file: File,
}

impl Read for Named {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer).map_err(|error| match error.kind() {
            // To be tried again.
            io::ErrorKind::Interrupted => error,
            _ => named(&self.path, &error),
        })
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shipped(what, _) => f.write_str(what),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// The rows of a table, decompressed if need be.
pub(crate) fn rows(reader: impl Read + 'static) -> io::Result<csv::Reader<Box<dyn Read>>> {
    let mut reader = BufReader::with_capacity(64 << 10, reader);
    let compressed = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let plain: Box<dyn Read> =
        if compressed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
    Ok(csv::Reader::from_reader(plain))
}
