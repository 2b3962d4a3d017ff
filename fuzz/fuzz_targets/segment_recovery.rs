//! Segments with octets overwritten anywhere and cut anywhere: reading, seeking, recovering and verifying them may find
//! damage, and may not crash, hang, or show a record that was not written.
#![no_main]

use fep_time::Tai;
use std::path::Path;
use std::sync::OnceLock;

use arbitrary::Arbitrary;
use fep_bus::{Colour, Position, Tag};
use fep_segments::{
    Chain, Piece, SegmentHeader, SegmentReader, SegmentWriter, Stream, recover, verify_source,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Damage {
    /// Where, folded into the file.
    offset: u32,
    value: u64,
    /// How many octets of `value`.
    width: u8,
}

#[derive(Arbitrary, Debug)]
struct Input {
    sealed: bool,
    damages: Vec<Damage>,
    cut: Option<u32>,
    seek: u8,
    time: i16,
    offset: u32,
}

fn payload(seq: u64) -> Vec<u8> {
    (0..(seq % 7) * 90).map(|index| (seq * 31 + index) as u8).collect()
}

/// A segment of 40 records, sealed and not.
fn made() -> &'static [Vec<u8>; 2] {
    static MADE: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    MADE.get_or_init(|| {
        [false, true].map(|sealed| {
            let archive = tempfile::tempdir().expect("a directory");
            let header = SegmentHeader {
                stream: Stream::new(Colour::Black, "fuzz.frames"),
                schema: "fuzz".to_owned(),
                id: 77,
                instance: 1,
                series: 1,
                base: Position { seq: 1, pos: 0, payload: 0 },
                created_unix_ns: 1,
                previous: None,
            };
            let mut writer = SegmentWriter::create(archive.path(), header).expect("it can be written");
            writer.set_block_len(1500);
            for seq in 1..=40 {
                let tag = Tag { received: Tai(seq as i64), ..Tag::default() };
                writer.record(tag, &payload(seq)).expect("it can be written");
            }
            writer.flush().expect("it can be written");
            let mut path = writer.path().to_owned();
            if sealed {
                path = writer.seal(Chain::default()).expect("it can be sealed").0;
            }
            std::fs::read(path).expect("it can be read")
        })
    })
}

fuzz_target!(|input: Input| {
    let mut octets = made()[usize::from(input.sealed)].clone();
    for Damage { offset, value, width } in input.damages.iter().take(64) {
        let at = *offset as usize % octets.len();
        for (octet, new) in octets[at..].iter_mut().zip(value.to_le_bytes()).take(usize::from(width % 9)) {
            *octet = new;
        }
    }
    if let Some(cut) = input.cut {
        octets.truncate(cut as usize % (octets.len() + 1));
    }
    let path = Path::new("fuzz");
    let Ok(mut reader) = SegmentReader::of(octets.as_slice(), path) else { return };
    let (mut records, mut last) = (0, 0);
    while let Some(piece) = reader.next().expect("memory can be read") {
        match piece {
            Piece::Record(view) => {
                assert!(view.record.seq > last);
                last = view.record.seq;
                // A checksum of 32 bits over octets made to fit it is not what this guards against.
                if view.record.seq <= 40 {
                    assert_eq!(view.payload, payload(view.record.seq));
                }
                records += 1;
            }
            Piece::Loss(loss) => assert!(loss.to.seq >= loss.from.seq),
        }
        assert!(records <= 40);
    }
    reader.seek(u64::from(input.seek)).expect("memory can be read");
    let _ = reader.next().expect("memory can be read");
    reader.seek_time(i64::from(input.time)).expect("memory can be read");
    let _ = reader.next().expect("memory can be read");
    let _ = reader.record_at(u64::from(input.offset)).expect("memory can be read");
    verify_source(&octets, path).expect("memory can be read");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), &octets).expect("it can be written");
    let recovered = recover(file.path()).expect("its header is good");
    assert!(recovered.content_end <= octets.len() as u64 || recovered.blocks.is_empty());
});
