//! Child processes: a test program that runs once more, in order to be killed, and examples as programs.
//!
//! A test program has a test `child`, which does the work of the child if it is one ([`given`]) and nothing else.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Set for a child: the directory that it works in.
const DIRECTORY: &str = "MILLPOND_CHILD";

/// The directory that this process works in if it is a child; `None` if it is the test program itself.
pub fn given() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Tells the parent process a line.
pub fn tell(line: &str) {
    tell_lines(format!("\n{line}\n").as_bytes());
}

/// Tells the parent process whole lines at once.
pub fn tell_lines(lines: &[u8]) {
    // Not `println!`, which the test harness may capture.
    std::io::stdout().write_all(lines).unwrap();
}

/// A program that is watched: this test program once more, to run its test `child` alone, or an example.
#[derive(Debug)]
pub struct ChildProcess {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// Ends the watch over the child when it is dropped.
    _watched: mpsc::Sender<()>,
}

/// A child that lives longer hangs.
const LONGEST_LIFE: Duration = Duration::from_secs(1800);

/// Kills a process that hangs, so that the test fails instead of hanging with it.
fn watch(pid: u32) -> mpsc::Sender<()> {
    let (watched, end) = mpsc::channel();
    std::thread::spawn(move || {
        if end.recv_timeout(LONGEST_LIFE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("process {pid} hangs and is killed");
            Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        }
    });
    watched
}

impl ChildProcess {
    /// A child that works in `dir`, with what its task says in the environment.
    pub fn spawn(dir: &Path, task: &[(&str, String)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(DIRECTORY, dir)
            .envs(task.iter().cloned());
        Self::start(command)
    }

    /// A child of one's own making, such as an [`example`]. What it says on the standard error must fit into a pipe, as
    /// it is read at the end.
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let watched = watch(child.id());
        Self { child, lines, _watched: watched }
    }

    /// The next line that the child told; `None` when it has ended.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        // The last line of a killed process may be torn.
        let read = self.lines.read_line(&mut line).unwrap();
        (read > 0 && line.ends_with('\n')).then(|| line.trim_end().to_owned())
    }

    /// Asks the child to end, as `kill` does.
    pub fn terminate(&self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success(), "the child has ended by itself");
    }

    /// Sends the child a signal, such as `-STOP`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "the child has ended by itself");
    }

    /// Kills the child as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Kills the child, which must not have ended by itself, after so many turns of waiting; returns what it told since.
    pub fn kill_after(mut self, spins: u64) -> Vec<String> {
        for _ in 0..spins {
            std::hint::spin_loop();
        }
        self.kill();
        let (lines, stderr, status) = self.end();
        assert!(status.code().is_none(), "the child ended by itself: {status}: {stderr}");
        lines
    }

    /// Waits for the end: what the child told, what it said on the standard error, and how it ended.
    pub fn end(mut self) -> (Vec<String>, String, ExitStatus) {
        let stderr = self.child.stderr.take().unwrap();
        // Read beside the other, so that the child never waits for its reader.
        let stderr = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default());
        let mut lines = Vec::new();
        while let Some(line) = self.line() {
            lines.push(line);
        }
        let status = self.child.wait().unwrap();
        (lines, stderr.join().unwrap(), status)
    }
}

/// An example as a program, which cargo builds beside the tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "{} is not built; `cargo build --examples` does it", program.display());
    program
}

/// Runs a program to its end with `input` on its standard input; what it printed.
pub fn output_with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // Beside the reading, so that neither waits for the other. One that does not read is no matter.
    let written = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    written.join().unwrap();
    output
}
