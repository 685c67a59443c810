//! What the flights example answers is what a plain loop over the same file counts.
//!
//! Method: a loop over the columns of the shipped file, with nothing of the library or of the example in it, adds up
//! every carrier, every aircraft and every route, and each answer of the program is compared with it. A few figures are
//! written out, so that the loop itself is held to something.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking"
)]

use millpond_support::process::example;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

const JANUARY: &[u8] = include_bytes!("../examples/flights/data/flights-2013-01.csv.gz");

#[derive(Default)]
struct Count {
    flights: u64,
    cancelled: u64,
    arrived: u64,
    delay: i64,
    distance_flown: u64,
    /// Latest departure, in minutes of January, and where it led.
    last: Option<(i64, String)>,
}

impl Count {
    fn mean(&self) -> Value {
        if self.arrived == 0 {
            return Value::Null;
        }
        let hundredths = (self.delay as f64 / self.arrived as f64 * 100.0).round();
        json!(if hundredths == 0.0 { 0.0 } else { hundredths / 100.0 })
    }

    fn check_flights(&self, answer: &Value) {
        assert_eq!(answer["flights"], self.flights, "{answer}");
        assert_eq!(answer["cancelled"], self.cancelled, "{answer}");
        assert_eq!(answer["arrived"], self.arrived, "{answer}");
        assert_eq!(answer["mean_arr_delay"], self.mean(), "{answer}");
    }
}

#[derive(Default)]
struct Counts {
    carriers: BTreeMap<String, Count>,
    aircraft: BTreeMap<String, Count>,
    routes: BTreeMap<(String, String), Count>,
}

fn count() -> Counts {
    let mut csv = csv::Reader::from_reader(flate2::read::GzDecoder::new(JANUARY));
    let names = csv.headers().unwrap().clone();
    let mut counts = Counts::default();
    for row in csv.records() {
        let row = row.unwrap();
        let field = |name: &str| &row[names.iter().position(|other| other == name).unwrap()];
        let number = |name: &str| field(name).parse::<i64>().unwrap();
        let (origin, dest) = (field("origin").to_owned(), field("dest").to_owned());
        let add = |count: &mut Count| {
            count.flights += 1;
            if field("arr_delay") != "NA" {
                count.arrived += 1;
                count.delay += number("arr_delay");
            }
            if field("dep_time") == "NA" {
                count.cancelled += 1;
                return;
            }
            count.distance_flown += u64::try_from(number("distance")).unwrap();
            let minute = (number("day") * 24 + number("hour")) * 60 + number("minute") + number("dep_delay");
            let place = if field("arr_delay") == "NA" { &origin } else { &dest };
            if count.last.as_ref().is_none_or(|(latest, _)| *latest < minute) {
                count.last = Some((minute, place.clone()));
            }
        };
        add(counts.carriers.entry(field("carrier").to_owned()).or_default());
        add(counts.routes.entry((origin.clone(), dest.clone())).or_default());
        if field("tailnum") != "NA" && !field("tailnum").is_empty() {
            add(counts.aircraft.entry(field("tailnum").to_owned()).or_default());
        }
    }
    counts
}

fn ask(state: &Path, questions: impl Iterator<Item = Vec<String>>) -> Vec<Value> {
    let output = run(state, None, questions);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    answers(&output)
}

