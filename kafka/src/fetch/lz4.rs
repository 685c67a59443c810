//! The frames in which lz4 blocks come: where each block begins, and whether it refers to the one before.
//!
//! Checksums of frames are passed over: the CRC-32C of the record batch, which was checked before, covers the same bytes.

use super::compression::{Damage, Scratch};

const MAGIC: u32 = 0x184D_2204;
/// Frames of this kind, in the upper 28 bits of their magic, carry nothing for us.
const SKIPPABLE: u32 = 0x184D_2A50;
/// How far back a block may refer to the output of the blocks before it.
const WINDOW_BYTES: usize = 64 << 10;
/// In the length of a block: it is stored as it is.
const STORED: u32 = 1 << 31;

const CUT: Damage = "the lz4 frame is cut off";

/// What the descriptor of a frame says.
struct Descriptor {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_bytes: Option<u64>,
    max_block_bytes: usize,
}

/// Decompresses all frames of `input` to the end of `out`.
pub(super) fn decompress(mut input: &[u8], out: &mut Scratch) -> Result<(), Damage> {
    while !input.is_empty() {
        let magic = take_u32(&mut input).ok_or(CUT)?;
        if magic == MAGIC {
            frame(&mut input, out)?;
        } else if magic & 0xFFFF_FFF0 == SKIPPABLE {
            let skipped = take_u32(&mut input).ok_or(CUT)?;
            take(&mut input, skipped as usize).ok_or(CUT)?;
        } else {
            return Err("the records are no lz4 frame");
        }
    }
    Ok(())
}

/// About how many bytes the first frame of `input` holds: as many as it says, or else as many full blocks as there are, as
/// writers fill one before they begin the next. The last one is taken to be compressed as well as the others, or to a quarter
/// if it is the only one. `None` if it is no frame.
pub(super) fn content_bytes(mut input: &[u8]) -> Option<u64> {
    if take_u32(&mut input)? != MAGIC {
        return None;
    }
    let frame = descriptor(&mut input).ok()?;
    if frame.content_bytes.is_some() {
        return frame.content_bytes;
    }
    let most = frame.max_block_bytes as u64;
    let (mut stored, mut full, mut compressed) = (0, 0, 0);
    let mut last = 0;
    while let Some(size) = take_u32(&mut input).filter(|size| *size != 0) {
        let bytes = u64::from(size & !STORED);
        if size & STORED != 0 {
            stored += bytes;
        } else {
            full += if last > 0 { most } else { 0 };
            compressed += last;
            last = bytes;
        }
        let checksum = if frame.block_checksums { 4 } else { 0 };
        take(&mut input, usize::try_from(bytes).ok()? + checksum)?;
    }
    let last = last.saturating_mul(full).checked_div(compressed).unwrap_or(last * 4);
    Some(stored + full + last.min(most))
}

fn descriptor(input: &mut &[u8]) -> Result<Descriptor, Damage> {
    let [flags, sizes] = *take(input, 2).ok_or(CUT)? else { return Err(CUT) };
    if flags >> 6 != 1 {
        return Err("the lz4 frame has an unknown version");
    }
    let max_block_bytes = match (sizes >> 4) & 7 {
        size @ 4..=7 => 1 << (8 + 2 * size),
        _ => return Err("the lz4 frame has blocks of an unknown size"),
    };
    let content_bytes = match flags & 8 {
        0 => None,
        _ => Some(u64::from_le_bytes(take(input, 8).and_then(|size| size.try_into().ok()).ok_or(CUT)?)),
    };
    if flags & 1 != 0 {
        return Err("the lz4 frame needs a dictionary");
    }
    take(input, 1).ok_or(CUT)?;
    Ok(Descriptor {
        linked: flags & 0x20 == 0,
        block_checksums: flags & 0x10 != 0,
        content_checksum: flags & 4 != 0,
        content_bytes,
        max_block_bytes,
    })
}

/// One frame, whose magic was read.
fn frame(input: &mut &[u8], out: &mut Scratch) -> Result<(), Damage> {
    let frame = descriptor(input)?;
    let start = out.len();
    loop {
        let size = take_u32(input).ok_or(CUT)?;
        if size == 0 {
            break;
        }
        let block = take(input, (size & !STORED) as usize).ok_or(CUT)?;
        if size & STORED != 0 {
            out.extend(block)?;
        } else {
            let (written, room) = out.room(frame.max_block_bytes)?;
            let window = if frame.linked { written.get(start..).unwrap_or_default() } else { &[] };
            let window = window.get(window.len().saturating_sub(WINDOW_BYTES)..).unwrap_or_default();
            let bytes = if window.is_empty() {
                lz4_flex::block::decompress_into(block, room)
            } else {
                lz4_flex::block::decompress_into_with_dict(block, room, window)
            };
            out.advance(bytes.map_err(|_| "a block of the lz4 frame does not decompress")?);
        }
        if frame.block_checksums {
            take(input, 4).ok_or(CUT)?;
        }
    }
    if frame.content_checksum {
        take(input, 4).ok_or(CUT)?;
    }
    match frame.content_bytes {
        Some(said) if said != (out.len() - start) as u64 => {
            Err("the lz4 frame holds another number of bytes than it says")
        }
        _ => Ok(()),
    }
}

fn take<'a>(input: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(bytes)?;
    *input = rest;
    Some(taken)
}

fn take_u32(input: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(input, 4)?.try_into().ok()?))
}
