//! The codec of a topic or a table, checked: nothing is written that cannot be read back.
//!
//! The type is examined once, before its first value. If the codec was proven to bring all of its samples back and no code of
//! the user has a part in it, no value is looked at again; else every value is read back, and of a codec that is not ours
//! every value must decode. What is refused depends on the value alone, and not on how many came before it: a crash would
//! change that.

use super::examine::{decoded, read_back};
use super::shape::Trust;
use super::{CodecError, RowCodec, Shape, ValueCodec};
use std::any::TypeId;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Beyond so many bytes a value of a type that nothing speaks against is only decoded, and not encoded once more.
const LARGE_BYTES: usize = 1 << 12;

type Examination = Result<Shape, CodecError>;

/// What was found out about types and codecs that are nothing but types: handles on them come and go.
static EXAMINED: Mutex<Option<HashMap<TypeId, Examination>>> = Mutex::new(None);

/// A codec whose values are read back while there is doubt.
pub(crate) struct CheckedCodec<C> {
    codec: C,
    /// The type of the values and of the codec, if the codec has no state.
    of: Option<TypeId>,
    examined: OnceLock<Examination>,
}

impl<C: 'static> CheckedCodec<C> {
    /// `codec`, for values of the type `V`.
    pub(crate) fn new<V: 'static>(codec: C) -> Self {
        let of = (size_of::<C>() == 0).then(TypeId::of::<(V, C)>);
        Self { codec, of, examined: OnceLock::new() }
    }

    #[inline]
    fn examined<V>(&self) -> &Examination
    where
        C: ValueCodec<V>,
    {
        self.examined.get_or_init(|| self.examine())
    }

    #[cold]
    fn examine<V>(&self) -> Examination
    where
        C: ValueCodec<V>,
    {
        let known = || EXAMINED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(of) = self.of else { return self.codec.shape() };
        if let Some(examined) = known().as_ref().and_then(|known| known.get(&of)) {
            return examined.clone();
        }
        // Not under the lock: user code runs.
        let examined = self.codec.shape();
        known().get_or_insert_default().insert(of, examined.clone());
        examined
    }
}

/// Whoever appends a value has not asked for it to be read, and must not meet a panic of that.
fn guarded(read: impl FnOnce() -> Result<(), CodecError>) -> Result<(), CodecError> {
    let panicked = || CodecError::new("what is written of it is not read back: the codec panicked");
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(panicked()))
}

impl<V, C: ValueCodec<V>> ValueCodec<V> for CheckedCodec<C> {
    fn id(&self) -> &'static str {
        self.codec.id()
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let trust = match self.examined::<V>() {
            Ok(shape) => shape.trust(),
            Err(refusal) => return Err(refusal.clone()),
        };
        let start = out.len();
        self.codec.encode(value, out)?;
        let decoded = |out: &[u8]| decoded(&self.codec, out.get(start..).unwrap_or_default()).map(drop);
        let checked = match trust {
            Trust::Proven => return Ok(()),
            Trust::Likely if out.len() - start > LARGE_BYTES => guarded(|| decoded(out)),
            Trust::Doubtful | Trust::Likely => guarded(|| read_back(&self.codec, out, start)),
            Trust::Unknown => guarded(|| decoded(out)),
        };
        checked.inspect_err(|_| out.truncate(start))
    }

    #[inline]
    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        self.codec.decode(bytes)
    }

    fn awaits(&self) -> bool {
        self.codec.awaits()
    }

    fn owned_bytes(&self, value: &V) -> Option<usize> {
        self.codec.owned_bytes(value)
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        self.examined::<V>().clone()
    }
}

impl<V, C: ValueCodec<V>> RowCodec<V> for CheckedCodec<C> {}
