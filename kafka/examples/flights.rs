//! The example `flights` with Kafka as its changelog: it produces a month of flights to topics, folds from them, and answers what
//! it answers without Kafka.
//!
//! ```text
//! scripts/broker start
//! cargo run --release -p millpond-kafka --example flights -- --kafka 127.0.0.1:9092
//! cargo run --release -p millpond-kafka --example flights -- --kafka 127.0.0.1:9092 --lookup carrier UA --lookup routes JFK
//! scripts/broker offsets --topic flights      # as many as there are flights: 27,004
//! ```
//!
//! With `--state DIR` it goes on where it was; without, it folds the topics again. Kill it at any moment. One process at a time may
//! take flights in. Without `--kafka` it is the example of the same name in `examples/flights`, from where the program is.

#[path = "../../examples/flights/app.rs"]
mod app;

use millpond_kafka::Kafka;
use std::process::ExitCode;

fn main() -> ExitCode {
    app::main(|builder, bootstrap| {
        let kafka = Kafka::new("flights").bootstrap(bootstrap);
        // One node is enough for an example; -1 leaves it to the brokers.
        Ok(builder.changelog(kafka.create_topics(-1)))
    })
}
