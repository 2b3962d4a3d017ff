//! An archive that lives: segments are sealed, deleted, moved and brought back, and days are signed.

use std::fs;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use fep_bus::{Colour, Position, Tag};
use fep_segments::{
    Act, Chain, Expected, Footer, Removal, Removals, SegmentHeader, SegmentReader, SegmentState,
    SegmentWriter, Stream, TreeReport, list, recover, remove_sealed, roots, streams, verify_tree,
};
use fep_time::Tai;

pub(crate) const DAY_NS: u64 = 86_400_000_000_000;
/// Noon of a day.
pub(crate) const START_NS: u64 = 1_764_590_400_000_000_000;
pub(crate) const SERIES: u64 = 1_700_000_000_000_000_000;

pub(crate) fn root_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

pub(crate) fn removal_key() -> SigningKey {
    SigningKey::from_bytes(&[4; 32])
}

/// The attacker's own.
pub(crate) fn false_key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

pub(crate) fn black() -> Stream {
    Stream::new(Colour::Black, "cso-1.frames")
}

pub(crate) fn red() -> Stream {
    Stream::new(Colour::Red, "cso-1.red.frames")
}

/// An archive and the copies of its head, which an operator keeps elsewhere.
pub(crate) struct Life {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) now_ns: u64,
    pub(crate) ends: [Position; 2],
    pub(crate) id: u64,
    pub(crate) removals: Removals,
    /// Octets of segments whose copies are in an object store.
    pub(crate) stored: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) head: Option<roots::Head>,
}

impl Life {
    pub(crate) fn new() -> Life {
        let directory = tempfile::tempdir().unwrap();
        let removals = Removals::new(directory.path(), removal_key());
        let start = Position { seq: 1, pos: 0, payload: 0 };
        Life {
            directory,
            now_ns: START_NS,
            ends: [start; 2],
            id: 1,
            removals,
            stored: Vec::new(),
            head: None,
        }
    }

    /// Four days, two segments a day and stream; one segment deleted, one moved, one moved and brought back.
    pub(crate) fn of_four_days() -> Life {
        let mut life = Life::new();
        for _ in 0..4 {
            for index in [0, 1, 0, 1] {
                life.record(index);
            }
            life.next_day();
        }
        life.remove(0, Act::Deleted);
        life.remove(1, Act::Moved);
        life.remove(1, Act::Moved);
        life.recall();
        life.next_day();
        life
    }

    pub(crate) fn archive(&self) -> &Path {
        self.directory.path()
    }

    /// Records and seals a segment of the black or of the red stream.
    pub(crate) fn record(&mut self, index: usize) {
        let stream = [black(), red()][index].clone();
        let base = self.ends[index];
        let header = SegmentHeader {
            stream: stream.clone(),
            schema: "ccsds.frame.v1".to_owned(),
            id: self.id,
            instance: 77,
            series: SERIES,
            base,
            created_unix_ns: self.now_ns,
            previous: list(self.archive(), &stream).unwrap().last().map(|entry| entry.name),
        };
        self.id += 1;
        let mut writer = SegmentWriter::create(self.archive(), header).unwrap();
        for seq in base.seq..base.seq + 5 {
            let tag = Tag { received: Tai(seq as i64), ..Tag::default() };
            writer.record(tag, &seq.to_le_bytes()).unwrap();
        }
        writer.flush().unwrap();
        self.ends[index] = writer.position();
        let path = writer.path().to_owned();
        drop(writer);
        let chain = Chain::of(self.archive(), &stream).unwrap();
        recover(&path).unwrap().seal(chain, self.now_ns).unwrap();
        self.now_ns += 1_000_000_000;
    }

    /// A day passes and is signed, and the operator takes a copy of the head.
    pub(crate) fn next_day(&mut self) {
        self.now_ns += DAY_NS;
        roots::sign_past_days(self.archive(), self.now_ns, &root_key()).unwrap();
        self.head = roots::read_head(&roots::head_file(self.archive())).ok();
    }

    pub(crate) fn of_state(&self, state: SegmentState) -> Vec<PathBuf> {
        let of = |stream: &Stream| list(self.archive(), stream).unwrap();
        let entries = streams(self.archive()).unwrap().iter().flat_map(of).collect::<Vec<_>>();
        entries.into_iter().filter(|entry| entry.state == state).map(|entry| entry.path).collect()
    }

    /// Deletes or moves the sealed segment number `index`, if there is one, as the service does.
    pub(crate) fn remove(&mut self, index: usize, act: Act) {
        let sealed = self.of_state(SegmentState::Sealed);
        let Some(path) = sealed.get(index % sealed.len().max(1)) else { return };
        self.note(act, &footer(path));
        if act == Act::Moved {
            self.stored.push((path.clone(), fs::read(path).unwrap()));
        }
        remove_sealed(path).unwrap();
    }

    /// Brings the last moved segment back.
    pub(crate) fn recall(&mut self) {
        let Some((path, octets)) = self.stored.pop() else { return };
        // As a recall does it: whole, or not at all.
        let building = path.with_extension("building");
        fs::write(&building, octets).unwrap();
        fs::rename(&building, &path).unwrap();
        self.note(Act::Recalled, &footer(&path));
    }

    pub(crate) fn note(&self, act: Act, footer: &Footer) {
        let removal = Removal {
            act,
            at_unix_ns: self.now_ns,
            order: (act == Act::Deleted).then_some("deletion-000001"),
            by: &["anna".to_owned(), "bert".to_owned()],
            segments: std::slice::from_ref(footer),
        };
        self.removals.record(&removal).unwrap();
    }

    pub(crate) fn verify(&self) -> TreeReport {
        let expected = Expected {
            root_key: Some(root_key().verifying_key().to_bytes()),
            removal_key: Some(removal_key().verifying_key().to_bytes()),
            head: self.head.clone(),
            days: None,
            now_unix_ns: Some(self.now_ns),
        };
        verify_tree(self.archive(), &expected, |_, _| {}).unwrap()
    }

    /// As [`Life::verify`], by somebody to whom nobody gave anything.
    pub(crate) fn verify_unpinned(&self) -> TreeReport {
        verify_tree(self.archive(), &Expected::default(), |_, _| {}).unwrap()
    }

    pub(crate) fn roots(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.archive().join("roots")).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| path.is_file() && !path.ends_with("head.json"));
        files.sort();
        files
    }

    pub(crate) fn records(&self, colour: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.archive().join("roots/removals").join(colour)) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// Leaves of a sealed segment what removal leaves.
    pub(crate) fn leave_footer(&self, path: &Path) {
        remove_sealed(path).unwrap();
    }
}

pub(crate) fn footer(path: &Path) -> Footer {
    SegmentReader::open(path).unwrap().footer().unwrap().clone()
}

pub(crate) fn exchange(one: &Path, other: &Path) {
    let (first, second) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    fs::write(one, second).unwrap();
    fs::write(other, first).unwrap();
}

/// All that is wrong, as text.
pub(crate) fn problems(report: &TreeReport) -> String {
    let findings = report.streams.values().flatten().flat_map(|segment| &segment.findings);
    let of_roots = report.roots.iter().flat_map(|root| &root.problems);
    let texts = findings.map(ToString::to_string).chain(of_roots.chain(&report.problems).cloned());
    texts.collect::<Vec<_>>().join("\n")
}

pub(crate) fn found(life: &Life, text: &str) {
    let report = life.verify();
    let problems = problems(&report);
    assert!(!report.is_sound() && problems.contains(text), "{text:?} is not in:\n{problems}");
}
