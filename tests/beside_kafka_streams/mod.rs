//! Random logs of one partition, what millpond and Kafka Streams make of them, and the rules by which they do.
//!
//! | file | what it is |
//! |---|---|
//! | `log` | a random log, and how it is written for the Java program |
//! | `told` | what comes out: finals of windows, pairs of joins |
//! | `ours` | millpond's answer |
//! | `rules` | where Kafka Streams goes by other rules, by name |
//! | `windows`, `sliding`, `joins`, `as_of` | what must come out by either rules, said without an engine |

pub(crate) mod as_of;
pub(crate) mod joins;
pub(crate) mod log;
pub(crate) mod ours;
pub(crate) mod rules;
pub(crate) mod sliding;
pub(crate) mod told;
pub(crate) mod windows;

use log::Log;
use rules::Rules;
use told::Told;

/// What must come out of `log` by `rules`.
pub(crate) fn expected(log: &Log, rules: &Rules) -> Told {
    Told {
        tumbling: windows::grid(log, log.size, rules),
        hopping: windows::grid(log, log.hop, rules),
        sliding: sliding::sliding(log, rules),
        session: windows::sessions(log, rules),
        inner: joins::joined(log, rules, [false, false]),
        left: joins::joined(log, rules, [true, false]),
        outer: joins::joined(log, rules, [true, true]),
        as_of: as_of::joined(log, rules).into_iter().filter(|(_, _, row)| row.is_some()).collect(),
        left_as_of: as_of::joined(log, rules),
    }
}
