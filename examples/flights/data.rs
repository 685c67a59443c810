//! The facts and the files they come from.

use super::file::{Input, known};
use serde::{Deserialize, Serialize};

pub(crate) const AIRLINES: &[u8] = include_bytes!("data/airlines.csv");
pub(crate) const PLANES: &[u8] = include_bytes!("data/planes.csv.gz");

/// What flights are read from if nothing else is named.
pub(crate) const JANUARY: Input =
    Input::Shipped("the flights of January 2013", include_bytes!("data/flights-2013-01.csv.gz"));

/// A row of `flights`, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Flight {
    pub(crate) carrier: String,
    pub(crate) tail_number: Option<String>,
    pub(crate) origin: String,
    pub(crate) dest: String,
    pub(crate) distance_miles: u32,
    /// Minutes since 1970 in the time of New York: planned.
    pub(crate) scheduled_min: i64,
    /// Minutes by which it left late; `None` if it was cancelled.
    pub(crate) dep_delay_min: Option<i32>,
    /// Minutes by which it arrived late; `None` if it was cancelled or diverted.
    pub(crate) arr_delay_min: Option<i32>,
}

/// A row of `airlines`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Airline {
    pub(crate) carrier: String,
    pub(crate) name: String,
}

/// A row of `planes`, as far as it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plane {
    pub(crate) tail_number: String,
    pub(crate) year: Option<u16>,
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) seats: u16,
}

/// The columns of a flight in the file.
#[derive(Deserialize)]
pub(crate) struct FlightRow {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    #[serde(deserialize_with = "known")]
    dep_time: Option<u32>,
    #[serde(deserialize_with = "known")]
    dep_delay: Option<i32>,
    #[serde(deserialize_with = "known")]
    arr_delay: Option<i32>,
    carrier: String,
    #[serde(deserialize_with = "known")]
    tailnum: Option<String>,
    origin: String,
    dest: String,
    distance: u32,
}

impl From<FlightRow> for Flight {
    fn from(row: FlightRow) -> Self {
        let days = days_since_1970(row.year, row.month, row.day);
        Self {
            carrier: row.carrier,
            tail_number: row.tailnum,
            origin: row.origin,
            dest: row.dest,
            distance_miles: row.distance,
            scheduled_min: (days * 24 + row.hour) * 60 + row.minute,
            dep_delay_min: row.dep_time.map(|_| row.dep_delay.unwrap_or(0)),
            arr_delay_min: row.arr_delay,
        }
    }
}

/// The columns of a plane in the file.
#[derive(Deserialize)]
pub(crate) struct PlaneRow {
    tailnum: String,
    #[serde(deserialize_with = "known")]
    year: Option<u16>,
    manufacturer: String,
    model: String,
    seats: u16,
}

impl From<PlaneRow> for Plane {
    fn from(row: PlaneRow) -> Self {
        Self {
            tail_number: row.tailnum,
            year: row.year,
            manufacturer: row.manufacturer,
            model: row.model,
            seats: row.seats,
        }
    }
}

/// Days of the Gregorian calendar, counted in years that begin in March, so that the leap day comes last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    365 * year + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}
