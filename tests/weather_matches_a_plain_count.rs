//! What the weather example answers is what a plain loop over the same files counts, in whatever order they have their days.
//!
//! Method: a loop over the columns of the files, with nothing of the library, of the example or of time zones in it, adds up every
//! day of every airport (by the local dates that the file has) and finds for each flight the newest observation (by the text of its
//! hour), and each answer of the program is compared with it. A few figures are written out, so that the loop itself is held to
//! something. January is also given as the files of the year are: days in the order of their numbers as text, and the weather of one
//! airport after the other. The year is taken in, too, if `MILLPOND_WEATHER_DATA` names a directory with `flights.csv.gz` and
//! `weather.csv.gz` of it.
#![cfg(all(feature = "rocks", feature = "calendar"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking"
)]

use flate2::read::GzDecoder;
use millpond_support::process::{example, output_with_input};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const FLIGHTS: &[u8] = include_bytes!("../examples/flights/data/flights-2013-01.csv.gz");
const WEATHER: &[u8] = include_bytes!("../examples/weather/data/weather-2013-01.csv.gz");

#[derive(Default)]
struct Mean {
    count: u64,
    sum: i64,
}

impl Mean {
    fn add(&mut self, value: i64) {
        self.count += 1;
        self.sum += value;
    }

    fn json(&self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        let hundredths = (self.sum as f64 * 100.0 / self.count as f64).round();
        json!(if hundredths == 0.0 { 0.0 } else { hundredths / 100.0 })
    }
}

#[derive(Default)]
struct Day {
    flights: u64,
    cancelled: u64,
    delay: Mean,
}

#[derive(Default)]
struct Counts {
    days: BTreeMap<(String, String), Day>,
    /// In gusts, and without.
    gusts: BTreeMap<String, [Mean; 2]>,
}

