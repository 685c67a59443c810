//! Values in Avro.
//!
//! An [`Avro`] codec reads into one schema, the *reader's*: that of a Rust type, or one that is given as text. It writes in the same.
//! Where it stands alone, values are bare, and all of them are in that schema: so rows of tables are kept. With a
//! [registry](crate::registry) a value begins with the [id](crate::framing) of the schema that it was written in, which may be
//! another one: an older version, or a newer one.
//!
//! # Evolution
//! What was written in one schema is read as another by Avro's own rules: fields by name or the reader's alias, whatever their
//! order; the reader's default where nothing was written; `int` as `long`, `float` or `double`, and so on; symbols of enums
//! by name, unknown ones as the reader's default; branches of unions by what they are. What cannot be read fails its record, and
//! says why. Names of records count without their namespaces, or not at all with [`any_names`](Avro::any_names).
//!
//! The crate `apache-avro` parses schemas, derives them, and reads and writes values of serde. Resolution is our own
//! (`plan`, `transcode`): the crate resolves value by value, knows no alias of a field, and guesses from the fields of a
//! record which branch of a union it is of. Here a plan is made of two schemas, once, and followed from bytes to bytes; that also
//! checks every length before anyone believes it.
//!
//! # Examples
//! ```
//! use millpond::codec::ValueCodec;
//! use millpond_formats::avro::{Avro, AvroSchema};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, AvroSchema)]
//! struct Order {
//!     item: String,
//!     count: i64,
//! }
//!
//! let codec = Avro::<Order>::new()?;
//! let mut bytes = Vec::new();
//! codec.encode(&Order { item: "tea".into(), count: 2 }, &mut bytes)?;
//! assert_eq!(bytes, b"\x06tea\x04");
//! assert_eq!(codec.decode(&bytes)?.count, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod coding;
mod defaults;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod generic;
#[cfg(feature = "registry")]
mod known;
mod matching;
mod plan;
mod schema;
mod transcode;

#[cfg(test)]
mod tests;

/// The crate whose schemas and values these are.
pub use apache_avro;
/// Values that know their schema. What `derive(AvroSchema)` writes names the crates `apache-avro` and `serde_json`: depend on both.
pub use apache_avro::AvroSchema;
pub use generic::AvroValue;

#[cfg(feature = "registry")]
use crate::framing;
#[cfg(feature = "registry")]
use crate::registry::{Registry, SchemaKind, Subject};
use coding::{Coding, refused};
#[cfg(feature = "registry")]
use known::Known;
use millpond_engine::Result;
use millpond_engine::codec::{CodecError, Shape, ValueCodec};
use plan::Plan;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// Beyond so many bytes a buffer is not kept.
const KEPT_BYTES: usize = 1 << 16;

thread_local! {
    /// For values on their way from one schema to another.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Values of a type of serde in Avro; see [the module](self).
///
/// A struct is read from a record of its own name (`#[serde(rename = "..")]` gives it another one); a record that others have
/// named otherwise is read with [`any_names`](Self::any_names).
///
/// # Examples
/// A schema of one's own, and an older one read as it:
/// ```
/// use millpond::codec::ValueCodec;
/// use millpond_formats::avro::Avro;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
/// struct Stop {
///     airport: String,
///     minutes: i64,
///     gate: Option<String>,
/// }
///
/// let stop = Avro::<Stop>::with_schema(
///     r#"{"type": "record", "name": "Stop", "fields": [
///         {"name": "airport", "type": "string", "aliases": ["port"]},
///         {"name": "minutes", "type": "long"},
///         {"name": "gate", "type": ["null", "string"], "default": null}
///     ]}"#,
/// )?;
/// let older = r#"{"type": "record", "name": "Stop", "fields": [
///     {"name": "minutes", "type": "int"},
///     {"name": "port", "type": "string"}
/// ]}"#;
/// let stop = stop.written_as(older)?;
/// let read = stop.decode(b"\x0a\x06LHR")?;
/// assert_eq!(read, Stop { airport: "LHR".into(), minutes: 5, gate: None });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Avro<V> {
    inner: Inner,
    values: PhantomData<fn() -> V>,
}

/// What does not depend on the type of the values.
#[derive(Clone)]
struct Inner {
    coding: Arc<Coding>,
    any_names: bool,
    framing: Framing,
}

