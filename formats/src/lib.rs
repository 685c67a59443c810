//! Values that other systems define, for [millpond](https://docs.rs/millpond): Avro and Protobuf, with and without a schema
//! registry, and the change events of Debezium.
//!
//! Each is a [`ValueCodec`](millpond_engine::codec::ValueCodec) behind a feature, and none is built unless it is asked for:
//!
//! | feature | module | values |
//! |---|---|---|
//! | `avro` | [`avro`] | types of serde, or generic values, in Avro: bare, or by the id of their schema; older and newer schemas are read |
//! | `protobuf` | [`protobuf`] | messages of `prost`: bare, or by the id of their schema |
//! | `registry` | [`registry`] | a client of a schema registry, for both |
//! | `debezium` | [`debezium`] | changes of rows as upserts and deletions, in JSON, and with `avro` in Avro |
//!
//! ```
//! # #[cfg(feature = "avro")] {
//! use millpond::testing::Driver;
//! use millpond::{GraphBuilder, TableOptions, Topic};
//! use millpond_formats::avro::{Avro, AvroSchema};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
//! struct Order {
//!     item: String,
//!     count: i64,
//! }
//!
//! // With a registry: `Avro::new()?.registered(&registry, &Subject::value_of("orders"))?`.
//! let orders = Topic::<u64, Order>::with_codec("orders", Avro::new()?);
//! let graph = GraphBuilder::new();
//! let latest = graph.table(&orders, TableOptions::with_codec("latest", Avro::new()?));
//! let mut driver = Driver::new(&graph.build()?)?;
//! driver.put(&orders, 7, Order { item: "tea".into(), count: 2 }, 0)?;
//! driver.run()?;
//! assert_eq!(driver.table(&latest)?[&7].count, 2);
//! # }
//! # Ok::<(), millpond::Error>(())
//! ```
//!
//! # Schemas that are not there yet
//! A record that was written with a registry says by a number which schema it is in. Its value is decoded within a fold, on all
//! shards at once, and what comes of it must depend on the log alone; so nobody may be asked there. Instead:
//! - **Reading.** Where a codec meets a number that it does not know, it says so
//!   ([`CodecError::awaits`](millpond_engine::codec::CodecError::awaits)). The engine takes the epoch back, fetches all that it
//!   lacks on a thread beside the fold, and cuts the same epoch again. While the registry is away it tries again and again,
//!   at longer and longer intervals; tables answer meanwhile, with their lag, and
//!   [`Engine::health`](millpond_engine::Engine::health) says what is waited for. No record is passed over, and none becomes a dead
//!   letter. Only where a registry says that there is no such schema, or it cannot be read as the type of the topic, the record
//!   does not decode, and the failure policy decides. Wrong credentials stop the engine, in front of the record.
//! - **Writing.** A schema is registered, or looked up, where its codec is made: before a topic or a graph has it. What is
//!   written later asks nobody.
//! - **Tables.** Rows are read by queries, which must not wait: so no table can be kept in a codec that may have to ask. Keep rows
//!   in the same format without a registry ([`Avro::new`](avro::Avro::new)), or in any other.
//!
//! What was fetched is kept for as long as the codec or the registry's client lives: a number stands for one schema for ever.
//!
//! # What topics and tables remember
//! A topic of millpond remembers of its values the format and the full name of the record: newer schemas of it are let in, as the
//! registry and Avro's rules see to it that they can be read, and another record is refused. A table remembers the whole
//! layout, as its rows do not say what they were written in: with another one it is rebuilt (raise its version).

#![cfg_attr(
    not(all(feature = "avro", feature = "protobuf", feature = "registry", feature = "debezium")),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "what stands behind a feature is described without it, too"
    )
)]

#[cfg(any(feature = "protobuf", all(feature = "avro", feature = "registry")))]
pub mod framing;

#[cfg(feature = "avro")]
pub mod avro;
#[cfg(feature = "debezium")]
pub mod debezium;
#[cfg(feature = "protobuf")]
pub mod protobuf;
#[cfg(feature = "registry")]
pub mod registry;
