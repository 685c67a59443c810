//! The prompt: a line at a time, with editing and history; or the lines of a pipe.

use super::Failure;
use super::line::table;
use super::questions::{Answers, HELP, Question};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

/// Answers until the user has enough, or the pipe has ended.
pub(crate) fn run(answers: &Answers, history: Option<&Path>) -> Result<(), Failure> {
    let is_person = io::stdin().is_terminal() && io::stdout().is_terminal();
    let mut editor = DefaultEditor::new()?;
    if let Some(history) = history {
        // There is none the first time.
        editor.load_history(history).ok();
    }
    if is_person {
        eprintln!("Ask, for instance: day JFK 2013-01-15. `help` tells what else, `quit` ends.");
    }
    loop {
        let line = match editor.readline("weather> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof) => break,
            Err(ReadlineError::Interrupted) => {
                eprintln!("Ctrl-D or `quit` ends.");
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        editor.add_history_entry(line)?;
        match line {
            "quit" | "exit" => break,
            "help" => writeln!(io::stdout(), "{HELP}")?,
            line => answer(answers, line, is_person)?,
        }
    }
    if let Some(history) = history {
        editor.save_history(history)?;
    }
    Ok(())
}

fn answer(answers: &Answers, line: &str, is_person: bool) -> Result<(), Failure> {
    let question = match Question::parse(line) {
        Ok(question) => question,
        Err(message) => return Ok(writeln!(io::stdout(), "{message}")?),
    };
    match answers.answer_and_final(&question)? {
        Some(line) if is_person => writeln!(io::stdout(), "{}", table(&[line]))?,
        Some(line) => writeln!(io::stdout(), "{line}")?,
        None if is_person => writeln!(io::stdout(), "nothing is known of {question}")?,
        // A program finds no object.
        None => eprintln!("weather: nothing is known of {question}"),
    }
    Ok(())
}