#[derive(Clone)]
enum Framing {
    /// Bare values, all of them in one schema.
    Bare(Arc<Plan>),
    /// The id of its schema before each; those that are written have this one.
    #[cfg(feature = "registry")]
    ById(Arc<Known>, Option<u32>),
}

impl<V> Clone for Avro<V> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), values: PhantomData }
    }
}

impl<V> fmt::Debug for Avro<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Avro");
        debug.field("schema", &self.coding.name);
        #[cfg(feature = "registry")]
        if let Framing::ById(known, id) = &self.framing {
            debug.field("registry", &known.registry).field("id", id);
        }
        debug.finish_non_exhaustive()
    }
}

impl Inner {
    fn new(coding: Coding) -> Self {
        let framing = Framing::Bare(Arc::new(Plan::identity(coding.schema())));
        Self { coding: Arc::new(coding), any_names: false, framing }
    }

    fn any_names(self) -> Self {
        Self { any_names: true, ..self }
    }

    fn written_as(self, writer: &str) -> Result<Self> {
        let writer = Coding::parse(writer)?;
        let plan = Plan::new(writer.schema(), &[], self.coding.schema(), self.any_names);
        Ok(Self { framing: Framing::Bare(Arc::new(plan)), ..self })
    }

    #[cfg(feature = "registry")]
    fn framed(self, registry: &Registry, id: Option<u32>) -> Self {
        let known = Known::new(registry, &self.coding, self.any_names);
        if let Some(id) = id {
            known.learn(id, Ok(Plan::identity(self.coding.schema())));
        }
        Self { framing: Framing::ById(Arc::new(known), id), ..self }
    }

    #[cfg(feature = "registry")]
    fn registered(self, registry: &Registry, subject: &Subject, look_up: bool) -> Result<Self> {
        let subject = subject.name(self.coding.name.as_deref())?;
        let ask = if look_up { Registry::look_up } else { Registry::register };
        let id = ask(registry, &subject, SchemaKind::Avro, &self.coding.text, &[])?;
        Ok(self.framed(registry, Some(id)))
    }

    fn id(&self) -> &'static str {
        match &self.framing {
            Framing::Bare(_) => "avro",
            #[cfg(feature = "registry")]
            Framing::ById(..) => "avro-by-id",
        }
    }

    fn awaits(&self) -> bool {
        match &self.framing {
            Framing::Bare(_) => false,
            #[cfg(feature = "registry")]
            Framing::ById(..) => true,
        }
    }

    fn shape(&self) -> Shape {
        match &self.framing {
            Framing::Bare(plan) if plan.identity => Shape::named(&self.coding.told_exactly()),
            _ => Shape::named(&self.coding.told()),
        }
    }

    /// Hands `write` the place for a value in the schema of the codec.
    fn encode(
        &self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&Coding, &mut Vec<u8>) -> Result<usize, apache_avro::Error>,
    ) -> Result<(), CodecError> {
        let start = out.len();
        match &self.framing {
            Framing::Bare(plan) if plan.identity => {}
            Framing::Bare(_) => {
                return Err(CodecError::new(
                    "this codec reads what was written in another schema, and does not write",
                ));
            }
            #[cfg(feature = "registry")]
            Framing::ById(_, Some(id)) => framing::begin(*id, out),
            #[cfg(feature = "registry")]
            Framing::ById(_, None) => {
                return Err(CodecError::new(
                    "the codec was made for reading: its schema is not registered; make it with `registered` or `looked_up`",
                ));
            }
        }
        match write(&self.coding, out) {
            Ok(_) => Ok(()),
            Err(error) => {
                out.truncate(start);
                Err(refused(&error))
            }
        }
    }

    /// Hands `read` a value in the schema of the codec.
    fn decode<T>(
        &self,
        bytes: &[u8],
        read: impl FnOnce(&Coding, &mut &[u8]) -> Result<T, apache_avro::Error>,
    ) -> Result<T, CodecError> {
        let (plan, mut bytes) = match &self.framing {
            Framing::Bare(plan) => (&**plan, bytes),
            #[cfg(feature = "registry")]
            Framing::ById(known, _) => {
                let (id, bytes) = framing::split(bytes)?;
                (known.plan(id)?, bytes)
            }
        };
        if plan.identity {
            plan.check(bytes)?;
            return read(&self.coding, &mut bytes).map_err(|error| refused(&error));
        }
        // Taken out meanwhile, as code of the user runs.
        let mut buffer = BUFFER.take();
        buffer.clear();
        let value = plan
            .transcode(bytes, &mut buffer)
            .and_then(|()| read(&self.coding, &mut buffer.as_slice()).map_err(|error| refused(&error)));
        if buffer.capacity() <= KEPT_BYTES {
            BUFFER.replace(buffer);
        }
        value
    }
}

