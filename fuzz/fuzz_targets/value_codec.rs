//! Arbitrary bytes as values in bincode and in JSON: bombs, nesting, round trip.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_engine::fuzzing;
use millpond_fuzz as _;

fuzz_target!(|data: &[u8]| fuzzing::value_codec(data));
