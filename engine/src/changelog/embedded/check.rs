//! What becomes of what the [audit](super::audit) has found: the log is opened, salvaged or refused with the place named.

use super::audit::{self, Beyond, Damage, Finding};
use super::database::{failure, topic_names};
use super::layout::PartitionSlot;
use super::options::EmbeddedOptions;
use super::synced::Synced;
use crate::medium::{Cut, Manifest, MediumFailure};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Looks at what RocksDB would open. Answers which files have torn ends, and where these begin.
///
/// # Errors
/// `Corrupt` for what is damaged or missing. With `salvage`, what lies behind the damage is given up instead.
pub(super) fn check_files(
    dir: &Path,
    options: &EmbeddedOptions,
    manifest: Option<&Manifest>,
    synced: Option<&Synced>,
) -> Result<Vec<(PathBuf, u64)>> {
    let failed = |error: std::io::Error| {
        failure(MediumFailure::of_io(&error))
            .with_source(error)
            .context(format!("the changelog in {}", dir.display()))
    };
    if audit::is_headless(dir).map_err(failed)? {
        return Err(Error::corrupt(format!(
            "the changelog in {} has records but no file CURRENT; restore it from a copy",
            dir.display()
        )));
    }
    let damage = match audit::look(dir, manifest, synced).map_err(failed)? {
        Finding::Whole => return Ok(Vec::new()),
        Finding::Torn(torn) => return Ok(torn),
        Finding::Damaged(damage) => damage,
    };
    // RocksDB is never asked to read what is damaged: there are remains that it never comes to an end with.
    if !options.salvage || !damage.can_be_salvaged {
        return Err(damaged(dir, &damage));
    }
    tracing::warn!(dir = %dir.display(), damage = damage.what, "what lies behind the damage is given up");
    if let Some((path, end, later)) = &damage.given_up {
        Cut::at(path, *end).map_err(failed)?;
        later.iter().try_for_each(std::fs::remove_file).map_err(failed)?;
    }
    Ok(Vec::new())
}

/// The error that names what is known of the damage.
fn damaged(dir: &Path, damage: &Damage) -> Error {
    /// So many partitions are named.
    const MOST_NAMED: usize = 4;
    let mut names = damage.names.clone();
    if damage.can_be_salvaged {
        names.extend(topic_names(dir).unwrap_or_default());
    }
    let name = |slot: &PartitionSlot| {
        let topic = names.get(&slot.topic).cloned().unwrap_or_else(|| format!("(topic {})", slot.topic));
        format!("{topic}/{}", slot.partition)
    };
    let place = |(slot, beyond): (&PartitionSlot, &Beyond)| {
        let ends = damage.ends.get(slot).map(|end| format!("can be read up to offset {end} and "));
        let ends = ends.unwrap_or_default();
        match beyond {
            Beyond::GoesOnAt(offset) => format!("{} {ends}goes on at offset {offset}", name(slot)),
            Beyond::WasDurableTo(offset) => format!("{} {ends}was durable up to offset {offset}", name(slot)),
        }
    };
    let mut places: Vec<_> = damage.beyond.iter().map(place).take(MOST_NAMED).collect();
    if places.is_empty() {
        let end =
            |(slot, end): (&PartitionSlot, &u64)| format!("{} can be read up to offset {end}", name(slot));
        places = damage.ends.iter().map(end).take(MOST_NAMED).collect();
    }
    let places = [String::new()].into_iter().chain(places).collect::<Vec<_>>().join(": ");
    let advice = if damage.can_be_salvaged {
        "restore it from a copy, or open it with `salvage`, which gives up what lies behind the damage"
    } else {
        "restore it from a copy"
    };
    Error::corrupt(format!("the changelog in {}: {}{places}; {advice}", dir.display(), damage.what))
}
