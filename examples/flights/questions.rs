//! What can be asked, and the answers.

use super::graph::{Aircraft, Carrier, FlightGraph, Route};
use super::line::Line;
use super::show::Answer;
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use millpond::codec::{AsKey, Key, Value};
use millpond::{Engine, View};
use std::fmt;

pub(crate) const HELP: &str = "\
Questions, for --lookup and for the prompt:
  carrier UA          flights, cancelled (they never left), arrived (they have an arrival delay), mean arrival delay
  aircraft N14228     legs (flights that left), their distance, the last known place, make and model
  route JFK LAX       the flights from one airport to another
  routes JFK          all routes from an airport
  stats               what the engine is doing: its tables, and what they take
For the prompt only:
  watch carrier UA    that row (or that of an aircraft or a route), and again whenever it changes, until Enter or Ctrl-C;
                      with `--rate 500` flights are taken in while you watch (without a terminal: until all are in)
  help, quit          Tab completes words and keys, Ctrl-C clears the line, Ctrl-D quits
Answers are tables on a terminal, and one JSON object per line for --lookup and pipes.";

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    Carrier(String),
    Aircraft(String),
    Route(String, String),
}

impl Row {
    fn parse(words: &[&str]) -> Option<Self> {
        match *words {
            ["CARRIER", carrier] => Some(Self::Carrier(carrier.to_owned())),
            ["AIRCRAFT", tail_number] => Some(Self::Aircraft(tail_number.to_owned())),
            ["ROUTE", origin, dest] => Some(Self::Route(origin.to_owned(), dest.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Carrier(carrier) => write!(f, "carrier {carrier}"),
            Self::Aircraft(tail_number) => write!(f, "aircraft {tail_number}"),
            Self::Route(origin, dest) => write!(f, "route {origin} {dest}"),
        }
    }
}

/// A question, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    Row(Row),
    Routes(String),
    Stats,
    Watch(Row),
}

impl Question {
    /// # Errors
    /// What can be asked, if this cannot.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let upper = line.to_uppercase();
        let words: Vec<&str> = upper.split_whitespace().collect();
        let question = match *words {
            ["ROUTES", origin] => Some(Self::Routes(origin.to_owned())),
            ["STATS"] => Some(Self::Stats),
            ["WATCH", ref words @ ..] => Row::parse(words).map(Self::Watch),
            _ => Row::parse(&words).map(Self::Row),
        };
        question.ok_or_else(|| format!("cannot answer `{line}`\n{HELP}"))
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Row(row) => row.fmt(f),
            Self::Routes(origin) => write!(f, "routes {origin}"),
            Self::Stats => f.write_str("stats"),
            Self::Watch(row) => write!(f, "watch {row}"),
        }
    }
}

/// What becomes of a row: `None` when it is not there.
pub(crate) type Changes = BoxStream<'static, millpond::Result<Option<Line>>>;

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

    /// The answer as things stand; without rows if nothing is known.
    pub(crate) fn answer(&self, question: &Question) -> millpond::Result<Answer> {
        Ok(match question {
            Question::Row(row) | Question::Watch(row) => Answer::Rows(self.row(row)?.into_iter().collect()),
            Question::Routes(origin) => {
                let rows = self.routes.prefix(&(origin.as_str(),))?;
                Answer::Rows(
                    rows.map(|row| row.map(|((origin, dest), row)| route_line(&origin, &dest, &row)))
                        .collect::<Result<_, _>>()?,
                )
            }
            Question::Stats => Answer::Stats(Box::new(self.engine.stats())),
        })
    }

    fn row(&self, row: &Row) -> millpond::Result<Option<Line>> {
        Ok(match row {
            Row::Carrier(carrier) => self.carriers.get(carrier)?.map(|row| carrier_line(carrier, &row)),
            Row::Aircraft(tail_number) => {
                self.aircraft.get(tail_number)?.map(|row| aircraft_line(tail_number, &row))
            }
            Row::Route(origin, dest) => {
                self.routes.get(&(origin, dest))?.map(|row| route_line(origin, dest, &row))
            }
        })
    }

    /// The row as it is now, and what becomes of it.
    pub(crate) fn watch(&self, row: &Row) -> millpond::Result<(Option<Line>, Changes)> {
        match row.clone() {
            Row::Carrier(carrier) => {
                changes(&self.carriers, &carrier.clone(), move |row| carrier_line(&carrier, row))
            }
            Row::Aircraft(tail_number) => {
                changes(&self.aircraft, &tail_number.clone(), move |row| aircraft_line(&tail_number, row))
            }
            Row::Route(origin, dest) => {
                let key = (origin.clone(), dest.clone());
                changes(&self.routes, &key, move |row| route_line(&origin, &dest, row))
            }
        }
    }

    /// The carriers that begin like this.
    pub(crate) fn carriers(&self, beginning: &str) -> millpond::Result<Vec<String>> {
        self.carriers.prefix(beginning)?.map(|row| Ok(row?.0)).collect()
    }

    /// The tail numbers that begin like this.
    pub(crate) fn tail_numbers(&self, beginning: &str) -> millpond::Result<Vec<String>> {
        self.aircraft.prefix(beginning)?.map(|row| Ok(row?.0)).collect()
    }

    /// The airports that begin like this and from which there are routes.
    pub(crate) fn origins(&self, beginning: &str) -> millpond::Result<Vec<String>> {
        let mut origins = Vec::new();
        // A prefix of a tuple is made of whole fields.
        for row in self.routes.range((beginning, "")..)? {
            let ((origin, _), _) = row?;
            if !origin.starts_with(beginning) {
                break;
            }
            if origins.last() != Some(&origin) {
                origins.push(origin);
            }
        }
        Ok(origins)
    }

    /// The airports that begin like this and to which there are routes from `origin`.
    pub(crate) fn dests(&self, origin: &str, beginning: &str) -> millpond::Result<Vec<String>> {
        let dests = self.routes.prefix(&(origin,))?.map(|row| Ok(row?.0.1));
        dests.filter(|dest| dest.as_ref().map_or(true, |dest: &String| dest.starts_with(beginning))).collect()
    }
}

fn changes<K: Key, V: Value>(
    view: &View<K, V>,
    key: &impl AsKey<K>,
    line: impl Fn(&V) -> Line + Send + 'static,
) -> millpond::Result<(Option<Line>, Changes)> {
    let stream = view.subscribe(key)?;
    let now = stream.current().map(&line);
    Ok((now, Box::pin(stream.map_ok(move |row| row.as_ref().map(&line)))))
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
