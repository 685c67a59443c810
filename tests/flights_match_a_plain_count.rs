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

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

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
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(format!("flights{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is not built; `cargo build --examples` does it", program.display());
    let mut command = Command::new(program);
    command.arg("--state").arg(state);
    for question in questions {
        command.arg("--lookup").args(question);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
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
