//! Latest-value pages: for each key the newest value and when it was received, in shared memory, for any number of
//! readers.
//!
//! A ring answers "what came", a page answers "how is it now": a reader that starts late, or looks once a second, finds
//! the newest value of every key at once and misses nothing that it wanted. `docs/latest.md` is the normative description,
//! byte by byte. The page knows nothing of what a key or a value means.
//!
//! Each slot has two halves. The writer fills the one that no reader may be reading, then turns the count of updates:
//! it never waits, and a reader that finds the count unchanged after it has copied holds one whole value. A writer that
//! dies in the middle leaves the value before.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fep_time::{Monotonic, Tai};

use crate::Colour;
use crate::directory::{Directory, Identity, Names, Owner, Use};
use crate::error::BusError;
use crate::file::{name_of, random_word};
use crate::heartbeat;
use crate::lock::{self, Locked};
use crate::map::{self, Mapping};
use crate::memory::{AtomicU64, Ordering, fence, load_acquire};
use crate::spec::{Access, check_name};

/// Longest value, in octets.
pub const LATEST_VALUE_MAX: usize = 32;
/// Most keys of a page.
pub const LATEST_CAPACITY_MAX: usize = 4096;

const MAGIC: u64 = u64::from_le_bytes(*b"FEPLATE1");
const VERSION: u64 = 1;
/// Directory of the pages in the run directory; others may look which pages exist.
const DIRECTORY: &str = "latest";
const DIRECTORY_MODE: u32 = 0o755;
/// Entries of a colour's directory that are looked at.
const PAGES_MAX: usize = 4096;
/// Readings of one slot before it is given up: each failure is an update that came in between.
const TRIES: usize = 1000;

/// Offsets in the header, in octets.
mod head {
    pub(super) const MAGIC: usize = 0x00;
    pub(super) const VERSION: usize = 0x08;
    pub(super) const FILE_LEN: usize = 0x10;
    pub(super) const INSTANCE: usize = 0x18;
    pub(super) const CAPACITY: usize = 0x20;
    pub(super) const SLOTS: usize = 0x28;
    pub(super) const COLOUR: usize = 0x30;
    pub(super) const PID: usize = 0x38;
    pub(super) const NAME: usize = 0x40;
    pub(super) const NAME_LEN: usize = 32;
    /// On a line of its own: the only words of the header that change.
    pub(super) const HEARTBEAT_MONOTONIC_NS: usize = 0x80;
    pub(super) const STATE: usize = 0x88;
    pub(super) const END: usize = 0x100;
}

/// Offsets in a slot, in octets. The value of update `n` lies in half `n mod 2`.
mod slot {
    pub(super) const UPDATES: usize = 0x00;
    pub(super) const KEY: usize = 0x08;
    pub(super) const HALVES: usize = 0x10;
    pub(super) const HALF_STRIDE: usize = 0x40;
    pub(super) const LEN: usize = 0x80;
}

/// Offsets in a half of a slot, in octets.
mod half {
    pub(super) const RECEIVED_TAI_NS: usize = 0x00;
    pub(super) const VALUE_LEN: usize = 0x08;
    pub(super) const VALUE: usize = 0x10;
    pub(super) const END: usize = 0x30;
}

/// Values of the word `latest.state`.
const RUNNING: u64 = 1;
const STOPPED: u64 = 2;

const SLOT_WORDS: usize = slot::LEN / 8;
const VALUE_WORDS: usize = LATEST_VALUE_MAX / 8;

