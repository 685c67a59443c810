//! Following a plan: bytes of the writer's schema become bytes of the reader's.
//!
//! Invariant: whatever the bytes are, nothing panics, nothing is read beyond them, nothing nests deeper than [`MOST_DEEP`], and what
//! is made of them is bounded by [`MOST_BYTES`] and their number. So what was let through here may be handed to a decoder that
//! believes lengths.

use super::plan::{Field, Node, Origin, Plan, Step};
use millpond_engine::codec::CodecError;

/// How many records, arrays, maps and unions may stand inside one another.
const MOST_DEEP: u32 = 128;

/// The most items of arrays and maps that take no bytes.
const MOST_EMPTY: u64 = 1 << 16;

/// What one value may become beyond its own bytes, in bytes: defaults are repeated where records are.
const MOST_BYTES: usize = 64 << 20;

type Done = Result<(), CodecError>;

/// Where what is made goes.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
    /// How many bytes were put there.
    fn len(&self) -> usize;
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn len(&self) -> usize {
        self.len()
    }
}

/// For what is only checked, or passed over.
struct Nowhere;

impl Sink for Nowhere {
    fn put(&mut self, _: &[u8]) {}

    fn len(&self) -> usize {
        0
    }
}

impl Plan {
    /// Checks `bytes`, which are to be a whole value, where they [stay what they are](Self::identity).
    pub(crate) fn check(&self, bytes: &[u8]) -> Done {
        self.whole(bytes, &mut Nowhere)
    }

    /// Appends to `out` what the value that is the whole of `bytes` is in the reader's schema.
    pub(crate) fn transcode(&self, bytes: &[u8], out: &mut Vec<u8>) -> Done {
        self.whole(bytes, out)
    }

    fn whole<S: Sink>(&self, bytes: &[u8], out: &mut S) -> Done {
        let most = out.len().saturating_add(bytes.len()).saturating_add(MOST_BYTES);
        let mut following = Following { nodes: &self.nodes, input: bytes, deep: 0, empty: 0, most };
        following.step(self.root, out)?;
        if following.input.is_empty() {
            return Ok(());
        }
        let left = following.input.len();
        Err(CodecError::new(format!("{left} of {} bytes are left over behind the Avro value", bytes.len())))
    }
}

struct Following<'p, 'b> {
    nodes: &'p [Node],
    input: &'b [u8],
    deep: u32,
    empty: u64,
    most: usize,
}

