//! Folds a month of flights into tables and answers questions on carriers, aircraft and routes.
//!
//! ```text
//! airlines ─────────────────────────────┐
//! flights ─┬─ by carrier  ─► fold ─► left join ─► carriers
//!          ├─ by aircraft ─► fold ─► left join ─► aircraft
//!          └─ by route    ─► fold ──────│───────► routes
//! planes ───────────────────────────────┘
//! ```
//!
//! Kill it at any moment and start it again with the same `--state`: it goes on where it was and ends with the same
//! answers. The changelog itself says how many flights it has (see `ingest.rs`), and the tables follow the changelog.
//!
//! January 2013 of the data set `nycflights13` (all flights that left the airports of New York) is part of the program.

mod data;
mod graph;
mod ingest;
mod prompt;
mod questions;

use clap::{CommandFactory, FromArgMatches, Parser};
use data::Input;
use graph::FlightGraph;
use millpond::Engine;
use questions::{Answers, Question};
use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Asks the flights of a month (or of a year) that left New York.
#[derive(Parser)]
#[command(name = "flights", after_help = questions::HELP)]
struct Arguments {
    /// Reads this file (csv or csv.gz, in the columns of nycflights13) instead of January 2013
    #[arg(long, value_name = "FILE")]
    flights: Option<PathBuf>,

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
            eprintln!("flights: {error}");
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches)?;
    // What belongs to one `--lookup` is only told by the matches.
    let words = matches.get_occurrences::<String>("lookup").into_iter().flatten();
    let questions = words
        .map(|words| Question::parse(&words.cloned().collect::<Vec<_>>().join(" ")))
        .collect::<Result<Vec<_>, _>>()?;

    let thrown_away = tempfile::tempdir()?;
    let dir = arguments.state.clone().unwrap_or_else(|| thrown_away.path().to_owned());
    let flights = FlightGraph::new()?;
    let engine = Engine::open(&dir, &flights.graph)?;
    ingest::ingest(&engine, &flights, &arguments.flights.map_or(Input::january(), Input::file))?;

    let answers = Answers::new(&engine, &flights)?;
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
fn ask_all(answers: &Answers<'_>, questions: &[Question]) -> Result<ExitCode, Box<dyn Error>> {
    let mut code = ExitCode::SUCCESS;
    for question in questions {
        let lines = answers.answer(question)?;
        if lines.is_empty() {
            eprintln!("flights: nothing is known of {question}");
            code = ExitCode::FAILURE;
        }
        for line in lines {
            writeln!(io::stdout(), "{line}")?;
        }
    }
    Ok(code)
}