/// Name, offset and width of every field; `docs/latest.md` lists the same.
pub const LATEST_FIELDS: &[(&str, usize, usize)] = &[
    ("latest.magic", head::MAGIC, 8),
    ("latest.version", head::VERSION, 8),
    ("latest.file_len", head::FILE_LEN, 8),
    ("latest.instance", head::INSTANCE, 8),
    ("latest.capacity", head::CAPACITY, 8),
    ("latest.slots", head::SLOTS, 8),
    ("latest.colour", head::COLOUR, 8),
    ("latest.pid", head::PID, 8),
    ("latest.name", head::NAME, head::NAME_LEN),
    ("latest.heartbeat_monotonic_ns", head::HEARTBEAT_MONOTONIC_NS, 8),
    ("latest.state", head::STATE, 8),
    ("slot.updates", slot::UPDATES, 8),
    ("slot.key", slot::KEY, 8),
    ("slot.halves", slot::HALVES, 2 * slot::HALF_STRIDE - slot::HALVES),
    ("half.received_tai_ns", half::RECEIVED_TAI_NS, 8),
    ("half.value_len", half::VALUE_LEN, 8),
    ("half.value", half::VALUE, LATEST_VALUE_MAX),
];

const _: () = {
    assert!(half::VALUE + LATEST_VALUE_MAX == half::END);
    // The first half shares a line with count and key, the second has the next one.
    assert!(slot::HALVES + half::END == 64 && slot::HALVES + slot::HALF_STRIDE + half::END == slot::LEN);
};

/// What a page shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatestSpec {
    /// 1 to 31 characters of `a-z 0-9 - _ .`, not starting with a dot.
    pub name: String,
    /// Which directory, hence which readers.
    pub colour: Colour,
    /// Most keys, 1 to 4096.
    pub capacity: usize,
    /// Who may read it.
    pub access: Access,
}

impl LatestSpec {
    /// A black page that the process's group may read.
    pub fn new(name: impl Into<String>, capacity: usize) -> LatestSpec {
        LatestSpec { name: name.into(), colour: Colour::Black, capacity, access: Access::default() }
    }

    fn validate(&self) -> Result<(), BusError> {
        let fail = |problem: String| Err(BusError::Spec { ring: self.name.clone(), problem });
        if let Err(problem) = check_name(&self.name) {
            return fail(format!("the latest-value page's name {problem}"));
        }
        if !(1..=LATEST_CAPACITY_MAX).contains(&self.capacity) {
            return fail(format!("capacity = {} must lie in 1..={LATEST_CAPACITY_MAX}", self.capacity));
        }
        self.access.check().or_else(fail)
    }
}

/// Why a value was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LatestError {
    /// The value is longer than a slot holds.
    #[error("a value of {len} octets does not fit a slot of {LATEST_VALUE_MAX}")]
    TooLong {
        /// Octets of the value.
        len: usize,
    },
    /// The key is new and every slot has a key.
    #[error("key {key:#x} does not fit the page: it holds {capacity} keys already")]
    Full {
        /// The key.
        key: u64,
        /// Keys of the page.
        capacity: usize,
    },
}

/// A value exists, but during each of many readings it was replaced by a newer one: ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key {key:#x} is replaced faster than it can be read")]
pub struct LatestBusy {
    /// The key.
    pub key: u64,
}

/// The newest value of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latest {
    /// The key.
    pub key: u64,
    /// When it was received, as the writer said.
    pub received: Tai,
    /// Values stored for this key in this life of the page, this one included: at least 1.
    pub updates: u64,
    octets: [u8; LATEST_VALUE_MAX],
    len: usize,
}