impl<'b> Following<'_, 'b> {
    fn step<S: Sink>(&mut self, step: Step, out: &mut S) -> Done {
        let Some(node) = self.nodes.get(step) else {
            return Err(CodecError::new("the plan has no such step"));
        };
        match node {
            Node::Copy(count) => out.put(self.take(*count)?),
            Node::Boolean => match self.take(1)? {
                byte @ [0 | 1] => out.put(byte),
                byte => return Err(CodecError::new(format!("{byte:02x?} is no boolean"))),
            },
            Node::Int => {
                let (number, bytes) = self.long()?;
                if i32::try_from(number).is_err() {
                    return Err(CodecError::new(format!("{number} is no int")));
                }
                out.put(bytes);
            }
            Node::Long => out.put(self.long()?.1),
            #[expect(clippy::cast_precision_loss, reason = "so Avro promotes integers to floats")]
            Node::LongToFloat => out.put(&(self.long()?.0 as f32).to_le_bytes()),
            #[expect(clippy::cast_precision_loss, reason = "so Avro promotes integers to floats")]
            Node::LongToDouble => out.put(&(self.long()?.0 as f64).to_le_bytes()),
            Node::FloatToDouble => {
                let float = self.take(4)?.try_into().map(f32::from_le_bytes).map_err(|_| ended())?;
                out.put(&f64::from(float).to_le_bytes());
            }
            Node::Bytes => _ = self.bytes(out)?,
            Node::Text => {
                let text = self.bytes(out)?;
                std::str::from_utf8(text)
                    .map_err(|error| CodecError::new(format!("a string is no text: {error}")))?;
            }
            Node::Enum(symbols) => {
                let (number, _) = self.long()?;
                let symbol = usize::try_from(number).ok().and_then(|number| symbols.get(number));
                match symbol {
                    Some(Ok(read)) => put(*read, out),
                    Some(Err(refused)) => return Err(CodecError::new(refused.clone())),
                    None => return Err(CodecError::new(format!("{number} is the number of no symbol"))),
                }
            }
            Node::Refused(why) => return Err(CodecError::new(why.clone())),
            node => {
                self.deep += 1;
                if self.deep > MOST_DEEP {
                    return Err(CodecError::new(format!("it is nested deeper than {MOST_DEEP}")));
                }
                self.compound(node, out)?;
                self.deep -= 1;
            }
        }
        Ok(())
    }

    fn compound<S: Sink>(&mut self, node: &Node, out: &mut S) -> Done {
        match node {
            Node::Array(items) => self.blocks(out, |this, out| this.step(*items, out)),
            Node::Map(values) => self.blocks(out, |this, out| {
                let key = this.bytes(out)?;
                std::str::from_utf8(key)
                    .map_err(|error| CodecError::new(format!("a key is no text: {error}")))?;
                this.step(*values, out)
            }),
            Node::Record(fields) => fields.iter().try_for_each(|field| match field {
                Field::Read(step) => self.step(*step, out),
                Field::Skip(step) => self.step(*step, &mut Nowhere),
                Field::Default(bytes) => self.put_default(bytes, out),
            }),
            Node::Shuffled { read, put } => self.shuffled(read, put, out),
            Node::FromUnion(branches) => {
                let (number, _) = self.long()?;
                let branch = usize::try_from(number).ok().and_then(|number| branches.get(number));
                let branch = *branch.ok_or_else(|| {
                    let count = branches.len();
                    CodecError::new(format!("{number} is no branch of a union of {count}"))
                })?;
                self.step(branch, out)
            }
            Node::IntoUnion(number, step) => {
                put(*number, out);
                self.step(*step, out)
            }
            _ => Err(CodecError::new("the plan has no such step")),
        }
    }

    fn put_default<S: Sink>(&self, bytes: &[u8], out: &mut S) -> Done {
        if out.len().saturating_add(bytes.len()) > self.most {
            return Err(CodecError::new(format!(
                "with its defaults it becomes larger than {MOST_BYTES} bytes"
            )));
        }
        out.put(bytes);
        Ok(())
    }

    fn shuffled<S: Sink>(&mut self, read: &[(Step, bool)], put: &[Origin], out: &mut S) -> Done {
        let mut bytes = Vec::new();
        let mut ranges = Vec::with_capacity(read.len());
        for (step, wanted) in read {
            let start = bytes.len();
            if *wanted {
                self.step(*step, &mut bytes)?;
            } else {
                self.step(*step, &mut Nowhere)?;
            }
            ranges.push(start..bytes.len());
        }
        for origin in put {
            match origin {
                Origin::Default(bytes) => self.put_default(bytes, out)?,
                Origin::Field(number) => {
                    let field = ranges.get(*number).and_then(|range| bytes.get(range.clone()));
                    out.put(field.unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// The blocks of an array or a map.
    fn blocks<S: Sink>(&mut self, out: &mut S, item: impl Fn(&mut Self, &mut S) -> Done) -> Done {
        loop {
            let (count, _) = self.long()?;
            if count == 0 {
                put(0, out);
                return Ok(());
            }
            if count < 0 {
                // How many bytes the block has, for who wants to pass over it.
                let (bytes, _) = self.long()?;
                if bytes < 0 {
                    return Err(CodecError::new(format!("a block has {bytes} bytes")));
                }
            }
            let count = count.unsigned_abs();
            if count > self.input.len() as u64 + (MOST_EMPTY - self.empty) {
                return Err(CodecError::new(format!(
                    "a block of {count} items is longer than what is left of the value"
                )));
            }
            put(i64::try_from(count).map_err(|_| ended())?, out);
            for _ in 0..count {
                let before = self.input.len();
                item(self, out)?;
                if self.input.len() == before {
                    self.empty += 1;
                    if self.empty >= MOST_EMPTY {
                        return Err(CodecError::new(format!(
                            "it has more than {MOST_EMPTY} items without bytes"
                        )));
                    }
                }
            }
        }
    }

    fn bytes<S: Sink>(&mut self, out: &mut S) -> Result<&'b [u8], CodecError> {
        let (length, written) = self.long()?;
        let length =
            usize::try_from(length).map_err(|_| CodecError::new(format!("{length} is no length")))?;
        let bytes = self.take(length)?;
        out.put(written);
        out.put(bytes);
        Ok(bytes)
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], CodecError> {
        let (bytes, rest) = self.input.split_at_checked(count).ok_or_else(ended)?;
        self.input = rest;
        Ok(bytes)
    }

    /// A number, and the bytes that it was.
    fn long(&mut self) -> Result<(i64, &'b [u8]), CodecError> {
        let mut number = 0_u64;
        for (index, byte) in self.input.iter().enumerate().take(10) {
            let part = u64::from(byte & 0x7F);
            if index == 9 && part > 1 {
                break;
            }
            number |= part << (7 * index);
            if byte & 0x80 == 0 {
                return Ok((unzigzag(number), self.take(index + 1)?));
            }
        }
        if self.input.len() < 10 {
            Err(ended())
        } else {
            Err(CodecError::new("a number has more than 64 bits"))
        }
    }
}

fn ended() -> CodecError {
    CodecError::new("the Avro value ends too early")
}

#[expect(clippy::cast_possible_wrap, reason = "the bits of the number are those of the integer")]
fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn put(number: i64, out: &mut impl Sink) {
    let mut bytes = [0; 10];
    out.put(zigzagged(number, &mut bytes));
}

/// Appends a number as Avro has it.
pub(super) fn put_long(number: i64, out: &mut Vec<u8>) {
    put(number, out);
}

#[expect(clippy::cast_sign_loss, reason = "the bits of the integer are those of the number")]
fn zigzagged(number: i64, bytes: &mut [u8; 10]) -> &[u8] {
    let mut left = ((number << 1) ^ (number >> 63)) as u64;
    let mut length = 0;
    for byte in bytes.iter_mut() {
        length += 1;
        let part = (left & 0x7F) as u8;
        left >>= 7;
        *byte = if left == 0 { part } else { part | 0x80 };
        if left == 0 {
            break;
        }
    }
    bytes.get(..length).unwrap_or_default()
}
