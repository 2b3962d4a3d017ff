//! Metric pages: named counters, gauges and histograms of one thread, in shared memory, for any number of readers.
//!
//! The writing thread pays a plain relaxed load and store to its own line for an update, no locked instruction and
//! no system call. Readers see each word whole; words of a moment may differ by the update in flight.
//!
//! ```text
//! 0000 u64 magic "FEPMETR1"  0008 u64 version  0010 u64 entries  0018 u64 file length  0020 u64 instance
//! 0028 u64 pid               0040 u8[32] page name
//! 0080 entries, 64 octets each: 00 u8[48] name  30 u32 kind (1 counter, 2 gauge, 3 histogram)  34 u32 octet offset of the words
//! then the words: one for a counter or a gauge, 66 for a histogram (count, sum, 64 buckets)
//! ```

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::directory::{Directory, Names, Owner, Use};
use crate::error::BusError;
use crate::file::{name_of, random_word};
use crate::map::{self, Mapping};
use crate::memory::{AtomicU64, Ordering};
use crate::place;
use crate::spec::{Access, check_name};

/// Directory of the pages in the run directory; others may look which pages exist.
const DIRECTORY: &str = "metrics";
const DIRECTORY_MODE: u32 = 0o755;
/// Entries of that directory that are looked at.
const PAGES_MAX: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"FEPMETR1");
const VERSION: u64 = 1;
const HEADER_LEN: usize = 0x80;
const PAGE_NAME: usize = 0x40;
const ENTRY_LEN: usize = 64;
const ENTRY_NAME_LEN: usize = 48;
const ENTRIES_MAX: usize = 4096;
const HISTOGRAM_WORDS: usize = 2 + BUCKETS;
/// Buckets of a histogram: bucket `k` counts values with `k` significant bits, that is `2^(k-1) ..= 2^k - 1`;
/// bucket 0 counts zeros, the last one everything longer.
pub const BUCKETS: usize = 64;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Distribution in powers of two.
    Histogram,
}

impl MetricKind {
    const fn code(self) -> u32 {
        match self {
            MetricKind::Counter => 1,
            MetricKind::Gauge => 2,
            MetricKind::Histogram => 3,
        }
    }

    const fn of_code(code: u32) -> Option<MetricKind> {
        match code {
            1 => Some(MetricKind::Counter),
            2 => Some(MetricKind::Gauge),
            3 => Some(MetricKind::Histogram),
            _ => None,
        }
    }

    const fn words(self) -> usize {
        match self {
            MetricKind::Counter | MetricKind::Gauge => 1,
            MetricKind::Histogram => HISTOGRAM_WORDS,
        }
    }
}

/// Names the metrics of a page before it is made.
#[derive(Debug, Clone, Default)]
pub struct MetricSet {
    entries: Vec<(String, MetricKind)>,
}

/// Place of a metric in its page; made by [`MetricSet`], used with the page made from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricId(usize);

impl MetricSet {
    /// An empty set.
    pub fn new() -> MetricSet {
        MetricSet::default()
    }

    /// Adds a counter.
    pub fn counter(&mut self, name: impl Into<String>) -> MetricId {
        self.add(name.into(), MetricKind::Counter)
    }

    /// Adds a gauge.
    pub fn gauge(&mut self, name: impl Into<String>) -> MetricId {
        self.add(name.into(), MetricKind::Gauge)
    }

    /// Adds a histogram.
    pub fn histogram(&mut self, name: impl Into<String>) -> MetricId {
        self.add(name.into(), MetricKind::Histogram)
    }

    fn add(&mut self, name: String, kind: MetricKind) -> MetricId {
        self.entries.push((name, kind));
        MetricId(self.entries.len() - 1)
    }

