//! What can be asked, and the answers.

use super::Failure;
use super::graph::{Day, Delays, Gusts, WeatherGraph, ZONE};
use super::line::{Line, mean_to_two_decimals};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use millpond::{Engine, View, Windowed};
use std::fmt;

pub(crate) const HELP: &str = "\
Questions, for --lookup and for the prompt:
  day JFK 2013-03-10  the flights that were to leave an airport on a day of New York: hours of the day, flights, cancelled (they
                      never left), mean departure delay of the others in minutes
  gusts JFK           the flights that left an airport with an observation of its weather: how many of them in gusts, and the mean
                      departure delays in gusts and without
For the prompt only:
  help, quit          a day says there, too, whether it is final; until then it is told as it stands
Answers are tables on a terminal, and one JSON object per line for --lookup and pipes.";

/// A question, understood.
pub(crate) enum Question {
    Day(String, Date),
    Gusts(String),
}

impl Question {
    /// # Errors
    /// What can be asked, if this cannot.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let upper = line.to_uppercase();
        let words: Vec<&str> = upper.split_whitespace().collect();
        match *words {
            ["DAY", airport, day] => {
                let day = day.parse().map_err(|_| format!("`{day}` is no day; write it as 2013-03-10"))?;
                Ok(Self::Day(airport.to_owned(), day))
            }
            ["GUSTS", airport] => Ok(Self::Gusts(airport.to_owned())),
            _ => Err(format!("cannot answer `{line}`\n{HELP}")),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(airport, day) => write!(f, "day {airport} {day}"),
            Self::Gusts(airport) => write!(f, "gusts {airport}"),
        }
    }
}

/// The views that answer.
pub(crate) struct Answers {
    zone: TimeZone,
    days: View<Windowed<String>, Day>,
    final_days: View<Windowed<String>, Day>,
    gusts: View<String, Gusts>,
}

impl Answers {
    pub(crate) fn new(engine: &Engine, graph: &WeatherGraph) -> Result<Self, Failure> {
        Ok(Self {
            zone: TimeZone::get(ZONE)?,
            days: engine.view(&graph.days)?,
            final_days: engine.view(&graph.final_days)?,
            gusts: engine.view(&graph.gusts)?,
        })
    }

    /// The answer as things stand; `None` if nothing is known.
    pub(crate) fn answer(&self, question: &Question) -> Result<Option<Line>, Failure> {
        match question {
            Question::Day(airport, day) => {
                let window = self.window(airport, *day)?;
                Ok(self.days.get(&window)?.map(|row| day_line(&window, *day, &row)))
            }
            Question::Gusts(airport) => {
                Ok(self.gusts.get(airport.as_str())?.map(|row| gusts_line(airport, &row)))
            }
        }
    }

    /// The answer as [`answer`](Self::answer), and of a day whether it is final.
    pub(crate) fn answer_and_final(&self, question: &Question) -> Result<Option<Line>, Failure> {
        let line = self.answer(question)?;
        let Question::Day(airport, day) = question else { return Ok(line) };
        let is_final = self.final_days.get(&self.window(airport, *day)?)?.is_some();
        Ok(line.map(|line| line.with("final", is_final)))
    }

    /// The key of a day.
    fn window(&self, airport: &str, day: Date) -> Result<Windowed<String>, Failure> {
        let midnight = |day: Date| {
            let moment = self.zone.to_ambiguous_timestamp(day.at(0, 0, 0, 0)).compatible();
            moment.map(jiff::Timestamp::as_millisecond)
        };
        Ok(Windowed::new(midnight(day)?, midnight(day.tomorrow()?)?, airport.to_owned()))
    }
}

fn day_line(window: &Windowed<String>, day: Date, row: &Day) -> Line {
    Line::new()
        .with("origin", window.key.as_str())
        .with("day", day.to_string())
        .with("hours", (window.end_ms - window.start_ms) / 3_600_000)
        .with("flights", row.flights)
        .with("cancelled", row.cancelled)
        .with("mean_dep_delay", mean(row.delays))
}

fn gusts_line(airport: &str, Gusts { gusty, calm }: &Gusts) -> Line {
    Line::new()
        .with("origin", airport)
        .with("flights", gusty.flights + calm.flights)
        .with("gusty", gusty.flights)
        .with("mean_dep_delay_gusty", mean(*gusty))
        .with("mean_dep_delay_calm", mean(*calm))
}

fn mean(delays: Delays) -> Option<f64> {
    mean_to_two_decimals(delays.sum_min, delays.flights)
}
