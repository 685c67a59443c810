//! A medium that fails or forgets: `shim.c`, compiled and preloaded into a child process.
//!
//! What would be there after a loss of power is built anew from what the shim remembers of files and directories that
//! were synced. Who has no C compiler, or a system without `LD_PRELOAD`, cannot have it, and says so.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;
use tempfile::TempDir;

/// The compiled shim, and where it lies; `None` if it cannot be had here.
pub fn shim() -> Option<&'static Path> {
    static SHIM: OnceLock<Option<(TempDir, PathBuf)>> = OnceLock::new();
    let shim = SHIM.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("shim.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/medium/shim.c");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let mut command = Command::new(&compiler);
        command
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .arg(&source)
            .args(["-ldl", "-lpthread"]);
        match command.output() {
            _ if !cfg!(target_os = "linux") => println!("skipped: LD_PRELOAD is a thing of Linux"),
            Ok(output) if output.status.success() => return Some((dir, library)),
            Ok(output) => panic!("the shim does not compile: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => println!("skipped: there is no C compiler `{compiler}`: {error}"),
        }
        None
    });
    shim.as_ref().map(|(_, library)| library.as_path())
}

/// A directory on such a medium.
#[derive(Debug)]
pub struct Medium {
    scratch: TempDir,
}

impl Default for Medium {
    fn default() -> Self {
        Self::new()
    }
}

impl Medium {
    /// Nothing is on it.
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("disk")).unwrap();
        fs::create_dir(scratch.path().join("image")).unwrap();
        Self { scratch }
    }

    /// Where it is mounted, so to speak.
    pub fn disk(&self) -> PathBuf {
        self.scratch.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.scratch.path().join("image")
    }

    /// What a child process needs in its environment.
    pub fn environment(&self, shim: &Path) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", shim.display().to_string()),
            ("MEDIUM_ROOT", self.disk().display().to_string()),
            ("MEDIUM_IMAGE", self.image().display().to_string()),
        ]
    }

    /// The power goes and comes back: what was synced is what there is. [`keep`](Self::keep) it before another child runs.
    pub fn lose_power(&self) {
        let (disk, lost) = (self.disk(), self.scratch.path().join("lost"));
        let id = id(&disk);
        fs::rename(&disk, &lost).unwrap();
        self.restore(&id, &disk);
        fs::remove_dir_all(&lost).unwrap();
    }

    /// What is there, as it is, is what the image knows from here on.
    pub fn keep(&self) {
        fs::remove_dir_all(self.image()).unwrap();
        fs::create_dir(self.image()).unwrap();
        self.remember(&self.disk());
    }

    fn remember(&self, dir: &Path) {
        let mut entries = String::new();
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name());
            let is_dir = entry.file_type().unwrap().is_dir();
            if is_dir {
                self.remember(&path);
            } else {
                fs::copy(&path, self.image().join(format!("f{}", id(&path)))).unwrap();
            }
            let kind = if is_dir { 'd' } else { 'f' };
            writeln!(entries, "{} {kind} {}", id(&path), name.to_str().unwrap()).unwrap();
        }
        fs::write(self.image().join(format!("d{}", id(dir))), entries).unwrap();
    }

    /// Makes the directory `was` again at `to`.
    fn restore(&self, was: &str, to: &Path) {
        fs::create_dir(to).unwrap();
        let remembered = |kind: char, id: &str| self.image().join(format!("{kind}{id}"));
        for entry in fs::read_to_string(remembered('d', was)).unwrap_or_default().lines() {
            let fields: Vec<&str> = entry.splitn(3, ' ').collect();
            let (was, to) = (fields[0], to.join(fields[2]));
            if fields[1] == "d" {
                self.restore(was, &to);
            } else {
                // A file that was never synced has a name and nothing in it.
                fs::write(to, fs::read(remembered('f', was)).unwrap_or_default()).unwrap();
            }
        }
    }
}

/// As the shim names it.
fn id(path: &Path) -> String {
    let found = fs::metadata(path).unwrap();
    let born = found.created().unwrap().duration_since(UNIX_EPOCH).unwrap();
    format!("{}.{}.{}", found.ino(), born.as_secs(), born.subsec_nanos())
}

/// The calls that were counted: how often each on paths that hold `part`.
pub fn calls(counted: &Path, part: &str) -> BTreeMap<String, u64> {
    let mut calls = BTreeMap::new();
    for line in fs::read_to_string(counted).unwrap_or_default().lines() {
        let (call, path) = line.split_once(' ').unwrap();
        if path.contains(part) {
            *calls.entry(call.to_owned()).or_default() += 1;
        }
    }
    calls
}
