//! Rings that nobody writes any more: removed when nobody can want anything of them.

use std::fmt;
use std::path::Path;

use crate::consumer::map_ring;
use crate::cursor;
use crate::directory::{Directory, Names, Owner, Use};
use crate::error::BusError;
use crate::list::CONSUMERS_MAX;
use crate::lock;
use crate::place;
use crate::producer::LOCK_NAME;
use crate::reader;

/// What became of a ring that was to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, and so are its cursors.
    Removed,
    /// A live process writes it.
    Written,
    /// No consumer has read it: one that comes later may want it.
    NeverRead,
    /// This consumer has not read everything, or its cursor file cannot be believed.
    Unread {
        /// Its name.
        consumer: String,
    },
    /// A live process has this consumer's cursor open.
    Followed {
        /// Its name.
        consumer: String,
    },
    /// There are more files in the cursor directory than are looked at.
    Crowded,
}

impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Removal::Removed => f.write_str("removed"),
            Removal::Written => f.write_str("kept: a live process writes it"),
            Removal::NeverRead => f.write_str("kept: nobody has read it"),
            Removal::Unread { consumer } => write!(f, "kept: {consumer} has not read everything"),
            Removal::Followed { consumer } => write!(f, "kept: {consumer} follows it"),
            Removal::Crowded => f.write_str("kept: too many files in its cursor directory"),
        }
    }
}

/// Removes a ring that no live process writes, when every consumer that has a cursor has read it to its end, none of them
/// lives, and at least one of them is somebody else's: `is_own` says which are the caller's own. Nothing that is unread is
/// lost by it. The next ring of this name begins another numbering.
///
/// # Errors
/// What lies there is no ring, or the system refuses something.
pub fn remove_if_drained(dir: &Path, ring: &str, is_own: impl Fn(&str) -> bool) -> Result<Removal, BusError> {
    let (place, directory) = place::find(dir, ring)?;
    // Held until the files are gone: no producer begins in between.
    let Ok(_lock) = directory.lock(LOCK_NAME, 0o600, None)? else { return Ok(Removal::Written) };
    let cursors = directory.enter("cursors")?;
    let Names { names, more } = cursors.names(CONSUMERS_MAX)?;
    if more {
        return Ok(Removal::Crowded);
    }
    if names.iter().all(|name| is_own(name)) {
        return Ok(Removal::NeverRead);
    }
    let (fixed_page, memory) = map_ring(&directory, &place)?;
    let end = reader::newest(&memory, &fixed_page.shape);
    for consumer in &names {
        let Ok(file) = cursors.open(consumer, Use::Read, Owner::Anybody) else {
            return Ok(Removal::Unread { consumer: consumer.clone() });
        };
        if lock::is_held(&file).unwrap_or(true) {
            return Ok(Removal::Followed { consumer: consumer.clone() });
        }
        let state = cursor::read_state(&file).ok().flatten();
        if !state.is_some_and(|state| state.instance == fixed_page.instance && state.next.seq == end.seq) {
            return Ok(Removal::Unread { consumer: consumer.clone() });
        }
    }
    // The ring itself goes first: without it, what is left is no ring to anybody.
    directory.remove("ring")?;
    for consumer in &names {
        cursors.remove(consumer)?;
    }
    directory.remove_directory("cursors")?;
    directory.remove(LOCK_NAME)?;
    let path = place.path();
    let (Some(colours), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Removal::Removed);
    };
    Directory::base(colours)?.remove_directory(name)?;
    Ok(Removal::Removed)
}
