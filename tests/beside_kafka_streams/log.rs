//! A random log of one partition: out of order, with equal timestamps, leaps, and records without a value. None is dated before 1970, as
//! Kafka Streams takes none that is.

use millpond_support::random::Random;
use serde_json::{Value, json};

/// Which side of a join a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Record {
    pub(crate) at: i64,
    pub(crate) key: u8,
    /// From 1 on, as they follow each other.
    pub(crate) number: u64,
    /// Of neither side is a record without a value.
    pub(crate) side: Option<Side>,
    /// One of the right side that deletes: it has a value where both sides are one stream, and none where they are two.
    pub(crate) deletes: bool,
}

/// What is asked of a log, in milliseconds, and its records.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) size: i64,
    pub(crate) hop: i64,
    pub(crate) difference: i64,
    pub(crate) gap: i64,
    pub(crate) before: i64,
    pub(crate) after: i64,
    pub(crate) grace: i64,
    pub(crate) history: i64,
    pub(crate) records: Vec<Record>,
}

impl Log {
    pub(crate) fn random(random: &mut Random) -> Self {
        let (width, hop) = random.pick(&[(10, 5), (10, 10), (12, 4), (9, 2)]);
        let grace = random.pick(&[0, 1, 4, 15]);
        let mut log = Self {
            size: width,
            hop,
            difference: random.pick(&[1, 7, 12]),
            gap: random.pick(&[1, 6, 10]),
            before: random.pick(&[0, 5, 11]),
            after: random.pick(&[0, 9]),
            grace,
            history: grace + random.pick(&[0, 8, 40]),
            records: Vec::new(),
        };
        // Near to where time begins, or not.
        let mut reached = random.pick(&[0, 1_000, 1_000]);
        let keys = 1 + random.below(3);
        let steps = random.pick(&[[0, 0, 1, 2], [0, 1, 3, 9], [1, 2, 5, 30]]);
        for number in 1..=4 + random.below(26) {
            reached += random.pick(&steps);
            let behind = random.pick(&[0, 0, 0, 1, 3, 8, 20]);
            let side = random.pick(&[
                Some(Side::Left),
                Some(Side::Right),
                Some(Side::Left),
                Some(Side::Right),
                None,
            ]);
            let deletes = side == Some(Side::Right) && random.below(5) == 0;
            let (at, key) = ((reached - behind).max(0), u8::try_from(random.below(keys)).unwrap());
            log.records.push(Record { at, key, number, side, deletes });
        }
        if random.below(2) == 0 {
            // Closes all that there is, with more than one: Kafka Streams tells of some with the record after the next.
            for number in 1_000..1_004 {
                let side = Some(if number % 2 == 0 { Side::Left } else { Side::Right });
                let at = reached + 1_000 * (1 + (i64::try_from(number).unwrap() - 1_000) / 2);
                log.records.push(Record { at, key: 9, number, side, deletes: false });
            }
        }
        log
    }

    /// As the Java program reads it.
    pub(crate) fn to_json(&self) -> Value {
        let records = self.records.iter().map(|record| {
            let side = record.side.map(|side| if side == Side::Left { "left" } else { "right" });
            let number = i64::try_from(record.number).unwrap();
            json!([record.at, record.key, if record.deletes { -number } else { number }, side])
        });
        json!({
            "size": self.size, "hop": self.hop, "difference": self.difference, "gap": self.gap, "before": self.before,
            "after": self.after, "grace": self.grace, "history": self.history, "records": records.collect::<Vec<_>>(),
        })
    }

    /// As the Java program has read it.
    pub(crate) fn read(json: &Value) -> Self {
        let ms = |name: &str| json[name].as_i64().unwrap();
        let records = json["records"].as_array().unwrap().iter().map(|record| {
            let number = record[2].as_i64().unwrap();
            let side = record[3].as_str().map(|side| if side == "left" { Side::Left } else { Side::Right });
            let key = u8::try_from(record[1].as_u64().unwrap()).unwrap();
            Record {
                at: record[0].as_i64().unwrap(),
                key,
                number: number.unsigned_abs(),
                side,
                deletes: number < 0,
            }
        });
        Self {
            size: ms("size"),
            hop: ms("hop"),
            difference: ms("difference"),
            gap: ms("gap"),
            before: ms("before"),
            after: ms("after"),
            grace: ms("grace"),
            history: ms("history"),
            records: records.collect(),
        }
    }

    /// Each record of those that `counts` says take time on, with how far that has come with it.
    pub(crate) fn by_time(&self, counts: impl Fn(&Record) -> bool) -> Vec<(Record, i64)> {
        let mut reached = i64::MIN;
        let counted = self.records.iter().filter(|record| counts(record)).map(|record| {
            reached = reached.max(record.at);
            (*record, reached)
        });
        counted.collect()
    }
}
