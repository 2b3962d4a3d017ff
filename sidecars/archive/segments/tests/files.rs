//! Segments as files: what is written is read back, damage is confined and named, the chain and the signed days hold.

use fep_time::Tai;
use std::fs;
use std::path::Path;
use std::process::Command;

use fep_bus::{Colour, Position, Tag};
use fep_segments::{
    Act, Chain, ContentAlgorithm, ContentHash, Expected, Finding, Loss, LossCause, Piece, RecordAt, Removal,
    Removals, SegmentHeader, SegmentReader, SegmentState, SegmentWriter, Stream, list, recover,
    remove_sealed, roots, streams, verify, verify_tree,
};
use proptest::prelude::*;

fn stream() -> Stream {
    Stream::new(Colour::Black, "cso-1.frames")
}

fn header(base: Position, number: u64) -> SegmentHeader {
    SegmentHeader {
        stream: stream(),
        schema: "ccsds.frame.v1".to_owned(),
        id: 0x5EED_0001 + number,
        instance: 77,
        series: 1_700_000_000_000_000_000,
        base,
        created_unix_ns: 1,
        previous: None,
    }
}

fn start() -> Position {
    Position { seq: 1, pos: 0, payload: 0 }
}

/// Payload of record `seq`: its length and every octet depend on the number.
fn payload(seq: u64) -> Vec<u8> {
    let len = (seq.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 53) as usize % 1500;
    (0..len).map(|index| (seq as usize * 31 + index) as u8).collect()
}

fn tag(seq: u64) -> Tag {
    Tag {
        kind: 1,
        flags: seq as u16,
        received: Tai(seq as i64 * 1000),
        published: Tai(seq as i64 * 1000 + 7),
        words: [seq, !seq],
    }
}

/// A sealed segment of `records` records in blocks of about `block_len` octets.
fn sealed(archive: &Path, base: Position, number: u64, records: u64, block_len: usize) -> std::path::PathBuf {
    let mut writer = SegmentWriter::create(archive, header(base, number)).unwrap();
    writer.set_block_len(block_len);
    for seq in base.seq..base.seq + records {
        writer.record(tag(seq), &payload(seq)).unwrap();
    }
    let chain = Chain::of(archive, &stream()).unwrap();
    writer.seal(chain).unwrap().0
}

/// Reads on to the end; checks every record against what was written; returns records and losses.
fn read_all(reader: &mut SegmentReader) -> (Vec<u64>, Vec<Loss>) {
    let (mut seqs, mut losses) = (Vec::new(), Vec::new());
    while let Some(piece) = reader.next().unwrap() {
        match piece {
            Piece::Record(view) => {
                assert_eq!(view.payload, payload(view.record.seq), "record {}", view.record.seq);
                assert_eq!(view.record.tag, tag(view.record.seq));
                seqs.push(view.record.seq);
            }
            Piece::Loss(loss) => losses.push(loss),
        }
    }
    (seqs, losses)
}

// REQ: FEP-SEG-001
#[test]
fn every_record_is_read_back_in_order_by_number_by_offset_and_by_time() {
    let archive = tempfile::tempdir().unwrap();
    let mut writer = SegmentWriter::create(archive.path(), header(start(), 0)).unwrap();
    writer.set_block_len(10_000);
    let offsets: Vec<u64> = (1..=500).map(|seq| writer.record(tag(seq), &payload(seq)).unwrap()).collect();
    let (path, footer) = writer.seal(Chain::default()).unwrap();
    assert_eq!((footer.records, footer.end.seq, footer.lost_records), (500, 501, 0));
    assert_eq!((footer.rx_min_tai_ns, footer.rx_max_tai_ns), (1000, 500_000));

    let mut reader = SegmentReader::open(&path).unwrap();
    assert!(reader.is_sealed() && reader.blocks().len() > 10);
    let (seqs, losses) = read_all(&mut reader);
    assert_eq!(seqs, (1..=500).collect::<Vec<_>>());
    assert!(losses.is_empty());
    for seq in [1, 2, 250, 499, 500] {
        reader.seek(seq).unwrap();
        assert_eq!(reader.position().seq, seq);
        assert!(matches!(reader.next().unwrap(), Some(Piece::Record(view)) if view.record.seq == seq));
        reader.seek_time(seq as i64 * 1000 - 1).unwrap();
        assert!(matches!(reader.next().unwrap(), Some(Piece::Record(view)) if view.record.seq == seq));
        let found = reader.record_at(offsets[seq as usize - 1]).unwrap();
        assert!(
            matches!(found, RecordAt::Record(view) if view.record.seq == seq && view.payload == payload(seq))
        );
    }
    reader.seek(501).unwrap();
    assert!(reader.next().unwrap().is_none());
    for offset in [0, 4096, offsets[3] + 64, u64::MAX] {
        assert_eq!(reader.record_at(offset).unwrap(), RecordAt::None, "{offset}");
    }
}

