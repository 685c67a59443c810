//! A schema registry: which schema an id stands for, and which id a schema has.
//!
//! It is the REST interface of Confluent's schema registry, which others speak as well (Karapace, Redpanda, Apicurio).
//! An id stands for one schema for ever, so what was found is kept and never asked for again. Every call is one of the edge:
//! it may take as long as its time limit, and is never made within a fold. See [the crate](crate#schemas-that-are-not-there-yet).
//!
//! The crate `schema_registry_converter` does this and the codecs as well. It is not used: it asks where it decodes,
//! brings `reqwest` with a runtime, and decodes Avro to values that are resolved one by one.

mod client;
mod options;
mod subject;

pub use options::RegistryOptions;
pub use subject::Subject;

use client::{Answer, Client};
use millpond_engine::{Error, Result};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most schemas that one may refer to, directly or by others.
const MOST_REFERENCES: usize = 1_000;

/// The language of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SchemaKind {
    /// Apache Avro.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// JSON Schema.
    Json,
}

impl SchemaKind {
    fn name(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
            Self::Json => "JSON",
        }
    }
}

impl fmt::Display for SchemaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A schema as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisteredSchema {
    /// The language.
    pub kind: SchemaKind,
    /// The schema itself.
    pub text: String,
    /// The texts of the schemas that it refers to, each behind those that it refers to itself.
    pub referenced: Vec<String>,
}

/// What a schema refers to: another one, by its subject and version there.
///
/// # Examples
/// ```
/// use millpond_formats::registry::Reference;
///
/// let reference = Reference::new("com.acme.Address", "addresses-value", 3);
/// assert_eq!(reference.version, 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Reference {
    /// What the schema calls it: a full name in Avro, an import in Protobuf.
    pub name: String,
    /// Where it is registered.
    pub subject: String,
    /// In which version.
    pub version: u32,
}

impl Reference {
    /// A reference to the `version` of `subject`, which the schema calls `name`.
    #[must_use]
    pub fn new(name: &str, subject: &str, version: u32) -> Self {
        Self { name: name.to_owned(), subject: subject.to_owned(), version }
    }
}

/// A client of a schema registry. Clones share what was found.
///
/// # Examples
/// ```no_run
/// use millpond::Topic;
/// use millpond_formats::registry::{Registry, Subject};
/// # #[cfg(feature = "avro")] {
/// use millpond_formats::avro::{Avro, AvroSchema};
/// # use serde::{Deserialize, Serialize};
///
/// # #[derive(Clone, Serialize, Deserialize, AvroSchema)]
/// # struct Order { item: String }
/// let registry = Registry::new("http://registry:8081")?;
/// // Registers the schema of `Order`, if it is not there; from here on nothing that is written asks the registry.
/// let codec = Avro::<Order>::new()?.registered(&registry, &Subject::value_of("orders"))?;
/// let orders = Topic::<u64, Order>::with_codec("orders", codec);
/// # }
/// # Ok::<(), millpond::Error>(())
/// ```
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    client: Client,
    known: Mutex<HashMap<u32, Arc<RegisteredSchema>>>,
    ids: Mutex<HashMap<(String, String), u32>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.to_string()).finish()
    }
}

impl fmt::Display for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.client.name())
    }
}

#[derive(Deserialize)]
struct Found {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Numbered {
    id: u32,
}

impl Registry {
    /// The registry at `urls`: one address, or several that are tried in turn, separated by commas.
    ///
    /// # Errors
    /// `Invalid` if there is none, or one is no address of HTTP.
    pub fn new(urls: &str) -> Result<Self> {
        RegistryOptions::new(urls).open()
    }

    /// The registry at `urls`, with options: credentials, certificates, a time limit.
    pub fn options(urls: &str) -> RegistryOptions {
        RegistryOptions::new(urls)
    }

    fn open(client: Client) -> Self {
        Self(Arc::new(Inner { client, known: Mutex::default(), ids: Mutex::default() }))
    }

    /// The schema with this id; `None` if there is none. It is asked for once.
    ///
    /// # Errors
    /// `Unavailable` if the registry does not answer: it may later. `Invalid` if it lets nobody in with these credentials.
    pub fn schema(&self, id: u32) -> Result<Option<Arc<RegisteredSchema>>> {
        if let Some(known) = lock(&self.0.known).get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        let what = format!("schema {id}");
        let Answer::Found(found) = self.0.client.get::<Found>(&["schemas", "ids", &id.to_string()], &what)?
        else {
            return Ok(None);
        };
        let kind = self.kind(found.kind.as_deref(), &what)?;
        let mut referenced = Vec::new();
        self.gather(&found.references, &mut Vec::new(), &mut referenced)?;
        let schema = Arc::new(RegisteredSchema { kind, text: found.schema, referenced });
        lock(&self.0.known).insert(id, Arc::clone(&schema));
        Ok(Some(schema))
    }

