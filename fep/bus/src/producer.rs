//! The producer of a ring: one live process, never blocked by anybody, continuing where the last one stopped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fep_time::Monotonic;

use crate::descriptor::{Seq, Tag};
use crate::directory::{Directory, Identity, Use};
use crate::error::{BusError, ClaimError};
use crate::file::{self, MappedRing};
use crate::layout::{Position, page};
use crate::lock::Locked;
use crate::memory::{Memory, Ordering};
use crate::place::{self, RingPlace};
use crate::spec::RingSpec;
use crate::writer::{Space, Writer};

/// How a producer came by its ring: worth a line in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// There was none.
    Created,
    /// A ring of this very specification was there; its sequence goes on.
    Resumed,
    /// A ring of another layout was there; the new one continues its sequence, its records are gone.
    LaidOutAnew,
    /// What was there could not be believed; the sequence starts again.
    Replaced {
        /// What was wrong with it.
        problem: String,
    },
}

/// The one writer of a ring. Dropping it says "halted" to the readers; a killed one is known by its heartbeat and its lock.
pub struct Producer {
    writer: Writer<Arc<MappedRing>>,
    path: PathBuf,
    origin: Origin,
    instance: u64,
    /// The ring file and the lock file, as they were opened.
    identities: [Identity; 2],
    /// Held for its lock.
    _lock: Locked,
}

impl Producer {
    /// Creates the ring or takes over the one that is there. Fails when another producer of it is alive.
    ///
    /// It lies in `<dir>/<colour>`; the ring `PROCESS.NAME` in `<dir>/services/<colour>/PROCESS`, where that directory exists
    /// and belongs to this process's user (docs/ring.md, "Who may put what where").
    ///
    /// Not for the hot path: allocates, locks, maps and touches every page.
    pub fn create_or_attach(dir: &Path, spec: &RingSpec) -> Result<Producer, BusError> {
        spec.validate()?;
        let (place, directory) = place::make(dir, spec)?;
        let lock = take_lock(&directory, spec)?;
        let path = directory.path_of("ring");
        let (file, fixed_page, ring, origin) = match existing(&directory, &place) {
            Ok(Some((file, fixed_page, ring))) if file::matches(&fixed_page, &ring, spec) => {
                (file, fixed_page, ring, Origin::Resumed)
            }
            Ok(Some((_, fixed_page, ring))) => {
                // Readers of the old file see it end properly before they look for the new one.
                let old = Writer::recover(ring, fixed_page.shape);
                old.halt();
                let (file, fixed_page, ring) = file::create(&directory, spec, old.next())?;
                (file, fixed_page, ring, Origin::LaidOutAnew)
            }
            Ok(None) => {
                let (file, fixed_page, ring) = file::create(&directory, spec, FIRST)?;
                (file, fixed_page, ring, Origin::Created)
            }
            Err(problem) => {
                let (file, fixed_page, ring) = file::create(&directory, spec, FIRST)?;
                (file, fixed_page, ring, Origin::Replaced { problem: problem.to_string() })
            }
        };
        let identities = [Identity::of(&file, &path)?, Identity::of(&lock, &directory.path_of(LOCK_NAME))?];
        let writer = Writer::recover(Arc::new(ring), fixed_page.shape);
        writer.memory().page()[page::PID / 8].store(u64::from(std::process::id()), Ordering::Relaxed);
        Ok(Producer { writer, path, origin, instance: fixed_page.instance, identities, _lock: lock })
    }

    /// How the ring came about.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The ring file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The random number of this ring file; a ring laid out anew has another.
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// Where the next record goes; `seq - 1` is the newest record and `payload` all octets ever published.
    #[inline]
    pub fn head(&self) -> Position {
        self.writer.next()
    }

