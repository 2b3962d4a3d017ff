//! What exists and is in no index yet, of the rings that a question is about: sealed segments whose rows are in the tail, those
//! that are read record by record instead, and what is missing in the answer.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fep_archive_query::Unit;
use fep_catalogue::{
    Behind, CONTACT_SILENCE_NS, Colour, Segment, SegmentId, SegmentState, TailSnapshot, Unindexed,
    packets_ring,
};
use fep_segments::{Footer, SegmentEntry, SegmentError, SegmentState as FileState, Stream, footer_listed};

/// How long a question waits until what exists was looked at.
pub(crate) const CATCH_UP_WITHIN: Duration = Duration::from_secs(5);
/// Segments that are looked at for one answer. Where more wait, an answer that needed the others says that it is not whole.
const SEGMENTS_MAX: usize = 4096;
/// Segments that are named one by one.
const NAMED_MAX: usize = 20;

/// A sealed segment that is read without an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Its name in the catalogue.
    pub id: SegmentId,
    /// Its ring.
    pub stream: Stream,
    /// Its file.
    pub entry: SegmentEntry,
    /// Octets of it.
    pub octets: u64,
    /// Index files of the ring that are read before it.
    pub files_before: usize,
}

/// What is in no index.
#[derive(Debug, Default)]
pub(crate) struct Remainder {
    /// To be read record by record, in order.
    pub(crate) scans: Vec<Scan>,
    /// What is missing, in words.
    pub(crate) missing: Vec<String>,
}

/// Looks at what is in no index. The rows of what is to be read record by record are dropped from the tail, so that each is there
/// once. `caught_up`: whether everything that existed when the question came was looked at. Blocking.
///
/// # Errors
/// The disk.
pub(crate) fn look(
    archive: &Path,
    tail: &mut TailSnapshot,
    caught_up: bool,
    is_wanted: impl Fn(&Stream) -> bool,
    unit: Unit,
    [from_tai_ns, to_tai_ns]: [Option<i64>; 2],
) -> Result<Remainder, SegmentError> {
    let mut remainder = Remainder::default();
    let backlog = tail.backlog().clone();
    if !backlog.is_attended {
        return Ok(remainder);
    }
    if !backlog.has_begun {
        remainder
            .missing
            .push("the archive has not looked at all that was recorded since it was started".to_owned());
    } else if !caught_up {
        let waited_s = CATCH_UP_WITHIN.as_secs();
        remainder.missing.push(format!("what was recorded last could not be read within {waited_s} s"));
    }
    for (stream, behind) in backlog.behind.iter().filter(|(stream, _)| is_wanted(stream)) {
        remainder.missing.push(match behind {
            Behind::Reading => format!("{stream}: its open end is still being read"),
            Behind::Problem(problem) => format!("{stream}: its open end cannot be read: {problem}"),
        });
    }
    for (colour, ring, rows) in tail.left_out() {
        let stream = Stream::new(colour, ring);
        if is_wanted(&stream) {
            remainder.missing.push(format!("{stream}: {rows} rows of its open end have no room"));
        }
    }
    let is_within = |footer: &Footer| {
        footer.records > 0
            && from_tai_ns.is_none_or(|from| footer.rx_max_tai_ns >= from)
            && to_tai_ns.is_none_or(|to| footer.rx_min_tai_ns < to)
    };
    let mut streams: BTreeMap<&Stream, Vec<(&SegmentId, &Unindexed)>> = BTreeMap::new();
    for (id, segment) in backlog.segments.iter().filter(|(_, segment)| is_wanted(&segment.stream)) {
        streams.entry(&segment.stream).or_default().push((id, segment));
    }
    let has_packets = tail.layouts().fleet().has_packets();
    let mut looked_at = 0;
    let mut unread = Vec::new();
    let mut unextracted = Vec::new();
    for (stream, segments) in streams {
        let mut whole: Vec<(Scan, Footer)> = Vec::new();
        for (id, segment) in segments {
            looked_at += 1;
            let Some(entry) = segment.entry.as_ref().filter(|_| looked_at <= SEGMENTS_MAX) else {
                unread.push((id, "it is not indexed yet"));
                continue;
            };
            match footer_listed(archive, stream, entry) {
                Ok(Some((_, Some(footer)))) if !is_within(&footer) => {}
                Ok(Some((entry, Some(footer))))
                    if entry.state == FileState::Sealed && segment.problem.is_none() =>
                {
                    let (id, stream) = (id.clone(), stream.clone());
                    whole.push((Scan { id, stream, entry, octets: segment.octets, files_before: 0 }, footer));
                }
                Ok(Some(_)) if segment.problem.is_none() => {
                    unread.push((id, "it was moved and is not indexed yet"))
                }
                Ok(_) => unread.push((id, "it cannot be indexed")),
                Err(error) if error.condemned().is_some() => unread.push((id, "it cannot be read")),
                Err(error) => return Err(error),
            }
        }
        // What the tail has as a whole is read there, if nothing before it has to be read from its file.
        let held = |(_, footer): &&(Scan, Footer)| {
            tail.holds(stream.colour, &stream.ring, footer.series, footer.base.seq, footer.end.seq)
        };
        let scanned = whole.len() - whole.iter().rev().take_while(held).count();
        if unit == Unit::Packets && has_packets && holds_packets_in_frames(archive, stream) {
            // Reading such a segment record by record finds no packet; what the tail has of its packets stays.
            unextracted.extend(whole.into_iter().take(scanned).map(|(scan, _)| scan.id));
            continue;
        }
        if let Some((_, footer)) = scanned.checked_sub(1).and_then(|last| whole.get(last)) {
            tail.drop_before(stream.colour, &stream.ring, footer.series, footer.end.seq);
        }
        remainder.scans.extend(whole.into_iter().take(scanned).map(|(scan, _)| scan));
    }
    remainder.missing.extend(name_some(unread.len(), "not indexed yet", unread.into_iter()));
    let unextracted = unextracted.iter().map(|id| (id, NOT_EXTRACTED));
    remainder.missing.extend(name_some(unextracted.len(), "not indexed yet", unextracted));
    Ok(remainder)
}