// REQ: FEP-SEG-002
#[test]
fn a_loss_is_a_record_and_is_read_where_it_stands() {
    let archive = tempfile::tempdir().unwrap();
    let mut writer = SegmentWriter::create(archive.path(), header(start(), 0)).unwrap();
    for seq in 1..=10 {
        writer.record(tag(seq), &payload(seq)).unwrap();
    }
    let from = writer.position();
    let to = Position { seq: 40, pos: from.pos + (1 << 20), payload: from.payload + 30_000 };
    for cause in [LossCause::Lapped, LossCause::DiskFull] {
        let (from, to) = match cause {
            LossCause::Lapped => (from, Position { seq: 20, ..to }),
            _ => (Position { seq: 20, ..to }, to),
        };
        writer.loss(&Loss { from, to, cause }).unwrap();
    }
    assert!(
        writer.loss(&Loss { from, to, cause: LossCause::Torn }).is_err(),
        "it does not continue the stream"
    );
    for seq in 40..=50 {
        writer.record(tag(seq), &payload(seq)).unwrap();
    }
    let (path, footer) = writer.seal(Chain::default()).unwrap();
    assert_eq!((footer.records, footer.lost_records, footer.lost_octets), (21, 29, 30_000));
    let mut reader = SegmentReader::open(&path).unwrap();
    let (seqs, losses) = read_all(&mut reader);
    assert_eq!(seqs, (1..=10).chain(40..=50).collect::<Vec<_>>());
    let told: Vec<_> = losses.iter().map(|loss| (loss.from.seq, loss.to.seq, loss.cause)).collect();
    assert_eq!(told, [(11, 20, LossCause::Lapped), (20, 40, LossCause::DiskFull)]);
    assert!(verify(&path).unwrap().is_sound());
}

// REQ: FEP-SEG-003
#[test]
fn a_flipped_octet_costs_its_block_alone_and_is_named() {
    let archive = tempfile::tempdir().unwrap();
    let path = sealed(archive.path(), start(), 0, 300, 5_000);
    let block = SegmentReader::open(&path).unwrap().blocks()[7];
    let mut octets = fs::read(&path).unwrap();
    octets[block.content_offset() as usize + 333] ^= 0x10;
    fs::write(&path, &octets).unwrap();

    let (seqs, losses) = read_all(&mut SegmentReader::open(&path).unwrap());
    let told: Vec<_> = losses.iter().map(|loss| (loss.from.seq, loss.to.seq, loss.cause)).collect();
    assert_eq!(told, [(block.begin.seq, block.end.seq, LossCause::DamagedBlock)]);
    assert_eq!(seqs, (1..block.begin.seq).chain(block.end.seq..=300).collect::<Vec<_>>());

    let report = verify(&path).unwrap();
    assert!(report.findings.iter().any(|finding| matches!(
        finding,
        Finding::Block { from_seq, to_seq, .. } if (*from_seq, *to_seq) == (block.begin.seq, block.end.seq)
    )));
    assert!(report.findings.contains(&Finding::ContentHash));
    let mut reader = SegmentReader::open(&path).unwrap();
    assert!(matches!(reader.record_at(block.content_offset()).unwrap(), RecordAt::Damaged(_)));
}

// REQ: FEP-SEG-004
#[test]
fn a_torn_segment_is_recovered_up_to_its_last_whole_block() {
    let archive = tempfile::tempdir().unwrap();
    let mut writer = SegmentWriter::create(archive.path(), header(start(), 0)).unwrap();
    writer.set_block_len(5_000);
    for seq in 1..=300 {
        writer.record(tag(seq), &payload(seq)).unwrap();
    }
    writer.flush().unwrap();
    let path = writer.path().to_owned();
    drop(writer);
    let whole = recover(&path).unwrap();
    assert_eq!(whole.end().position.seq, 301);
    let last = *whole.blocks.last().unwrap();
    // Cut anywhere within the last block, or its end filled with zeros as in a file allocated ahead.
    for cut in [1, 100, 128, 1000, u64::from(last.content_len)] {
        let octets = fs::read(&path).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(last.offset + cut).unwrap();
        fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(last.offset + (1 << 20)).unwrap();
        let torn = recover(&path).unwrap();
        assert_eq!(torn.end().position, last.begin, "cut {cut}");
        assert_eq!(torn.content_end, last.offset);
        assert!(torn.damaged.is_empty());
        fs::write(&path, octets).unwrap();
    }
    let torn = recover(&path).unwrap();
    let (sealed, footer) = torn.seal(Chain::default(), 5).unwrap();
    assert_eq!(footer.records, 300);
    assert!(verify(&sealed).unwrap().is_sound());
    assert!(!path.exists());
}