    fn validate(&self, page: &str) -> Result<(), BusError> {
        let fail = |problem: String| Err(BusError::Spec { ring: page.to_owned(), problem });
        if let Err(problem) = check_name(page) {
            return fail(format!("the metric page's name {problem}"));
        }
        if self.entries.is_empty() || self.entries.len() > ENTRIES_MAX {
            return fail(format!("{} metrics, 1 to {ENTRIES_MAX} are allowed", self.entries.len()));
        }
        let mut names: Vec<&str> = self.entries.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return fail(format!("the metric \"{}\" is named twice", twice[0]));
        }
        match names.iter().find(|name| name.is_empty() || name.len() >= ENTRY_NAME_LEN || !name.is_ascii()) {
            Some(name) => {
                fail(format!("the metric name \"{name}\" must be 1 to {} ASCII octets", ENTRY_NAME_LEN - 1))
            }
            None => Ok(()),
        }
    }

    /// Word offset of every entry; scalars of the same page share lines, histograms start on one.
    fn places(&self) -> (Vec<usize>, usize) {
        let mut word = (HEADER_LEN + self.entries.len() * ENTRY_LEN) / 8;
        let places = self
            .entries
            .iter()
            .map(|(_, kind)| {
                if *kind == MetricKind::Histogram {
                    word = word.next_multiple_of(8);
                }
                let place = word;
                word += kind.words();
                place
            })
            .collect();
        (places, word.next_multiple_of(512))
    }
}

/// A page being written, by one thread.
pub struct MetricPage {
    mapping: Arc<Mapping>,
    places: Vec<usize>,
    path: PathBuf,
}

