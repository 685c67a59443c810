//! A graph that reads a topic to which nothing is appended, for tests of what an engine does without records.

use crate::dataflow::{Event, Router, Source, SourceBatch};
use crate::graph::{Builder, Graph};
use crate::{Error, Result, Topic};

struct NoRecords;

impl Source for NoRecords {
    type Item = Event<u32, u64>;

    fn decode(&self, _: &SourceBatch<'_>, _: &Router) -> Result<Vec<Vec<Self::Item>>> {
        Err(Error::internal("there are no records"))
    }
}

pub(super) fn idle_graph() -> Graph {
    let graph = Builder::new();
    let topic = Topic::<u32, u64>::new("nothing");
    graph.source("nothing", &topic, NoRecords);
    graph.build().unwrap()
}
