//! The open end of each stream, followed into the tail. A stream that cannot be followed is reported and tried again; the
//! others go on.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fep_bus::Colour;
use fep_record::{BadReason, FrameRecord, KIND_FRAME, KIND_PACKET, PacketRecord};
use fep_segments::{
    Follow, FollowSpec, Item, Piece, Place, SegmentEntry, SegmentError, SegmentReader,
    SegmentState as FileState, Start, Stream,
};
use fep_time::LeapSeconds;

use super::IngestConfig;
use super::extract::{packets_ring, record_of};
use crate::index::{Behind, NOT_IN_A_SEGMENT, PackedRows, Record, TailExtraction};
use crate::packet_layout::PacketLayouts;
use crate::{CONTACT_SILENCE_NS, Error, Tail};

/// Records of one stream in one step, so that segments and streams take turns.
const RECORDS_PER_STEP: usize = 50_000;
/// How long the tail waits for records that the ring has lost to turn up in a segment.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a stream that could not be followed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// How far back of the open end packets may begin: octets of sealed segments, of which the nearest is read whole, and how many.
const BACK_OCTETS: u64 = 64 << 20;
const BACK_SEGMENTS: usize = 64;

/// How often a segment is looked at that grows without a ring: nobody reports that.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Colour, link and spacecraft of packets.
type PacketSource = (Colour, u16, u16);

/// All streams that are followed.
pub(super) struct Following {
    tail: Tail,
    layouts: Arc<PacketLayouts>,
    leap_seconds: LeapSeconds,
    /// Name of the cursors in the rings.
    consumer: String,
    streams: BTreeMap<Stream, Followed>,
    /// First and last reception of recorded packets.
    packets_seen: HashMap<PacketSource, (i64, i64)>,
    rows: PackedRows,
    payload: Vec<u8>,
}

struct Followed {
    follow: Option<Follow>,
    /// Where it goes on, when it has to be begun again.
    place: Option<Place>,
    /// Whether something may be there to read: without a ring, only new files bring anything, or the last one while it grows.
    stirred: bool,
    growing: bool,
    look_again: Instant,
    try_again: Instant,
    problem: Option<String>,
    /// Whether everything that could be read was, and the reception of the last record read.
    caught_up: bool,
    /// Whether everything was read that existed when it was read last.
    read_to_end: bool,
    reached_rx: Option<i64>,
    /// Since where nothing was missing, in series and sequence number.
    reads_from: Option<(u64, u64)>,
    /// Takes packets out of its frames, where the packets themselves are not recorded.
    extraction: Option<TailExtraction>,
}

impl Following {
    pub(super) fn new(tail: Tail, layouts: Arc<PacketLayouts>, consumer: String) -> Following {
        Following {
            tail,
            layouts,
            leap_seconds: LeapSeconds::builtin(),
            consumer,
            streams: BTreeMap::new(),
            packets_seen: HashMap::new(),
            rows: PackedRows::default(),
            payload: Vec::new(),
        }
    }

    /// A file of this stream came, or its directory; `growing`: the last one is not sealed.
    pub(super) fn stir(&mut self, stream: &Stream, growing: bool) {
        let followed = self.of(stream);
        followed.stirred = true;
        followed.growing = growing;
        // What could not be followed may go on with what came.
        followed.try_again = Instant::now();
    }

    /// Why a stream cannot be followed, where one cannot.
    pub(super) fn problems(&self) -> impl Iterator<Item = (&Stream, &str)> {
        self.streams.iter().filter_map(|(stream, followed)| Some((stream, followed.problem.as_deref()?)))
    }

    /// Streams of which not everything was read that existed when it was looked last, and why.
    pub(super) fn unread(&self) -> BTreeMap<Stream, Behind> {
        let unread = self.streams.iter().filter_map(|(stream, followed)| {
            let behind = match &followed.problem {
                Some(problem) => Behind::Problem(problem.clone()),
                None if !followed.read_to_end => Behind::Reading,
                None => return None,
            };
            Some((stream.clone(), behind))
        });
        unread.collect()
    }

