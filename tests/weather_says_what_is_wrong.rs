//! The weather example says what it took in, and of files and questions that it cannot use what to do; it keeps nothing of them.
//!
//! Method: the program is run on the shipped files, on those of another kind, on broken ones and on none; what it says on the
//! standard error is compared with what is known of these. A state that was refused something is then filled with what is right.
#![cfg(all(feature = "rocks", feature = "calendar"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use millpond_support::process::example;
use std::path::Path;
use std::process::Command;

const FLIGHTS: &str = "examples/flights/data/flights-2013-01.csv.gz";
const WEATHER: &str = "examples/weather/data/weather-2013-01.csv.gz";

/// What the program says, and whether it ended well; it prints no answer if not.
fn said(state: &Path, arguments: &[&str]) -> (String, bool) {
    let mut command = Command::new(example("weather"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("--state").arg(state).args(arguments);
    let output = command.output().unwrap();
    let is_well = output.status.success();
    assert!(is_well || output.stdout.is_empty());
    (String::from_utf8(output.stderr).unwrap(), is_well)
}

fn refused(state: &Path, arguments: &[&str], parts: &[&str]) {
    let (said, is_well) = said(state, arguments);
    assert!(!is_well, "{arguments:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{arguments:?}: `{part}` is not in: {said}");
    }
}

#[test]
fn wrong_files_are_refused_with_what_is_expected_and_leave_the_state_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let files = |flights: &str, weather: &str, parts: &[&str]| {
        refused(&state, &["--flights", flights, "--weather", weather], parts);
    };
    let columns = "origin,time_hour,minute,dep_time,dep_delay\n";
    files("nothing.csv", WEATHER, &["nothing.csv"]);
    files(FLIGHTS, "examples/weather", &["examples/weather: ", "directory"]);
    files(WEATHER, WEATHER, &[WEATHER, "missing field", "give --flights a file", "dep_delay"]);
    let airlines = "examples/flights/data/airlines.csv";
    files(FLIGHTS, airlines, &[airlines, "missing field", "give --weather a file", "wind_gust"]);
    files(&file("empty.csv", columns), WEATHER, &["empty.csv", "there are no rows"]);
    let hour = file("hour.csv", &format!("{columns}JFK,yesterday,0,1,2\n"));
    files(&hour, WEATHER, &["`yesterday` is no time", "2013-01-01T10:00:00Z", "line: 2"]);
    let delay = file("delay.csv", &format!("{columns}JFK,2013-01-01T10:00:00Z,0,1,x\n"));
    files(&delay, WEATHER, &["`x` is no such value"]);
    refused(&state, &["--flights", FLIGHTS], &["--weather"]);

    let (first, is_well) = said(&state, &["--lookup", "gusts", "JFK"]);
    assert!(is_well && first.starts_with("29,230 flights and observations in "), "{first}");
    let again = said(&state, &["--lookup", "gusts", "JFK"]);
    assert_eq!(again, ("resumed: 29,230 flights and observations were there already\n".to_owned(), true));
    // The same bytes are the same file.
    assert_eq!(said(&state, &["--flights", FLIGHTS, "--weather", WEATHER]), again);
    let one = file("one.csv", &format!("{columns}JFK,2013-01-01T10:00:00Z,0,1,2\n"));
    files(&one, WEATHER, &["another directory", "--state"]);
}

#[test]
fn questions_that_cannot_be_answered_are_refused_with_what_can() {
    let dir = tempfile::tempdir().unwrap();
    refused(
        dir.path(),
        &["--lookup", "day", "JFK"],
        &["cannot answer `day JFK`", "day JFK 2013-03-10", "gusts"],
    );
    refused(
        dir.path(),
        &["--lookup", "day", "JFK", "2013-02-30"],
        &["2013-02-30", "is no day", "2013-03-10"],
    );
    refused(
        dir.path(),
        &["--lookup", "day", "JFK", "2014-01-01"],
        &["nothing is known of day JFK 2014-01-01"],
    );
    refused(dir.path(), &["--lookup", "gusts", "ZRH"], &["nothing is known of gusts ZRH"]);
}

#[test]
fn an_input_of_one_flight_and_one_observation_is_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let (flights, weather) = (dir.path().join("flights.csv"), dir.path().join("weather.csv"));
    // The last flight of the year stands at a moment of the next one, in UTC.
    std::fs::write(
        &flights,
        "origin,time_hour,minute,dep_time,dep_delay\nJFK,2014-01-01T04:00:00Z,59,2359,0\n\
         JFK,2014-01-01T04:00:00Z,30,NA,NA\n",
    )
    .unwrap();
    std::fs::write(&weather, "origin,time_hour,wind_gust\nJFK,2014-01-01T04:00:00Z,NA\n").unwrap();
    let output = Command::new(example("weather"))
        .args(["--flights".as_ref(), flights.as_os_str(), "--weather".as_ref(), weather.as_os_str()])
        .args(["--lookup", "day", "JFK", "2013-12-31", "--lookup", "gusts", "JFK"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "{\"origin\":\"JFK\",\"day\":\"2013-12-31\",\"hours\":24,\"flights\":2,\"cancelled\":1,\"mean_dep_delay\":0.0}\n\
         {\"origin\":\"JFK\",\"flights\":1,\"gusty\":0,\"mean_dep_delay_gusty\":null,\"mean_dep_delay_calm\":0.0}\n"
    );
}
