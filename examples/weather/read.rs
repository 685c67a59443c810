//! Both files as they are appended: by days of New York, and within a day as the file has them.
//!
//! The file of a year of flights has its months in the order of their numbers as text (January, October, ..), and that of the weather
//! one airport after the other. Appended like that, one month would have the time of all others come, and the others would be late.

use super::Failure;
use super::file::{Input, known, rows};
use super::graph::{Flight, Observation, ZONE};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// What is read if nothing else is named.
pub(crate) const FLIGHTS: Input =
    Input::Shipped("the flights of January 2013", include_bytes!("../flights/data/flights-2013-01.csv.gz"));
pub(crate) const OBSERVATIONS: Input =
    Input::Shipped("the weather of January 2013", include_bytes!("data/weather-2013-01.csv.gz"));

/// A row to append.
pub(crate) struct Dated<V> {
    pub(crate) day: Date,
    pub(crate) at_ms: i64,
    pub(crate) airport: String,
    pub(crate) value: V,
}

/// The columns of a flight in the file.
#[derive(Deserialize)]
struct FlightRow {
    origin: String,
    #[serde(deserialize_with = "hour")]
    time_hour: i64,
    minute: i64,
    #[serde(deserialize_with = "known")]
    dep_time: Option<u32>,
    #[serde(deserialize_with = "known")]
    dep_delay: Option<i32>,
}

/// The columns of an observation in the file.
#[derive(Deserialize)]
struct ObservationRow {
    origin: String,
    #[serde(deserialize_with = "hour")]
    time_hour: i64,
    #[serde(deserialize_with = "known")]
    wind_gust: Option<f64>,
}

/// A moment as `2013-01-01T10:00:00Z`, in milliseconds since 1970.
fn hour<'de, D: Deserializer<'de>>(field: D) -> Result<i64, D::Error> {
    let text = String::deserialize(field)?;
    let moment = text.parse::<Timestamp>();
    moment.map(Timestamp::as_millisecond).map_err(|_| {
        serde::de::Error::custom(format!("`{text}` is no time; expected is one such as 2013-01-01T10:00:00Z"))
    })
}

/// The flights of a file.
pub(crate) fn flights(input: &Input) -> Result<Vec<Dated<Flight>>, Failure> {
    let columns = "origin, time_hour, minute, dep_time and dep_delay";
    dated(input, "--flights", columns, |row: FlightRow| {
        let flight = Flight { is_cancelled: row.dep_time.is_none(), dep_delay_min: row.dep_delay };
        (row.origin, row.time_hour.saturating_add(row.minute.saturating_mul(60_000)), flight)
    })
}

/// The observations of a file.
pub(crate) fn observations(input: &Input) -> Result<Vec<Dated<Observation>>, Failure> {
    let columns = "origin, time_hour and wind_gust";
    dated(input, "--weather", columns, |row: ObservationRow| {
        (row.origin, row.time_hour, Observation { is_gusty: row.wind_gust.is_some() })
    })
}

/// The rows of a file by days; an error if there are none, or if one is not of this kind.
fn dated<R: DeserializeOwned, V>(
    input: &Input,
    option: &str,
    columns: &str,
    value: impl Fn(R) -> (String, i64, V),
) -> Result<Vec<Dated<V>>, Failure> {
    let refuse = |why: String| {
        format!(
            "{input}: {why}; give {option} a file with the columns {columns} of nycflights13, as csv or csv.gz"
        )
    };
    let zone = TimeZone::get(ZONE)?;
    let mut all = Vec::new();
    for row in rows(input.open()?)?.into_deserialize::<R>() {
        let (airport, at_ms, value) = value(row.map_err(|error| refuse(error.to_string()))?);
        let moment = Timestamp::from_millisecond(at_ms).map_err(|error| refuse(error.to_string()))?;
        all.push(Dated { day: zone.to_datetime(moment).date(), at_ms, airport, value });
    }
    if all.is_empty() {
        return Err(refuse("there are no rows".to_owned()).into());
    }
    // Stable: rows of a day stay as they are.
    all.sort_by_key(|row| row.day);
    Ok(all)
}
