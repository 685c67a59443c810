//! The graph: days that become final, and flights that meet the weather of their time.

use millpond::aggregate::Fold;
use millpond::stream::Calendar;
use millpond::{Graph, GraphBuilder, Result, StoredTable, Topic, Windowed};
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub(crate) const ZONE: &str = "America/New_York";

/// Flights are read day by day, and within a day as they left: so far behind is none, not even on the longest day.
pub(crate) const GRACE: Duration = Duration::from_secs(25 * 3600);

/// A row of `flights`, as far as it is used. It happens at the scheduled departure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flight {
    pub(crate) is_cancelled: bool,
    /// Minutes by which it left late.
    pub(crate) dep_delay_min: Option<i32>,
}

/// A row of `weather`, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Observation {
    pub(crate) is_gusty: bool,
}

/// Departure delays, as many as are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delays {
    pub(crate) flights: u64,
    pub(crate) sum_min: i64,
}

impl Delays {
    fn add(&mut self, delay_min: i32) {
        self.flights += 1;
        self.sum_min += i64::from(delay_min);
    }
}

/// A day of an airport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Day {
    pub(crate) flights: u64,
    pub(crate) cancelled: u64,
    pub(crate) delays: Delays,
}

/// The flights of an airport by the wind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gusts {
    pub(crate) gusty: Delays,
    pub(crate) calm: Delays,
}

/// What is taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intake {
    /// Length and checksum of both files.
    pub(crate) fingerprints: [(u64, u32); 2],
    pub(crate) is_complete: bool,
}

/// The topics, the graph over them, and its tables.
pub(crate) struct WeatherGraph {
    /// By airport.
    pub(crate) flights: Topic<String, Flight>,
    /// By airport.
    pub(crate) observations: Topic<String, Observation>,
    pub(crate) intakes: Topic<String, Intake>,
    pub(crate) graph: Graph,
    pub(crate) days: StoredTable<Windowed<String>, Day>,
    pub(crate) final_days: StoredTable<Windowed<String>, Day>,
    pub(crate) gusts: StoredTable<String, Gusts>,
    pub(crate) intake: StoredTable<String, Intake>,
}

impl WeatherGraph {
    pub(crate) fn new() -> Result<Self> {
        let flights = Topic::new("flights");
        let observations = Topic::new("observations");
        let intakes = Topic::new("intakes");
        let builder = GraphBuilder::new();
        let stream = builder.stream(&flights);

        let days = stream.group_by_key().windowed(Calendar::days(ZONE).grace(GRACE)).aggregate(
            "days",
            Fold::new(Day::default, |day: &mut Day, _: &String, flight: Flight| {
                day.flights += 1;
                day.cancelled += u64::from(flight.is_cancelled);
                if let Some(delay_min) = flight.dep_delay_min {
                    day.delays.add(delay_min);
                }
            })
            .commutative(),
        );
        let final_days = days.on_close().to_table("final_days");

        // The newest observation before what is kept is kept, too: the weather does not end where nobody looks.
        let weather = builder.versioned(&observations, "weather", GRACE);
        let gusts = stream
            .filter_map_values(|_, flight: Flight| flight.dep_delay_min)
            .join_as_of(&weather, "waiting", GRACE, |_, delay_min, observation: &Observation| {
                (delay_min, observation.is_gusty)
            })
            .group_by_key()
            .aggregate(
                "gusts",
                Fold::new(Gusts::default, |gusts: &mut Gusts, _: &String, (delay_min, is_gusty)| {
                    if is_gusty { gusts.gusty.add(delay_min) } else { gusts.calm.add(delay_min) }
                })
                .commutative(),
            );
        let intake = builder.table(&intakes, "intake");
        let days = days.table().clone();
        Ok(Self { flights, observations, intakes, graph: builder.build()?, days, final_days, gusts, intake })
    }
}
