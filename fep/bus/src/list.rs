//! What rings there are: for operators' tools. Reads files, maps nothing.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fep_time::Monotonic;

use crate::Colour;
use crate::directory::{Directory, Names, Owner, Use};
use crate::error::BusError;
use crate::file::{self, StaticPage};
use crate::heartbeat;
use crate::layout::{Position, page, state};
use crate::lock;
use crate::place::{self, RingPlace};
use crate::producer::LOCK_NAME;

/// Entries of a colour's directory that are looked at.
pub(crate) const RINGS_MAX: usize = 4096;
/// Entries of a cursor directory that are looked at when consumers are listed. Gates are found by name however many there
/// are.
pub(crate) const CONSUMERS_MAX: usize = 256;

/// One ring as its file tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingInfo {
    /// Its name.
    pub name: String,
    /// What its records are.
    pub schema: String,
    /// Red or black.
    pub colour: Colour,
    /// The file.
    pub path: PathBuf,
    /// Random number of the file.
    pub instance: u64,
    /// Octets of the file.
    pub region_len: u64,
    /// Descriptors.
    pub slots: u64,
    /// Octets of the byte log.
    pub data_len: u64,
    /// Longest record.
    pub payload_max: u32,
    /// When it was laid out, nanoseconds since 1970 (UTC).
    pub created_unix_ns: u64,
    /// First position ever.
    pub start: Position,
    /// Head as last hinted.
    pub head: Position,
    /// Number of the producer's life.
    pub epoch: u64,
    /// Producer's last sign of life, `None` before the first. It may be of another boot: see
    /// [`RingInfo::heartbeat_age_ns`].
    pub heartbeat: Option<Monotonic>,
    /// Whether a live process holds the producer's lock.
    pub producer_alive: bool,
    /// Whether the producer stopped in an orderly way.
    pub halted: bool,
    /// Names of the consumers that left a cursor file.
    pub consumers: Vec<String>,
    /// Whether the cursor directory holds more entries than are looked at, so that consumers may be missing here.
    pub more_consumers: bool,
}

impl RingInfo {
    /// Nanoseconds since the producer's last sign of life; `None` when there was none, or it lies in the future (it is of
    /// another boot).
    pub fn heartbeat_age_ns(&self, now: Monotonic) -> Option<i64> {
        heartbeat::age_ns(self.heartbeat.map_or(heartbeat::NONE, heartbeat::word), now)
    }
}

/// All rings below `dir`, black ones first, by name. What cannot be believed comes with its reason; so does a directory
/// with more entries than are looked at (4096).
pub fn list(dir: &Path) -> Result<Vec<Result<RingInfo, BusError>>, BusError> {
    let mut rings = Vec::new();
    let base = match Directory::base(dir) {
        Ok(base) => base,
        Err(error) if error.is_not_found() => return Ok(rings),
        Err(error) => return Err(error),
    };
    for colour in [Colour::Black, Colour::Red] {
        let mut found = Found::default();
        match base.enter_place(colour.directory()) {
            Ok(directory) => found.look(&directory, RINGS_MAX, |name| Ok(RingPlace::new(dir, colour, name))),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        // What a service's user has made of its own place concerns its rings alone.
        for place in place::services(&base, colour.directory()) {
            match place {
                Ok((process, directory)) => found.look(&directory, place::ENTRIES_MAX, |name| {
                    let problem = match () {
                        () if place::process_of(name) != process => {
                            format!("the place of {process} holds only what is named {process}.…")
                        }
                        () if RingPlace::new(dir, colour, name).exists()? => {
                            format!("the ring {colour}/{name} beside \"services\" has the same name, and is the one that is read")
                        }
                        () => return Ok(RingPlace::of_service(dir, colour, &process, name)),
                    };
                    Err(BusError::Foreign { path: directory.path_of(name), problem })
                }),
                Err(error) => found.refused.push(error),
            }
        }
        found.rings.sort_by(|one, other| one.name.cmp(&other.name));
        rings.extend(found.rings.into_iter().map(Ok));
        rings.extend(found.refused.into_iter().map(Err));
    }
    Ok(rings)
}

/// Rings of one colour.
#[derive(Default)]
struct Found {
    rings: Vec<RingInfo>,
    refused: Vec<BusError>,
}

impl Found {
    /// Looks at what lies in a directory of rings; `place_of` says where a ring of this name is, or why it is none.
    fn look(
        &mut self,
        directory: &Directory,
        limit: usize,
        place_of: impl Fn(&str) -> Result<RingPlace, BusError>,
    ) {
        let Names { names, more } = match directory.names(limit) {
            Ok(names) => names,
            Err(error) => return self.refused.push(error),
        };
        for name in names {
            match directory.enter(&name).and_then(|ring| Ok((ring.holds("ring")?, ring))) {
                Ok((true, ring)) => match place_of(&name).and_then(|place| inspect(&ring, &place)) {
                    Ok(info) => self.rings.push(info),
                    Err(error) => self.refused.push(error),
                },
                Ok((false, _)) => {}
                // Removed in between.
                Err(error) if error.is_not_found() => {}
                Err(error) => self.refused.push(error),
            }
        }
        if more {
            self.refused.push(BusError::TooMany { path: directory.path().to_owned(), limit });
        }
    }
}

fn inspect(directory: &Directory, place: &RingPlace) -> Result<RingInfo, BusError> {
    let path = directory.path_of("ring");
    let (file, fixed_page) = file::open(directory, place, Use::Read)?;
    let mut octets = [0; page::END];
    file.read_exact_at(&mut octets, page::START as u64).map_err(BusError::io(&path, "read"))?;
    let word = |offset: usize| u64::from_le_bytes(octets[offset..offset + 8].try_into().expect("8 octets"));
    let lock_path = directory.path_of(LOCK_NAME);
    let lock = directory
        .open(LOCK_NAME, Use::Read, Owner::Trusted)
        .map_err(|refusal| refusal.into_error(&lock_path, "open the lock"))?;
    let producer_alive = lock::is_held(&lock).map_err(BusError::io(&lock_path, "query the lock"))?;
    let Names { names: consumers, more: more_consumers } =
        directory.enter("cursors")?.names(CONSUMERS_MAX)?;
    let StaticPage { shape, instance, region_len, created_unix_ns, name, schema, colour, .. } = fixed_page;
    Ok(RingInfo {
        name,
        schema,
        colour,
        path,
        instance,
        region_len,
        slots: shape.slots(),
        data_len: shape.data_len,
        payload_max: shape.payload_max,
        created_unix_ns,
        start: shape.start(),
        head: Position {
            seq: word(page::HEAD_SEQ),
            pos: word(page::HEAD_POS),
            payload: word(page::HEAD_PAYLOAD),
        },
        epoch: word(page::EPOCH),
        heartbeat: heartbeat::instant(word(page::HEARTBEAT_MONOTONIC_NS)),
        producer_alive,
        halted: word(page::STATE) == state::HALT,
        consumers,
        more_consumers,
    })
}
