//! Whoever reads the log of a process knows what it opened and closed, where, and at which position.
//!
//! Property: opening an engine says its directories, its name, its tables, how many are built anew, the position it goes on
//! from and how many records are left; completing a build and closing say so too, and a close that fails says why.
//!
//! Method: a subscriber that writes down what is said at INFO and above, by all threads, around engines of one directory.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond::{Engine, Graph, GraphBuilder, TableOptions, Topic};
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => write!(self.fields, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO && metadata.target().starts_with("millpond")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let level = event.metadata().level();
        self.0.lock().unwrap().push(format!("{level} {}:{}", line.message, line.fields));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn events() -> Topic<u32, u64> {
    Topic::new("events")
}

fn graph(version: u32) -> Graph {
    let graph = GraphBuilder::new();
    graph.stream(&events()).group_by_key().count(TableOptions::named("counts").version(version));
    graph.build().unwrap()
}

// One test: the subscriber is the one of the process.
#[test]
fn logs_say_what_was_opened_and_closed() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (state, changelog) = (dir.path().join("state"), dir.path().join("changelog"));
    let (state, changelog) = (state.display(), changelog.display());
    let open = |graph: &Graph| Engine::builder(graph).dir(dir.path()).name("counter").start().unwrap();

    let engine = open(&graph(0));
    let position = engine.append(&events(), &1, &1).wait_blocking().unwrap();
    engine.wait_for_blocking(&position).unwrap();
    engine.close_blocking().unwrap();
    let at = r#"position={"events/0"@1}"#.replace('"', "");
    let expected = [
        format!("INFO the state is open: dir={state}"),
        format!("INFO the changelog is open: dir={changelog}"),
        format!(
            "INFO the engine is open: name=\"counter\" state=\"{state}\" tables=1 building=0 position={{events/0@0}} \
             records_left=0"
        ),
        format!("INFO the engine is closed: name=\"counter\" state=\"{state}\" {at}"),
    ];
    assert_eq!(log.take(), expected);

    let engine = open(&graph(1));
    engine.ready_blocking().unwrap();
    engine.close_blocking().unwrap();
    let said = log.take();
    for part in [
        "building=1",
        "building tables that are new",
        "tables=\"`counts`\"",
        "the new tables have caught up",
        &at,
    ] {
        assert!(said.iter().any(|line| line.contains(part)), "{part}: {said:#?}");
    }

    // Under another name it is another service, and a table that is not in the graph any more goes.
    let renamed = GraphBuilder::new();
    renamed.stream(&events()).group_by_key().count("kounts");
    let engine = Engine::builder(&renamed.build().unwrap()).dir(dir.path()).name("other").start().unwrap();
    engine.ready_blocking().unwrap();
    engine.close_blocking().unwrap();
    let said = log.take();
    for part in [
        "WARN the state was that of a service of another name",
        "deleting the rows",
        "table=\"counts\" version=1",
    ] {
        assert!(said.iter().any(|line| line.contains(part)), "{part}: {said:#?}");
    }
}
