//! What can be asked, and the answers as JSON.

use crate::graph::{Aircraft, Carrier, FlightGraph, Punctuality, Route};
use millpond::{Engine, View};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fmt;

pub(crate) const HELP: &str = "\
Questions, for --lookup and for the prompt:
  carrier UA          flights, cancelled (they never left), arrived (they have an arrival delay), mean arrival delay
  aircraft N14228     legs (flights that left), their distance, the last known place, make and model
  route JFK LAX       the flights from one airport to another
  routes JFK          all routes from an airport
  stats               what the engine is doing
For the prompt only: help, quit";

/// A question, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    Carrier(String),
    Aircraft(String),
    Route(String, String),
    Routes(String),
    Stats,
}

impl Question {
    /// # Errors
    /// What can be asked, if this cannot.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let upper = line.to_uppercase();
        match *upper.split_whitespace().collect::<Vec<_>>() {
            ["CARRIER", carrier] => Ok(Self::Carrier(carrier.to_owned())),
            ["AIRCRAFT", tail_number] => Ok(Self::Aircraft(tail_number.to_owned())),
            ["ROUTE", origin, dest] => Ok(Self::Route(origin.to_owned(), dest.to_owned())),
            ["ROUTES", origin] => Ok(Self::Routes(origin.to_owned())),
            ["STATS"] => Ok(Self::Stats),
            _ => Err(format!("cannot answer `{line}`\n{HELP}")),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carrier(carrier) => write!(f, "carrier {carrier}"),
            Self::Aircraft(tail_number) => write!(f, "aircraft {tail_number}"),
            Self::Route(origin, dest) => write!(f, "route {origin} {dest}"),
            Self::Routes(origin) => write!(f, "routes {origin}"),
            Self::Stats => f.write_str("stats"),
        }
    }
}

/// The views that answer.
pub(crate) struct Answers<'e> {
    engine: &'e Engine,
    carriers: View<String, Carrier>,
    aircraft: View<String, Aircraft>,
    routes: View<(String, String), Route>,
}

impl<'e> Answers<'e> {
    pub(crate) fn new(engine: &'e Engine, flights: &FlightGraph) -> millpond::Result<Self> {
        Ok(Self {
            engine,
            carriers: engine.view(&flights.carriers)?,
            aircraft: engine.view(&flights.aircraft)?,
            routes: engine.view(&flights.routes)?,
        })
    }

    /// The answer, one object per line; no line if nothing is known.
    pub(crate) fn answer(&self, question: &Question) -> Result<Vec<Line>, Box<dyn Error>> {
        Ok(match question {
            Question::Carrier(carrier) => {
                let row = self.carriers.get(carrier)?;
                row.iter().map(|row| carrier_line(carrier, row)).collect()
            }
            Question::Aircraft(tail_number) => {
                let row = self.aircraft.get(tail_number)?;
                row.iter().map(|row| aircraft_line(tail_number, row)).collect()
            }
            Question::Route(origin, dest) => {
                let row = self.routes.get(&(origin, dest))?;
                row.iter().map(|row| route_line(origin, dest, row)).collect()
            }
            Question::Routes(origin) => {
                let rows = self.routes.prefix(&(origin.as_str(),))?;
                rows.map(|row| row.map(|((origin, dest), row)| route_line(&origin, &dest, &row)))
                    .collect::<Result<_, _>>()?
            }
            Question::Stats => vec![self.stats()?],
        })
    }

    fn stats(&self) -> millpond::Result<Line> {
        let stats = self.engine.stats();
        let rows: Map<String, Value> =
            stats.tables.iter().map(|(name, table)| (name.clone(), json!(table.rows))).collect();
        Ok(Line::new()
            .with("records_in", stats.records_in)
            .with("epochs", stats.epochs)
            .with("drains", stats.drains)
            .with("undrained_bytes", stats.undrained_bytes)
            .with("lag", stats.lag.values().sum::<u64>())
            .with("rows", rows))
    }
}

fn carrier_line(carrier: &str, row: &Carrier) -> Line {
    Line::new().with("carrier", carrier).with("name", row.name.as_deref()).with_punctuality(&row.punctuality)
}

fn aircraft_line(tail_number: &str, Aircraft { plane, journey }: &Aircraft) -> Line {
    let plane = plane.as_ref();
    Line::new()
        .with("aircraft", tail_number)
        .with("legs", journey.legs)
        .with("cancelled", journey.cancelled)
        .with("distance", journey.distance_miles)
        .with("last_place", journey.last_seen.as_ref().map(|(_, place)| place.as_str()))
        .with("manufacturer", plane.map(|plane| plane.manufacturer.as_str()))
        .with("model", plane.map(|plane| plane.model.as_str()))
        .with("year", plane.and_then(|plane| plane.year))
        .with("seats", plane.map(|plane| plane.seats))
}

fn route_line(origin: &str, dest: &str, row: &Route) -> Line {
    Line::new()
        .with("origin", origin)
        .with("dest", dest)
        .with("distance", row.distance_miles)
        .with_punctuality(&row.punctuality)
}

/// A JSON object whose fields stay in the order in which they were added.
#[derive(Default)]
pub(crate) struct Line(Vec<(&'static str, Value)>);

impl Line {
    fn new() -> Self {
        Self::default()
    }

    fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    fn with_punctuality(self, row: &Punctuality) -> Self {
        self.with("flights", row.flights)
            .with("cancelled", row.cancelled)
            .with("arrived", row.arrived)
            .with("mean_arr_delay", mean_to_two_decimals(row.arr_delay_min, row.arrived))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.0.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            write!(f, "{before}{}:{value}", json!(name))?;
        }
        f.write_str("}")
    }
}

#[expect(clippy::cast_precision_loss, reason = "minutes of a year's flights are far below 2^52")]
fn mean_to_two_decimals(total: i64, count: u64) -> Option<f64> {
    // Adding zero turns a negative zero into a positive one.
    (count > 0).then(|| (total as f64 * 100.0 / count as f64).round() / 100.0 + 0.0)
}
