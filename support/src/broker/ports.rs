//! Ports for brokers. Each has several in a row.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Each port of a broker, counted from its first.
pub(super) const PLAIN: u16 = 0;
// The next is the controller's.
pub(super) const PROXIED: u16 = 2;
pub(super) const SASL: u16 = 3;
pub(super) const SSL: u16 = 4;
pub(super) const SASL_SSL: u16 = 5;
const IN_A_ROW: u16 = 6;

/// Below those that systems give to whoever connects: with one of those a restart would find its port taken.
const FIRST: u16 = 20_000;
const ROWS: u16 = 2_000;

/// The first of a row of ports that are free now, and that this process has not asked for before.
pub(super) fn free() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    // Programs that run beside each other begin elsewhere.
    let own = u16::try_from(std::process::id() % u32::from(ROWS)).unwrap();
    for _ in 0..ROWS {
        let row = (own + TAKEN.fetch_add(1, Ordering::Relaxed)) % ROWS;
        let first = FIRST + row * IN_A_ROW;
        if (first..first + IN_A_ROW).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
    panic!("no ports are free");
}