    fn kind(&self, name: Option<&str>, what: &str) -> Result<SchemaKind> {
        match name {
            None | Some("AVRO") => Ok(SchemaKind::Avro),
            Some("PROTOBUF") => Ok(SchemaKind::Protobuf),
            Some("JSON") => Ok(SchemaKind::Json),
            Some(other) => {
                Err(Error::invalid(format!("{what} of {self} is of the kind `{other}`, which is not known")))
            }
        }
    }

    /// Gathers what is referred to, each once, and behind what it refers to itself.
    fn gather(
        &self,
        references: &[Reference],
        seen: &mut Vec<(String, u32)>,
        texts: &mut Vec<String>,
    ) -> Result<()> {
        for Reference { subject, version, .. } in references {
            let key = (subject.clone(), *version);
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            if seen.len() > MOST_REFERENCES {
                return Err(Error::invalid(format!(
                    "a schema of {self} refers to more than {MOST_REFERENCES} others"
                )));
            }
            let what = format!("version {version} of `{subject}`");
            let found = self
                .0
                .client
                .get::<Found>(&["subjects", subject, "versions", &version.to_string()], &what)?;
            let Answer::Found(found) = found else {
                return Err(Error::invalid(format!(
                    "{self} does not have {what}, to which a schema of it refers"
                )));
            };
            self.gather(&found.references, seen, texts)?;
            texts.push(found.schema);
        }
        Ok(())
    }

    /// Registers a schema under `subject`, if it is not there, and answers with its id.
    ///
    /// # Errors
    /// `Invalid`, with what the registry says, if the schema is not compatible with those before it, is no schema, or may not be
    /// registered with these credentials; `Unavailable` if the registry does not answer.
    pub fn register(
        &self,
        subject: &str,
        kind: SchemaKind,
        schema: &str,
        references: &[Reference],
    ) -> Result<u32> {
        let path = ["subjects", subject, "versions"];
        self.numbered(&path, subject, (kind, schema, references), |what, told| {
            format!("{self} does not take {what}: {told}")
        })
    }

    /// The id of a schema that somebody else has registered under `subject`.
    ///
    /// # Errors
    /// `Invalid` if it is not there; otherwise as for [`register`](Self::register).
    pub fn look_up(
        &self,
        subject: &str,
        kind: SchemaKind,
        schema: &str,
        references: &[Reference],
    ) -> Result<u32> {
        self.numbered(&["subjects", subject], subject, (kind, schema, references), |what, told| {
            format!("{self} does not have {what} ({told}); register it as part of the deployment, or let the codec do so")
        })
    }

    /// The newest schema under `subject`, with its id; `None` if there is no such subject.
    ///
    /// # Errors
    /// As for [`schema`](Self::schema).
    pub fn latest(&self, subject: &str) -> Result<Option<(u32, Arc<RegisteredSchema>)>> {
        let what = format!("the newest schema for `{subject}`");
        match self.0.client.get::<Numbered>(&["subjects", subject, "versions", "latest"], &what)? {
            Answer::Absent(_) => Ok(None),
            Answer::Found(Numbered { id }) => Ok(self.schema(id)?.map(|schema| (id, schema))),
        }
    }

    /// The id of a schema under `subject`, which is asked for at `path` once; what it means if there is none, `refuse` says.
    fn numbered(
        &self,
        path: &[&str],
        subject: &str,
        (kind, schema, references): (SchemaKind, &str, &[Reference]),
        refuse: impl FnOnce(&str, String) -> String,
    ) -> Result<u32> {
        let key = (subject.to_owned(), schema.to_owned());
        if let Some(id) = lock(&self.0.ids).get(&key) {
            return Ok(*id);
        }
        let what = format!("the schema for `{subject}`");
        match self.0.client.post::<Numbered>(path, &body(kind, schema, references), &what)? {
            Answer::Found(Numbered { id }) => {
                lock(&self.0.ids).insert(key, id);
                Ok(id)
            }
            Answer::Absent(told) => Err(Error::invalid(refuse(&what, told))),
        }
    }
}

fn body(kind: SchemaKind, schema: &str, references: &[Reference]) -> String {
    let references: Vec<_> = references
        .iter()
        .map(|Reference { name, subject, version }| json!({"name": name, "subject": subject, "version": version}))
        .collect();
    match kind {
        // The oldest registries know no kinds, and have nothing but Avro.
        SchemaKind::Avro if references.is_empty() => json!({ "schema": schema }),
        kind => json!({ "schema": schema, "schemaType": kind.name(), "references": references }),
    }
    .to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
