//! Arbitrary bytes as keys on the wire, in every codec of them: what decodes comes back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_engine::fuzzing;
use millpond_fuzz as _;

fuzz_target!(|data: &[u8]| fuzzing::wire_codec(data));
