//! The prompt: a line at a time, with editing and history.

use crate::questions::{Answers, HELP, Question};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

/// Answers until the user has enough.
pub(crate) fn run(answers: &Answers<'_>, history: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let mut editor = DefaultEditor::new()?;
    if let Some(history) = history {
        // There is none the first time.
        editor.load_history(history).ok();
    }
    eprintln!("Ask, for instance: carrier UA. `help` tells what else, `quit` ends.");
    loop {
        let line = match editor.readline("flights> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => break,
            Err(error) => return Err(error.into()),
        };
        let line = line.trim();
        if !line.is_empty() {
            editor.add_history_entry(line)?;
        }
        match line {
            "" => {}
            "quit" | "exit" => break,
            "help" => writeln!(io::stdout(), "{HELP}")?,
            _ => answer(answers, line)?,
        }
    }
    if let Some(history) = history {
        editor.save_history(history)?;
    }
    Ok(())
}

fn answer(answers: &Answers<'_>, line: &str) -> Result<(), Box<dyn Error>> {
    let question = match Question::parse(line) {
        Ok(question) => question,
        Err(message) => {
            writeln!(io::stdout(), "{message}")?;
            return Ok(());
        }
    };
    let lines = answers.answer(&question)?;
    if lines.is_empty() {
        writeln!(io::stdout(), "nothing is known of {question}")?;
    }
    for line in lines {
        writeln!(io::stdout(), "{line}")?;
    }
    Ok(())
}
