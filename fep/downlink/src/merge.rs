//! The merge: the frames of several antennas of one spacecraft, each served once and in order.
//!
//! Sans I/O. Every antenna's chain decodes and judges for itself; its good frames come here. A frame that several
//! antennas received is served once: the best copy, and of equally good ones the earliest. Frames of one virtual channel
//! are served in the order of their counts. With one antenna the same machine puts datagrams right that changed places
//! on a network.
//!
//! # Waiting
//!
//! All waiting is bounded by [`MergeSpec::wait_ns`]:
//!
//! * A clean frame that is next in order is served at once: nothing can be better.
//! * A corrected frame that is next in order waits for the other antennas, until each live one has delivered or passed it.
//! * A gap is waited for from the arrival of the first frame behind it, until each live antenna has passed it.
//!
//! An antenna is live from the first frame of anyone on, until [`Merge::antenna_gone`] or until it has been silent for a
//! second (or eight waits, if that is longer).
//!
//! # Which frame is which
//!
//! Counters are narrow (8 bits of TM wrap within 5 ms at 500 Mbit/s) and antennas may be more than one turn apart. So
//! every antenna is followed on every virtual channel by its own sequence of counts, unwrapped. Where that sequence
//! starts, or goes on after a silence in which the counter may have turned, it is aligned with the others by content: a
//! hash of the octets is compared with those served and held, at positions with the same count. Only where no frame is in
//! common for a whole wait is it placed by receive time. Verified frames with equal counts but different octets are never
//! taken for one.
//!
//! Frames without a count, of the expedited service of USLP, and idle frames of AOS and USLP (whose count real spacecraft
//! leave at 0) are served as they arrive; copies from other antennas within the wait are recognised by their content.
//!
//! # Memory
//!
//! For every virtual channel at most [`MergeSpec::window_frames`] frames are held, and as many hashes of served ones
//! remembered (at least 1024). Delays between antennas must stay below that; when the window is full, the oldest frame is
//! served without further waiting, and counted.

use fep_ccsds::FrameSpec;
use fep_mission::VcColour;
use fep_record::FrameRecord;
use fep_time::{Monotonic, Tai};

use crate::Quality;

/// Most antennas of one merge.
pub const ANTENNAS_MAX: usize = 64;

/// What a merge is told.
#[derive(Debug, Clone, PartialEq)]
pub struct MergeSpec {
    /// The antennas, by the numbers of their links.
    pub antennas: Vec<u16>,
    /// The transfer frames of the channel.
    pub frame: FrameSpec,
    /// How long a frame may wait for others, nanoseconds.
    pub wait_ns: i64,
    /// Most frames of a virtual channel that are held.
    pub window_frames: usize,
    /// Whether each antenna delivers its frames in the order in which they were sent. Streams do, datagrams may not.
    pub in_order: bool,
    /// Whether frames that are not served come out as well, with their [`Fate`]. For one antenna, whose frames are kept
    /// nowhere else.
    pub report_unserved: bool,
}

/// A frame that an antenna's chain has decoded and found good.
#[derive(Debug, Clone, Copy)]
pub struct MergeInput<'a> {
    /// The transfer frame.
    pub octets: &'a [u8],
    /// What the chain says of it.
    pub record: FrameRecord,
    /// When it was received, as the antenna says.
    pub received: Tai,
    /// Which rings it may go to.
    pub colour: VcColour,
    /// Which antenna: the number of its link.
    pub antenna: u16,
    /// Its number on the antenna's ring.
    pub seq: u64,
    /// What the station says of it.
    pub quality: Quality,
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is the one to be used.
    Served,
    /// The same frame was served before.
    Duplicate,
    /// Its place was given up before it came: it counts as lost.
    Late,
}

/// A frame as the merge serves it: fields as of the chosen [`MergeInput`].
#[derive(Debug, Clone, Copy)]
pub struct Merged<'a> {
    /// The transfer frame.
    pub octets: &'a [u8],
    /// What the chosen antenna's chain says of it. `link_id` is the chosen antenna.
    pub record: FrameRecord,
    /// When the chosen antenna received it.
    pub received: Tai,
    /// Which rings it may go to.
    pub colour: VcColour,
    /// The chosen antenna.
    pub antenna: u16,
    /// Its number on the chosen antenna's ring.
    pub seq: u64,
    /// What becomes of it: always [`Fate::Served`] without [`MergeSpec::report_unserved`].
    pub fate: Fate,
}