const NOT_EXTRACTED: &str = "the packets in its frames are not taken out yet";

/// Whether the packets that the frames of a ring hold are found in the frames alone: no ring of packets beside it was recorded.
fn holds_packets_in_frames(archive: &Path, stream: &Stream) -> bool {
    packets_ring(&stream.ring)
        .is_some_and(|ring| !Stream::new(stream.colour, ring).directory(archive).is_dir())
}

/// Segments of frames without an index of packets that the taking in has not come to since its start, and that hold packets of
/// which no others were recorded, as far as these segments show.
pub(crate) fn not_extracted(
    tail: &TailSnapshot,
    frames_alone: &[&Segment],
    segments: &[Segment],
) -> Vec<String> {
    let backlog = tail.backlog();
    if !backlog.is_attended || !tail.layouts().fleet().has_packets() {
        return Vec::new();
    }
    let recorded = RecordedPackets::of(segments);
    let open = frames_alone.iter().filter_map(|segment| {
        let id = segment.facts.id();
        let why = match segment.state {
            SegmentState::Ok if backlog.extraction.has_passed(&id) => return None,
            SegmentState::Ok => NOT_EXTRACTED,
            _ => "it is in quarantine, and with it the packets in its frames",
        };
        (!recorded.are_beside(segment)).then_some((id, why))
    });
    let open: Vec<(SegmentId, &str)> = open.collect();
    name_some(open.len(), "without their packets", open.iter().map(|(id, why)| (id, *why))).collect()
}

/// When packets were recorded as such, by colour and ring: first reception, and the last one of it and all before.
struct RecordedPackets<'s>(BTreeMap<(Colour, &'s str), Vec<(i64, i64)>>);

impl RecordedPackets<'_> {
    fn of(segments: &[Segment]) -> RecordedPackets<'_> {
        let mut times: BTreeMap<(Colour, &str), Vec<(i64, i64)>> = BTreeMap::new();
        for segment in segments.iter().filter(|segment| segment.packets > 0 && segment.frames == 0) {
            if let Some(span) = segment.first_rx_tai_ns.zip(segment.last_rx_tai_ns) {
                times.entry((segment.facts.colour, &segment.facts.ring)).or_default().push(span);
            }
        }
        for spans in times.values_mut() {
            spans.sort_unstable();
            let mut latest = i64::MIN;
            for (_, last) in spans {
                latest = latest.max(*last);
                *last = latest;
            }
        }
        RecordedPackets(times)
    }

    /// Whether there are any beside these frames, give or take the longest silence within a contact.
    fn are_beside(&self, frames: &Segment) -> bool {
        let ring = packets_ring(&frames.facts.ring).unwrap_or_default();
        let spans = self.0.get(&(frames.facts.colour, ring.as_str()));
        let Some((spans, (from, to))) = spans.zip(frames.first_rx_tai_ns.zip(frames.last_rx_tai_ns)) else {
            return false;
        };
        let begun = spans.partition_point(|(first, _)| first.saturating_sub(CONTACT_SILENCE_NS) <= to);
        let last = begun.checked_sub(1).and_then(|at| spans.get(at));
        last.is_some_and(|(_, latest)| latest.saturating_add(CONTACT_SILENCE_NS) >= from)
    }
}

/// The first of them by name, and how many more.
fn name_some<'s>(
    count: usize,
    what: &'static str,
    segments: impl Iterator<Item = (&'s SegmentId, &'s str)>,
) -> impl Iterator<Item = String> {
    let named = segments.take(NAMED_MAX).map(|(id, why)| format!("segment {id}: {why}"));
    let more = count.checked_sub(NAMED_MAX).filter(|more| *more > 0);
    named.chain(more.map(|more| format!("{more} more segments are {what}")))
}
