//! The flights example says what it took in and what was there, refuses what is no table of flights, and gives programs JSON.
//!
//! Method: the program is run without a terminal, with `--lookup` and with questions in a pipe, on the shipped file and on
//! files made here; what it writes on either channel is compared with what is known of those files.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use millpond_support::process::example;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const HEADER: &str =
    "year,month,day,hour,minute,dep_time,dep_delay,arr_delay,carrier,tailnum,origin,dest,distance\n";

/// Runs the program with questions in a pipe.
fn run(arguments: &[&str], state: &Path, questions: &str) -> Output {
    let mut command = Command::new(example("flights"));
    command.args(arguments).arg("--state").arg(state);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that ends before it has asked for questions closes the pipe.
    child.stdin.take().unwrap().write_all(questions.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn answers(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", said(output));
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What came before the seconds.
fn without_time(line: &str) -> &str {
    let (what, seconds) = line.trim_end().rsplit_once(" in ").unwrap();
    seconds.strip_suffix(" s").unwrap().parse::<f64>().unwrap();
    what
}

#[test]
fn it_tells_how_many_flights_it_took_in_and_how_many_were_there() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(&["--lookup", "carrier", "UA"], dir.path(), "");
    assert_eq!(without_time(&said(&first)), "27,004 flights into 8 tables");
    let again = run(&["--lookup", "carrier", "UA"], dir.path(), "");
    assert_eq!(said(&again), "resumed: 27,004 flights were there already\n");
    assert_eq!(answers(&first), answers(&again));
}

#[test]
fn an_intake_that_is_left_is_resumed_and_nothing_is_counted_twice() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("some.csv");
    let mut text = HEADER.to_owned();
    for minute in 0..700 {
        writeln!(text, "2013,1,1,{},{},1,0,0,UA,N1,JFK,LAX,2475", minute / 60, minute % 60).unwrap();
    }
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let state = dir.path().join("state");

    // One batch is of a tenth of a second, and the next one is not due when the prompt ends.
    let left = run(&["--flights", file, "--rate", "1"], &state, "quit\n");
    assert!(left.status.success(), "{}", said(&left));
    assert!(said(&left).contains("flights into 8 tables in "), "{}", said(&left));
    assert!(said(&left).ends_with("; the rest was not read\n"), "{}", said(&left));
    let taken: u64 = said(&left).split(' ').next().unwrap().parse().unwrap();

    let rest = run(&["--flights", file], &state, "carrier ua\nquit\n");
    let more = 700 - taken;
    let expected = match taken {
        0 => "700 flights into 8 tables".to_owned(),
        _ => format!("resumed: {taken} flights were there already, {more} more into 8 tables"),
    };
    assert_eq!(without_time(&said(&rest)), expected);
    assert_eq!(answers(&rest)[0]["flights"], 700);
}

#[test]
fn a_file_without_rows_is_an_error_and_leaves_the_state_free() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let mut empty_gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    empty_gz.write_all(HEADER.as_bytes()).unwrap();
    let packed = empty_gz.finish().unwrap();
    let files =
        [("empty.csv", b"".as_slice()), ("header.csv", HEADER.as_bytes()), ("header.csv.gz", &packed)];
    for (name, bytes) in files {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let refused = run(&["--flights", file.to_str().unwrap()], &state, "stats\n");
        assert!(!refused.status.success() && refused.stdout.is_empty());
        let said = said(&refused);
        assert!(said.contains(name) && said.contains("has no rows"), "{said}");
    }

    let other = dir.path().join("other.csv");
    std::fs::write(&other, "name,age\nAda,36\n").unwrap();
    let refused = run(&["--flights", other.to_str().unwrap()], &state, "");
    assert!(!refused.status.success());
    assert!(said(&refused).contains("other.csv: "), "{}", said(&refused));
    assert!(said(&refused).contains("missing field"), "{}", said(&refused));

    let shipped = run(&[], &state, "quit\n");
    assert_eq!(without_time(&said(&shipped)), "27,004 flights into 8 tables");
}

#[test]
fn a_pipe_gets_json_of_answers_statistics_and_changes() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(
        &["--rate", "30000"],
        dir.path(),
        "watch carrier UA\ncarrier ua\nroutes lga\ncarrier ZZ\nwatch carrier UA\nstats\nquit\n",
    );
    let answers = answers(&output);
    assert!(said(&output).contains("nothing is known of carrier ZZ"));

    let of_united = answers.iter().take_while(|answer| answer["carrier"] == "UA");
    let flights: Vec<u64> = of_united.map(|answer| answer["flights"].as_u64().unwrap()).collect();
    assert!(flights.is_sorted(), "{flights:?}");
    // What is watched ends when all flights are in, and not before; then comes the answer to the next question.
    assert!(flights.ends_with(&[4637, 4637]), "{flights:?}");

    let [.., last_route, watched, stats] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(last_route["origin"], "LGA");
    assert_eq!(watched["flights"], 4637);
    assert_eq!(stats["health"]["state"], "running");
    assert_eq!(stats["lag"], 0);
    assert_eq!(stats["tables"].as_object().unwrap().len(), 8);
    assert_eq!(stats["tables"]["carriers"]["rows"], 16);
    assert!(stats["state_bytes"].is_u64() && stats["changelog_bytes"].is_u64());
}