impl Latest {
    /// The value.
    pub fn value(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}

/// A page being written, by one thread of one process.
///
/// Dropping it says "stopped" to the readers; the values stay readable.
pub struct LatestPage {
    mapping: Mapping,
    mask: usize,
    used: usize,
    capacity: usize,
    path: PathBuf,
    identity: Identity,
    /// Held for its lock.
    _lock: Locked,
}

impl LatestPage {
    /// Makes `<dir>/latest/<colour>/<name>`, without values: what an earlier life left is gone, and readers that have it
    /// open see that it is not alive. Fails while another process writes a page of this name.
    pub fn create(dir: &Path, spec: &LatestSpec) -> Result<LatestPage, BusError> {
        spec.validate()?;
        let directory = Directory::make_base(dir)?
            .make_place(DIRECTORY, DIRECTORY_MODE)?
            .make(spec.colour.directory(), DIRECTORY_MODE)?;
        let path = directory.path_of(&spec.name);
        refuse_second_writer(&directory, &spec.name)?;
        // Twice as many slots as keys: the next free one is never far.
        let slots = (2 * spec.capacity).next_power_of_two();
        let len = (head::END + slots * slot::LEN) as u64;
        let (mapping, file) = directory.build(&spec.name, &spec.access, |file, path| {
            map::allocate(file, len).map_err(BusError::io(path, "allocate the memory of"))?;
            file.write_all_at(&header(spec, slots, len)?, 0).map_err(BusError::io(path, "write"))?;
            let mapping = Mapping::new(file, len, true, true).map_err(BusError::io(path, "map"))?;
            let kept = file.try_clone().map_err(BusError::io(path, "keep open"))?;
            Ok((mapping, kept))
        })?;
        let identity = Identity::of(&file, &path)?;
        Ok(LatestPage {
            mapping,
            mask: slots - 1,
            used: 0,
            capacity: spec.capacity,
            path,
            identity,
            _lock: Locked::held(file),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stores the newest value of a key. Returns how many values the key has had. Neither waits nor allocates.
    #[inline]
    pub fn set(&mut self, key: u64, value: &[u8], received: Tai) -> Result<u64, LatestError> {
        if value.len() > LATEST_VALUE_MAX {
            return Err(LatestError::TooLong { len: value.len() });
        }
        let slots = &self.mapping.words()[head::END / 8..];
        let words = find(slots, self.mask, key);
        if words[slot::UPDATES / 8].load(Ordering::Relaxed) == 0 {
            if self.used == self.capacity {
                return Err(LatestError::Full { key, capacity: self.capacity });
            }
            self.used += 1;
        }
        Ok(write_slot(words, key, value, received))
    }

    /// To be called some times a second: the sign of life by which readers know that the values are kept up to date.
    #[inline]
    pub fn heartbeat(&mut self, now: Monotonic) {
        self.mapping.words()[head::HEARTBEAT_MONOTONIC_NS / 8].store(heartbeat::word(now), Ordering::Release);
    }

    /// Whether the page still lies under its name: see [`crate::Producer::is_still_linked`].
    pub fn is_still_linked(&self) -> bool {
        self.identity.is_at(&self.path)
    }
}

impl Drop for LatestPage {
    fn drop(&mut self) {
        self.mapping.words()[head::STATE / 8].store(STOPPED, Ordering::Release);
    }
}

fn refuse_second_writer(directory: &Directory, name: &str) -> Result<(), BusError> {
    // What is not a page of ours is replaced, as a name, and never opened.
    let Ok(file) = directory.open(name, Use::Read, Owner::Trusted) else { return Ok(()) };
    let path = directory.path_of(name);
    if !lock::is_held(&file).map_err(BusError::io(&path, "query the lock of"))? {
        return Ok(());
    }
    let mut pid = [0; 8];
    let pid = file.read_exact_at(&mut pid, head::PID as u64).map_or(0, |()| u64::from_le_bytes(pid));
    Err(BusError::Held { path, pid: u32::try_from(pid).unwrap_or(0), role: "writer of a latest-value page" })
}

fn header(spec: &LatestSpec, slots: usize, len: u64) -> Result<[u8; head::END], BusError> {
    let mut octets = [0; head::END];
    for (offset, word) in [
        (head::MAGIC, MAGIC),
        (head::VERSION, VERSION),
        (head::FILE_LEN, len),
        (head::INSTANCE, random_word()?),
        (head::CAPACITY, spec.capacity as u64),
        (head::SLOTS, slots as u64),
        (head::COLOUR, u64::from(spec.colour == Colour::Red)),
        (head::PID, u64::from(std::process::id())),
        (head::STATE, RUNNING),
    ] {
        octets[offset..offset + 8].copy_from_slice(&word.to_le_bytes());
    }
    octets[head::NAME..head::NAME + spec.name.len()].copy_from_slice(spec.name.as_bytes());
    Ok(octets)
}

/// The slot of a key: the one that has it, else the free one where it belongs. Slots never change their key, and half of
/// them are free.
#[inline]
pub(crate) fn find(slots: &[AtomicU64], mask: usize, key: u64) -> &[AtomicU64] {
    let home = key.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32) as usize;
    let at = |step: usize| &slots[(home.wrapping_add(step) & mask) * SLOT_WORDS..][..SLOT_WORDS];
    for step in 0..mask {
        let words = at(step);
        if load_acquire(&words[slot::UPDATES / 8]) == 0 || words[slot::KEY / 8].load(Ordering::Relaxed) == key
        {
            return words;
        }
    }
    // Only a page that something has damaged has no free slot: what is found there is another key's, which is checked.
    at(mask)
}

/// Stores the next value of a slot.
#[inline]
pub(crate) fn write_slot(words: &[AtomicU64], key: u64, value: &[u8], received: Tai) -> u64 {
    let updates = words[slot::UPDATES / 8].load(Ordering::Relaxed) + 1;
    if updates == 1 {
        words[slot::KEY / 8].store(key, Ordering::Relaxed);
    }
    let mut octets = [0; LATEST_VALUE_MAX];
    octets[..value.len()].copy_from_slice(value);
    let to = half_of(words, updates);
    // L1, writer's half: whoever sees a word of this update sees that the one before is complete.
    fence(Ordering::Release);
    to[half::RECEIVED_TAI_NS / 8].store(received.0.cast_unsigned(), Ordering::Relaxed);
    to[half::VALUE_LEN / 8].store(value.len() as u64, Ordering::Relaxed);
    for (word, octets) in to[half::VALUE / 8..].iter().zip(octets.as_chunks::<8>().0) {
        word.store(u64::from_le_bytes(*octets), Ordering::Relaxed);
    }
    // L2, writer's half: whoever sees the count sees the value.
    words[slot::UPDATES / 8].store(updates, Ordering::Release);
    updates
}

/// The newest whole value of a slot; `None` before the first.
#[inline]
pub(crate) fn read_slot(words: &[AtomicU64]) -> Result<Option<Latest>, LatestBusy> {
    for tried in 0..TRIES {
        // L2, reader's half.
        let updates = load_acquire(&words[slot::UPDATES / 8]);
        if updates == 0 {
            return Ok(None);
        }
        let key = words[slot::KEY / 8].load(Ordering::Relaxed);
        let from = half_of(words, updates);
        let received = Tai(from[half::RECEIVED_TAI_NS / 8].load(Ordering::Relaxed).cast_signed());
        let len = from[half::VALUE_LEN / 8].load(Ordering::Relaxed);
        let mut octets = [0; LATEST_VALUE_MAX];
        for (word, octets) in from[half::VALUE / 8..].iter().zip(octets.as_chunks_mut::<8>().0) {
            *octets = word.load(Ordering::Relaxed).to_le_bytes();
        }
        // L1, reader's half: this half is only written again after the count has moved on.
        fence(Ordering::Acquire);
        if words[slot::UPDATES / 8].load(Ordering::Relaxed) == updates {
            let len = usize::try_from(len).map_or(LATEST_VALUE_MAX, |len| len.min(LATEST_VALUE_MAX));
            return Ok(Some(Latest { key, received, updates, octets, len }));
        }
        wait(tried);
    }
    Err(LatestBusy { key: words[slot::KEY / 8].load(Ordering::Relaxed) })
}

/// Waits a little, each time another while: a reader in step with the writer would meet it every time.
fn wait(tried: usize) {
    #[cfg(loom)]
    {
        let _ = tried;
        loom::thread::yield_now();
    }
    #[cfg(not(loom))]
    for _ in 0..tried % 17 {
        std::hint::spin_loop();
    }
}

/// The newest value of a key. A slot that was free when it was looked for may have become another key's since.
#[inline]
pub(crate) fn read(slots: &[AtomicU64], mask: usize, key: u64) -> Result<Option<Latest>, LatestBusy> {
    Ok(read_slot(find(slots, mask, key))?.filter(|latest| latest.key == key))
}

#[inline]
fn half_of(words: &[AtomicU64], updates: u64) -> &[AtomicU64] {
    let start = (slot::HALVES + (updates & 1) as usize * slot::HALF_STRIDE) / 8;
    &words[start..start + half::VALUE / 8 + VALUE_WORDS]
}

/// A page being read; stays readable when its writer dies.
pub struct LatestReader {
    mapping: Mapping,
    mask: usize,
    name: String,
    colour: Colour,
    capacity: usize,
    path: PathBuf,
    identity: Identity,
}

impl LatestReader {
    /// Opens a page by name, or by `black/name`, `red/name`, and checks its layout.
    pub fn open(dir: &Path, page: &str) -> Result<LatestReader, BusError> {
        let (colours, name): (&[Colour], &str) = match page.split_once('/') {
            Some(("black", name)) => (&[Colour::Black], name),
            Some(("red", name)) => (&[Colour::Red], name),
            _ => (&[Colour::Black, Colour::Red], page),
        };
        check_name(name).map_err(|problem| BusError::Spec {
            ring: page.to_owned(),
            problem: format!("the latest-value page's name {problem}"),
        })?;
        let mut opened: Vec<_> = colours
            .iter()
            .map(|colour| {
                Directory::base(dir)?
                    .enter_place(DIRECTORY)?
                    .enter(colour.directory())
                    .and_then(|directory| LatestReader::open_in(&directory, name))
            })
            .filter(|opened| !opened.as_ref().is_err_and(BusError::is_not_found))
            .collect();
        if opened.iter().filter(|opened| opened.is_ok()).count() > 1 {
            return Err(BusError::Ambiguous { ring: page.to_owned(), dir: dir.to_owned() });
        }
        // The one that can be read, else the reason why none can.
        opened.sort_by_key(Result::is_err);
        opened
            .into_iter()
            .next()
            .unwrap_or_else(|| Err(BusError::NotFound { ring: page.to_owned(), dir: dir.to_owned() }))
    }

    /// Opens every page below `dir`, black ones first, by name; what cannot be believed comes with its reason, and so does
    /// a directory with more entries than are looked at (4096).
    pub fn open_all(dir: &Path) -> Result<Vec<Result<LatestReader, BusError>>, BusError> {
        let mut pages = Vec::new();
        for colour in [Colour::Black, Colour::Red] {
            let directory = Directory::base(dir)
                .and_then(|base| base.enter_place(DIRECTORY))
                .and_then(|latest| latest.enter(colour.directory()));
            let directory = match directory {
                Ok(directory) => directory,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            let Names { names, more } = directory.names(PAGES_MAX)?;
            pages.extend(names.iter().map(|name| LatestReader::open_in(&directory, name)));
            if more {
                pages.push(Err(BusError::TooMany { path: directory.path().to_owned(), limit: PAGES_MAX }));
            }
        }
        Ok(pages)
    }

    fn open_in(directory: &Directory, name: &str) -> Result<LatestReader, BusError> {
        let path = directory.path_of(name);
        // It will be mapped: only an owner who is trusted not to cut it short will do.
        let file = directory
            .open(name, Use::Read, Owner::Trusted)
            .map_err(|refusal| refusal.into_error(&path, "open"))?;
        let mut octets = [0; head::END];
        file.read_exact_at(&mut octets, 0).map_err(BusError::io(&path, "read"))?;
        let file_len = file.metadata().map_err(BusError::io(&path, "measure"))?.len();
        let Parsed { name, colour, capacity, slots } =
            parse(&octets, file_len).map_err(|problem| BusError::layout(&path, problem))?;
        let mapping = Mapping::new(&file, file_len, false, false).map_err(BusError::io(&path, "map"))?;
        let identity = Identity::of(&file, &path)?;
        Ok(LatestReader { mapping, mask: slots - 1, name, colour, capacity, path, identity })
    }

    /// Name of the page.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its colour.
    pub fn colour(&self) -> Colour {
        self.colour
    }

    /// Most keys it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The newest value of a key; `None` before the first. Bounded: where the writer is faster than this reader, it says so.
    #[inline]
    pub fn get(&self, key: u64) -> Result<Option<Latest>, LatestBusy> {
        read(&self.mapping.words()[head::END / 8..], self.mask, key)
    }

    /// The newest value of every key, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Latest, LatestBusy>> + '_ {
        let slots = self.mapping.words()[head::END / 8..].chunks_exact(SLOT_WORDS);
        slots.filter_map(|words| read_slot(words).transpose())
    }

    /// Whether the writer is alive: it has not stopped, and its last sign of life is at most `silent_after_ns` old. Without
    /// one (it has just started), or with one from the future (it is of another boot), it does not count as alive.
    pub fn is_live(&self, now: Monotonic, silent_after_ns: i64) -> bool {
        load_acquire(&self.mapping.words()[head::STATE / 8]) == RUNNING
            && self.heartbeat_age_ns(now).is_some_and(|age_ns| age_ns <= silent_after_ns)
    }

    /// Nanoseconds since the writer's last sign of life; `None` when there was none, or it lies in the future.
    pub fn heartbeat_age_ns(&self, now: Monotonic) -> Option<i64> {
        heartbeat::age_ns(load_acquire(&self.mapping.words()[head::HEARTBEAT_MONOTONIC_NS / 8]), now)
    }

    /// Whether the name still leads to this page. `false`: a writer has started anew (open the page again), or the run
    /// directory has been deleted. One system call.
    pub fn is_current(&self) -> bool {
        self.identity.is_at(&self.path)
    }
}

struct Parsed {
    name: String,
    colour: Colour,
    capacity: usize,
    slots: usize,
}

/// Checks everything a reader relies on; `file_len` is what really can be mapped.
fn parse(octets: &[u8; head::END], file_len: u64) -> Result<Parsed, String> {
    let word = |offset: usize| u64::from_le_bytes(octets[offset..offset + 8].try_into().expect("8 octets"));
    if word(head::MAGIC) != MAGIC || word(head::VERSION) != VERSION {
        return Err("not a latest-value page of this version".to_owned());
    }
    let (capacity, slots) = (word(head::CAPACITY), word(head::SLOTS));
    let fits = (1..=LATEST_CAPACITY_MAX as u64).contains(&capacity)
        && slots == (2 * capacity).next_power_of_two()
        && word(head::FILE_LEN) == head::END as u64 + slots * slot::LEN as u64;
    if !fits {
        return Err(format!("{slots} slots for {capacity} keys in {} octets", word(head::FILE_LEN)));
    }
    if file_len != word(head::FILE_LEN) {
        return Err(format!("the file has {file_len} octets of {}", word(head::FILE_LEN)));
    }
    Ok(Parsed {
        name: name_of(&octets[head::NAME..head::NAME + head::NAME_LEN])
            .ok_or("the page has no valid name")?,
        colour: match word(head::COLOUR) {
            0 => Colour::Black,
            1 => Colour::Red,
            other => return Err(format!("colour is {other}, expected 0 or 1")),
        },
        capacity: capacity as usize,
        slots: slots as usize,
    })
}
