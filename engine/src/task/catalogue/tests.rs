//! States of 0.1, whose entries know types by their names: they open, and learn the shapes.

use super::*;
use crate::codec::Json;
use crate::dataflow::{Context, Event, Failure, Operator, Router, Source, SourceBatch};
use crate::graph::{Builder, TableOptions};
use crate::store::MemoryStore;
use crate::store::layout::Types;
use crate::time::StreamTimes;
use crate::{ErrorKind, Topic};
use serde::{Deserialize, Serialize};

struct Nothing;

impl Source for Nothing {
    type Item = Event<u32, u64>;

    fn decode(&self, _: &SourceBatch<'_>, _: &Router) -> Result<Vec<Vec<Self::Item>>> {
        Err(Error::internal("there are no records"))
    }
}

impl Operator for Nothing {
    type Input = (Vec<Event<u32, u64>>,);
    type Output = ();

    fn run(&self, _: &mut Context<'_>, _: Self::Input) -> Result<Option<()>, Failure> {
        Ok(None)
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    paid: u64,
    owed: u64,
}

/// The same shape under another name.
#[derive(Clone, Serialize, Deserialize)]
struct Renamed {
    paid: u64,
    owed: u64,
}

fn graph<V: crate::codec::Value>(store: TableOptions<V>) -> Graph {
    let builder = Builder::new();
    let source = builder.source("stream", &Topic::<u32, u64>::new("in"), Nothing);
    let table = builder.table::<u32, V>("fold", store);
    builder.operator("fold", source, &[table.index()], &[], Nothing);
    builder.build().unwrap()
}

/// A state as 0.1 has written it, with a table `rows` of the type `name`.
fn state_of_0_1(name: &str) -> MemoryStore {
    let store = MemoryStore::new();
    let entry = CatalogueEntry {
        name: "rows".to_owned(),
        id: TableId::FIRST,
        kind: "fold".to_owned(),
        version: 0,
        types: Types::Names,
        key_schema: "u32".to_owned(),
        value_codec: "bincode-2".to_owned(),
        value_schema: name.to_owned(),
        group: MAIN_GROUP,
        state: TableStage::Ready,
        row_format: layout::ROW_FORMAT,
        fold_id: layout::FoldId::default(),
    };
    drop(Catalogue::open(&store).unwrap());
    let position = [(crate::TopicPartition::new("in", 0), 5)].into_iter().collect();
    let reached = Reached::new(position, StreamTimes::default());
    write_entries(&store, &[entry], &[(MAIN_GROUP, Some(reached))]).unwrap();
    store
}

fn opened(store: &MemoryStore, graph: &Graph) -> Result<Assignment> {
    let mut catalogue = Catalogue::open(store)?;
    let assignment = catalogue.assign(store, graph, false)?;
    catalogue.carry_out(store)?;
    Ok(assignment)
}

fn stored(store: &MemoryStore) -> Vec<CatalogueEntry> {
    Catalogue::open(store).unwrap().entries
}

#[test]
fn a_table_of_0_1_goes_on_and_its_shape_is_remembered() {
    let store = state_of_0_1("Account");
    let assignment = opened(&store, &graph(TableOptions::<Account>::named("rows"))).unwrap();
    assert!(assignment.build.is_none());
    assert_eq!(assignment.main.ids, [Some(TableId::FIRST)]);
    let [entry] = &stored(&store)[..] else { panic!("one entry") };
    assert_eq!(entry.types, Types::Shapes);
    assert_eq!(entry.value_schema, r#"{"struct":[["paid","u64"],["owed","u64"]]}"#);
    // From here on the shape decides.
    assert!(opened(&store, &graph(TableOptions::<Renamed>::named("rows"))).is_ok());
    let error = opened(&store, &graph(TableOptions::<(u64, u64)>::named("rows"))).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[test]
fn a_table_of_0_1_is_compared_by_the_name_of_its_type() {
    let store = state_of_0_1("Account");
    for (graph, part) in [
        (graph(TableOptions::<u64>::named("rows")), "value type `Account`, the graph has `u64`"),
        (graph(TableOptions::<Account>::with_codec("rows", Json)), "value codec `bincode-2`"),
    ] {
        let error = opened(&store, &graph).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(part), "{error}");
    }
    assert_eq!(stored(&store)[0].types, Types::Names, "nothing was changed");
}

#[test]
fn rows_of_0_1_answer_for_a_raised_version_if_their_name_says_what_they_are() {
    let former = |name: &str, graph: &Graph| {
        let assignment = opened(&state_of_0_1(name), graph).unwrap();
        assert!(assignment.build.is_some());
        assignment.former[0].is_some()
    };
    assert!(former(
        "Option<(u64,String)>",
        &graph(TableOptions::<Option<(u64, String)>>::named("rows").version(1))
    ));
    assert!(!former("Account", &graph(TableOptions::<Account>::named("rows").version(1))));
    assert!(!former("u32", &graph(TableOptions::<u64>::named("rows").version(1))));
}
