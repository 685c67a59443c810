//! The program, wherever its changelog is: in the directory of its state, or on Kafka.

mod complete;
mod data;
#[path = "../shared/file.rs"]
mod file;
mod graph;
mod ingest;
#[path = "../shared/line.rs"]
mod line;
mod prompt;
mod questions;
mod show;
mod watch;

use clap::{CommandFactory, FromArgMatches, Parser};
use data::JANUARY;
use file::Input;
use graph::FlightGraph;
use ingest::{Begun, Outcome, Pace};
use millpond::changelog::TopicConfig;
use millpond::{Engine, EngineBuilder};
use prompt::Prompt;
use questions::{Answers, Question};
use std::error::Error;
use std::io::{self, Write};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::watch as ended;

/// Of a thread, too.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Puts an engine on the Kafka that is reached at an address, or says why that cannot be.
pub(crate) type OnKafka = fn(EngineBuilder, &str) -> Result<EngineBuilder, Failure>;

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

    /// Produces to topics of the Kafka at these addresses (`host:port`, ..) and folds from them: its changelog is there
    #[arg(long, value_name = "BOOTSTRAP")]
    kafka: Option<String>,

    /// Asks this, prints the answer as one JSON object per line, and exits; may be repeated
    #[arg(long, value_names = ["WHAT", "KEY"], num_args = 1..=3)]
    lookup: Vec<String>,

    /// Takes in so many flights a second, and answers meanwhile
    #[arg(long, value_name = "N", conflicts_with = "lookup")]
    rate: Option<NonZeroU32>,
}

pub(crate) fn main(on_kafka: OnKafka) -> ExitCode {
    match run(on_kafka) {
        Ok(code) => code,
        // Whoever reads the answers has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("flights: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A hundred years.
const KEPT_ON_KAFKA: Duration = Duration::from_secs(36_525 * 24 * 3600);

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(on_kafka: OnKafka) -> Result<ExitCode, Failure> {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches)?;
    // What belongs to one `--lookup` is only told by the matches.
    let words = matches.get_occurrences::<String>("lookup").into_iter().flatten();
    let questions = words
        .map(|words| match Question::parse(&words.cloned().collect::<Vec<_>>().join(" "))? {
            Question::Watch(_) => Err("`watch` is for the prompt; see --help".to_owned()),
            question => Ok(question),
        })
        .collect::<Result<Vec<_>, _>>()?;

    let thrown_away = tempfile::tempdir()?;
    let dir = arguments.state.clone().unwrap_or_else(|| thrown_away.path().to_owned());
    let flights = FlightGraph::new(&topics(arguments.kafka.is_some()))?;
    let builder = Engine::builder(&flights.graph).dir(&dir);
    let builder = match &arguments.kafka {
        Some(bootstrap) => on_kafka(builder, bootstrap)?,
        None => builder,
    };
    let engine = builder.start()?;
    let input = arguments.flights.map_or(JANUARY, Input::File);
    let begun = Begun::new(&engine, &flights, &input)?;
    // Without a directory of its own the history would outlive what it is about.
    let history = arguments.state.map(|state| state.join("history.txt"));
    let code = if let Some(rate) = arguments.rate {
        let outcome = ask_meanwhile(&engine, &flights, begun, rate, history.as_deref())?;
        eprintln!("{outcome}");
        ExitCode::SUCCESS
    } else {
        let outcome = begun.take_in_flights(&Pace::Full)?;
        eprintln!("{outcome}");
        let answers = Answers::new(&engine, &flights)?;
        if questions.is_empty() {
            // All are in: nobody is left at the other end.
            let (_, intake) = ended::channel(());
            Prompt::new(&answers, intake)?.run(history.as_deref())?;
            ExitCode::SUCCESS
        } else {
            ask_all(&answers, &questions)?
        }
    };
    engine.close_blocking()?;
    Ok(code)
}

/// How topics are created. Kafka drops what is older than a week, by the time of the flight, unless it is told otherwise, and
/// may give a topic any number of partitions.
fn topics(on_kafka: bool) -> TopicConfig {
    let config = TopicConfig::default();
    if on_kafka { config.partitions(1).retention_age(KEPT_ON_KAFKA) } else { config }
}

/// Asks at the prompt while flights are taken in, which ends with the prompt at the latest.
fn ask_meanwhile(
    engine: &Engine,
    flights: &FlightGraph,
    begun: Begun<'_>,
    rate: NonZeroU32,
    history: Option<&Path>,
) -> Result<Outcome, Failure> {
    let answers = Answers::new(engine, flights)?;
    let (stop, stopped) = mpsc::channel();
    let (running, intake) = ended::channel(());
    std::thread::scope(|scope| {
        let taken = scope.spawn(move || {
            let _running = running;
            begun.take_in_flights(&Pace::Slow(rate, stopped))
        });
        let asked = Prompt::new(&answers, intake).and_then(|prompt| prompt.run(history));
        drop(stop);
        let outcome = taken.join().map_err(|_| "the intake panicked")??;
        asked.map(|()| outcome)
    })
}

/// Prints every answer; fails if one was not found.
fn ask_all(answers: &Answers<'_>, questions: &[Question]) -> Result<ExitCode, Failure> {
    let mut code = ExitCode::SUCCESS;
    for question in questions {
        let answer = answers.answer(question)?;
        if answer.is_empty() {
            eprintln!("flights: nothing is known of {question}");
            code = ExitCode::FAILURE;
        }
        write!(io::stdout(), "{}", answer.json())?;
    }
    Ok(code)
}
