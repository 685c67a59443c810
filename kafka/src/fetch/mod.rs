//! The direct path to the brokers: fetches of record batches, which are handed over as they are stored.