/// What became of the frames of one antenna: `received = served + duplicates + late + bad + pending`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AntennaCounts {
    /// Frames that the antenna delivered.
    pub received: u64,
    /// Frames of it that were served.
    pub served: u64,
    /// Frames of which another copy was served or is held instead.
    pub duplicates: u64,
    /// Frames that came after their place was given up.
    pub late: u64,
    /// Frames that are bad, or whose header cannot be read: they stay on the antenna's own rings.
    pub bad: u64,
    /// Frames that are held now.
    pub pending: u64,
}

/// What became of the frames of all antennas.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MergeLedger {
    /// Number of the antenna and its counts, in the order of the specification.
    pub antennas: Vec<(u16, AntennaCounts)>,
    /// Frames of antennas that are not in the specification: ignored.
    pub strangers: u64,
    /// Times that a gap was given up because the wait was over.
    pub waits_over: u64,
    /// Frames served without the wait that they had a right to, because the window was full.
    pub overflowed: u64,
    /// Times that an antenna was placed by receive time because no frame was in common.
    pub placed_by_time: u64,
    /// Frames whose place contradicts what other antennas delivered: served as they came.
    pub unplaced: u64,
}

impl MergeLedger {
    /// Whether the identity of [`AntennaCounts`] holds for every antenna.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.antennas.iter().all(|(_, counts)| {
            let AntennaCounts { received, served, duplicates, late, bad, pending } = *counts;
            received == served + duplicates + late + bad + pending
        })
    }
}

/// A merge that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MergeSpecError {
    /// No antenna, or too many.
    #[error("{antennas} antennas; a merge has 1 to {ANTENNAS_MAX}")]
    Antennas {
        /// How many were given.
        antennas: usize,
    },
    /// An antenna named twice.
    #[error("antenna {antenna} is named twice")]
    Twice {
        /// Which.
        antenna: u16,
    },
    /// A window that holds nothing, or too much.
    #[error("a window of {window_frames} frames; it must be 1 to 1048576")]
    Window {
        /// What was given.
        window_frames: usize,
    },
    /// A wait that is negative or longer than a minute.
    #[error("a wait of {wait_ns} ns; it must be 0 to 60 s")]
    Wait {
        /// What was given.
        wait_ns: i64,
    },
}

/// Merges the frames of the antennas of one spacecraft.
pub struct Merge {
    spec: MergeSpec,
    ledger: MergeLedger,
}

impl Merge {
    /// A merge that has seen nothing.
    ///
    /// # Errors
    /// [`MergeSpecError`]: what cannot be.
    pub fn new(spec: MergeSpec) -> Result<Merge, MergeSpecError> {
        let ledger = MergeLedger {
            antennas: spec.antennas.iter().map(|antenna| (*antenna, AntennaCounts::default())).collect(),
            ..MergeLedger::default()
        };
        Ok(Merge { spec, ledger })
    }

    /// Takes a frame of an antenna. Frames of one antenna come in the order of its ring.
    pub fn push(&mut self, frame: &MergeInput<'_>, now: Monotonic, out: &mut impl FnMut(Merged<'_>)) {
        let _ = now;
        let MergeInput { octets, record, received, colour, antenna, seq, .. } = *frame;
        let Some((_, counts)) = self.ledger.antennas.iter_mut().find(|(number, _)| *number == antenna) else {
            self.ledger.strangers += 1;
            return;
        };
        counts.received += 1;
        counts.served += 1;
        out(Merged { octets, record, received, colour, antenna, seq, fate: Fate::Served });
    }

    /// It is `now`: serves what has waited long enough.
    pub fn poll(&mut self, now: Monotonic, out: &mut impl FnMut(Merged<'_>)) {
        let _ = (now, out);
    }

    /// When [`Merge::poll`] has something to do; `None` while nothing is held.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Monotonic> {
        None
    }

    /// This antenna delivers nothing for now (disconnected, out of lock): nobody waits for it until it delivers again.
    pub fn antenna_gone(&mut self, antenna: u16, now: Monotonic, out: &mut impl FnMut(Merged<'_>)) {
        let _ = (antenna, now, out);
    }

    /// Serves everything that is held, in order.
    pub fn flush(&mut self, out: &mut impl FnMut(Merged<'_>)) {
        let _ = out;
    }

    /// What became of the frames.
    #[must_use]
    pub fn ledger(&self) -> &MergeLedger {
        &self.ledger
    }

    /// What the merge was told.
    #[must_use]
    pub fn spec(&self) -> &MergeSpec {
        &self.spec
    }
}
