//! Phases: parts of a benchmark that run in child processes, so that the memory of each can be told.

use super::Outcome;
use super::args::Common;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A directory on disk that goes away with the run.
pub fn scratch(common: &Common) -> Outcome<TempDir> {
    let parent = match &common.dir {
        Some(dir) => dir.clone(),
        None => in_target()?,
    };
    std::fs::create_dir_all(&parent)?;
    Ok(tempfile::Builder::new().prefix("millpond-bench-").tempdir_in(parent)?)
}

/// Cargo's place for the files of benchmarks; this program is in `release/deps` beside it.
fn in_target() -> Outcome<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(3).ok_or("this program is in no target directory; set --dir")?;
    Ok(target.join("tmp"))
}

/// Runs this program once more for the phase `name`, and returns what it reports.
pub fn run<T: DeserializeOwned>(name: &str, scratch: &Path) -> Outcome<T> {
    let output = spawn(name, scratch)?.wait_with_output()?;
    if !output.status.success() {
        return Err(format!("the phase `{name}` failed: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last)
        .map_err(|error| format!("the phase `{name}` reported `{last}`: {error}").into())
}

/// Begins the phase `name` in a child process whose output can be read.
pub fn spawn(name: &str, scratch: &Path) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1)).args(["--phase", name]).arg("--scratch").arg(scratch);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?)
}

/// Reports to the process that began this phase.
pub fn report(result: &impl Serialize) -> Outcome<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}

/// The directory that was given to this phase.
pub fn given(common: &Common) -> Outcome<&Path> {
    common.scratch.as_deref().ok_or_else(|| "a phase needs --scratch".into())
}

/// Resident bytes of this process: now, and at most since it began. 0 where the system does not tell.
pub fn resident_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kibibytes: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()?;
        Some(kibibytes * 1024)
    };
    (field("VmRSS").unwrap_or(0), field("VmHWM").unwrap_or(0))
}

/// Has [`resident_bytes`] tell the most since now, where the system can forget what was before.
pub fn forget_peak() {
    // Linux' number for the peak.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
}

/// Seconds that all threads of this process have run for. 0.0 where the system does not tell.
pub fn cpu_seconds() -> f64 {
    /// Linux counts in hundredths of a second here, whatever its kernel counts in.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The fields after the name of the program, which may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: f64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// The bytes of all files in `dir`, which has no directories below it that count.
pub fn directory_bytes(dir: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let metadata = entry?.metadata()?;
        bytes += if metadata.is_file() { metadata.len() } else { 0 };
    }
    Ok(bytes)
}
