//! Where a recording begins or goes on: what the segments say, what the ring still has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fep_bus::{Consumer, Poll, Position};
use fep_segments::{
    RecorderLock, Recovered, SegmentError, SegmentName, SegmentReader, SegmentState, Stream, list, recover,
};
use fep_time::clock::unix_now_ns;

use crate::event::Event;
use crate::figures::RingFigures;
use crate::pending::{Lost, Standstill, StreamFigures};
use crate::stream::{StreamOptions, StreamRecorder};

/// Where the segments of a stream end.
pub(crate) struct Found {
    /// Series of the last one, and instance of the ring it was copied from.
    pub(crate) last: Option<(u64, u64)>,
    pub(crate) end: Position,
    pub(crate) doubt: Position,
    /// Never sealed.
    pub(crate) open: Vec<Recovered>,
}

/// What is left of a recording that has to be opened again.
pub(crate) struct Seed {
    pub(crate) options: StreamOptions,
    pub(crate) stream: Stream,
    pub(crate) index: u16,
    pub(crate) opening: u16,
    pub(crate) figures: StreamFigures,
    pub(crate) lock: Arc<RecorderLock>,
    pub(crate) file_system: u64,
    /// The numbering so far, if there is one.
    pub(crate) series: Option<u64>,
    /// Of the ring.
    pub(crate) instance: u64,
    /// What is on disk for certain ends here. Nothing after it is believed: a disk that has refused one thing may have lost
    /// others.
    pub(crate) durable: Position,
    pub(crate) previous: Option<SegmentName>,
    /// Segments in which nothing is for certain.
    pub(crate) empty: Vec<PathBuf>,
    pub(crate) standstill: Option<Standstill>,
    /// As it was when the recording ended: not on disk, and on no disk yet.
    pub(crate) unrecorded: Lost,
    pub(crate) lag_records: u64,
    pub(crate) events: Vec<Event>,
}

impl Seed {
    /// What there is to tell of the ring meanwhile.
    pub(crate) fn told(&self) -> RingFigures<'_> {
        let mut lost = self.figures.lost();
        lost.add(self.unrecorded);
        RingFigures {
            ring: self.stream.to_string(),
            figures: &self.figures,
            lost,
            lag_records: self.lag_records,
            latency_max_ns: 0,
            standstill: self.standstill.map(|standstill| standstill.cause),
        }
    }

    /// Opens it again.
    pub(crate) fn open(&self) -> Result<StreamRecorder, SegmentError> {
        StreamRecorder::reopen(self)
    }
}

/// Looks through the segments of a stream: where they end, and which were never sealed.
pub(crate) fn find_end(archive: &Path, stream: &Stream) -> Result<Found, SegmentError> {
    let mut found =
        Found { last: None, end: Position::default(), doubt: Position::default(), open: Vec::new() };
    // Backwards: only the newest says where to go on, so that a start takes as long with a thousand segments as with one.
    for entry in list(archive, stream)?.into_iter().rev() {
        match entry.state {
            SegmentState::Removed => {}
            SegmentState::Sealed => {
                if found.last.is_none() {
                    let reader = SegmentReader::open(&entry.path)?;
                    found.last = Some((entry.name.series, reader.header().instance));
                    found.end = reader.footer().map_or(reader.end(), |footer| footer.end);
                    found.doubt = found.end;
                }
            }
            SegmentState::Open => {
                let recovered = match recover(&entry.path) {
                    Ok(recovered) => recovered,
                    // Not even its header page was written: it holds nothing.
                    Err(SegmentError::Format { .. }) => {
                        quarantine(&entry.path)?;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if found.last.is_none() {
                    found.last = Some((entry.name.series, recovered.header.instance));
                    found.end = recovered.end().position;
                    found.doubt = recovered.first_doubt().position;
                }
                found.open.push(recovered);
            }
        }
    }
    found.open.reverse();
    Ok(found)
}

/// A file that cannot be read as a segment is put aside, never removed: somebody may want to look at it.
pub(crate) fn quarantine(path: &Path) -> Result<(), SegmentError> {
    let aside = path.with_extension("damaged");
    std::fs::rename(path, &aside).map_err(SegmentError::io(path, "put aside"))
}

/// Whether the ring still has the record at `position`, or has not come to it yet.
pub(crate) fn stands_at(consumer: &mut Consumer, position: Position) -> bool {
    !matches!(consumer.peek(), Poll::Gap(_)) && consumer.position().seq == position.seq
}

pub(crate) fn random_id() -> u64 {
    let mut octets = [0; 8];
    // The numbers only have to differ between segments: where the system gives none, the clock does.
    match rustix::rand::getrandom(&mut octets, rustix::rand::GetRandomFlags::empty()) {
        Ok(8) => u64::from_le_bytes(octets) | 1,
        _ => unix_now_ns() | 1,
    }
}
