//! Damaged, foreign and missing files: where a stream ends all the same, what is put aside, what a repair brings back.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use fep_bus::{Colour, Position, Tag};
use fep_segments::{
    Chain, Expected, Follow, FollowSpec, Item, SegmentHeader, SegmentReader, SegmentState, SegmentWriter,
    Start, Stream, is_name_taken, list, list_aside, put_aside, remove_sealed, repair, stream_end, verify,
    verify_tree,
};
use fep_time::Tai;
use proptest::prelude::*;

const SERIES: u64 = 1_700_000_000_000_000_000;
const INSTANCE: u64 = 77;
/// Records of a segment.
const RECORDS: u64 = 60;

fn stream() -> Stream {
    Stream::new(Colour::Black, "cso-1.frames")
}

fn payload(seq: u64) -> Vec<u8> {
    let len = (seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54) as usize % 900;
    (0..len).map(|index| (seq as usize * 13 + index) as u8).collect()
}

fn write(archive: &Path, stream: Stream, base: Position, number: u64) -> SegmentWriter {
    let header = SegmentHeader {
        stream,
        schema: "ccsds.frame.v1".to_owned(),
        id: 0xDA0001 + number,
        instance: INSTANCE,
        series: SERIES,
        base,
        created_unix_ns: 1,
        previous: None,
    };
    let mut writer = SegmentWriter::create(archive, header).unwrap();
    writer.set_block_len(4_000);
    for seq in base.seq..base.seq + RECORDS {
        let tag = Tag { received: Tai(seq as i64 * 1000), ..Tag::default() };
        writer.record(tag, &payload(seq)).unwrap();
    }
    writer
}

/// An archive of so many sealed segments; their files, and where the stream ends.
fn archive(segments: u64) -> (tempfile::TempDir, Vec<PathBuf>, Position) {
    let directory = tempfile::tempdir().unwrap();
    let mut base = Position { seq: 1, pos: 0, payload: 0 };
    let mut paths = Vec::new();
    for number in 0..segments {
        let writer = write(directory.path(), stream(), base, number);
        base = writer.position();
        paths.push(writer.seal(Chain::of(directory.path(), &stream()).unwrap()).unwrap().0);
    }
    (directory, paths, base)
}

fn change(path: &Path, at: u64, difference: u8) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut octet = [0];
    file.read_exact_at(&mut octet, at).unwrap();
    file.write_all_at(&[octet[0] ^ difference], at).unwrap();
}

fn zero(path: &Path, from: u64, len: usize) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&vec![0; len], from).unwrap();
}