// REQ: FEP-SEG-005
#[test]
fn the_chain_and_the_signed_days_show_what_was_altered_added_or_taken_away() {
    let archive = tempfile::tempdir().unwrap();
    let archive = archive.path();
    let mut base = start();
    let mut paths = Vec::new();
    for number in 0..4 {
        let path = sealed(archive, base, number, 50, 5_000);
        base = SegmentReader::open(&path).unwrap().footer().unwrap().end;
        paths.push(path);
    }
    let key_file = archive.join("root.key");
    let key = roots::signing_key(&key_file).unwrap();
    assert_eq!(roots::signing_key(&key_file).unwrap().to_bytes(), key.to_bytes(), "the key stays");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&key_file).unwrap().permissions().mode() & 0o777, 0o600);
    let tomorrow = fep_time::clock::unix_now_ns() + 86_400_000_000_000;
    assert!(roots::sign_past_days(archive, tomorrow, &key).unwrap().days >= 1);
    assert_eq!(roots::sign_past_days(archive, tomorrow, &key).unwrap().days, 0, "each day once");
    let expected = Expected { root_key: Some(key.verifying_key().to_bytes()), ..Expected::default() };
    let check = || verify_tree(archive, &expected, |_, _| {}).unwrap();
    assert!(check().is_sound(), "{:?}", check());
    assert_eq!(streams(archive).unwrap(), [stream()]);
    assert_eq!(check().roots.iter().map(|root| root.segments).sum::<usize>(), 4);

    // Removed on purpose, with a record: the chain stays whole.
    let footer = SegmentReader::open(&paths[1]).unwrap().footer().unwrap().clone();
    let by = ["anna".to_owned(), "bert".to_owned()];
    let removal =
        Removal { act: Act::Deleted, at_unix_ns: 5, order: Some("deletion-1"), by: &by, segments: &[footer] };
    Removals::new(archive, key.clone()).record(&removal).unwrap();
    remove_sealed(&paths[1]).unwrap();
    assert!(check().is_sound(), "{:?}", check());
    assert_eq!(list(archive, &stream()).unwrap()[1].state, SegmentState::Removed);

    // Taken away without a trace: the chain and the root both say so.
    let kept = fs::read(&paths[2]).unwrap();
    fs::remove_file(&paths[2]).unwrap();
    let report = check();
    assert!(
        report.streams[&stream()]
            .iter()
            .flat_map(|segment| &segment.findings)
            .any(|finding| { matches!(finding, Finding::ChainBroken { .. }) })
    );
    assert!(report.roots.iter().any(|root| root.problems.iter().any(|problem| problem.contains("is gone"))));

    // Altered and sealed anew with right hashes: the root does not know it.
    fs::write(&paths[2], &kept).unwrap();
    assert!(check().is_sound());
    fs::remove_file(&paths[2]).unwrap();
    let forged = header(SegmentReader::of(kept.clone(), &paths[2]).unwrap().header().base, 9);
    let previous =
        fep_segments::SegmentReader::of(kept.clone(), &paths[2]).unwrap().footer().unwrap().previous_chain;
    let mut writer = SegmentWriter::create(archive, forged).unwrap();
    for _ in 0..50 {
        writer.record(Tag::default(), b"forged").unwrap();
    }
    writer.seal(Chain(previous)).unwrap();
    let report = check();
    assert!(
        report
            .roots
            .iter()
            .any(|root| root.problems.iter().any(|problem| problem.contains("another chain hash")))
    );

    // Another key.
    fs::write(&paths[2], &kept).unwrap();
    let report =
        verify_tree(archive, &Expected { root_key: Some([7; 32]), ..Expected::default() }, |_, _| {})
            .unwrap();
    assert!(report.roots.iter().all(|root| !root.problems.is_empty()));
    // An altered root.
    let root_path = check().roots.iter().find(|root| root.segments > 0).unwrap().path.clone();
    let text = fs::read_to_string(&root_path).unwrap();
    let chain = Chain::of(archive, &stream()).unwrap();
    fs::write(&root_path, text.replace(&roots::hex(&chain.0), &"0".repeat(64))).unwrap();
    assert!(check().roots.iter().any(|root| root.problems.iter().any(|problem| problem.contains("SHA-256"))));
}

