//! A recorder that starts again, over every state that its newest file may be in: what it goes on with, what it puts aside,
//! and that no name is used twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use fep_recorder::{Event, EventCode, StreamOptions};
use fep_segments::{
    Act, Chain, Piece, Removal, Removals, SegmentName, SegmentReader, SegmentState, Start, list, list_aside,
    recover, remove_sealed, repair, stream_end, verify, verify_tree,
};
use proptest::prelude::*;

use super::{Recording, Site, drain, numbers, payload, publish, seal_leftovers, stream};

/// Small segments, so that a few hundred records make several.
fn options(site: &Site) -> StreamOptions {
    StreamOptions { segment_len: 64 << 10, block_len: 8 << 10, ..site.options() }
}

/// Sequence numbers in the listed segments (not those that were removed); payloads are checked.
fn on_disk(archive: &Path) -> Vec<u64> {
    let mut seqs = Vec::new();
    for entry in list(archive, &stream()).unwrap() {
        if entry.state == SegmentState::Removed {
            continue;
        }
        let Ok(mut reader) = SegmentReader::open(&entry.path) else { continue };
        while let Some(piece) = reader.next().unwrap() {
            match piece {
                Piece::Record(view) => {
                    assert_eq!(view.payload, payload(view.record.seq), "record {}", view.record.seq);
                    seqs.push(view.record.seq);
                }
                Piece::Loss(loss) => {
                    let damaged = loss.cause == fep_segments::LossCause::DamagedBlock;
                    assert!(damaged || loss.records() == 0, "the ring held everything: {loss:?}");
                }
            }
        }
    }
    seqs
}

fn newest(archive: &Path) -> Option<(SegmentName, SegmentState, PathBuf)> {
    let entry = list(archive, &stream()).unwrap().pop()?;
    Some((entry.name, entry.state, entry.path))
}

/// Removes a sealed segment as the archive's service does, with a record of it.
fn remove_on_purpose(archive: &Path, path: &Path) {
    let footer = SegmentReader::open(path).unwrap().footer().unwrap().clone();
    let key = fep_segments::roots::signing_key(&archive.join("../removals.key")).unwrap();
    let removal = Removal {
        act: Act::Deleted,
        at_unix_ns: 1,
        order: None,
        by: &["anna".to_owned()],
        segments: &[footer],
    };
    Removals::new(archive, key).record(&removal).unwrap();
    remove_sealed(path).unwrap();
}

/// Seals what is open and removes the newest segment on purpose; the records that were in it.
fn remove_newest(archive: &Path) -> Vec<u64> {
    seal_leftovers(archive);
    let Some((_, SegmentState::Sealed, path)) = newest(archive) else { return Vec::new() };
    let mut reader = SegmentReader::open(&path).unwrap();
    let mut seqs = Vec::new();
    while let Some(piece) = reader.next().unwrap() {
        if let Piece::Record(view) = piece {
            seqs.push(view.record.seq);
        }
    }
    remove_on_purpose(archive, &path);
    seqs
}

fn change(path: &Path, at: u64, difference: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut octet = [0];
    file.read_exact_at(&mut octet, at).unwrap();
    file.write_all_at(&[octet[0] ^ difference], at).unwrap();
}

fn codes(events: &[Event]) -> Vec<EventCode> {
    events.iter().map(|event| event.code).collect()
}

/// Publishes records `from` up to `to` and lets a recorder take them; what it reported.
fn record(site: &Site, producer: &mut fep_bus::Producer, from: u64, to: u64) -> Vec<Event> {
    let mut recording = Recording::open(options(site));
    let mut events = recording.recorder.take_events();
    (from..=to).for_each(|number| publish(producer, number));
    recording.settle();
    events.extend(recording.recorder.take_events());
    events
}