fn len(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Sequence numbers of the records that a follower of the segments alone sees.
fn followed(archive: &Path, start: Start) -> Vec<u64> {
    let spec = FollowSpec {
        archive: Some(archive.to_owned()),
        bus: None,
        stream: stream(),
        consumer: "test".to_owned(),
        patience: std::time::Duration::ZERO,
    };
    let mut follow = Follow::open(spec, start).unwrap();
    let (mut seqs, mut octets) = (Vec::new(), Vec::new());
    loop {
        match follow.next(&mut octets).unwrap() {
            Item::Record(record) => {
                assert_eq!(octets, payload(record.seq), "record {}", record.seq);
                seqs.push(record.seq);
            }
            Item::Gap(_) | Item::Series(_) => {}
            Item::Empty => return seqs,
        }
    }
}

// REQ: FEP-SEG-400
#[test]
fn a_stream_ends_where_its_newest_segment_ends_whether_sealed_open_or_removed() {
    let (directory, paths, end) = archive(3);
    let archive = directory.path();
    let told = stream_end(archive, &stream()).unwrap();
    assert_eq!((told.series, told.instance, told.end, told.doubt), (Some(SERIES), Some(INSTANCE), end, end));
    let name = list(archive, &stream()).unwrap()[2].name;
    assert_eq!((told.previous, told.open.len(), told.damaged.len()), (Some(name), 0, 0));

    remove_sealed(&paths[2]).unwrap();
    let removed = stream_end(archive, &stream()).unwrap();
    assert_eq!(removed, told, "what is left of a removed segment says as much");

    // Also when nothing but such pages is left.
    remove_sealed(&paths[0]).unwrap();
    remove_sealed(&paths[1]).unwrap();
    assert_eq!(stream_end(archive, &stream()).unwrap(), told);

    let mut writer = write(archive, stream(), end, 9);
    writer.flush().unwrap();
    let open = stream_end(archive, &stream()).unwrap();
    assert_eq!((open.end, open.open.len()), (writer.position(), 1));
    assert!(!open.open[0].is_empty);
    assert_eq!(stream_end(&archive.join("nowhere"), &stream()).unwrap().series, None);
}

// REQ: FEP-SEG-400
#[test]
fn a_page_left_by_an_earlier_version_says_where_the_stream_ends_and_not_of_which_ring_it_was() {
    let (directory, paths, end) = archive(2);
    remove_sealed(&paths[1]).unwrap();
    let left = paths[1].with_extension("gone");
    zero(&left, 0x200, 0x200);
    let told = stream_end(directory.path(), &stream()).unwrap();
    // The segment before it is of the same numbering.
    assert_eq!((told.end, told.instance, told.damaged.len()), (end, Some(INSTANCE), 0));
    remove_sealed(&paths[0]).unwrap();
    zero(&paths[0].with_extension("gone"), 0x200, 0x200);
    let told = stream_end(directory.path(), &stream()).unwrap();
    assert_eq!((told.end, told.instance, told.series), (end, None, Some(SERIES)));
}

// REQ: FEP-SEG-401
#[test]
fn fifos_links_and_directories_under_names_of_segments_hold_nobody_up_and_are_no_segments() {
    let (directory, paths, end) = archive(2);
    let archive = directory.path();
    let place = paths[0].parent().unwrap();
    let outside = directory.path().join("outside");
    fs::write(&outside, [7; 8192]).unwrap();
    let names: Vec<String> =
        (0..4).map(|number| format!("{SERIES:016x}-{:016x}", end.pos + 64 * number)).collect();
    let fifo = place.join(format!("{}.seg", names[0]));
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    symlink(&outside, place.join(format!("{}.open", names[1]))).unwrap();
    fs::create_dir(place.join(format!("{}.gone", names[2]))).unwrap();
    symlink(place.join("nothing"), place.join(format!("{}.seg", names[3]))).unwrap();

    assert_eq!(list(archive, &stream()).unwrap().len(), 2);
    let told = stream_end(archive, &stream()).unwrap();
    assert_eq!((told.end, told.damaged.len()), (end, 4), "{:?}", told.damaged);
    assert!(SegmentReader::open(&fifo).unwrap_err().to_string().contains("no regular file"));
    assert!(verify(&fifo).is_err());
    assert_eq!(followed(archive, Start::Oldest), (1..=2 * RECORDS).collect::<Vec<_>>());
    assert!(verify_tree(archive, &Expected::default(), |_, _| {}).unwrap().is_sound());
    for file in &told.damaged {
        assert!(is_name_taken(archive, &stream(), file.name).unwrap());
        put_aside(&file.path, &file.problem).unwrap();
    }
    let told = stream_end(archive, &stream()).unwrap();
    assert_eq!((told.end, told.damaged.len()), (end, 0));
    assert_eq!(fs::read(&outside).unwrap(), [7; 8192], "nobody wrote through the link");
    // A link to a sealed segment elsewhere is one.
    let elsewhere = directory.path().join("elsewhere.seg");
    fs::rename(&paths[0], &elsewhere).unwrap();
    symlink(&elsewhere, &paths[0]).unwrap();
    assert_eq!(followed(archive, Start::Oldest), (1..=2 * RECORDS).collect::<Vec<_>>());
}

// REQ: FEP-SEG-401
#[test]
fn a_segment_of_another_stream_or_under_another_name_says_nothing_of_where_this_one_ends() {
    let (directory, paths, end) = archive(2);
    let archive = directory.path();
    let far = Position { seq: 9_000_000, pos: 1 << 40, payload: 1 << 39 };
    let other = write(archive, Stream::new(Colour::Black, "npp.frames"), far, 5);
    let foreign = other.seal(Chain::default()).unwrap().0;
    fs::copy(&foreign, paths[0].with_file_name(foreign.file_name().unwrap())).unwrap();
    fs::copy(&paths[0], paths[0].with_file_name(format!("{:016x}-{:016x}.seg", u64::MAX, u64::MAX))).unwrap();
    let told = stream_end(archive, &stream()).unwrap();
    assert_eq!((told.end, told.series, told.damaged.len()), (end, Some(SERIES), 2));
    for file in told.damaged {
        assert!(file.problem.contains("it says that it is segment"), "{}", file.problem);
        let aside = put_aside(&file.path, &file.problem).unwrap();
        let refused = repair(&aside).unwrap_err().to_string();
        assert!(refused.contains("it belongs elsewhere"), "{refused}");
    }
    assert_eq!(followed(archive, Start::Oldest), (1..=2 * RECORDS).collect::<Vec<_>>());
}

// REQ: FEP-SEG-402
#[test]
fn a_file_that_is_put_aside_keeps_its_reason_its_name_is_not_free_and_none_is_ever_replaced() {
    let (directory, paths, end) = archive(2);
    let archive = directory.path();
    let name = list(archive, &stream()).unwrap()[1].name;
    let octets = fs::read(&paths[1]).unwrap();
    let first = put_aside(&paths[1], "the first reason").unwrap();
    fs::write(&paths[1], b"another").unwrap();
    let second = put_aside(&paths[1], "the second reason").unwrap();
    assert_ne!(first, second);
    assert_eq!(fs::read(&first).unwrap(), octets);
    let told: Vec<_> =
        list_aside(archive, &stream()).unwrap().into_iter().map(|file| file.reason.unwrap()).collect();
    assert_eq!(told, ["the first reason", "the second reason"]);
    assert!(is_name_taken(archive, &stream(), name).unwrap());
    assert_eq!(stream_end(archive, &stream()).unwrap().end, end, "it still says where the stream ends");
    let report = verify_tree(archive, &Expected::default(), |_, _| {}).unwrap();
    assert!(!report.is_sound(), "an archive with such files is not sound");
    assert!(put_aside(&paths[1], "it is not there").is_err());
}

// REQ: FEP-SEG-402
#[test]
fn a_reason_that_cannot_be_written_as_on_a_full_disk_does_not_keep_a_file_from_being_put_aside() {
    let (directory, paths, _) = archive(1);
    let mut in_the_way = paths[0].clone().into_os_string();
    in_the_way.push(".damaged.reason");
    fs::create_dir(in_the_way).unwrap();
    let aside = put_aside(&paths[0], "a reason").unwrap();
    let told = list_aside(directory.path(), &stream()).unwrap();
    assert_eq!((told.len(), &told[0].path, told[0].reason.clone()), (1, &aside, None));
    assert_eq!(list(directory.path(), &stream()).unwrap(), []);
}

// REQ: FEP-SEG-403
#[test]
fn a_follower_goes_on_behind_a_segment_that_cannot_be_read() {
    let expected: Vec<u64> = (1..=RECORDS).chain(2 * RECORDS + 1..=4 * RECORDS).collect();
    let (directory, paths, _) = archive(4);
    zero(&paths[1], 0, 4096);
    assert_eq!(followed(directory.path(), Start::Oldest), expected);
    let late = i64::try_from(RECORDS + 5).unwrap() * 1000;
    assert_eq!(followed(directory.path(), Start::Time(late)), expected[RECORDS as usize..]);
    // The first and the last one, and a damaged page of a removed one.
    zero(&paths[0], 0, 4096);
    zero(&paths[3], 0, 4096);
    assert_eq!(
        followed(directory.path(), Start::Oldest),
        (2 * RECORDS + 1..=3 * RECORDS).collect::<Vec<_>>()
    );
    assert_eq!(followed(directory.path(), Start::Latest), Vec::<u64>::new());
    fs::write(paths[0].with_extension("gone"), [0; 4096]).unwrap();
    fs::remove_file(&paths[0]).unwrap();
    assert_eq!(
        followed(directory.path(), Start::Oldest),
        (2 * RECORDS + 1..=3 * RECORDS).collect::<Vec<_>>()
    );
}

// REQ: FEP-SEG-404
#[test]
fn a_footer_beyond_repair_is_made_again_from_the_blocks_and_the_original_stays() {
    let (directory, paths, end) = archive(3);
    let archive = directory.path();
    zero(&paths[1], len(&paths[1]) - 4096, 4096);
    let damaged = fs::read(&paths[1]).unwrap();
    let aside = put_aside(&paths[1], "its footer is gone").unwrap();
    let repaired = repair(&aside).unwrap();
    assert_eq!(repaired.path, fs::canonicalize(&paths[1]).unwrap());
    assert_eq!((repaired.records, repaired.damaged_records, repaired.is_exact), (RECORDS, 0, false));
    assert_eq!(fs::read(&repaired.original).unwrap(), damaged);
    assert!(verify(&paths[1]).unwrap().is_sound());
    assert_eq!(list_aside(archive, &stream()).unwrap(), []);
    assert_eq!(followed(archive, Start::Oldest), (1..=3 * RECORDS).collect::<Vec<_>>());
    assert_eq!(stream_end(archive, &stream()).unwrap().end, end);
    // Cut within its last block as well: up to the last whole one.
    let blocks = SegmentReader::open(&paths[2]).unwrap().blocks().to_vec();
    let last = *blocks.last().unwrap();
    fs::OpenOptions::new().write(true).open(&paths[2]).unwrap().set_len(last.offset + 200).unwrap();
    let repaired = repair(&paths[2]).unwrap();
    assert_eq!(repaired.records, last.begin.seq - 2 * RECORDS - 1);
    assert!(verify(&paths[2]).unwrap().is_sound());
}

// REQ: FEP-SEG-404
#[test]
fn a_header_beyond_repair_is_made_again_from_the_blocks_and_the_neighbours() {
    let (directory, paths, _) = archive(3);
    zero(&paths[1], 0, 4096);
    let aside = put_aside(&paths[1], "its header is gone").unwrap();
    let repaired = repair(&aside).unwrap();
    assert_eq!((repaired.records, repaired.keeps_chain, repaired.is_exact), (RECORDS, true, false));
    let header = SegmentReader::open(&paths[1]).unwrap().header().clone();
    assert_eq!(
        (header.schema.as_str(), header.instance, header.base.seq),
        ("ccsds.frame.v1", INSTANCE, RECORDS + 1)
    );
    assert_eq!(followed(directory.path(), Start::Oldest), (1..=3 * RECORDS).collect::<Vec<_>>());
}

// REQ: FEP-SEG-404
#[test]
fn what_cannot_be_repaired_is_refused_with_a_reason_and_left_as_it_is() {
    let (directory, paths, _) = archive(2);
    let other = directory.path().join("elsewhere.seg");
    fs::copy(&paths[0], &other).unwrap();
    let refused = |path: &Path| repair(path).unwrap_err().to_string();
    assert!(refused(&other).contains("directory of a stream"), "{}", refused(&other));
    assert!(refused(&paths[0].with_file_name("lock")).contains("name of a segment"));
    let aside = put_aside(&paths[1], "test").unwrap();
    fs::copy(&aside, &paths[1]).unwrap();
    assert!(refused(&aside).contains("has its name"), "{}", refused(&aside));
    fs::remove_file(&paths[1]).unwrap();
    fs::write(&aside, vec![0; 100_000]).unwrap();
    assert!(refused(&aside).contains("nothing can be made of it"), "{}", refused(&aside));
    assert_eq!(fs::read(&aside).unwrap(), vec![0; 100_000]);
    let left: Vec<_> =
        fs::read_dir(paths[0].parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with("repairing")), "{left:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    // REQ: FEP-SEG-402
    // REQ: FEP-SEG-404
    #[test]
    fn one_wrong_octet_in_header_or_footer_is_repaired_exactly_and_the_stream_ends_where_it_did(
        in_header in any::<bool>(),
        at in 0_u64..0x124,
        difference in 1_u8..,
    ) {
        let at = if in_header { at % 0xA4 } else { at };
        let (directory, paths, end) = archive(3);
        let archive = directory.path();
        let whole = fs::read(&paths[2]).unwrap();
        let chain = Chain::of(archive, &stream()).unwrap();
        change(&paths[2], if in_header { at } else { len(&paths[2]) - 4096 + at }, difference);
        let told = stream_end(archive, &stream()).unwrap();
        prop_assert_eq!((told.end, told.doubt, told.series), (end, end, Some(SERIES)));
        prop_assert_eq!(told.instance, Some(INSTANCE));
        prop_assert_eq!(told.damaged.len(), 1);
        prop_assert!(told.open.is_empty() && told.removed_unreadable.is_none());
        let aside = put_aside(&told.damaged[0].path, &told.damaged[0].problem).unwrap();
        // The chain goes on from it all the same.
        prop_assert_eq!(Chain::of(archive, &stream()).unwrap(), chain);
        let writer = write(archive, stream(), end, 10);
        writer.seal(chain).unwrap();
        let repaired = repair(&aside).unwrap();
        prop_assert!(repaired.is_exact && repaired.keeps_chain, "{:?}", repaired);
        prop_assert_eq!(fs::read(&paths[2]).unwrap(), whole);
        let report = verify_tree(archive, &Expected::default(), |_, _| {}).unwrap();
        prop_assert!(report.is_sound(), "{:?}", report);
        prop_assert_eq!(list(archive, &stream()).unwrap().iter().filter(|entry| entry.state == SegmentState::Sealed).count(), 4);
    }

    // REQ: FEP-SEG-400
    #[test]
    fn whatever_the_files_hold_the_end_of_the_stream_is_found_and_repairs_show_only_what_was_written(
        changes in prop::collection::vec((0_usize..3, any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::of((0_usize..3, any::<prop::sample::Index>())),
        removed in any::<bool>(),
    ) {
        let (directory, mut paths, end) = archive(3);
        if removed {
            remove_sealed(&paths[2]).unwrap();
            paths[2].set_extension("gone");
        }
        for (file, index, value) in changes {
            let mut octets = fs::read(&paths[file]).unwrap();
            let at = index.index(octets.len());
            octets[at] = value;
            fs::write(&paths[file], octets).unwrap();
        }
        if let Some((file, index)) = cut {
            let file = fs::OpenOptions::new().write(true).open(&paths[file]).unwrap();
            let len = file.metadata().unwrap().len() as usize;
            file.set_len(index.index(len) as u64).unwrap();
        }
        let told = stream_end(directory.path(), &stream()).unwrap();
        prop_assert!(told.end.seq <= end.seq && told.doubt.seq <= told.end.seq);
        for file in told.damaged.iter().filter(|file| !file.stays) {
            let aside = put_aside(&file.path, &file.problem).unwrap();
            if let Ok(repaired) = repair(&aside) {
                prop_assert!(repaired.original.exists());
            }
        }
        // Payloads are checked on the way.
        let seqs = followed(directory.path(), Start::Oldest);
        prop_assert!(seqs.is_sorted_by(|a, b| a < b));
    }
}