    /// Takes the space of a record of `len` octets. Dropping the claim gives it back.
    ///
    /// Never waits. `Full` only comes from rings that wait, `TooLong` is the caller's mistake.
    #[inline]
    pub fn claim(&mut self, len: usize) -> Result<Claim<'_>, ClaimError> {
        let space = self.writer.claim(len)?;
        Ok(Claim { writer: &mut self.writer, space, filled: 0 })
    }

    /// Claims, fills and commits at once.
    #[inline]
    pub fn publish(&mut self, tag: Tag, payload: &[u8]) -> Result<Seq, ClaimError> {
        self.writer.publish(tag, payload)
    }

    /// To be called every few milliseconds at the latest, also when nothing arrives: refreshes the head hints
    /// (which commits also do every 64 records) and the heartbeat.
    #[inline]
    pub fn housekeep(&mut self, now: Monotonic) {
        self.writer.hint();
        self.writer.heartbeat(now);
    }

    /// Whether ring and lock still lie under their names. `false` when somebody deleted or moved the run directory, or put
    /// another file in their place: what is published from then on reaches nobody who attaches later, and another
    /// producer may begin. Two system calls: for a supervisor, about once a second.
    pub fn is_still_linked(&self) -> bool {
        let [ring, lock] = self.identities;
        ring.is_at(&self.path) && lock.is_at(&self.path.with_file_name(LOCK_NAME))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.writer.halt();
    }
}

/// Space of one record, not yet visible to anybody.
///
/// It is filled by copying from memory of the caller's own, a line at a time: on this bus there is no `&mut [u8]` into
/// shared memory, because a reader that is about to find itself lapped may be reading there at the same time.
#[must_use = "a claim that is not committed is given back"]
pub struct Claim<'a> {
    writer: &'a mut Writer<Arc<MappedRing>>,
    space: Space,
    filled: usize,
}

impl Claim<'_> {
    /// Octets not yet filled.
    pub fn remaining(&self) -> usize {
        self.space.len() - self.filled
    }

    /// Appends `bytes` to the payload.
    ///
    /// # Panics
    /// When they are more than [`Claim::remaining`].
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.remaining(), "{} octets do not fit {}", bytes.len(), self.remaining());
        self.writer.write(self.space, self.filled, bytes);
        self.filled += bytes.len();
    }

    /// Makes the record visible; octets never filled are zero.
    #[inline]
    pub fn commit(self, tag: Tag) -> Seq {
        if self.filled < self.space.len() {
            self.writer.clear(self.space, self.filled);
        }
        self.writer.commit(self.space, tag)
    }
}

/// Sequences start at one: a slot of zeros then means "not yet".
pub(crate) const FIRST: Position = Position { seq: 1, pos: 0, payload: 0 };

/// Name of the file whose lock the living producer holds.
pub(crate) const LOCK_NAME: &str = "lock";

fn existing(
    directory: &Directory,
    place: &RingPlace,
) -> Result<Option<(File, file::StaticPage, MappedRing)>, BusError> {
    if !directory.holds("ring")? {
        return Ok(None);
    }
    let (file, fixed_page) = file::open(directory, place, Use::ReadWrite)?;
    let ring = MappedRing::new(&file, &directory.path_of("ring"), &fixed_page, true, true)?;
    Ok(Some((file, fixed_page, ring)))
}

fn take_lock(directory: &Directory, spec: &RingSpec) -> Result<Locked, BusError> {
    let path = directory.path_of(LOCK_NAME);
    let access = spec.access();
    match directory.lock(LOCK_NAME, access.mode, access.group_id()?)? {
        Ok(mut file) => {
            // The number is for humans; the lock is what counts.
            file.set_len(0)
                .and_then(|()| file.seek(SeekFrom::Start(0)))
                .and_then(|_| writeln!(file, "{}", std::process::id()))
                .map_err(BusError::io(&path, "write"))?;
            Ok(file)
        }
        Err(file) => {
            let mut pid = String::new();
            let _ = file.take(16).read_to_string(&mut pid);
            let pid = pid.trim().parse().unwrap_or(0);
            Err(BusError::Held { path, pid, role: "producer of a ring" })
        }
    }
}
