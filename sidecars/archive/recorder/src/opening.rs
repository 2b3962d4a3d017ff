//! Where a recording begins or goes on: what the segments say, what the ring still has.

use std::path::Path;

use fep_bus::{Consumer, Poll, Position};
use fep_segments::clock::unix_now_ns;
use fep_segments::{
    LossCause, Place, Recovered, SegmentError, SegmentName, SegmentReader, SegmentState, Stream, list,
    recover,
};

use crate::event::Event;
use crate::pending::StreamFigures;
use crate::sealer::SealJob;
use crate::stream::{StreamOptions, StreamRecorder};

/// Where the segments of a stream end.
pub(crate) struct Found {
    pub(crate) last: Option<(SegmentName, u64)>,
    pub(crate) end: Position,
    pub(crate) doubt: Position,
    pub(crate) open: Vec<Recovered>,
}

/// What is left of a recording that has to be opened again.
pub(crate) struct Seed {
    pub(crate) options: StreamOptions,
    pub(crate) stream: Stream,
    pub(crate) index: u16,
    pub(crate) opening: u16,
    pub(crate) figures: StreamFigures,
    pub(crate) trusted: (Place, LossCause),
    pub(crate) events: Vec<Event>,
    pub(crate) jobs: Vec<SealJob>,
}

impl Seed {
    /// Opens it again.
    pub(crate) fn open(&self) -> Result<StreamRecorder, SegmentError> {
        StreamRecorder::open_after(
            self.options.clone(),
            self.stream.clone(),
            self.index,
            self.opening,
            self.figures.clone(),
            Some(self.trusted),
        )
    }
}

/// Looks through the segments of a stream: where they end, and which were never sealed. Nothing after `trusted` is
/// believed: a disk that has refused a write may have lost others.
pub(crate) fn find_end(
    archive: &Path,
    stream: &Stream,
    trusted: Option<Place>,
) -> Result<Found, SegmentError> {
    let mut found =
        Found { last: None, end: Position::default(), doubt: Position::default(), open: Vec::new() };
    // Backwards: only the newest says where to go on, so that a start takes as long with a thousand segments as with one.
    for entry in list(archive, stream)?.into_iter().rev() {
        match entry.state {
            SegmentState::Removed => {}
            SegmentState::Sealed => {
                if found.last.is_none() {
                    let reader = SegmentReader::open(&entry.path)?;
                    found.last = Some((entry.name, reader.header().instance));
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
                    found.last = Some((entry.name, recovered.header.instance));
                    found.end = recovered.end().position;
                    found.doubt = recovered.first_doubt().position;
                }
                found.open.push(recovered);
            }
        }
    }
    found.open.reverse();
    if let (Some(trusted), Some((last, _))) = (trusted, found.last)
        && trusted.series == last.series
        && trusted.position.seq < found.doubt.seq
    {
        found.doubt = trusted.position;
    }
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
