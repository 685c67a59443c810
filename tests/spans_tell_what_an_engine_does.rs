//! Whoever traces an engine sees what it spends its time on.
//!
//! Property: opening, epochs, appends to derived topics, drains and the completion of a rebuild are spans of `tracing`
//! that say how much they carry, and those that belong to another stand inside of it.
//!
//! Method: a subscriber that writes spans down, around an engine moved by hand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::{Graph, GraphBuilder, TableOptions, Topic};
use millpond_support::in_memory::{InMemory, catch_up};
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The spans in the order in which they were made, and those that are entered.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<(Vec<String>, Vec<String>)>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.target().starts_with("millpond")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields(span.metadata().name().to_owned());
        span.record(&mut fields);
        let (made, _) = &mut *self.0.lock().unwrap();
        made.push(fields.0);
        Id::from_u64(made.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        let (made, entered) = &mut *self.0.lock().unwrap();
        let index = usize::try_from(id.into_u64()).unwrap() - 1;
        let path = match (entered.last(), made.get(index)) {
            (Some(outer), Some(inner)) => format!("{outer} > {inner}"),
            (None, Some(inner)) => inner.clone(),
            (_, None) => String::new(),
        };
        entered.push(path.clone());
        if let Some(made) = made.get_mut(index) {
            *made = path;
        }
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().1.pop();
    }
}

fn events() -> Topic<u32, u64> {
    Topic::new("events")
}

fn graph(version: u32) -> Graph {
    let graph = GraphBuilder::new();
    let stream = graph.stream(&events());
    stream.group_by_key().count(TableOptions::named("counts").version(version));
    stream.to(&Topic::new("copies"));
    graph.build().unwrap()
}

#[test]
fn spans_tell_what_an_engine_does() {
    let notes = Notes::default();
    let kept = InMemory::new();
    let producer = kept.producer(&events()).unwrap();
    producer.send([(&1, Some(&1), 0), (&2, Some(&1), 0), (&1, Some(&1), 0)]).wait_blocking().unwrap();
    tracing::subscriber::with_default(notes.clone(), || {
        for version in [0, 1] {
            let builder = kept.engine(&graph(version)).name("counter").shards(1);
            catch_up(&mut builder.stepper().unwrap(), 10).unwrap();
        }
    });
    let (made, _) = &*notes.0.lock().unwrap();
    let expected = [
        "open name=\"counter\" tables=1 shards=1",
        "epoch number=1 records=3",
        "epoch number=1 records=3 > append records=3",
        "drain epoch=1 rows=2",
        "open name=\"counter\" tables=1 shards=1",
        "epoch number=1 records=3",
        "complete_build tables=1",
        "complete_build tables=1 > drain epoch=1 rows=2",
    ];
    assert_eq!(*made, expected);
}
