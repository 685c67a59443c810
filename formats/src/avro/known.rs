//! The writers' schemas that a codec knows, by their ids, each with the plan by which its values are read.
//!
//! Every record asks, on all shards at once, so asking takes no lock. A plan is made where its schema is fetched: at the edge.

use super::Coding;
use super::plan::Plan;
use crate::registry::{Registry, SchemaKind};
use apache_avro::Schema;
use millpond_engine::Result;
use millpond_engine::codec::{Awaited, CodecError};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// A power of two.
const BUCKETS: usize = 64;

/// How values of one writer's schema are read; or why they cannot be.
type Reading = Result<Plan, String>;

struct Entry {
    id: u32,
    reading: Reading,
    next: OnceLock<Box<Self>>,
}

pub(super) struct Known {
    pub(super) registry: Registry,
    coding: Arc<Coding>,
    any_names: bool,
    buckets: [OnceLock<Box<Entry>>; BUCKETS],
    wanted: Mutex<HashMap<u32, Arc<Wanted>>>,
}

impl Known {
    pub(super) fn new(registry: &Registry, coding: &Arc<Coding>, any_names: bool) -> Self {
        Self {
            registry: registry.clone(),
            coding: Arc::clone(coding),
            any_names,
            buckets: std::array::from_fn(|_| OnceLock::new()),
            wanted: Mutex::default(),
        }
    }

    /// The plan by which values of schema `id` are read.
    ///
    /// # Errors
    /// If they cannot be, or the schema has to be fetched first.
    pub(super) fn plan(self: &Arc<Self>, id: u32) -> Result<&Plan, CodecError> {
        match self.find(id) {
            Some(Ok(plan)) => Ok(plan),
            Some(Err(why)) => Err(CodecError::new(why.clone())),
            None => Err(CodecError::awaits(self.want(id))),
        }
    }

    fn bucket(&self, id: u32) -> Option<&OnceLock<Box<Entry>>> {
        self.buckets.get(id as usize % BUCKETS)
    }

    fn find(&self, id: u32) -> Option<&Reading> {
        let mut place = self.bucket(id)?;
        loop {
            let entry = place.get()?;
            if entry.id == id {
                return Some(&entry.reading);
            }
            place = &entry.next;
        }
    }

    /// Notes how values of schema `id` are read, unless that is known.
    pub(super) fn learn(&self, id: u32, reading: Reading) {
        let Some(mut place) = self.bucket(id) else { return };
        let mut entry = Box::new(Entry { id, reading, next: OnceLock::new() });
        loop {
            match place.set(entry) {
                Ok(()) => break,
                Err(back) => entry = back,
            }
            match place.get() {
                Some(there) if there.id != id => place = &there.next,
                _ => break,
            }
        }
        self.wanted().remove(&id);
    }

    fn wanted(&self) -> MutexGuard<'_, HashMap<u32, Arc<Wanted>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(self: &Arc<Self>, id: u32) -> Arc<Wanted> {
        let wanted = || Wanted { id, registry: self.registry.clone(), by: Arc::downgrade(self) };
        Arc::clone(self.wanted().entry(id).or_insert_with(|| Arc::new(wanted())))
    }

    /// Asks the registry.
    fn fetch(&self, id: u32) -> Result<()> {
        if self.find(id).is_some() {
            return Ok(());
        }
        let registry = &self.registry;
        let reading = match self.registry.schema(id)? {
            None => Err(format!(
                "the schema registry {registry} has no schema {id}: was the value written with another one?"
            )),
            Some(schema) if schema.kind != SchemaKind::Avro => {
                Err(format!("schema {id} of {registry} is one of {}, not of Avro", schema.kind))
            }
            Some(schema) => match Schema::parse_str_with_list(&schema.text, &schema.referenced) {
                Ok((writer, others)) => Ok(Plan::new(&writer, &others, self.coding.schema(), self.any_names)),
                Err(error) => Err(format!("schema {id} of {registry} is no Avro schema: {error}")),
            },
        };
        self.learn(id, reading);
        Ok(())
    }
}

/// A schema that is to be fetched.
struct Wanted {
    id: u32,
    registry: Registry,
    by: Weak<Known>,
}

impl fmt::Debug for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wanted").field(&self.to_string()).finish()
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schema {} of {}", self.id, self.registry)
    }
}

impl Awaited for Wanted {
    fn fetch(&self) -> Result<()> {
        // Nobody waits for it any more otherwise.
        self.by.upgrade().map_or(Ok(()), |known| known.fetch(self.id))
    }
}
