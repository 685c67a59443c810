//! Keys that are times, from the crates `chrono` and `time`.
//!
//! An instant is its seconds since the Unix epoch as an `i64` key followed by its nanoseconds as a `u32` key,
//! in either crate, so a table can change from one crate to the other. A date is its number of days, with
//! 0001-01-01 as day 1, as an `i32` key. Nanoseconds reach 1,999,999,999 where `chrono` has a leap second.

use super::{CodecError, KeyCodec};

const INSTANT: &str = "utc-instant";

fn encode_instant(seconds: i64, nanoseconds: u32, out: &mut Vec<u8>) {
    seconds.encode_key(out);
    nanoseconds.encode_key(out);
}

fn decode_instant(input: &mut &[u8]) -> Result<(i64, u32), CodecError> {
    Ok((i64::decode_key(input)?, u32::decode_key(input)?))
}

#[cold]
fn out_of_range(seconds: i64, nanoseconds: u32) -> CodecError {
    CodecError::new(format!(
        "{seconds} s and {nanoseconds} ns since the epoch is not a time that the key's type has"
    ))
}

#[cfg(feature = "chrono")]
mod with_chrono {
    use super::{INSTANT, decode_instant, encode_instant, out_of_range};
    use crate::codec::{CodecError, KeyCodec};
    use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};

    impl KeyCodec for DateTime<Utc> {
        #[inline]
        fn encode_key(&self, out: &mut Vec<u8>) {
            encode_instant(self.timestamp(), self.timestamp_subsec_nanos(), out);
        }

        #[inline]
        fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
            NaiveDateTime::decode_key(input).map(|time| time.and_utc())
        }

        fn key_schema() -> String {
            INSTANT.to_owned()
        }
    }

    impl KeyCodec for NaiveDateTime {
        #[inline]
        fn encode_key(&self, out: &mut Vec<u8>) {
            self.and_utc().encode_key(out);
        }

        #[inline]
        fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
            let (seconds, nanoseconds) = decode_instant(input)?;
            // The constructor allows a leap second at the end of a minute only, the type at any second; and
            // only the naive type allows one in its very last second.
            DateTime::<Utc>::from_timestamp(seconds, 0)
                .and_then(|time| time.naive_utc().with_nanosecond(nanoseconds))
                .ok_or_else(|| out_of_range(seconds, nanoseconds))
        }

        fn key_schema() -> String {
            "local-time".to_owned()
        }
    }

    impl KeyCodec for NaiveDate {
        #[inline]
        fn encode_key(&self, out: &mut Vec<u8>) {
            self.num_days_from_ce().encode_key(out);
        }

        #[inline]
        fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
            let day = i32::decode_key(input)?;
            Self::from_num_days_from_ce_opt(day).ok_or_else(|| {
                CodecError::new(format!("day {day} is beyond the dates that the key's type has"))
            })
        }

        fn key_schema() -> String {
            "local-date".to_owned()
        }
    }
}

/// Encoded as the instant in UTC, which is what `Eq`, `Ord` and `Hash` of the type compare: the offset is not
/// kept, and a decoded key has the offset zero.
#[cfg(feature = "time")]
impl KeyCodec for time::OffsetDateTime {
    #[inline]
    fn encode_key(&self, out: &mut Vec<u8>) {
        encode_instant(self.unix_timestamp(), self.nanosecond(), out);
    }

    #[inline]
    fn decode_key(input: &mut &[u8]) -> Result<Self, CodecError> {
        let (seconds, nanoseconds) = decode_instant(input)?;
        Self::from_unix_timestamp(seconds)
            .and_then(|time| time.replace_nanosecond(nanoseconds))
            .map_err(|_| out_of_range(seconds, nanoseconds))
    }

    fn key_schema() -> String {
        INSTANT.to_owned()
    }
}
