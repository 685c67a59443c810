//! The row of a key that carries an alarm: when it is due, under which time the index of alarms has it, and the value.
//!
//! Invariant: the value is written by its own codec, behind two varints for the two times: one more than the time
//! with its sign in the lowest bit, and 0 for none. Readers are shown the value
//! alone; a row that differs in its alarm only has not changed for them.

use super::grouped::RowCodec;
use super::{CodecError, Shape, ValueCodec};
use crate::varint::{read_varint, unzigzag, write_varint, zigzag};
use std::sync::Arc;

/// What is stored of a key that carries an alarm. Whoever asks for it is shown the value.
#[derive(Debug, PartialEq, Eq)]
pub struct Alarmed<V> {
    /// When the alarm is due, in milliseconds since the Unix epoch.
    pub alarm_ms: Option<i64>,
    /// Under which time the index of alarms has the key: never later than the alarm.
    pub filed_ms: Option<i64>,
    /// The value.
    pub value: V,
}

impl<V: Clone> Clone for Alarmed<V> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), ..*self }
    }

    /// What the value owns may be used again: each epoch has the fold keep the row that it touches.
    fn clone_from(&mut self, source: &Self) {
        (self.alarm_ms, self.filed_ms) = (source.alarm_ms, source.filed_ms);
        self.value.clone_from(&source.value);
    }
}

/// Writes the alarm before the value.
pub(crate) struct AlarmedCodec<V: 'static> {
    value: Arc<dyn RowCodec<V>>,
}

impl<V> AlarmedCodec<V> {
    pub(crate) fn new(value: Arc<dyn RowCodec<V>>) -> Self {
        Self { value }
    }
}

fn write_time(out: &mut Vec<u8>, ms: Option<i64>) {
    // The least time there is stands for no time at all elsewhere, too.
    write_varint(out, ms.map_or(0, |ms| zigzag(ms.max(i64::MIN + 1)).saturating_add(1)));
}

fn read_time(bytes: &mut &[u8]) -> Result<Option<i64>, CodecError> {
    let written = read_varint(bytes).ok_or_else(|| CodecError::new("a row does not begin with its alarm"))?;
    Ok(written.checked_sub(1).map(unzigzag))
}

impl<V> ValueCodec<Alarmed<V>> for AlarmedCodec<V> {
    fn id(&self) -> &'static str {
        self.value.id()
    }

    fn encode(&self, row: &Alarmed<V>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        write_time(out, row.alarm_ms);
        write_time(out, row.filed_ms);
        self.value.encode(&row.value, out).inspect_err(|_| out.truncate(start))
    }

    fn decode(&self, mut bytes: &[u8]) -> Result<Alarmed<V>, CodecError> {
        let (alarm_ms, filed_ms) = (read_time(&mut bytes)?, read_time(&mut bytes)?);
        Ok(Alarmed { alarm_ms, filed_ms, value: self.value.decode(bytes)? })
    }

    fn awaits(&self) -> bool {
        self.value.awaits()
    }

    fn owned_bytes(&self, row: &Alarmed<V>) -> Option<usize> {
        self.value.owned_bytes(&row.value)
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        self.value.shape()
    }
}

impl<V> RowCodec<Alarmed<V>> for AlarmedCodec<V> {
    fn encode_shown(&self, row: &Alarmed<V>, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.value.encode_shown(&row.value, out)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bincode, CheckedCodec};
    use super::*;
    use proptest::prelude::*;

    fn codec() -> AlarmedCodec<u16> {
        AlarmedCodec::new(Arc::new(CheckedCodec::new::<u16>(Bincode)))
    }

    fn encoded(alarm_ms: Option<i64>, filed_ms: Option<i64>, value: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec().encode(&Alarmed { alarm_ms, filed_ms, value }, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_row_with_an_alarm_has_its_golden_bytes() {
        assert_eq!(encoded(None, None, 7), [0, 0, 7]);
        assert_eq!(encoded(Some(0), None, 7), [1, 0, 7]);
        assert_eq!(encoded(Some(-1), Some(-2), 7), [2, 4, 7]);
        assert_eq!(
            encoded(Some(1_000_000_000_000), Some(64), 300),
            [129, 192, 168, 202, 154, 58, 129, 1, 251, 44, 1]
        );
    }

    #[test]
    fn readers_are_not_shown_the_alarm() {
        let shown = |alarm_ms, filed_ms| {
            let mut bytes = Vec::new();
            codec().encode_shown(&Alarmed { alarm_ms, filed_ms, value: 7 }, &mut bytes).unwrap();
            bytes
        };
        assert_eq!(shown(Some(5), Some(4)), shown(None, None));
    }

    proptest! {
        #[test]
        fn rows_with_alarms_round_trip(alarm in any::<Option<i64>>(), filed in any::<Option<i64>>(), value in any::<u16>()) {
            let kept = |ms: Option<i64>| ms.map(|ms| ms.max(i64::MIN + 1));
            let bytes = encoded(alarm, filed, value);
            let row = Alarmed { alarm_ms: kept(alarm), filed_ms: kept(filed), value };
            prop_assert_eq!(codec().decode(&bytes), Ok(row));
        }

        #[test]
        fn any_bytes_are_refused_or_a_row_with_an_alarm(bytes in any::<Vec<u8>>()) {
            if let Ok(row) = codec().decode(&bytes) {
                let Alarmed { alarm_ms, filed_ms, value } = row;
                prop_assert_eq!(codec().decode(&encoded(alarm_ms, filed_ms, value)), Ok(row));
            }
        }
    }
}
