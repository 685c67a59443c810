//! A mark as it stands in the topic of marks: JSON, so that whoever looks at the topic can read it.

use millpond_engine::changelog::EpochMark;
use millpond_engine::{Error, Position, Result};
use serde::{Deserialize, Serialize};

/// What is stored is of this format.
const FORMAT: u8 = 1;

/// A mark, and the process that has left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) epoch: EpochMark,
    /// What no other process has, nor this one after its next start.
    pub(super) holder: String,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u8,
    from: Position,
    to: Position,
    holder: String,
}

impl Mark {
    pub(super) fn encode(epoch: &EpochMark, holder: &str) -> Result<Vec<u8>> {
        let EpochMark { from, to, .. } = epoch.clone();
        serde_json::to_vec(&Stored { format: FORMAT, from, to, holder: holder.to_owned() })
            .map_err(|error| Error::internal("a mark has no JSON").with_source(error))
    }

    pub(super) fn decode(stored: &[u8]) -> Result<Self> {
        let decoded: Stored = serde_json::from_slice(stored).map_err(|error| {
            Error::corrupt("it is no mark of an epoch; does anything else write to this topic?")
                .with_source(error)
        })?;
        if decoded.format != FORMAT {
            return Err(Error::corrupt(format!(
                "the mark has format {}, and this build reads {FORMAT}: let the processes of the newer release go on alone",
                decoded.format
            )));
        }
        Ok(Self { epoch: EpochMark::new(decoded.from, decoded.to), holder: decoded.holder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_mark_is_golden() {
        let golden = r#"{"format":1,"from":{"a/0":3},"to":{"a/0":5},"holder":"x"}"#;
        let at = |offset| [(millpond_engine::TopicPartition::new("a", 0), offset)].into_iter().collect();
        let epoch = EpochMark::new(at(3), at(5));
        assert_eq!(String::from_utf8(Mark::encode(&epoch, "x").unwrap()).unwrap(), golden);
        assert_eq!(Mark::decode(golden.as_bytes()).unwrap(), Mark { epoch, holder: "x".into() });
        // A later release may say more, within the format.
        assert!(
            Mark::decode(
                golden.replace('{', r#"{"more":1,"#).replacen(r#"{"more":1,"a"#, r#"{"a"#, 2).as_bytes()
            )
            .is_ok()
        );
        assert!(
            Mark::decode(golden.replace(":1,", ":2,").as_bytes())
                .unwrap_err()
                .to_string()
                .contains("format 2")
        );
        assert!(Mark::decode(b"hello").unwrap_err().to_string().contains("no mark"));
    }
}
