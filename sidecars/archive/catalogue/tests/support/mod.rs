//! What the tests of this crate share: segments made record by record, and databases of both kinds.

#![allow(dead_code, reason = "every test program uses its own part")]

pub(crate) mod s3;

use fep_time::Tai;
use std::path::{Path, PathBuf};

use fep_bus::{Position, Tag};
use fep_catalogue::{Catalogue, Ingest, IngestConfig, PacketLayouts, Store, StoreConfig};
use fep_ccsds::Gvcid;
use fep_record::{BadReason, FrameFlags, FrameRecord, KIND_FRAME, KIND_PACKET, PacketRecord, Session};
use fep_segments::{Chain, SegmentHeader, SegmentWriter, Stream};

/// 2026-11-26T00:00:00 UTC in TAI nanoseconds since 1958.
pub(crate) const START: i64 = 2_174_342_437_000_000_000;
pub(crate) const MS: i64 = 1_000_000;
pub(crate) const SERIES: u64 = 0x1234;
pub(crate) const SCID: u16 = 673;

/// A transfer frame as a ring would bring it.
#[derive(Debug, Clone)]
pub(crate) struct TestFrame {
    pub(crate) record: FrameRecord,
    pub(crate) rx_tai_ns: i64,
    pub(crate) octets: Vec<u8>,
}

impl TestFrame {
    pub(crate) fn tag(&self) -> Tag {
        let (flags, words) = self.record.to_words();
        Tag { kind: KIND_FRAME, flags, received: Tai(self.rx_tai_ns), published: Tai(self.rx_tai_ns), words }
    }
}

/// A good TM frame whose octets depend on channel and count alone, as two antennas would receive it.
pub(crate) fn tm_frame(link: u16, vcid: u8, count: u64, rx_tai_ns: i64) -> TestFrame {
    let gvcid = Gvcid { tfvn: 0, scid: SCID, vcid };
    let mut octets = vec![vcid; 96];
    octets[..8].copy_from_slice(&count.to_be_bytes());
    TestFrame {
        record: FrameRecord {
            gvcid,
            frame_count: (count % 256) as u32,
            flags: FrameFlags::CODED,
            link_id: link,
            session: Session::Ops,
            ..FrameRecord::default()
        },
        rx_tai_ns,
        octets,
    }
}

/// A frame that no code verifies.
pub(crate) fn bad_frame(link: u16, rx_tai_ns: i64) -> TestFrame {
    TestFrame {
        record: FrameRecord {
            flags: FrameFlags::UNCORRECTABLE,
            reason: BadReason::Uncorrectable,
            link_id: link,
            codewords_failed: 1,
            ..FrameRecord::default()
        },
        rx_tai_ns,
        octets: vec![0xEE; 96],
    }
}

/// Writes sealed segments of one stream, one after the other.
pub(crate) struct Recorder {
    archive: PathBuf,
    stream: Stream,
    next: Position,
    chain: Chain,
    previous: Option<fep_segments::SegmentName>,
}

impl Recorder {
    pub(crate) fn new(archive: &Path, ring: &str) -> Recorder {
        Recorder::of(archive, fep_bus::Colour::Black, ring)
    }

    pub(crate) fn of(archive: &Path, colour: fep_bus::Colour, ring: &str) -> Recorder {
        Recorder {
            archive: archive.to_owned(),
            stream: Stream::new(colour, ring),
            next: Position { seq: 1, pos: 0, payload: 0 },
            chain: Chain::default(),
            previous: None,
        }
    }

    fn header(&self) -> SegmentHeader {
        SegmentHeader {
            stream: self.stream.clone(),
            schema: "ccsds.v1".to_owned(),
            id: self.next.seq.wrapping_mul(0x9E37_79B9) | 1,
            instance: 7,
            series: SERIES,
            base: self.next,
            created_unix_ns: 1_000_000_000,
            previous: self.previous,
        }
    }

    /// One sealed segment of these frames.
    pub(crate) fn frames(&mut self, frames: &[TestFrame]) -> PathBuf {
        self.records(frames.iter().map(|frame| (frame.tag(), frame.octets.as_slice())))
    }

    /// One sealed segment of these packets.
    pub(crate) fn packets(&mut self, packets: &[(PacketRecord, i64, Vec<u8>)]) -> PathBuf {
        self.records(packets.iter().map(|(record, rx_tai_ns, octets)| {
            let (flags, words) = record.to_words();
            let tag = Tag {
                kind: KIND_PACKET,
                flags,
                received: Tai(*rx_tai_ns),
                published: Tai(*rx_tai_ns),
                words,
            };
            (tag, octets.as_slice())
        }))
    }

    /// A segment of these frames that is not sealed yet.
    pub(crate) fn growing(&mut self, frames: &[TestFrame]) -> SegmentWriter {
        let mut writer = self.begin();
        for frame in frames {
            writer.record(frame.tag(), &frame.octets).unwrap();
        }
        writer.flush().unwrap();
        writer
    }

    fn begin(&self) -> SegmentWriter {
        let mut writer = SegmentWriter::create(&self.archive, self.header()).unwrap();
        writer.set_block_len(4096);
        writer
    }

    fn records<'a>(&mut self, records: impl Iterator<Item = (Tag, &'a [u8])>) -> PathBuf {
        let mut writer = self.begin();
        for (tag, octets) in records {
            writer.record(tag, octets).unwrap();
        }
        self.seal(writer)
    }

    /// Seals a segment.
    pub(crate) fn seal(&mut self, writer: SegmentWriter) -> PathBuf {
        let end = writer.position();
        let (path, footer) = writer.seal(self.chain).unwrap();
        self.next = end;
        self.chain = Chain(footer.chain);
        self.previous = Some(footer.name());
        path
    }
}

/// An archive in a temporary directory with a catalogue in SQLite.
pub(crate) struct Archive {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) catalogue: Catalogue,
    pub(crate) store: Store,
    pub(crate) ingest: Ingest,
}

impl Archive {
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }
}

pub(crate) fn layouts() -> PacketLayouts {
    let layout =
        r#"{"all": {"kind": "pus_c", "time": {"code": "cuc", "coarse_octets": 4, "fine_octets": 3}}}"#;
    PacketLayouts::from(std::collections::BTreeMap::from([(673, serde_json::from_str(layout).unwrap())]))
}

pub(crate) fn url_at(directory: &Path) -> String {
    format!("sqlite://{}/catalogue.sqlite3", directory.display())
}

pub(crate) async fn catalogue_at(directory: &Path) -> Catalogue {
    Catalogue::open(&url_at(directory)).await.unwrap()
}

pub(crate) fn ingest_config(archive: &Path) -> IngestConfig {
    IngestConfig {
        archive: archive.to_owned(),
        bus: None,
        tail: false,
        tail_limits: Default::default(),
        packets: layouts(),
        service: String::new(),
    }
}

pub(crate) async fn archive() -> Archive {
    let directory = tempfile::tempdir().unwrap();
    let catalogue = catalogue_at(directory.path()).await;
    archive_with(directory, catalogue).await
}

pub(crate) async fn archive_with(directory: tempfile::TempDir, catalogue: Catalogue) -> Archive {
    let store = Store::open(&StoreConfig::directory(directory.path())).unwrap();
    let ingest =
        Ingest::open(ingest_config(directory.path()), catalogue.clone(), store.clone()).await.unwrap();
    Archive { directory, catalogue, store, ingest }
}
