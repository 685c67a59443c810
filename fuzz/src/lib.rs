//! What all fuzz targets have in common: they may not allocate much.
//!
//! libFuzzer gives no input of more than some kilobytes. A decoder that reserves memory because such an input says so is
//! stopped here, even if it would never touch that memory and so hide from a limit on the resident size.

use cap::Cap;
use std::alloc::System;

/// Far more than a decoder needs for an input of some kilobytes, and far less than one can claim to hold.
const LIMIT_BYTES: usize = 64 << 20;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, LIMIT_BYTES);
