//! Arbitrary bytes as stored batches of the changelog, behind checksums that are wrong and right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_engine::fuzzing;
use millpond_fuzz as _;

fuzz_target!(|data: &[u8]| fuzzing::log_batch(data));
