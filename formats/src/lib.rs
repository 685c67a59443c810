//! Formats.

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
