//! Arbitrary bytes as what the engine stores of its own: positions, catalogue entries, keys, counts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_engine::fuzzing;
use millpond_fuzz as _;

fuzz_target!(|data: &[u8]| fuzzing::state_frame(data));
