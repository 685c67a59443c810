//! Tests of the direct path: of decoding, by bytes that a broker has stored and by batches written here; of everything else, with
//! a broker of the tests' own.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "numbers of tests are small, and Kafka's are signed"
)]

mod aborted;
mod decoding;
mod fake_broker;
mod reading;
mod trouble;
mod written;
