//! The frames of zstd: decompressed by the library, and measured by their blocks where they do not say how large they are.

use super::compression::{CHUNK_BYTES, Damage, MAX_BODY_BYTES, Scratch};
use std::cell::RefCell;

const BROKEN: Damage = "the records do not decompress by zstd";

const MAGIC: u32 = 0xFD2F_B528;
/// No block holds more, however large the window is.
const MAX_BLOCK_BYTES: u64 = 128 << 10;

pub(super) fn decompress(records: &[u8], out: &mut Scratch) -> Result<(), Damage> {
    thread_local! {
        static CONTEXT: RefCell<Option<zstd_safe::DCtx<'static>>> = RefCell::new(zstd_safe::DCtx::try_create());
    }
    CONTEXT.with_borrow_mut(|context| {
        let context = context.as_mut().ok_or("there is no memory to decompress by zstd")?;
        context.reset(zstd_safe::ResetDirective::SessionOnly).map_err(|_| BROKEN)?;
        let mut input = zstd_safe::InBuffer::around(records);
        loop {
            let left = MAX_BODY_BYTES - out.len();
            let (_, room) = out.room(CHUNK_BYTES.min(left).max(1))?;
            let full = room.len();
            let mut output = zstd_safe::OutBuffer::around(room);
            let wanted = context.decompress_stream(&mut output, &mut input).map_err(|_| BROKEN)?;
            let bytes = output.pos();
            out.advance(bytes);
            if input.pos() == records.len() && bytes < full {
                // Whatever is left to be flushed would have found room: nothing is wanted at the end of a frame alone.
                return if wanted == 0 {
                    Ok(())
                } else {
                    Err("the records are cut off within a frame of zstd")
                };
            }
        }
    })
}

/// About how many bytes the first frame of `input` holds: as many as it says, or else what its blocks tell ([`block_bytes`]).
/// `None` if it is no frame.
pub(super) fn content_bytes(input: &[u8]) -> Option<u64> {
    if let Some(bytes) = zstd_safe::get_frame_content_size(input).ok()? {
        return Some(bytes);
    }
    let (magic, rest) = input.split_first_chunk()?;
    if u32::from_le_bytes(*magic) != MAGIC {
        return None;
    }
    let (flags, rest) = rest.split_first()?;
    // One that does not say how large it is has a byte for its window; a dictionary is named by up to four.
    let rest = rest.get(1 + [0, 1, 2, 4].get(usize::from(flags & 3))?..)?;
    Some(block_bytes(rest))
}

/// About how many bytes blocks hold: those that are not compressed say it, and of the others all but the last are full, as writers
/// fill one before they begin the next. The last one is taken to be compressed as well as the others, or to a quarter if it is the
/// only one.
fn block_bytes(mut blocks: &[u8]) -> u64 {
    let (mut plain, mut full, mut compressed, mut last) = (0, 0, 0, 0);
    while let Some((&[low, middle, high], behind)) = blocks.split_first_chunk() {
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let size = u64::from(header >> 3);
        let stored = match (header >> 1) & 3 {
            // As they are, or one byte so many times.
            0 => size,
            1 => 1,
            _ => {
                full += if last > 0 { MAX_BLOCK_BYTES } else { 0 };
                compressed += last;
                last = size;
                size
            }
        };
        plain += if (header >> 1) & 3 < 2 { size.min(MAX_BLOCK_BYTES) } else { 0 };
        let behind = usize::try_from(stored).ok().and_then(|stored| behind.get(stored..));
        match behind.filter(|_| header & 1 == 0) {
            Some(behind) => blocks = behind,
            None => break,
        }
    }
    let last = last.saturating_mul(full).checked_div(compressed).unwrap_or(last * 4);
    plain + full + last.min(MAX_BLOCK_BYTES)
}