// REQ: FEP-REC-400
#[test]
fn after_the_newest_segments_were_removed_nothing_of_them_is_recorded_again_and_no_name_is_used_twice() {
    let site = Site::in_memory();
    let mut producer = site.producer(1 << 20);
    record(&site, &mut producer, 1, 300);
    seal_leftovers(&site.archive);
    let names: Vec<_> = list(&site.archive, &stream()).unwrap().iter().map(|entry| entry.name).collect();
    assert!(names.len() > 2);
    // All of them: the whole archive was moved or deleted while the ring still holds every record.
    let mut removed = BTreeSet::new();
    for _ in &names {
        let entries = list(&site.archive, &stream()).unwrap();
        let sealed = entries.into_iter().rfind(|entry| entry.state == SegmentState::Sealed).unwrap();
        remove_on_purpose(&site.archive, &sealed.path);
    }
    removed.extend(1..=300_u64);
    let events = record(&site, &mut producer, 301, 320);
    assert_eq!(codes(&events), [EventCode::RecordingStarted]);
    assert_eq!(on_disk(&site.archive), (301..=320).collect::<Vec<_>>());
    let entries = list(&site.archive, &stream()).unwrap();
    assert_eq!(
        entries.len(),
        names.len() + 1,
        "the live segment is listed beside what is left of the removed ones"
    );
    // Killed and started again, with one more on top.
    record(&site, &mut producer, 321, 340);
    assert_eq!(on_disk(&site.archive), (301..=340).collect::<Vec<_>>());
    seal_leftovers(&site.archive);
    assert!(verify_tree(&site.archive, &fep_segments::Expected::default(), |_, _| {}).unwrap().is_sound());
    let items = drain(&mut site.follow(Start::Oldest));
    assert_eq!(numbers(&items), (301..=340).collect::<Vec<_>>());
}

