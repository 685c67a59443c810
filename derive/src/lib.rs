//! `#[derive(Key)]`: keys of your own, as bytes that keep their order.
