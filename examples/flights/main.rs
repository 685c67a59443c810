//! Folds a month of flights into tables and answers questions on carriers, aircraft and routes.
//!
//! ```text
//! airlines ─────────────────────────────┐
//! flights ─┬─ by carrier  ─► fold ─► left join ─► carriers
//!          ├─ by aircraft ─► fold ─► left join ─► aircraft
//!          └─ by route    ─► fold ──────│───────► routes
//! planes ───────────────────────────────┘
//! ```
//!
//! Kill it at any moment and start it again with the same `--state`: it goes on where it was and ends with the same
//! answers. The changelog itself says how many flights it has (see `ingest.rs`), and the tables follow the changelog.
//!
//! January 2013 of the data set `nycflights13` (all flights that left the airports of New York) is part of the program.
//!
//! The same program on Kafka is `kafka/examples/flights.rs`, so that nobody compiles a client of Kafka who has none.

#[path = "app.rs"]
mod app;

use std::process::ExitCode;

fn main() -> ExitCode {
    app::main(|_, bootstrap| {
        let program = "cargo run --release -p millpond-kafka --example flights";
        Err(format!(
            "Kafka is a member of its own, which is to be compiled first: {program} -- --kafka {bootstrap}"
        )
        .into())
    })
}