// REQ: FEP-REC-401
#[test]
fn one_wrong_octet_in_the_newest_sealed_segment_stops_neither_recording_nor_sealing_and_is_repaired() {
    for in_header in [true, false] {
        let site = Site::in_memory();
        let mut producer = site.producer(1 << 20);
        record(&site, &mut producer, 1, 100);
        seal_leftovers(&site.archive);
        let (name, _, path) = newest(&site.archive).unwrap();
        let whole = fs::read(&path).unwrap();
        change(&path, if in_header { 0x31 } else { whole.len() as u64 - 4096 + 0x41 }, 0x10);
        let events = record(&site, &mut producer, 101, 200);
        assert_eq!(codes(&events), [EventCode::SegmentDamaged, EventCode::RecordingStarted], "{events:?}");
        assert_eq!(events[0].detail["segment"], name.to_string());
        let hint = events[0].detail["hint"].as_str().unwrap();
        assert!(hint.contains("fep-recorder repair"), "{hint}");
        let aside = list_aside(&site.archive, &stream()).unwrap();
        assert_eq!(aside.len(), 1);
        assert!(aside[0].reason.as_ref().unwrap().contains("checksum"), "{aside:?}");
        seal_leftovers(&site.archive);
        assert!(
            list(&site.archive, &stream()).unwrap().iter().all(|entry| entry.state == SegmentState::Sealed)
        );
        assert!(repair(&aside[0].path).unwrap().is_exact);
        assert_eq!(fs::read(&path).unwrap(), whole);
        assert_eq!(on_disk(&site.archive), (1..=200).collect::<Vec<_>>());
        let report = verify_tree(&site.archive, &fep_segments::Expected::default(), |_, _| {}).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}

// REQ: FEP-REC-400
#[test]
fn a_segment_that_somebody_took_away_is_reported_and_what_the_ring_still_has_is_recorded_under_another_name()
{
    let site = Site::in_memory();
    let mut producer = site.producer(1 << 20);
    record(&site, &mut producer, 1, 300);
    seal_leftovers(&site.archive);
    let (name, _, path) = newest(&site.archive).unwrap();
    fs::remove_file(&path).unwrap();
    let events = record(&site, &mut producer, 301, 310);
    assert!(codes(&events).contains(&EventCode::SegmentsMissing), "{events:?}");
    assert_eq!(on_disk(&site.archive), (1..=310).collect::<Vec<_>>());
    assert!(
        !list(&site.archive, &stream()).unwrap().iter().any(|entry| entry.name == name),
        "{name} was used"
    );
    let items = drain(&mut site.follow(Start::Oldest));
    assert_eq!(numbers(&items), (1..=310).collect::<Vec<_>>());
    // The whole archive.
    fs::remove_dir_all(&site.archive).unwrap();
    let events = record(&site, &mut producer, 311, 320);
    assert!(codes(&events).contains(&EventCode::SegmentsMissing), "{events:?}");
    assert_eq!(on_disk(&site.archive), (1..=320).collect::<Vec<_>>());
}

// REQ: FEP-REC-402
#[test]
fn whole_blocks_behind_a_damaged_one_are_given_up_only_when_they_are_on_disk_a_second_time() {
    let site = Site::in_memory();
    let mut producer = site.producer(256 << 10);
    let long = || StreamOptions { segment_len: 256 << 10, ..options(&site) };
    let mut recording = Recording::open(long());
    (1..=200).for_each(|number| publish(&mut producer, number));
    recording.settle();
    drop(recording);
    let (name, state, path) = newest(&site.archive).unwrap();
    assert_eq!(state, SegmentState::Open);
    let blocks = recover(&path).unwrap().blocks;
    let damaged = blocks[1];
    assert!(damaged.records() > 2 && blocks.len() > 8, "{}", blocks.len());
    change(&path, damaged.content_offset() + 100, 0xFF);
    let behind: Vec<u64> = (damaged.end.seq..=200).collect();
    // A recorder begins to read them again, and dies on the way.
    let mut recording = Recording::open(long());
    assert_eq!(recording.recorder.durable(), damaged.begin);
    recording.turn().unwrap();
    drop(recording);
    let begun = newest(&site.archive).unwrap();
    assert!(begun.0 > name && recover(&begun.2).unwrap().end().position.seq < 201);
    // Meanwhile the ring loses them.
    (201..=1500).for_each(|number| publish(&mut producer, number));
    let mut config = fep_recorder::Config::default();
    config.places.segments.clone_from(&site.archive);
    config.places.rings.clone_from(&site.rings);
    config.recorder.root_key = PathBuf::new();
    let mut recorder = fep_recorder::Recorder::new(config).unwrap();
    while recorder.streams().first().is_none_or(|stream| stream.durable().seq < 1501) {
        recorder.turn();
    }
    recorder.stop();
    let entries = list(&site.archive, &stream()).unwrap();
    assert!(entries.iter().all(|entry| entry.state == SegmentState::Sealed), "{entries:?}");
    let seqs: BTreeSet<u64> = drain(&mut site.follow(Start::Oldest))
        .iter()
        .filter_map(|item| match item {
            fep_segments::Item::Record(record) => Some(record.seq),
            _ => None,
        })
        .collect();
    assert!(behind.iter().all(|seq| seqs.contains(seq)), "{behind:?} in {seqs:?}");
}

/// What becomes of the newest file while no recorder lives.
#[derive(Debug, Clone, Copy)]
enum Newest {
    /// Nothing: it is open, as a death leaves it.
    Open,
    Sealed,
    /// It was removed on purpose, or moved to the store.
    Removed,
    /// As an earlier version removed it: nothing of its header is left.
    RemovedByEarlierVersion,
    /// What is left of it cannot be read.
    RemovedAndDamaged,
    HeaderOctet(u8, u8),
    /// Of one that is open.
    OpenHeaderOctet(u8, u8),
    HeaderPage,
    FooterOctet(u16, u8),
    FooterPage,
    BothPages,
    /// Nothing but zeros.
    Emptied,
    CutShort(u16),
    Missing,
    /// A FIFO under the name that comes next.
    Fifo,
    /// A segment of another stream under the name that comes next.
    Foreign,
}

impl Newest {
    fn any() -> impl Strategy<Value = Newest> {
        let octet = || 1_u8..;
        prop_oneof![
            3 => Just(Newest::Open),
            2 => Just(Newest::Sealed),
            3 => Just(Newest::Removed),
            1 => Just(Newest::RemovedByEarlierVersion),
            1 => Just(Newest::RemovedAndDamaged),
            2 => (0..0xA4_u8, octet()).prop_map(|(at, by)| Newest::HeaderOctet(at, by)),
            2 => (0..0xA4_u8, octet()).prop_map(|(at, by)| Newest::OpenHeaderOctet(at, by)),
            1 => Just(Newest::HeaderPage),
            2 => (0..0x124_u16, octet()).prop_map(|(at, by)| Newest::FooterOctet(at, by)),
            1 => Just(Newest::FooterPage),
            1 => Just(Newest::BothPages),
            1 => Just(Newest::Emptied),
            1 => any::<u16>().prop_map(Newest::CutShort),
            1 => Just(Newest::Missing),
            1 => Just(Newest::Fifo),
            1 => Just(Newest::Foreign),
        ]
    }

    /// Whether something is lost for good that only the ring can bring back, or a chain that nothing can.
    fn destroys(self) -> bool {
        !matches!(
            self,
            Newest::Open
                | Newest::Sealed
                | Newest::Removed
                | Newest::RemovedByEarlierVersion
                | Newest::HeaderOctet(..)
                | Newest::FooterOctet(..)
                | Newest::Fifo
                | Newest::Foreign
        )
    }

    /// Does it; the records that were removed on purpose.
    fn befall(self, site: &Site) -> Vec<u64> {
        let archive = &site.archive;
        if matches!(self, Newest::RemovedAndDamaged | Newest::Missing) {
            // A recorder knew all of it to be on disk, so that its cursor stands at its end.
            drop(Recording::open(options(site)));
        }
        if !matches!(self, Newest::Open | Newest::OpenHeaderOctet(..) | Newest::Fifo | Newest::Foreign) {
            seal_leftovers(archive);
        }
        let Some((name, state, path)) = newest(archive) else { return Vec::new() };
        let left = path.with_extension("gone");
        let is_newest = !list_aside(archive, &stream()).unwrap().iter().any(|aside| aside.name > name);
        if self.destroys() && !is_newest {
            // What is destroyed in the middle of the stream is for a scrub to bring back.
            return Vec::new();
        }
        match self {
            Newest::Open | Newest::Sealed => {}
            Newest::Removed => return remove_newest(archive),
            Newest::RemovedByEarlierVersion => {
                let removed = remove_newest(archive);
                if let Ok(file) = fs::OpenOptions::new().write(true).open(&left) {
                    file.write_all_at(&[0; 0x200], 0x200).unwrap();
                }
                return removed;
            }
            Newest::RemovedAndDamaged => {
                let removed = remove_newest(archive);
                if !removed.is_empty() {
                    fs::write(&left, [0x5A; 4096]).unwrap();
                }
                return removed;
            }
            Newest::Fifo | Newest::Foreign => {
                let end = stream_end(archive, &stream()).unwrap().end;
                let planted = SegmentName { series: name.series, base_pos: end.pos };
                let place = stream().directory(archive).join(planted.sealed_file());
                if place.exists() {
                    return Vec::new();
                }
                if matches!(self, Newest::Fifo) {
                    let mode = 0o600.into();
                    rustix::fs::mknodat(rustix::fs::CWD, &place, rustix::fs::FileType::Fifo, mode, 0)
                        .unwrap();
                } else {
                    fs::write(&place, foreign_segment()).unwrap();
                }
            }
            Newest::OpenHeaderOctet(at, difference) => {
                if state == SegmentState::Open {
                    change(&path, u64::from(at), difference);
                }
            }
            _ if state != SegmentState::Sealed => {}
            Newest::Missing => fs::remove_file(&path).unwrap(),
            Newest::CutShort(at) => {
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(u64::from(at) % file.metadata().unwrap().len()).unwrap();
            }
            Newest::Emptied => fs::write(&path, vec![0; 20_000]).unwrap(),
            Newest::HeaderOctet(at, difference) => change(&path, u64::from(at), difference),
            Newest::FooterOctet(at, difference) => {
                change(&path, fs::metadata(&path).unwrap().len() - 4096 + u64::from(at), difference);
            }
            Newest::HeaderPage | Newest::FooterPage | Newest::BothPages => {
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                let footer = file.metadata().unwrap().len() - 4096;
                let (header, footer) = match self {
                    Newest::HeaderPage => (Some(0), None),
                    Newest::FooterPage => (None, Some(footer)),
                    _ => (Some(0), Some(footer)),
                };
                for at in header.into_iter().chain(footer) {
                    file.write_all_at(&[0; 4096], at).unwrap();
                }
            }
        }
        Vec::new()
    }
}

/// A sound segment of another stream.
fn foreign_segment() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let header = fep_segments::SegmentHeader {
        stream: fep_segments::Stream::new(fep_bus::Colour::Black, "npp.frames"),
        schema: "ccsds.frame.v1".to_owned(),
        id: 5,
        instance: 6,
        series: u64::MAX,
        base: fep_bus::Position { seq: 1 << 40, pos: 1 << 50, payload: 1 << 49 },
        created_unix_ns: 1,
        previous: None,
    };
    let mut writer = fep_segments::SegmentWriter::create(directory.path(), header).unwrap();
    writer.record(fep_bus::Tag::default(), b"foreign").unwrap();
    fs::read(writer.seal(Chain::default()).unwrap().0).unwrap()
}

