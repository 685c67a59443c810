//! Tests of the direct path: of decoding, by bytes that a broker has stored and by batches written here; of everything else, with
//! a broker of the tests' own.

mod aborted;
mod decoding;
mod fake_broker;
mod reading;
mod trouble;
mod written;
