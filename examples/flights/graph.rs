//! The graph: from three topics to three tables that are asked.
//!
//! Every fold here gives the same result in whatever order the flights come, and says so: on Kafka, which does not tell how records
//! of several partitions follow each other, nobody has to write down then how they did.

use super::data::{Airline, Flight, Plane};
use millpond::aggregate::Fold;
use millpond::changelog::TopicConfig;
use millpond::{Graph, GraphBuilder, Result, StoredTable, Topic};
use serde::{Deserialize, Serialize};

/// How many flights there were, and how they went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Punctuality {
    pub(crate) flights: u64,
    /// Flights without a departure.
    pub(crate) cancelled: u64,
    /// Flights with an arrival delay: neither cancelled nor diverted.
    pub(crate) arrived: u64,
    pub(crate) arr_delay_min: i64,
}

impl Punctuality {
    fn add(&mut self, flight: &Flight) {
        self.flights += 1;
        self.cancelled += u64::from(flight.dep_delay_min.is_none());
        if let Some(delay_min) = flight.arr_delay_min {
            self.arrived += 1;
            self.arr_delay_min += i64::from(delay_min);
        }
    }
}

/// What one aircraft did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Journey {
    /// Flights that left.
    pub(crate) legs: u64,
    /// Flights that did not.
    pub(crate) cancelled: u64,
    /// Over all legs.
    pub(crate) distance_miles: u64,
    /// When the latest leg left, and where the aircraft was last known to be: at the end of that leg if it arrived
    /// there, otherwise at its beginning.
    pub(crate) last_seen: Option<(i64, String)>,
}

impl Journey {
    fn add(&mut self, flight: Flight) {
        let Some(delay_min) = flight.dep_delay_min else {
            self.cancelled += 1;
            return;
        };
        self.legs += 1;
        self.distance_miles += u64::from(flight.distance_miles);
        let place = if flight.arr_delay_min.is_some() { flight.dest } else { flight.origin };
        let seen = Some((flight.scheduled_min + i64::from(delay_min), place));
        // `None` is less than anything.
        if self.last_seen < seen {
            self.last_seen = seen;
        }
    }
}

/// A row of `carriers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Carrier {
    pub(crate) name: Option<String>,
    pub(crate) punctuality: Punctuality,
}

/// A row of `aircraft`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aircraft {
    pub(crate) plane: Option<Plane>,
    pub(crate) journey: Journey,
}

/// A row of `routes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    pub(crate) distance_miles: u32,
    pub(crate) punctuality: Punctuality,
}

/// How far a file has been taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intake {
    /// Length and checksum of the file.
    pub(crate) fingerprint: (u64, u32),
    pub(crate) is_complete: bool,
}

/// The topics, the graph over them, and its tables.
pub(crate) struct FlightGraph {
    pub(crate) flights: Topic<u64, Flight>,
    pub(crate) airlines: Topic<String, Airline>,
    pub(crate) planes: Topic<String, Plane>,
    pub(crate) intakes: Topic<String, Intake>,
    pub(crate) graph: Graph,
    pub(crate) carriers: StoredTable<String, Carrier>,
    pub(crate) aircraft: StoredTable<String, Aircraft>,
    pub(crate) routes: StoredTable<(String, String), Route>,
    pub(crate) intake: StoredTable<String, Intake>,
}

impl FlightGraph {
    pub(crate) fn new(config: &TopicConfig) -> Result<Self> {
        let flights = Topic::new("flights").config(config.clone());
        let airlines = Topic::new("airlines").config(config.clone());
        let planes = Topic::new("planes").config(config.clone());
        let intakes = Topic::new("intakes").config(config.clone());
        let builder = GraphBuilder::new();
        let stream = builder.stream(&flights);

        let carriers = stream
            .group_by(|_, flight: &Flight| flight.carrier.clone())
            .aggregate(
                "carrier_punctuality",
                Fold::new(Punctuality::default, |acc: &mut Punctuality, _: &String, flight: Flight| {
                    acc.add(&flight);
                })
                .commutative(),
            )
            .left_join(&builder.table(&airlines, "airlines"), |_, &punctuality, airline: Option<&Airline>| {
                Carrier { name: airline.map(|airline| airline.name.clone()), punctuality }
            })
            .materialize("carriers");
        let aircraft = stream
            .flat_map(|_, flight: Flight| flight.tail_number.clone().map(|tail_number| (tail_number, flight)))
            .group_by_key()
            .aggregate(
                "aircraft_journey",
                Fold::new(Journey::default, |acc: &mut Journey, _: &String, flight: Flight| acc.add(flight))
                    .commutative(),
            )
            .left_join(&builder.table(&planes, "planes"), |_, journey, plane: Option<&Plane>| Aircraft {
                plane: plane.cloned(),
                journey: journey.clone(),
            })
            .materialize("aircraft");
        let routes =
            stream.group_by(|_, flight: &Flight| (flight.origin.clone(), flight.dest.clone())).aggregate(
                "routes",
                Fold::new(Route::default, |acc: &mut Route, _: &(String, String), flight: Flight| {
                    // Should flights of a route ever differ in it.
                    acc.distance_miles = acc.distance_miles.max(flight.distance_miles);
                    acc.punctuality.add(&flight);
                })
                .commutative(),
            );
        let intake = builder.table(&intakes, "intake");
        Ok(Self {
            flights,
            airlines,
            planes,
            intakes,
            graph: builder.build()?,
            carriers,
            aircraft,
            routes,
            intake,
        })
    }
}