fn unpacked(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// The rows of a file, each by the names of its columns. No field of these files has a comma in it.
fn rows(text: &str) -> impl Iterator<Item = BTreeMap<&str, &str>> {
    let mut lines = text.lines();
    let names: Vec<_> = lines.next().unwrap().split(',').collect();
    lines.map(move |line| names.iter().copied().zip(line.split(',')).collect())
}

fn count(flights: &str, weather: &str) -> Counts {
    let mut observed = BTreeMap::<_, BTreeMap<_, bool>>::new();
    for row in rows(weather) {
        observed.entry(row["origin"]).or_default().insert(row["time_hour"], row["wind_gust"] != "NA");
    }
    let mut counts = Counts::default();
    for row in rows(flights) {
        let [month, day] = ["month", "day"].map(|name| row[name].parse::<u32>().unwrap());
        let date = format!("{}-{month:02}-{day:02}", row["year"]);
        let origin = row["origin"].to_owned();
        let day = counts.days.entry((origin.clone(), date)).or_default();
        day.flights += 1;
        day.cancelled += u64::from(row["dep_time"] == "NA");
        if row["dep_delay"] == "NA" {
            continue;
        }
        let delay = row["dep_delay"].parse().unwrap();
        day.delay.add(delay);
        // Observations are of full hours, so that the newest one is that of the hour of departure or before.
        let newest = observed.get(&*origin).and_then(|hours| hours.range(..=row["time_hour"]).next_back());
        if let Some((_, is_gusty)) = newest {
            counts.gusts.entry(origin).or_default()[usize::from(!is_gusty)].add(delay);
        }
    }
    counts
}

impl Counts {
    fn questions(&self) -> Vec<Vec<String>> {
        let days =
            self.days.keys().map(|(origin, date)| vec!["day".to_owned(), origin.clone(), date.clone()]);
        let gusts = self.gusts.keys().map(|origin| vec!["gusts".to_owned(), origin.clone()]);
        days.chain(gusts).collect()
    }

    /// What the program is to print, byte for byte.
    fn answers(&self) -> String {
        let mut text = String::new();
        for ((origin, date), Day { flights, cancelled, delay }) in &self.days {
            let hours = match date.as_str() {
                "2013-03-10" => 23,
                "2013-11-03" => 25,
                _ => 24,
            };
            let mean = delay.json();
            writeln!(
                text,
                "{{\"origin\":\"{origin}\",\"day\":\"{date}\",\"hours\":{hours},\"flights\":{flights},\"cancelled\":{cancelled},\
                 \"mean_dep_delay\":{mean}}}"
            )
            .unwrap();
        }
        for (origin, [gusty, calm]) in &self.gusts {
            let (flights, count) = (gusty.count + calm.count, gusty.count);
            let (gusty, calm) = (gusty.json(), calm.json());
            writeln!(
                text,
                "{{\"origin\":\"{origin}\",\"flights\":{flights},\"gusty\":{count},\"mean_dep_delay_gusty\":{gusty},\
                 \"mean_dep_delay_calm\":{calm}}}"
            )
            .unwrap();
        }
        text
    }
}

fn program(state: &Path, files: Option<(&Path, &Path)>) -> Command {
    let mut command = Command::new(example("weather"));
    command.arg("--state").arg(state);
    if let Some((flights, weather)) = files {
        command.arg("--flights").arg(flights).arg("--weather").arg(weather);
    }
    command
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn check(counts: &Counts, state: &Path, files: Option<(&Path, &Path)>) {
    let mut command = program(state, files);
    for question in counts.questions() {
        command.arg("--lookup").args(question);
    }
    let (answers, expected) = (printed(&command.output().unwrap()), counts.answers());
    for (answer, expected) in answers.lines().zip(expected.lines()) {
        assert_eq!(answer, expected);
    }
    assert_eq!(answers.len(), expected.len());
}

#[test]
fn every_answer_for_january_is_what_a_plain_loop_counts() {
    let dir = tempfile::tempdir().unwrap();
    let counts = count(&unpacked(FLIGHTS), &unpacked(WEATHER));
    assert_eq!(counts.days.len(), 3 * 31);
    check(&counts, dir.path(), None);
    // Folded before, now: the same.
    check(&counts, dir.path(), None);
}

#[test]
fn every_day_is_final_once_the_files_have_ended() {
    let dir = tempfile::tempdir().unwrap();
    let counts = count(&unpacked(FLIGHTS), &unpacked(WEATHER));
    let questions: String = counts
        .days
        .keys()
        .fold(String::new(), |text, (origin, date)| text + &format!("day {origin} {date}\n"));
    let answers = printed(&output_with_input(&mut program(dir.path(), None), &questions));
    let expected: Vec<Value> =
        counts.answers().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.lines().count(), counts.days.len());
    for (answer, mut expected) in answers.lines().zip(expected) {
        expected["final"] = json!(true);
        assert_eq!(serde_json::from_str::<Value>(answer).unwrap(), expected);
    }
}

#[test]
fn the_order_of_days_and_airports_in_the_files_is_no_matter() {
    let dir = tempfile::tempdir().unwrap();
    let sorted = |text: &str, name: &str, by: fn(&str) -> Vec<String>| {
        let mut lines: Vec<_> = text.lines().collect();
        lines[1..].sort_by_key(|line| by(line));
        let path = dir.path().join(name);
        std::fs::write(&path, lines.join("\n")).unwrap();
        path
    };
    let (flights, weather) = (unpacked(FLIGHTS), unpacked(WEATHER));
    let counts = count(&flights, &weather);
    // By the number of the day, as text; by airport, and that of the hour.
    let flights = sorted(&flights, "flights.csv", |line| vec![line.split(',').nth(2).unwrap().to_owned()]);
    let weather = sorted(&weather, "weather.csv", |line| {
        let fields: Vec<_> = line.split(',').collect();
        [fields[0], fields[4], fields[3]].map(str::to_owned).to_vec()
    });
    check(&counts, &dir.path().join("state"), Some((&flights, &weather)));
}

#[test]
fn some_figures_are_as_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = program(dir.path(), None);
    command.args(["--lookup", "day", "JFK", "2013-01-31", "--lookup", "gusts", "jfk"]);
    assert_eq!(
        printed(&command.output().unwrap()),
        "{\"origin\":\"JFK\",\"day\":\"2013-01-31\",\"hours\":24,\"flights\":302,\"cancelled\":6,\"mean_dep_delay\":17.44}\n\
         {\"origin\":\"JFK\",\"flights\":9061,\"gusty\":1799,\"mean_dep_delay_gusty\":10.19,\"mean_dep_delay_calm\":8.23}\n"
    );
}

#[test]
fn every_answer_for_the_year_is_what_a_plain_loop_counts() {
    let Some(data) = std::env::var_os("MILLPOND_WEATHER_DATA").map(PathBuf::from) else {
        eprintln!("the year is not taken in: MILLPOND_WEATHER_DATA does not name a directory with its files");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let [flights, weather] = ["flights.csv.gz", "weather.csv.gz"].map(|name| data.join(name));
    let read = |path: &Path| unpacked(&std::fs::read(path).unwrap());
    let counts = count(&read(&flights), &read(&weather));
    assert_eq!(counts.days.len(), 3 * 365);
    check(&counts, dir.path(), Some((&flights, &weather)));
}