/// Which segment has which name, over the whole life of the archive: once something is in it, no other may have it.
#[derive(Default)]
struct Names(BTreeMap<SegmentName, u64>);

impl Names {
    fn note(&mut self, archive: &Path) {
        for entry in list(archive, &stream()).unwrap() {
            if entry.state == SegmentState::Removed {
                continue;
            }
            let Ok(reader) = SegmentReader::open(&entry.path) else { continue };
            let is_own = reader.header().stream == stream() && reader.header().name() == entry.name;
            if is_own && reader.blocks().iter().any(|block| block.records() > 0) {
                let id = *self.0.entry(entry.name).or_insert(reader.header().id);
                assert_eq!(id, reader.header().id, "{} is the name of two segments", entry.name);
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Round {
    publish: u64,
    /// Turns of the recorder before it is killed; `None`: until everything is on disk.
    turns: Option<u8>,
    newest: Newest,
}

fn round() -> impl Strategy<Value = Round> {
    (1..50_u64, prop::option::of(0..12_u8), Newest::any()).prop_map(|(publish, turns, newest)| Round {
        publish,
        turns,
        newest,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 60, ..ProptestConfig::default() })]

    // REQ: FEP-REC-400
    // REQ: FEP-REC-401
    // REQ: FEP-REC-402
    #[test]
    fn whatever_became_of_the_newest_file_nothing_deleted_comes_back_and_nothing_recorded_is_lost(
        first in 1..120_u64,
        rounds in prop::collection::vec(round(), 1..7),
    ) {
        let site = Site::in_memory();
        // It holds everything that this test publishes: what is on no disk can be read again.
        let mut producer = site.producer(1 << 20);
        let mut published = 0;
        let (mut removed, mut names) = (BTreeSet::new(), Names::default());
        let mut more = |producer: &mut fep_bus::Producer, count: u64| {
            for _ in 0..count {
                published += 1;
                publish(producer, published);
            }
            published
        };
        more(&mut producer, first);
        Recording::open(options(&site)).settle();
        // What is left of a removed segment is the only witness of where the stream ended: when that cannot be read, the
        // cursor says it, and nothing says what else was taken away behind it.
        let mut is_blind = false;
        let mut destroyed = false;
        for Round { publish, turns, newest } in rounds {
            names.note(&site.archive);
            let is_witness = matches!(newest, Newest::Open | Newest::Sealed | Newest::Fifo | Newest::Foreign);
            if !is_blind || is_witness {
                removed.extend(newest.befall(&site));
                is_blind |= matches!(newest, Newest::RemovedAndDamaged);
                destroyed |= newest.destroys();
            }
            more(&mut producer, publish);
            let mut recording = Recording::open(options(&site));
            match turns {
                None => recording.settle(),
                Some(turns) => for _ in 0..turns {
                    recording.turn().unwrap();
                },
            }
        }
        let published = more(&mut producer, 1);
        Recording::open(options(&site)).settle();
        names.note(&site.archive);
        seal_leftovers(&site.archive);
        for aside in list_aside(&site.archive, &stream()).unwrap() {
            // What nothing can be made of is read again from the ring.
            let _ = repair(&aside.path);
        }
        // What was not the newest any more when it was damaged is still in its place.
        for entry in list(&site.archive, &stream()).unwrap() {
            if entry.state == SegmentState::Sealed && verify(&entry.path).is_ok_and(|report| report.footer.is_none() || !report.is_sound()) {
                let _ = repair(&entry.path);
            }
        }
        names.note(&site.archive);
        let seqs = on_disk(&site.archive);
        let distinct: BTreeSet<u64> = seqs.iter().copied().collect();
        let back: Vec<_> = distinct.intersection(&removed).collect();
        prop_assert!(back.is_empty(), "deleted and back: {:?}", back);
        let lost: Vec<u64> = (1..=published).filter(|seq| !distinct.contains(seq) && !removed.contains(seq)).collect();
        prop_assert!(lost.is_empty(), "neither on disk nor deleted: {:?}; {:?}", lost, list(&site.archive, &stream()));
        prop_assert!(distinct.last().is_none_or(|last| *last <= published));
        if !destroyed {
            prop_assert_eq!(seqs.len(), distinct.len(), "every record once");
            let foreign = list_aside(&site.archive, &stream()).unwrap().len();
            let report = verify_tree(&site.archive, &fep_segments::Expected::default(), |_, _| {}).unwrap();
            let unsound = report.streams[&stream()].iter().filter(|segment| !segment.is_sound()).count();
            prop_assert_eq!(unsound, foreign, "{:?}", report);
        }
    }
}
