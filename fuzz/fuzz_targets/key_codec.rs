//! Arbitrary bytes as keys of every type: round trip and order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_engine::fuzzing;
use millpond_fuzz as _;

fuzz_target!(|data: &[u8]| fuzzing::key_codec(data));