impl MetricPage {
    /// Makes `<dir>/metrics/<name>`, replacing a page left by an earlier life; values start at zero. Whoever `access` does
    /// not name cannot open the page at any moment. The page of a process for which `<dir>/services/metrics/<process>` was
    /// made lies there: `<name>` is then the process's name, or begins with it and a dot.
    pub fn create(dir: &Path, name: &str, set: &MetricSet, access: &Access) -> Result<MetricPage, BusError> {
        set.validate(name)?;
        access.check().map_err(|problem| BusError::Spec { ring: name.to_owned(), problem })?;
        let base = Directory::make_base(dir)?;
        let metrics = match place::own(&base, DIRECTORY, name)? {
            Some(place) => place,
            None => base.make_place(DIRECTORY, DIRECTORY_MODE)?,
        };
        let (places, words) = set.places();
        let mapping = metrics.build(name, access, |file, path| {
            map::allocate(file, words as u64 * 8).map_err(BusError::io(path, "allocate the memory of"))?;
            let octets = header(name, set, &places, words)?;
            file.write_all_at(&octets, 0).map_err(BusError::io(path, "write"))?;
            Mapping::new(file, words as u64 * 8, true, true).map_err(BusError::io(path, "map"))
        })?;
        Ok(MetricPage { mapping: Arc::new(mapping), places, path: metrics.path_of(name) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    #[inline]
    fn words(&self, id: MetricId) -> &[AtomicU64] {
        &self.mapping.words()[self.places[id.0]..]
    }

    /// Adds to a counter.
    #[inline]
    pub fn add(&mut self, id: MetricId, amount: u64) {
        bump(&self.words(id)[0], amount);
    }

    /// Sets a gauge, or a counter that is kept elsewhere.
    #[inline]
    pub fn set(&mut self, id: MetricId, value: u64) {
        self.words(id)[0].store(value, Ordering::Relaxed);
    }

    /// Counts a value in a histogram.
    #[inline]
    pub fn record(&mut self, id: MetricId, value: u64) {
        let words = self.words(id);
        bump(&words[2 + bucket_of(value)], 1);
        bump(&words[1], value);
        bump(&words[0], 1);
    }
}

/// Single writer: no locked instruction is needed.
#[inline]
fn bump(word: &AtomicU64, amount: u64) {
    word.store(word.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// Bucket that counts `value`.
pub const fn bucket_of(value: u64) -> usize {
    let bits = (u64::BITS - value.leading_zeros()) as usize;
    if bits < BUCKETS { bits } else { BUCKETS - 1 }
}

/// Largest value that bucket `bucket` counts.
pub const fn bucket_end(bucket: usize) -> u64 {
    if bucket >= BUCKETS - 1 { u64::MAX } else { (1 << bucket) - 1 }
}

/// A histogram as read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log2Hist {
    /// Values counted.
    pub count: u64,
    /// Their sum, wrapping.
    pub sum: u64,
    /// How many fell into each bucket, see [`BUCKETS`].
    pub buckets: [u64; BUCKETS],
}

impl Log2Hist {
    /// Upper end of the bucket in which the given part (0.0 to 1.0) of the values is reached; `None` without values.
    pub fn quantile(&self, part: f64) -> Option<u64> {
        let total: u64 = self.buckets.iter().sum();
        let wanted = ((total as f64 * part.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        self.buckets
            .iter()
            .position(|count| {
                seen += count;
                seen >= wanted
            })
            .map(bucket_end)
    }
}

/// A value as read.
// Made and dropped one at a time when a page is read; a box would cost an allocation for nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricValue {
    /// Of a counter.
    Counter(u64),
    /// Of a gauge.
    Gauge(u64),
    /// Of a histogram.
    Histogram(Log2Hist),
}

/// A page being read; stays readable when its writer dies.
pub struct MetricReader {
    mapping: Mapping,
    name: String,
    entries: Vec<(String, MetricKind, usize)>,
}

impl MetricReader {
    /// Opens one page, `<dir>/metrics/<name>`, wherever the page of this name lies, and checks its layout.
    pub fn open(path: &Path) -> Result<MetricReader, BusError> {
        let no_page = || BusError::layout(path, "not the path of a page, <dir>/metrics/<name>");
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(no_page)?;
        let metrics = path.parent().ok_or_else(no_page)?;
        let directory = metrics.file_name().and_then(|name| name.to_str()).ok_or_else(no_page)?;
        let dir = metrics.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let base = Directory::base(dir)?;
        match base.enter_place(directory).and_then(|metrics| MetricReader::open_in(&metrics, name)) {
            Err(error) if error.is_not_found() && directory == DIRECTORY => {
                let place = place::enter(&base, DIRECTORY, name)?.ok_or(error)?;
                MetricReader::open_in(&place, name)
            }
            opened => opened,
        }
    }

    fn open_in(metrics: &Directory, name: &str) -> Result<MetricReader, BusError> {
        let path = metrics.path_of(name);
        // It will be mapped: only an owner who is trusted not to cut it short will do.
        let file = metrics
            .open(name, Use::Read, Owner::Trusted)
            .map_err(|refusal| refusal.into_error(&path, "open"))?;
        let len = file.metadata().map_err(BusError::io(&path, "measure"))?.len();
        if len < HEADER_LEN as u64 || len > 1 << 24 || !len.is_multiple_of(8) {
            return Err(BusError::layout(&path, format!("{len} octets are no metric page")));
        }
        let mut octets = vec![0; len as usize];
        file.read_exact_at(&mut octets, 0).map_err(BusError::io(&path, "read"))?;
        let (name, entries) = parse(&octets).map_err(|problem| BusError::layout(&path, problem))?;
        let mapping = Mapping::new(&file, len, false, false).map_err(BusError::io(&path, "map"))?;
        Ok(MetricReader { mapping, name, entries })
    }

    /// Opens every page below `dir`, by name; what cannot be believed comes with its reason, and so does a directory with
    /// more entries than are looked at (4096).
    pub fn open_all(dir: &Path) -> Result<Vec<Result<MetricReader, BusError>>, BusError> {
        let base = match Directory::base(dir) {
            Ok(base) => base,
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut pages: Vec<(String, Result<MetricReader, BusError>)> = Vec::new();
        let mut crowded = Vec::new();
        match base.enter_place(DIRECTORY) {
            Ok(metrics) => {
                let Names { names, more } = metrics.names(PAGES_MAX)?;
                pages.extend(
                    names.into_iter().map(|name| (name.clone(), MetricReader::open_in(&metrics, &name))),
                );
                if more {
                    crowded
                        .push(Err(BusError::TooMany { path: metrics.path().to_owned(), limit: PAGES_MAX }));
                }
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        for place in place::services(&base, DIRECTORY) {
            let names =
                place.and_then(|(process, place)| Ok((place.names(place::ENTRIES_MAX)?, process, place)));
            let (Names { names, more }, process, place) = match names {
                Ok(found) => found,
                Err(error) => {
                    crowded.push(Err(error));
                    continue;
                }
            };
            let is_its_own = |name: &String| place::process_of(name) == process || *name == process;
            // A page beside "services" is the one that is read.
            let known: Vec<String> = pages.iter().map(|(name, _)| name.clone()).collect();
            let own = names.into_iter().filter(is_its_own).filter(|name| !known.contains(name));
            pages.extend(own.map(|name| (name.clone(), MetricReader::open_in(&place, &name))));
            if more {
                let limit = place::ENTRIES_MAX;
                crowded.push(Err(BusError::TooMany { path: place.path().to_owned(), limit }));
            }
        }
        pages.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(pages.into_iter().map(|(_, page)| page).chain(crowded).collect())
    }

    /// Name of the page.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every metric with its present value, in the order the writer named them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, MetricValue)> {
        self.entries.iter().map(|(name, kind, place)| {
            let words = &self.mapping.words()[*place..*place + kind.words()];
            let value = |index: usize| words[index].load(Ordering::Relaxed);
            let value = match kind {
                MetricKind::Counter => MetricValue::Counter(value(0)),
                MetricKind::Gauge => MetricValue::Gauge(value(0)),
                MetricKind::Histogram => MetricValue::Histogram(Log2Hist {
                    count: value(0),
                    sum: value(1),
                    buckets: std::array::from_fn(|bucket| value(2 + bucket)),
                }),
            };
            (name.as_str(), value)
        })
    }

    /// The present value of one metric.
    pub fn value(&self, name: &str) -> Option<MetricValue> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

fn header(name: &str, set: &MetricSet, places: &[usize], words: usize) -> Result<Vec<u8>, BusError> {
    let mut octets = vec![0; HEADER_LEN + set.entries.len() * ENTRY_LEN];
    let head = [
        MAGIC,
        VERSION,
        set.entries.len() as u64,
        words as u64 * 8,
        random_word()?,
        u64::from(std::process::id()),
    ];
    for (chunk, word) in octets.chunks_exact_mut(8).zip(head) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    octets[PAGE_NAME..PAGE_NAME + name.len()].copy_from_slice(name.as_bytes());
    for (entry, ((name, kind), place)) in
        octets[HEADER_LEN..].chunks_exact_mut(ENTRY_LEN).zip(set.entries.iter().zip(places))
    {
        entry[..name.len()].copy_from_slice(name.as_bytes());
        entry[0x30..0x34].copy_from_slice(&kind.code().to_le_bytes());
        entry[0x34..0x38].copy_from_slice(&((place * 8) as u32).to_le_bytes());
    }
    Ok(octets)
}

/// Page name, and each metric's name, kind and word offset.
type Parsed = (String, Vec<(String, MetricKind, usize)>);

fn parse(octets: &[u8]) -> Result<Parsed, String> {
    let word = |offset: usize| u64::from_le_bytes(octets[offset..offset + 8].try_into().expect("8 octets"));
    if word(0) != MAGIC || word(8) != VERSION {
        return Err("not a metric page of this version".to_owned());
    }
    let count = word(0x10);
    if count == 0 || count > ENTRIES_MAX as u64 || word(0x18) != octets.len() as u64 {
        return Err(format!("{count} entries in {} octets", octets.len()));
    }
    let name = name_of(&octets[PAGE_NAME..PAGE_NAME + 32]).ok_or("the page has no valid name")?;
    let table =
        octets.get(HEADER_LEN..HEADER_LEN + count as usize * ENTRY_LEN).ok_or("the table is cut short")?;
    let entries = table
        .chunks_exact(ENTRY_LEN)
        .enumerate()
        .map(|(index, entry)| {
            let number = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().expect("4 octets"));
            let name = name_of(&entry[..ENTRY_NAME_LEN]).ok_or(format!("entry {index} has no valid name"))?;
            let kind = MetricKind::of_code(number(0x30)).ok_or(format!("entry {index} has no known kind"))?;
            let place = number(0x34) as usize;
            if !place.is_multiple_of(8) || place / 8 + kind.words() > octets.len() / 8 {
                return Err(format!("entry {index} lies outside the page"));
            }
            Ok((name, kind, place / 8))
        })
        .collect::<Result<_, String>>()?;
    Ok((name, entries))
}
