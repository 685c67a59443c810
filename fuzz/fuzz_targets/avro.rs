//! Arbitrary bytes as values in Avro, as they were written and as other schemas have them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_formats::avro::fuzzing;
use millpond_fuzz as _;

fuzz_target!(|data: &[u8]| fuzzing::avro(data));
