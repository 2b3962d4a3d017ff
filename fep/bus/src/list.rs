//! What rings there are: for operators' tools. Reads files, maps nothing.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::BusError;
use crate::file::{self, StaticPage};
use crate::layout::{Position, page, state};
use crate::lock;
use crate::spec::Colour;

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
    /// Producer's last sign of life, nanoseconds of TAI since 1958; 0 for none.
    pub heartbeat_tai_ns: i64,
    /// Whether a live process holds the producer's lock.
    pub producer_alive: bool,
    /// Whether the producer stopped in an orderly way.
    pub halted: bool,
    /// Names of the consumers that left a cursor file.
    pub consumers: Vec<String>,
}

/// All rings below `dir`, black ones first, by name. What cannot be believed comes with its reason.
pub fn list(dir: &Path) -> Result<Vec<Result<RingInfo, BusError>>, BusError> {
    let mut rings = Vec::new();
    for colour in [Colour::Black, Colour::Red] {
        for ring_dir in directories(&dir.join(colour.directory()))? {
            if ring_dir.join("ring").exists() {
                rings.push(inspect(&ring_dir));
            }
        }
    }
    Ok(rings)
}

fn inspect(ring_dir: &Path) -> Result<RingInfo, BusError> {
    let path = ring_dir.join("ring");
    let (file, fixed_page) = file::open(ring_dir, false)?;
    let mut octets = [0; page::END];
    file.read_exact_at(&mut octets, page::START as u64).map_err(BusError::io(&path, "read"))?;
    let word = |offset: usize| u64::from_le_bytes(octets[offset..offset + 8].try_into().expect("8 octets"));
    let lock_path = ring_dir.join("lock");
    let producer_alive = fs::File::open(&lock_path)
        .and_then(|lock| lock::is_held(&lock))
        .map_err(BusError::io(&lock_path, "query the lock"))?;
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
        heartbeat_tai_ns: word(page::HEARTBEAT_TAI_NS).cast_signed(),
        producer_alive,
        halted: word(page::STATE) == state::HALT,
        consumers: consumer_names(ring_dir)?,
    })
}

/// Names of all cursor files of a ring, sorted.
pub(crate) fn consumer_names(ring_dir: &Path) -> Result<Vec<String>, BusError> {
    let cursors = ring_dir.join("cursors");
    let entries = fs::read_dir(&cursors).map_err(BusError::io(&cursors, "list"))?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn directories(dir: &Path) -> Result<Vec<PathBuf>, BusError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(BusError::io(dir, "list")(error)),
    };
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.sort();
    Ok(found)
}
