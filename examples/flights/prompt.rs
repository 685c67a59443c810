//! The prompt: a line at a time, with editing, completion and history; or the lines of a pipe.

use super::Failure;
use super::complete::Words;
use super::questions::{Answers, HELP, Question, Row};
use super::watch::{follow, words};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, ExternalPrinter};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use tokio::sync::{oneshot, watch};

/// Who asks, and how.
pub(crate) struct Prompt<'a> {
    answers: &'a Answers<'a>,
    editor: Editor<Words<'a>, FileHistory>,
    /// Whether a person reads the answers.
    is_person: bool,
    /// Its other end is gone when all flights are in.
    intake: watch::Receiver<()>,
}

impl<'a> Prompt<'a> {
    pub(crate) fn new(answers: &'a Answers<'a>, intake: watch::Receiver<()>) -> Result<Self, Failure> {
        let config = Config::builder().completion_type(CompletionType::List).build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Words::new(answers)));
        let is_person = io::stdin().is_terminal() && io::stdout().is_terminal();
        Ok(Self { answers, editor, is_person, intake })
    }

    /// Answers until the user has enough.
    pub(crate) fn run(mut self, history: Option<&Path>) -> Result<(), Failure> {
        if let Some(history) = history {
            // There is none the first time.
            self.editor.load_history(history).ok();
        }
        if self.is_person {
            eprintln!("Ask, for instance: carrier UA. Tab completes, `help` tells what else, `quit` ends.");
        }
        while let Some(line) = self.line()? {
            match line.as_str() {
                "" => {}
                "quit" | "exit" => break,
                "help" => writeln!(io::stdout(), "{HELP}")?,
                line => self.answer(line)?,
            }
        }
        if let Some(history) = history {
            self.editor.save_history(history)?;
        }
        Ok(())
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Result<Option<String>, Failure> {
        if let Some(words) = self.editor.helper() {
            words.is_empty.set(true);
        }
        let line = match self.editor.readline("flights> ") {
            Ok(line) => line,
            Err(ReadlineError::Eof) => return Ok(None),
            Err(ReadlineError::Interrupted) => {
                if self.editor.helper().is_some_and(|words| words.is_empty.get()) {
                    eprintln!("Ctrl-D or `quit` ends.");
                }
                return Ok(Some(String::new()));
            }
            Err(error) => return Err(error.into()),
        };
        let line = line.trim();
        if !line.is_empty() {
            self.editor.add_history_entry(line)?;
        }
        Ok(Some(line.to_owned()))
    }

    fn answer(&mut self, line: &str) -> Result<(), Failure> {
        let question = match Question::parse(line) {
            Ok(Question::Watch(row)) => return self.watch(&row),
            Ok(question) => question,
            Err(message) => return Ok(writeln!(io::stdout(), "{message}")?),
        };
        let answer = self.answers.answer(&question)?;
        if answer.is_empty() {
            self.say_nothing_is_known(&question.to_string())?;
        } else if self.is_person {
            write!(io::stdout(), "{}", answer.tables())?;
        } else {
            write!(io::stdout(), "{}", answer.json())?;
        }
        Ok(())
    }

    /// To those who read; a program finds no object.
    fn say_nothing_is_known(&self, what: &str) -> io::Result<()> {
        if self.is_person {
            writeln!(io::stdout(), "nothing is known of {what}")
        } else {
            writeln!(io::stderr(), "flights: nothing is known of {what}")
        }
    }

    fn watch(&mut self, row: &Row) -> Result<(), Failure> {
        if self.is_person {
            return self.watch_on_terminal(row);
        }
        let (now, changes) = self.answers.watch(row)?;
        let tell = |line| match line {
            Some(line) => Ok(writeln!(io::stdout(), "{line}")?),
            None => Ok(self.say_nothing_is_known(&row.to_string())?),
        };
        tell(now)?;
        follow(changes, all_are_in(self.intake.clone()), tell)
    }

    /// The editor reads the line that ends it, so that its printer can write above.
    fn watch_on_terminal(&mut self, row: &Row) -> Result<(), Failure> {
        let (now, changes) = self.answers.watch(row)?;
        writeln!(io::stdout(), "{}", words(row, now))?;
        if self.intake.has_changed().is_err() {
            writeln!(
                io::stdout(),
                "All flights are in, so it will not change; start with `--rate 500` to see it do so."
            )?;
            return Ok(());
        }
        let mut printer = self.editor.create_external_printer()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let intake = self.intake.clone();
        std::thread::scope(|scope| {
            let follower = scope.spawn(move || -> Result<(), Failure> {
                let ended = async {
                    tokio::select! {
                        _ = stopped => {}
                        () = all_are_in(intake.clone()) => {}
                    }
                };
                follow(changes, ended, |line| Ok(printer.print(format!("{}\n", words(row, line)))?))?;
                if intake.has_changed().is_err() {
                    printer.print("All flights are in.\n".to_owned())?;
                }
                Ok(())
            });
            let ended = self.editor.readline("Enter or Ctrl-C ends> ");
            drop(stop);
            follower.join().map_err(|_| "what watches panicked")??;
            match ended {
                Ok(_) | Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    }
}

async fn all_are_in(mut intake: watch::Receiver<()>) {
    // Nobody sends anything: this ends when the other end is gone.
    while intake.changed().await.is_ok() {}
}
