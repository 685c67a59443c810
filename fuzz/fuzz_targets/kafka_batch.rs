//! Arbitrary bytes as the record batches of a response of Kafka, behind checksums that are wrong and right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millpond_fuzz as _;
use millpond_kafka::fetch::fuzzing;

fuzz_target!(|data: &[u8]| fuzzing::record_batches(data));
