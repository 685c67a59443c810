//! Two operators that the library does not have: one with a state per key, one that works on whole batches.
//!
//! `Alarm` is the usual case: a [`Process`] sees one record at a time together with the state of its key. The engine
//! keeps that state in a table of its own, as durable and as exact as every other table.
//!
//! `Sample` is the low level, on which the library's own operators are written too: an [`Operator`] is handed what one
//! shard has in one epoch, and is wired into the graph by [`GraphBuilder::nodes`].

use millpond::dataflow::{Context, Event, Failure, Operator};
use millpond::stream::Emit;
use millpond::{Engine, GraphBuilder, Process, Result, Stream, Topic};
use serde::{Deserialize, Serialize};
use std::process::ExitCode;

/// Raises an alarm when a sensor has been too hot for so many readings in a row, and calls it off again.
struct Alarm {
    limit: i32,
    readings: u32,
}

/// What an alarm says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Notice {
    TooHot { celsius: i32 },
    CalledOff,
}

impl Process<String, i32> for Alarm {
    /// How many readings in a row were too hot. A sensor without any needs no state.
    type State = u32;
    type OutKey = String;
    type OutValue = Notice;

    fn process(&self, sensor: &String, celsius: i32, hot: &mut Option<u32>, emit: &mut Emit<String, Notice>) {
        let before = hot.unwrap_or(0);
        if celsius <= self.limit {
            *hot = None;
            if before >= self.readings {
                emit.push(sensor.clone(), Notice::CalledOff);
            }
            return;
        }
        *hot = Some(before + 1);
        if before + 1 == self.readings {
            emit.push(sensor.clone(), Notice::TooHot { celsius });
        }
    }
}

/// Lets the readings through that are a multiple of `step` degrees: a fixed function of the record, as the contract of
/// [`Operator`] asks. "Every tenth record of the batch" would depend on how epochs were cut.
struct Sample {
    step: i32,
}

impl Operator for Sample {
    /// One input: the stream. The compiler refuses to wire the operator to a node that puts out anything else.
    type Input = (Vec<Event<String, i32>>,);
    type Output = Vec<Event<String, i32>>;

    fn run(
        &self,
        context: &mut Context<'_>,
        (mut events,): Self::Input,
    ) -> Result<Option<Self::Output>, Failure> {
        events.retain(|event| {
            // If user code fails here, this is the record to blame.
            context.at(&event.stamp);
            event.value.checked_rem(self.step) == Some(0)
        });
        Ok(Some(events))
    }
}

/// Wires a [`Sample`] behind `stream`, which must be keyed if the result is to count as keyed.
fn sample(graph: &GraphBuilder, stream: &Stream<String, i32>, step: i32) -> Stream<String, i32> {
    let node = graph.nodes().operator("sample", stream.node(), &[], &[], Sample { step });
    Stream::from_node(graph.nodes(), node, true)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("custom_operator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let readings = Topic::<String, i32>::new("readings");
    let graph = GraphBuilder::new();
    let stream = graph.stream(&readings);
    let (notices, _) = stream.process("hot_in_a_row", Alarm { limit: 80, readings: 3 });
    let notices = notices.to_table("notices");
    let sampled = sample(&graph, &stream, 10).group_by_key().count("sampled");
    let graph = graph.build()?;
    print!("{}", graph.describe());

    let dir = tempfile::tempdir()?;
    let engine = Engine::open(dir.path(), &graph)?;
    let producer = engine.producer(&readings)?;
    let mut position = millpond::Position::new();
    for (sensor, celsius) in [("boiler", 85), ("cellar", 10), ("boiler", 90), ("cellar", 11), ("boiler", 95)]
    {
        position = producer.put(sensor, &celsius).wait_blocking()?;
    }
    engine.wait_for_blocking(&position)?;

    let notice = engine.view(&notices)?.get("boiler")?;
    let counts = engine.view(&sampled)?.multi_get(&["boiler", "cellar"])?;
    println!("boiler: {notice:?}; multiples of ten: {counts:?}");
    if notice != Some(Notice::TooHot { celsius: 95 }) || counts != [Some(1), Some(1)] {
        return Err("that is not what was read".into());
    }
    Ok(engine.close_blocking()?)
}