    /// Streams of which not everything was read that is there, and the last reception that was, if any.
    pub(super) fn behind(&self) -> impl Iterator<Item = (&Stream, Option<i64>)> {
        let behind = self.streams.iter().filter(|(_, followed)| !followed.caught_up);
        behind.map(|(stream, followed)| (stream, followed.reached_rx))
    }

    /// Whether packets by one of these links from its spacecraft were seen in a span of time, give or take the longest silence
    /// within a contact.
    pub(super) fn saw_packets(&self, colour: Colour, sources: &[(u16, u16)], span: (i64, i64)) -> bool {
        sources.iter().any(|(link, scid)| saw_packets(&self.packets_seen, (colour, *link, *scid), span))
    }

    /// Reads on in a stream; returns the records that went into the tail. `asked`: somebody wants everything that exists now.
    pub(super) fn read_on(&mut self, config: &IngestConfig, stream: &Stream, asked: bool) -> u64 {
        let followed = self.of(stream);
        let has_ring = config
            .bus
            .as_ref()
            .is_some_and(|bus| bus.join(stream.colour.directory()).join(&stream.ring).is_dir());
        let now = Instant::now();
        let grows = followed.growing && (asked || now >= followed.look_again);
        if !(has_ring || followed.stirred || grows) || now < followed.try_again {
            return 0;
        }
        match self.take(config, stream) {
            Ok(taken) => {
                let followed = self.of(stream);
                followed.problem = None;
                followed.stirred = taken > 0;
                // What grows without a ring is only looked at now and then.
                followed.caught_up = taken < RECORDS_PER_STEP as u64 && (has_ring || !followed.growing);
                followed.look_again = now + LOOK_AGAIN;
                let waits = followed.follow.as_ref().is_some_and(Follow::is_waiting);
                followed.read_to_end = taken < RECORDS_PER_STEP as u64 && !waits;
                taken
            }
            Err(error) => {
                let followed = self.of(stream);
                // It begins again behind what it could not read, once there is something behind it.
                followed.place = followed.follow.take().map(|follow| follow.place()).or(followed.place);
                followed.try_again = now + TRY_AGAIN;
                followed.extraction = None;
                followed.stirred = true;
                followed.caught_up = false;
                followed.read_to_end = false;
                self.tail.set_unread(stream.colour, &stream.ring);
                let followed = self.of(stream);
                let problem = error.to_string();
                if followed.problem.as_ref() != Some(&problem) {
                    tracing::error!("the open end of {stream} cannot be followed: {problem}");
                    followed.problem = Some(problem);
                }
                0
            }
        }
    }

    fn of(&mut self, stream: &Stream) -> &mut Followed {
        self.streams.entry(stream.clone()).or_insert_with(|| Followed {
            follow: None,
            place: None,
            stirred: true,
            growing: false,
            look_again: Instant::now(),
            try_again: Instant::now(),
            problem: None,
            caught_up: false,
            read_to_end: false,
            reached_rx: None,
            reads_from: None,
            extraction: None,
        })
    }

