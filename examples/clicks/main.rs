//! Page views: counts by the minute, the top pages of each minute, the sessions of each user, and what came too late.
//!
//! ```text
//! views ─┬─ by page ─┬─► count: pages
//!        │           └─► minutes ─┬─► count: minutes ─► when closed ─► by minute ─► top five: top
//!        │                        └─► late ─► count: late
//!        └─ by user ─► sessions ──► count: sessions ─► when closed ─► by user ─► fold: visits
//! ```
//!
//! A view belongs to the minute in which it happened, whenever it arrives, as long as the minute is not closed for its partition.
//! What is made of minutes that are closed is final, so it is never taken back. The minutes themselves are forgotten after an hour.
//!
//! Views come from a generator (`events.rs`). Kill it at any moment and start it again with the same `--state`: the changelog itself
//! says how many views it has, it goes on with the next one, and ends with the same answers.

mod events;
mod graph;
mod questions;

use clap::{CommandFactory, FromArgMatches, Parser};
use events::Events;
use graph::{Clicks, PARTITIONS};
use indicatif::{ProgressBar, ProgressStyle};
use millpond::{Engine, TopicPartition};
use questions::{Answers, HELP, Question};
use rustyline::error::ReadlineError;
use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

type Failure = Box<dyn Error>;

/// Counts page views by the minute and by the session, and answers questions.
#[derive(Parser)]
#[command(name = "clicks", after_help = HELP)]
struct Arguments {
    /// How many views there are; a state that has more keeps them
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    events: u64,

    /// Keeps changelog and tables in this directory; without it they are thrown away at the end
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Asks this, prints the answer as a JSON object on a line, and exits; may be repeated
    #[arg(long, value_names = ["WHAT", "KEY"], num_args = 1..=2)]
    lookup: Vec<String>,
}

/// So many views are appended, and made durable, at a time.
const BATCH: u64 = 5_000;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clicks: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever reads the answers has seen enough.
fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run() -> Result<ExitCode, Failure> {
    let matches = Arguments::command().get_matches();
    let arguments = Arguments::from_arg_matches(&matches)?;
    // What belongs to one `--lookup` is only told by the matches.
    let words = matches.get_occurrences::<String>("lookup").into_iter().flatten();
    let questions = words
        .map(|words| Question::parse(&words.map(String::as_str).collect::<Vec<_>>().join(" ")))
        .collect::<Result<Vec<_>, _>>()?;

    let thrown_away = tempfile::tempdir()?;
    let dir = arguments.state.unwrap_or_else(|| thrown_away.path().to_owned());
    let clicks = Clicks::new()?;
    let engine = Engine::open(&dir, &clicks.graph)?;
    take_in(&engine, &clicks, arguments.events)?;
    let answers = Answers::new(&engine, &clicks)?;
    let code = if questions.is_empty() {
        say(&answers, &Question::Overview)?;
        prompt(&answers)?;
        ExitCode::SUCCESS
    } else {
        let mut code = ExitCode::SUCCESS;
        for question in &questions {
            if !say(&answers, question)? {
                code = ExitCode::FAILURE;
            }
        }
        code
    };
    engine.close_blocking()?;
    Ok(code)
}

/// Appends the views that are not in the topic yet, and returns once the tables include all of them.
fn take_in(engine: &Engine, clicks: &Clicks, events: u64) -> Result<(), Failure> {
    let begun = Instant::now();
    let producer = engine.producer(&clicks.views)?;
    let mut there = 0;
    for partition in 0..PARTITIONS {
        let partition = TopicPartition::new(clicks.views.name().clone(), partition);
        there += engine.changelog().offsets(&partition)?.end;
    }
    let mut left = events.saturating_sub(there);
    if there > 0 {
        eprintln!("resumed: {there} views were there already");
    }
    // On standard error, and only if that is a terminal.
    let progress = ProgressBar::new(left).with_style(ProgressStyle::with_template(
        "{spinner} taking in views {wide_bar} {percent:>3}% {eta}",
    )?);
    let mut views = Events::new().skip(usize::try_from(there)?);
    while left > 0 {
        let batch: Vec<_> = views.by_ref().take(usize::try_from(left.min(BATCH))?).collect();
        producer.ready_blocking();
        // A batch is appended whole or not at all, to however many partitions, and the next one only behind it.
        producer.send(batch.iter().map(|view| (&view.user, Some(&view.page), view.at_ms))).wait_blocking()?;
        left -= batch.len() as u64;
        progress.inc(batch.len() as u64);
    }
    engine.catch_up_blocking()?;
    // A directory that knows other tables has these built first.
    engine.ready_blocking()?;
    progress.finish_and_clear();
    let taken = events.saturating_sub(there);
    eprintln!(
        "{taken} views into {} tables in {:.1} s",
        engine.stats().tables.len(),
        begun.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Prints the answer; `false` if nothing is known.
fn say(answers: &Answers, question: &Question) -> Result<bool, Failure> {
    let answer = answers.answer(question)?;
    match &answer {
        Some(answer) => writeln!(io::stdout(), "{answer}")?,
        None => eprintln!("clicks: nothing is known of {question}"),
    }
    Ok(answer.is_some())
}

/// Answers a line at a time, of a terminal or of a pipe, until there are no more.
fn prompt(answers: &Answers) -> Result<(), Failure> {
    let mut editor = rustyline::DefaultEditor::new()?;
    if io::stdin().is_terminal() {
        eprintln!("Ask, for instance: top 01:00. `help` tells what else, `quit` ends.");
    }
    loop {
        let line = match editor.readline("clicks> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match line.trim() {
            "" => continue,
            "quit" | "exit" => return Ok(()),
            "help" => writeln!(io::stdout(), "{HELP}")?,
            question => match Question::parse(question) {
                Ok(question) => {
                    say(answers, &question)?;
                }
                Err(message) => writeln!(io::stdout(), "{message}")?,
            },
        }
        editor.add_history_entry(line.trim())?;
    }
}