// REQ: FEP-SEG-160
#[test]
fn a_segment_whose_footer_has_a_sha_256_is_read_verified_repaired_and_removed_as_one_of_today() {
    use sha2::{Digest, Sha256};
    let archive = tempfile::tempdir().unwrap();
    let path = sealed(archive.path(), start(), 0, 50, 5_000);
    // As an earlier version sealed it.
    let mut octets = fs::read(&path).unwrap();
    let mut footer = SegmentReader::open(&path).unwrap().footer().unwrap().clone();
    let hash = Sha256::digest(&octets[..footer.content_end as usize]).into();
    footer.content_hash = ContentHash { algorithm: ContentAlgorithm::Sha256, octets: hash };
    footer.chain = footer.chain_hash();
    let at = octets.len() - 4096;
    octets[at..].copy_from_slice(&footer.to_page());
    assert_eq!(octets[at + 8..at + 12], [1, 0, 0, 0], "the version");
    fs::write(&path, &octets).unwrap();
    assert_eq!(SegmentReader::open(&path).unwrap().footer(), Some(&footer));
    assert!(verify(&path).unwrap().is_sound());
    // The next one continues it.
    let next = sealed(archive.path(), footer.end, 1, 50, 5_000);
    assert!(verify_tree(archive.path(), &Expected::default(), |_, _| {}).unwrap().is_sound());
    let of_next = SegmentReader::open(&next).unwrap().footer().unwrap().clone();
    assert_eq!(of_next.content_hash.algorithm, ContentAlgorithm::Blake3);
    assert_eq!(of_next.previous_chain, footer.chain);
    // One wrong octet of content, of the footer; then what a removal leaves.
    let mut damaged = octets.clone();
    damaged[4096 + 200] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert!(verify(&path).unwrap().findings.contains(&Finding::ContentHash));
    let mut damaged = octets.clone();
    damaged[at + 0x41] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert!(fep_segments::repair(&path).unwrap().is_exact);
    assert_eq!(fs::read(&path).unwrap(), octets);
    assert_eq!(remove_sealed(&path).unwrap(), footer);
    assert_eq!(fs::read(path.with_extension("gone")).unwrap()[..0x124], octets[at..at + 0x124]);
}

// REQ: FEP-SEG-006
#[test]
fn a_reader_written_from_the_page_alone_agrees() {
    let archive = tempfile::tempdir().unwrap();
    let path = sealed(archive.path(), start(), 0, 200, 5_000);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/segments_reader.py");
    let output = Command::new("python3").arg(script).arg(&path).output().expect("python3 is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let footer = SegmentReader::open(&path).unwrap().footer().unwrap().clone();
    assert_eq!(told["problems"], serde_json::json!([]));
    assert_eq!(told["records"], 200);
    assert_eq!(told["octets"], footer.octets);
    assert_eq!(told["content_hash"], roots::hex(&footer.content_hash.octets));
    assert_eq!(told["chain"], roots::hex(&footer.chain));
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for seq in 1..=200_u64 {
        let payload = payload(seq);
        hash.update(seq.to_le_bytes());
        hash.update((payload.len() as u32).to_le_bytes());
        hash.update(&payload);
    }
    assert_eq!(told["payload_sha256"], roots::hex(&hash.finalize()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // REQ: FEP-SEG-007
    #[test]
    fn whatever_happens_to_the_file_no_record_is_shown_that_was_not_written(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
        seal in any::<bool>(),
    ) {
        let archive = tempfile::tempdir().unwrap();
        let path = if seal {
            sealed(archive.path(), start(), 0, 60, 4_000)
        } else {
            let mut writer = SegmentWriter::create(archive.path(), header(start(), 0)).unwrap();
            writer.set_block_len(4_000);
            (1..=60).for_each(|seq| { writer.record(tag(seq), &payload(seq)).unwrap(); });
            writer.flush().unwrap();
            writer.path().to_owned()
        };
        let mut octets = fs::read(&path).unwrap();
        for (index, value) in &changes {
            let at = index.index(octets.len());
            octets[at] = *value;
        }
        if let Some(cut) = cut {
            octets.truncate(cut.index(octets.len()));
        }
        fs::write(&path, &octets).unwrap();
        if let Ok(mut reader) = SegmentReader::open(&path) {
            let (seqs, losses) = read_all(&mut reader);
            prop_assert!(seqs.is_sorted_by(|a, b| a < b));
            prop_assert!(seqs.iter().all(|seq| (1..=60).contains(seq)));
            // Between first and last nothing is missing without a loss that says so.
            let lost: u64 = losses.iter().map(Loss::records).sum();
            prop_assert_eq!(seqs.len() as u64 + lost, reader.position().seq - 1);
            verify(&path).unwrap();
            recover(&path).unwrap();
        }
    }
}