    fn take(&mut self, config: &IngestConfig, stream: &Stream) -> Result<u64, Error> {
        let (consumer, colour) = (&self.consumer, stream.colour);
        let Following { streams, packets_seen, rows, payload, layouts, leap_seconds, tail, .. } = self;
        let Some(followed) = streams.get_mut(stream) else { return Ok(0) };
        let follow = match &mut followed.follow {
            Some(follow) => follow,
            none => {
                let start = match (followed.place, &followed.problem) {
                    (None, None) => unsealed_start(&config.archive, stream)?,
                    (Some(place), None) => Start::At(place),
                    (place, Some(_)) => readable_start(&config.archive, stream, place)?,
                };
                let spec = FollowSpec {
                    archive: Some(config.archive.clone()),
                    bus: config.bus.clone(),
                    stream: stream.clone(),
                    consumer: consumer.clone(),
                    patience: PATIENCE,
                };
                tail.set_unread(colour, &stream.ring);
                followed.reads_from = None;
                none.insert(Follow::open(spec, start)?)
            }
        };
        rows.clear();
        let mut is_decided = false;
        let mut series = follow.place().series;
        let mut taken = 0;
        let ended = loop {
            if taken >= RECORDS_PER_STEP {
                break Ok(());
            }
            match follow.next(payload) {
                Ok(Item::Record(record)) => {
                    if follow.place().series != series {
                        if rows.len() > 0 {
                            tail.add(colour, &stream.ring, series, rows);
                            rows.clear();
                        }
                        series = follow.place().series;
                    }
                    followed.reads_from.get_or_insert((series, record.seq));
                    let record = Record {
                        seq: record.seq,
                        offset: NOT_IN_A_SEGMENT,
                        kind: record.tag.kind,
                        flags: record.tag.flags,
                        rx_tai_ns: record.tag.received.0,
                        words: record.tag.words,
                        payload,
                    };
                    rows.push(&record, layouts, leap_seconds);
                    if record.kind == KIND_PACKET {
                        note_packet(packets_seen, colour, &record);
                    } else if record.kind == KIND_FRAME {
                        if !is_decided && let Some((link, scid)) = good_frame(&record) {
                            is_decided = true;
                            let rx = record.rx_tai_ns;
                            let is_wanted = layouts.fleet().has_packets_of(scid)
                                && !is_packets_ring_there(config, stream)
                                && !saw_packets(packets_seen, (colour, link, scid), (rx, rx));
                            followed.extraction = match followed.extraction.take().filter(|_| is_wanted) {
                                None if is_wanted => {
                                    Some(begin_extraction(layouts, config, stream, series, record.seq))
                                }
                                known => known,
                            };
                        }
                        if let Some(extraction) = &mut followed.extraction {
                            extraction.push(&record, &mut |packet| {
                                rows.push_extracted(packet, record.seq, layouts, leap_seconds);
                            });
                        }
                    }
                    followed.reached_rx = Some(record.rx_tai_ns);
                    taken += 1;
                }
                // What is missing shows in the catalogue when the segment is sealed.
                Ok(Item::Gap(_) | Item::Series(_)) => {
                    followed.reads_from = None;
                    if let Some(extraction) = &mut followed.extraction {
                        extraction.interrupted();
                    }
                }
                Ok(Item::Empty) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // What was read before something went wrong was read.
        if rows.len() > 0 {
            tail.add(colour, &stream.ring, series, rows);
        }
        if let Some(from) = followed.reads_from {
            let place = follow.place();
            tail.set_read(colour, &stream.ring, from, (place.series, place.position.seq));
        }
        ended?;
        Ok(taken as u64)
    }
}

fn saw_packets(
    seen: &HashMap<PacketSource, (i64, i64)>,
    source: PacketSource,
    (from, to): (i64, i64),
) -> bool {
    seen.get(&source).is_some_and(|(first, last)| {
        first.saturating_sub(CONTACT_SILENCE_NS) <= to && last.saturating_add(CONTACT_SILENCE_NS) >= from
    })
}

fn note_packet(seen: &mut HashMap<PacketSource, (i64, i64)>, colour: Colour, record: &Record<'_>) {
    if let Some(packet) = PacketRecord::from_words(record.flags, record.words) {
        let rx = record.rx_tai_ns;
        let source = (colour, packet.link_id, packet.gvcid.scid);
        let (first, last) = seen.entry(source).or_insert((rx, rx));
        (*first, *last) = (rx.min(*first), rx.max(*last));
    }
}

/// Link and spacecraft of a frame whose header was believed.
fn good_frame(record: &Record<'_>) -> Option<(u16, u16)> {
    let frame = FrameRecord::from_words(record.flags, record.words)?;
    (frame.reason == BadReason::None).then_some((frame.link_id, frame.gvcid.scid))
}

/// Whether a ring of packets beside this one of frames exists, or was recorded.
fn is_packets_ring_there(config: &IngestConfig, stream: &Stream) -> bool {
    let Some(ring) = packets_ring(&stream.ring) else { return false };
    let beside = Stream::new(stream.colour, ring);
    let on_bus = |bus: &std::path::PathBuf| bus.join(beside.colour.directory()).join(&beside.ring).is_dir();
    config.bus.as_ref().is_some_and(on_bus) || beside.directory(&config.archive).is_dir()
}

/// Begins to take packets out of the frames from record `seq` on. What lies before it in sealed segments comes first: a packet
/// may have begun there.
fn begin_extraction(
    layouts: &PacketLayouts,
    config: &IngestConfig,
    stream: &Stream,
    series: u64,
    seq: u64,
) -> TailExtraction {
    let mut extraction = TailExtraction::new(layouts);
    let mut read = || -> Result<(), SegmentError> {
        for mut reader in sealed_before(&config.archive, stream, series, seq)?.into_iter().rev() {
            while let Some(piece) = reader.next()? {
                match piece {
                    Piece::Record(view) => extraction.push(&record_of(&view), &mut |_| {}),
                    Piece::Loss(_) => extraction.interrupted(),
                }
            }
        }
        Ok(())
    };
    if let Err(error) = read() {
        tracing::warn!(%error, "packets of {stream} that begin before the open end are not shown before they are sealed");
        extraction.interrupted();
    }
    extraction
}

/// The sealed segments that end at record `seq`, the nearest first, as far back as packets begin that end behind it.
fn sealed_before(
    archive: &Path,
    stream: &Stream,
    series: u64,
    seq: u64,
) -> Result<Vec<SegmentReader<File>>, SegmentError> {
    let list = fep_segments::list(archive, stream)?;
    let of_series = |entry: &&SegmentEntry| entry.name.series == series;
    let (mut found, mut begins, mut octets) = (Vec::new(), seq, 0);
    for entry in list.iter().rev().filter(of_series) {
        let Some(reader) = fep_segments::open_listed(archive, stream, entry)? else { break };
        // What is behind the record may be sealed by now.
        if reader.end().seq > begins {
            continue;
        }
        if !reader.is_sealed() || reader.end().seq < begins {
            break;
        }
        begins = reader.header().base.seq;
        octets += reader.footer().map_or(0, |footer| footer.octets);
        found.push(reader);
        if octets >= BACK_OCTETS || found.len() == BACK_SEGMENTS {
            break;
        }
    }
    Ok(found)
}

/// The first record that is in no sealed segment. A segment that cannot be read is passed over: what it holds cannot be
/// shown, and must not keep what comes after it from being shown.
fn unsealed_start(archive: &Path, stream: &Stream) -> Result<Start, Error> {
    let list = fep_segments::list(archive, stream)?;
    for entry in list.iter().rev().filter(|entry| entry.state == FileState::Sealed) {
        match fep_segments::open_listed(archive, stream, entry) {
            Ok(None) => {}
            Ok(Some(reader)) => {
                let position = reader.footer().map_or(reader.end(), |footer| footer.end);
                return Ok(Start::At(Place { series: entry.name.series, position }));
            }
            Err(SegmentError::Format { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Start::Oldest)
}

/// The next place after `place` at which a segment begins that can be read; without one, the next record of the ring.
fn readable_start(archive: &Path, stream: &Stream, place: Option<Place>) -> Result<Start, Error> {
    let list = fep_segments::list(archive, stream)?;
    let behind = list.iter().filter(|entry| {
        let begins = (entry.name.series, entry.name.base_pos);
        entry.state != FileState::Removed
            && place.is_none_or(|place| begins > (place.series, place.position.pos))
    });
    for entry in behind {
        match fep_segments::open_listed(archive, stream, entry) {
            Ok(None) => {}
            Ok(Some(reader)) => {
                let position = reader.header().base;
                return Ok(Start::At(Place { series: entry.name.series, position }));
            }
            Err(SegmentError::Format { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Start::Latest)
}