fn answers(output: &Output) -> Vec<Value> {
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Runs the program on the shipped file, or on `file`.
fn run(state: &Path, file: Option<&Path>, questions: impl Iterator<Item = Vec<String>>) -> Output {
    let mut command = Command::new(example("flights"));
    command.arg("--state").arg(state);
    if let Some(file) = file {
        command.arg("--flights").arg(file);
    }
    for question in questions {
        command.arg("--lookup").args(question);
    }
    command.output().unwrap()
}

#[test]
fn a_file_of_ones_own_is_taken_in_packed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut whole = String::new();
    flate2::read::GzDecoder::new(JANUARY).read_to_string(&mut whole).unwrap();
    let some: String = whole.lines().take(501).flat_map(|line| [line, "\n"]).collect();
    let (plain, packed) = (dir.path().join("some.csv"), dir.path().join("some.csv.gz"));
    std::fs::write(&plain, &some).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(some.as_bytes()).unwrap();
    std::fs::write(&packed, encoder.finish().unwrap()).unwrap();

    let carriers = || ["UA", "AA", "B6", "DL", "EV"].map(|key| vec!["carrier".to_owned(), key.to_owned()]);
    let from = |state: &str, file: &Path| run(&dir.path().join(state), Some(file), carriers().into_iter());
    let (one, other) = (from("plain", &plain), from("packed", &packed));
    assert!(one.status.success(), "{}", String::from_utf8_lossy(&one.stderr));
    assert_eq!(answers(&one), answers(&other));
    let mut flights = BTreeMap::<&str, u64>::new();
    let column = some.lines().next().unwrap().split(',').position(|name| name == "carrier").unwrap();
    for line in some.lines().skip(1) {
        *flights.entry(line.split(',').nth(column).unwrap()).or_default() += 1;
    }
    for answer in answers(&one) {
        assert_eq!(answer["flights"], flights[answer["carrier"].as_str().unwrap()]);
    }

    // A state is of one file.
    let refused = from("plain", &packed);
    assert!(!refused.status.success() && refused.stdout.is_empty());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another file"));
    let absent = from("nothing", &dir.path().join("nothing.csv"));
    assert!(!absent.status.success());
    assert!(String::from_utf8_lossy(&absent.stderr).contains("nothing.csv"), "it names the file");
}

#[test]
fn every_answer_is_what_a_plain_loop_counts() {
    let counts = count();
    let dir = tempfile::tempdir().unwrap();

    let answers = ask(dir.path(), counts.carriers.keys().map(|key| vec!["carrier".into(), key.clone()]));
    assert_eq!(answers.len(), counts.carriers.len());
    for (answer, (carrier, count)) in answers.iter().zip(&counts.carriers) {
        assert_eq!(answer["carrier"], **carrier);
        count.check_flights(answer);
    }

    let origins = ["EWR", "JFK", "LGA"].into_iter();
    let answers = ask(dir.path(), origins.map(|origin| vec!["routes".into(), origin.into()]));
    assert_eq!(answers.len(), counts.routes.len());
    for (answer, ((origin, dest), count)) in answers.iter().zip(&counts.routes) {
        assert_eq!((&answer["origin"], &answer["dest"]), (&json!(origin), &json!(dest)));
        count.check_flights(answer);
    }

    let answers = ask(dir.path(), counts.aircraft.keys().map(|key| vec!["aircraft".into(), key.clone()]));
    assert_eq!(answers.len(), counts.aircraft.len());
    for (answer, (tail_number, count)) in answers.iter().zip(&counts.aircraft) {
        assert_eq!(answer["aircraft"], **tail_number);
        assert_eq!(answer["legs"], count.flights - count.cancelled, "{answer}");
        assert_eq!(answer["cancelled"], count.cancelled, "{answer}");
        assert_eq!(answer["distance"], count.distance_flown, "{answer}");
        assert_eq!(answer["last_place"], json!(count.last.as_ref().map(|(_, place)| place)), "{answer}");
    }
}

#[test]
fn some_figures_are_as_known() {
    let dir = tempfile::tempdir().unwrap();
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let answers = ask(dir.path(), ["carrier UA", "aircraft N14228", "route JFK LAX"].into_iter().map(words));
    let mut united =
        json!({"carrier": "UA", "name": "United Air Lines Inc.", "flights": 4637, "cancelled": 32});
    united["arrived"] = json!(4590);
    united["mean_arr_delay"] = json!(3.18);
    assert_eq!(answers[0], united);
    assert_eq!(answers[1]["model"], "737-824");
    assert_eq!(answers[1]["last_place"], "PDX");
    assert_eq!(answers[2]["flights"], 937);
}