/// What the codecs of typed and of generic values have in common.
macro_rules! constructors {
    ($($codec:ident)::+ $(<$v:ident>)?) => {
        impl $(<$v>)? $($codec)::+ $(<$v>)? {
            /// Bare values in the schema `text`.
            ///
            /// # Errors
            /// `Invalid` if it is no Avro schema.
            pub fn with_schema(text: &str) -> Result<Self> {
                Ok(Self::of(Inner::new(Coding::parse(text)?)))
            }

            /// Names of records, enums and fixed types do not matter to whether they match: for schemas that others name,
            /// such as those of connectors. To be called before the others.
            #[must_use]
            pub fn any_names(self) -> Self {
                Self::of(self.inner.any_names())
            }

            /// Reads bare values that were written in the schema `writer`, and writes nothing.
            ///
            /// # Errors
            /// `Invalid` if it is no Avro schema.
            pub fn written_as(self, writer: &str) -> Result<Self> {
                Ok(Self::of(self.inner.written_as(writer)?))
            }

            /// Values that begin with the id of their schema. That of the codec is registered under `subject` now, if it is not
            /// there: what is written later asks nobody.
            ///
            /// # Errors
            /// `Invalid`, with what the registry says, if it refuses the schema; `Unavailable` if it does not answer.
            #[cfg(feature = "registry")]
            pub fn registered(self, registry: &Registry, subject: &Subject) -> Result<Self> {
                Ok(Self::of(self.inner.registered(registry, subject, false)?))
            }

            /// As [`registered`](Self::registered), with a schema that somebody else has registered.
            ///
            /// # Errors
            /// As there, and `Invalid` if it is not there.
            #[cfg(feature = "registry")]
            #[doc(alias = "auto.register.schemas")]
            pub fn looked_up(self, registry: &Registry, subject: &Subject) -> Result<Self> {
                Ok(Self::of(self.inner.registered(registry, subject, true)?))
            }

            /// Reads values that begin with the id of their schema, and writes none. Nothing is asked yet.
            #[must_use]
            #[cfg(feature = "registry")]
            pub fn reading(self, registry: &Registry) -> Self {
                Self::of(self.inner.framed(registry, None))
            }

            /// The schema of the codec, as it is registered.
            #[must_use]
            pub fn schema(&self) -> &str {
                &self.inner.coding.text
            }
        }
    };
}

constructors!(Avro<V>);
constructors!(AvroValue);

impl<V> Avro<V> {
    fn of(inner: Inner) -> Self {
        Self { inner, values: PhantomData }
    }

    /// Bare values in the schema of `V`: for tables, and for topics whose records are all in one schema.
    ///
    /// # Errors
    /// `Invalid` if the schema does not hold together, as where two types have one name.
    pub fn new() -> Result<Self>
    where
        V: AvroSchema,
    {
        Ok(Self::of(Inner::new(Coding::new(V::get_schema(), None)?)))
    }

    /// Whether schemas may have to be fetched.
    #[cfg(feature = "debezium")]
    pub(crate) fn awaits_schemas(&self) -> bool {
        self.inner.awaits()
    }

    /// Appends something that looks like a `V`.
    #[cfg(feature = "debezium")]
    pub(crate) fn encode_as<W: Serialize>(&self, value: &W, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.inner.encode(out, |coding, out| coding.writer().write_ser(out, value))
    }
}

impl<V: Serialize + DeserializeOwned + 'static> ValueCodec<V> for Avro<V> {
    fn id(&self) -> &'static str {
        self.inner.id()
    }

    fn encode(&self, value: &V, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.inner.encode(out, |coding, out| coding.writer().write_ser(out, value))
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        self.inner.decode(bytes, |coding, bytes| coding.reader().read_deser(bytes))
    }

    fn awaits(&self) -> bool {
        self.inner.awaits()
    }

    fn shape(&self) -> Result<Shape, CodecError> {
        Ok(self.inner.shape())
    }
}
