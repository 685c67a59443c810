//! What must hold of the decoder of Avro, whatever bytes it is given. Compiled for tests and for fuzzing only.

use super::AvroValue;
use millpond_engine::codec::ValueCodec;
use std::sync::LazyLock;

/// How values are written and read, and whether equal ones have equal bytes; if not, they are equal themselves.
type Pair = (&'static str, &'static str, bool);

const EVERYTHING: &str = r#"{"type": "record", "name": "Everything", "fields": [
    {"name": "flag", "type": "boolean"}, {"name": "int", "type": "int"}, {"name": "long", "type": "long"},
    {"name": "float", "type": "float"}, {"name": "double", "type": "double"}, {"name": "text", "type": "string"},
    {"name": "bytes", "type": "bytes"}, {"name": "fixed", "type": {"type": "fixed", "name": "Four", "size": 4}},
    {"name": "color", "type": {"type": "enum", "name": "Color", "symbols": ["RED", "GREEN"]}},
    {"name": "list", "type": {"type": "array", "items": ["null", "long", "Color"]}},
    {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}]}"#;
const NEWER: &str = r#"{"type": "record", "name": "Everything", "fields": [
    {"name": "text", "type": "bytes"}, {"name": "int", "type": "double"}, {"name": "long", "type": ["null", "long"]},
    {"name": "later", "type": {"type": "array", "items": "int"}, "default": [1, 2]},
    {"name": "list", "type": {"type": "array", "items": ["null", "string", "double",
        {"type": "enum", "name": "Color", "symbols": ["GREEN"], "default": "GREEN"}]}}]}"#;
const LIST: &str = r#"{"type": "record", "name": "List", "fields": [
    {"name": "next", "type": ["null", "List"]}, {"name": "nothing", "type": {"type": "array", "items": "null"}}]}"#;
const MAPS: &str =
    r#"{"type": "map", "values": {"type": "map", "values": ["string", {"type": "array", "items": "int"}]}}"#;
const WIDER_MAPS: &str =
    r#"{"type": "map", "values": {"type": "map", "values": ["bytes", {"type": "array", "items": "long"}]}}"#;

const PAIRS: [Pair; 6] = [
    (EVERYTHING, EVERYTHING, true),
    (EVERYTHING, NEWER, true),
    (LIST, LIST, true),
    (MAPS, MAPS, false),
    (MAPS, WIDER_MAPS, false),
    (r#"["null", "double", "string"]"#, r#"["string", "null", "double"]"#, true),
];

/// One that reads what was written in another schema, and one that writes what it has read.
struct Codecs {
    reader: AvroValue,
    writer: AvroValue,
    has_equal_bytes: bool,
}

static CODECS: LazyLock<Vec<Codecs>> = LazyLock::new(|| {
    let codecs = PAIRS.iter().filter_map(|&(written, read, has_equal_bytes)| {
        let writer = AvroValue::with_schema(read).ok()?;
        let same = written == read;
        let reader = if same { writer.clone() } else { writer.clone().written_as(written).ok()? };
        Some(Codecs { reader, writer, has_equal_bytes })
    });
    codecs.collect()
});

/// Values in schemas of every kind, bare, as they were written and as another schema has them.
///
/// What decodes is written again, and that is read as the same.
///
/// # Panics
/// If that does not hold.
pub fn avro(data: &[u8]) {
    assert_eq!(CODECS.len(), PAIRS.len(), "a schema does not parse");
    for Codecs { reader, writer, has_equal_bytes } in CODECS.iter() {
        // An error is as good as an answer.
        let Ok(value) = reader.decode(data) else { continue };
        let written = |value: &_| {
            let mut bytes = Vec::new();
            match writer.encode(value, &mut bytes) {
                Ok(()) => bytes,
                Err(error) => panic!("what was read cannot be written: {error}: {value:?}"),
            }
        };
        let bytes = written(&value);
        match writer.decode(&bytes) {
            // Numbers that are none are equal to nothing.
            Ok(again) if *has_equal_bytes => assert_eq!(written(&again), bytes, "{value:?}"),
            Ok(again) => assert_eq!(again, value),
            Err(error) => panic!("what was written cannot be read: {error}: {value:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;

    /// Bytes that look like something: small numbers and lengths, text, one byte over and over.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![6 => 0_u8..10, 1 => b'a'..=b'c', 1 => any::<u8>()];
        prop_oneof![
            4 => vec(byte, 0..80),
            1 => vec(any::<u8>(), 0..80),
            1 => (0_u8..8, 0..3_000_usize).prop_map(|(byte, times)| vec![byte; times]),
        ]
    }

    /// A value of [`EVERYTHING`] with some bytes of it changed, so that not all are refused at once.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let mut whole =
            vec![1, 4, 6, 0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 4, b'a', b'b', 2, 7, 1, 2, 3, 4, 2];
        whole.extend([6, 0, 2, 8, 4, 0, 0, 72]);
        whole.extend(b"67e55044-10b1-426f-9247-bb680e5fe0c8");
        whole.extend([4, 1, 44, 20]);
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..3).prop_map(move |changes| {
            let mut bytes = whole.clone();
            for (at, to) in changes {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            bytes
        })
    }

    #[test]
    fn the_value_that_is_changed_is_one() {
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        let read = (0..64).filter(|_| {
            let bytes = nearly().new_tree(&mut runner).unwrap().current();
            CODECS[0].reader.decode(&bytes).is_ok() && CODECS[1].reader.decode(&bytes).is_ok()
        });
        assert!(read.count() > 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_bytes_are_values_or_refused(data in prop_oneof![bytes(), nearly()]) {
            avro(&data);
        }
    }
}
