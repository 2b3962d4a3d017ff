//! The merge: the frames of several antennas of one spacecraft, each served once and in order.
//!
//! Sans I/O. Every antenna's chain decodes and judges for itself; its good frames come here. A frame that several
//! antennas received is served once: the best copy, and of equally good ones the earliest. Frames of one virtual channel
//! are served in the order of their counts. With one antenna the same machine puts datagrams right that changed places
//! on a network.
//!
//! # Waiting
//!
//! All waiting is bounded by [`MergeSpec::wait_ns`], counted from the arrival of each frame: none is held longer, whatever
//! before it is missing or came later.
//!
//! * A clean frame that is next in order is served at once: nothing can be better.
//! * A corrected frame that is next in order waits for the other antennas, until each live one has delivered or passed it.
//! * A gap is waited for from the arrival of the first frame behind it, until each live antenna has passed it.
//!
//! The first frame of a virtual channel waits until each live antenna has delivered one of it: others may still bring
//! earlier ones. An antenna is live from the first frame of anyone on, until [`Merge::antenna_gone`] or until it has been silent for a
//! second (or eight waits, if that is longer).
//!
//! # Which frame is which
//!
//! Counters are narrow (8 bits of TM wrap within 5 ms at 500 Mbit/s) and antennas may be more than one turn apart. So
//! every antenna is followed on every virtual channel by its own sequence of counts, unwrapped. Where that sequence
//! starts, or goes on after a silence in which the counter may have turned, it is aligned with the others by content: a
//! hash of the octets is compared with those served and held, at positions with the same count. Only where no frame is in
//! common for a whole wait is it placed by receive time, allowing for how much later than others it was seen to receive. Where
//! all antennas miss frames at once without saying so ([`Merge::antenna_gone`]), or the octets of a virtual channel repeat with
//! its counter, only receive times tell the turns apart. Verified frames with equal counts but different octets are never
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

mod arrivals;
mod frame;
mod lane;
mod past;
mod place;
mod track;

use std::collections::HashMap;

use fep_ccsds::{Frame, FrameSpec, Gvcid};
use fep_mission::Colour;
use fep_record::{BadReason, FrameRecord};
use fep_time::{Monotonic, Tai};

use crate::Quality;
use arrivals::Arrivals;
use frame::{Antennas, Facts, Outlet, digest_of, hash_of};
use lane::{Lane, Moment, Rules};

/// Most antennas of one merge.
pub const ANTENNAS_MAX: usize = 64;

/// Parameters of a merge.
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
    pub colour: Colour,
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
    pub colour: Colour,
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

/// Positions behind that are remembered at least.
const MEMORY_LEAST: usize = 1024;
/// An antenna that delivers nothing for so long is not waited for, nor for so many waits.
const SILENCE_NS: i64 = 1_000_000_000;
const SILENCE_WAITS: i64 = 8;
/// Most virtual channels that are put in order; frames of more are served as they come.
const LANES_MAX: usize = 4096;
/// Longest wait.
const WAIT_MAX_NS: i64 = 60_000_000_000;
/// Largest window.
const WINDOW_MAX: usize = 1 << 20;

/// Merges the frames of the antennas of one spacecraft.
pub struct Merge {
    spec: MergeSpec,
    ledger: MergeLedger,
    rules: Rules,
    antennas: Vec<Antenna>,
    index: HashMap<u64, usize>,
    lanes: Vec<Lane>,
    /// The lane of the last frame.
    recent: (u64, usize),
    /// Frames without a usable count, of all virtual channels.
    arrivals: Arrivals,
    free: Vec<Vec<u8>>,
    started: Option<Monotonic>,
    /// The antenna whose frames are recalled at the moment: nobody waits for another.
    recalled: Option<usize>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Antenna {
    heard: Option<Monotonic>,
    is_gone: bool,
    /// Bad frames that it delivered.
    bad: u64,
}

impl Merge {
    /// A merge that has seen nothing.
    ///
    /// # Errors
    /// [`MergeSpecError`]: what cannot be.
    pub fn new(spec: MergeSpec) -> Result<Merge, MergeSpecError> {
        let antennas = spec.antennas.len();
        if !(1..=ANTENNAS_MAX).contains(&antennas) {
            return Err(MergeSpecError::Antennas { antennas });
        }
        for (place, antenna) in spec.antennas.iter().enumerate() {
            if spec.antennas[..place].contains(antenna) {
                return Err(MergeSpecError::Twice { antenna: *antenna });
            }
        }
        let (wait_ns, window) = (spec.wait_ns, spec.window_frames);
        if !(1..=WINDOW_MAX).contains(&window) {
            return Err(MergeSpecError::Window { window_frames: window });
        }
        if !(0..=WAIT_MAX_NS).contains(&wait_ns) {
            return Err(MergeSpecError::Wait { wait_ns });
        }
        let rules =
            Rules { wait_ns, window, memory: window.max(MEMORY_LEAST), in_order: spec.in_order, antennas };
        let ledger = MergeLedger {
            antennas: spec.antennas.iter().map(|antenna| (*antenna, AntennaCounts::default())).collect(),
            ..MergeLedger::default()
        };
        Ok(Merge {
            ledger,
            rules,
            antennas: vec![Antenna::default(); antennas],
            index: HashMap::new(),
            lanes: Vec::new(),
            recent: (u64::MAX, 0),
            arrivals: Arrivals::new(wait_ns, window),
            free: Vec::new(),
            started: None,
            recalled: None,
            spec,
        })
    }

    /// Takes a frame of an antenna. Frames of one antenna come in the order of its ring.
    pub fn push(&mut self, frame: &MergeInput<'_>, now: Monotonic, out: &mut impl FnMut(Merged<'_>)) {
        let Some(antenna) = self.spec.antennas.iter().position(|antenna| *antenna == frame.antenna) else {
            self.ledger.strangers += 1;
            return;
        };
        let parsed = match frame.record.reason {
            BadReason::None | BadReason::PointerInvalid => {
                Frame::parse_unchecked(&self.spec.frame, frame.octets).ok()
            }
            _ => None,
        };
        match parsed {
            Some(parsed) => self.push_parsed(frame, &parsed, antenna, now, out),
            None => {
                self.heard(antenna, now);
                let counts = &mut self.ledger.antennas[antenna].1;
                counts.received += 1;
                counts.bad += 1;
                self.antennas[antenna].bad += 1;
            }
        }
    }

    /// Shows it a frame that was served in an earlier life, in the order of serving: copies of it are known from now on. Its
    /// antenna is one of the specification that delivers nothing. Nothing is held for the sake of others meanwhile.
    pub fn recall(&mut self, frame: &MergeInput<'_>, now: Monotonic) {
        self.recalled = self.spec.antennas.iter().position(|antenna| *antenna == frame.antenna);
        self.push(frame, now, &mut |_| {});
        self.recalled = None;
    }

    /// Takes a frame whose header has been read, of the antenna with this index.
    #[inline]
    pub(crate) fn push_parsed(
        &mut self,
        input: &MergeInput<'_>,
        frame: &Frame<'_>,
        antenna: usize,
        now: Monotonic,
        out: &mut impl FnMut(Merged<'_>),
    ) {
        self.heard(antenna, now);
        self.ledger.antennas[antenna].1.received += 1;
        let modulus = frame.frame_count_modulus;
        let is_fill = frame.idle && frame.mc_count.is_none();
        let is_counted = modulus > 1 && !frame.is_expedited() && !is_fill;
        let hash = match (self.rules.antennas, is_counted) {
            (1, true) => digest_of(input.octets),
            (1, false) => 0,
            _ => hash_of(input.octets),
        };
        let facts = Facts::of(input, antenna, now, hash, frame.frame_count, frame.idle);
        let lane = if is_counted { self.lane(frame.gvcid, modulus) } else { None };
        let moment = Moment { now, live: self.live(now) };
        let Merge { ledger, free, spec, lanes, arrivals, .. } = self;
        let outlet = &mut Outlet { ledger, free, report_unserved: spec.report_unserved, out };
        match lane {
            Some(lane) => lanes[lane].push(input.octets, &facts, self.antennas[antenna].bad, moment, outlet),
            None if self.rules.antennas > 1 && arrivals.is_copy(hash, antenna, now) => {
                outlet.duplicate(input.octets, &facts);
            }
            None => outlet.serve(input.octets, &facts),
        }
    }

    /// Whether a frame can be used without being pushed: the only antenna delivers the one that is next in order, and
    /// nothing is held. It counts as received and served then.
    #[inline]
    pub(crate) fn is_next(
        &mut self,
        frame: &Frame<'_>,
        octets: &[u8],
        received: Tai,
        is_verified: bool,
        now: Monotonic,
    ) -> bool {
        let key = lane_key(frame.gvcid, frame.frame_count_modulus);
        if self.rules.antennas != 1 || self.recent.0 != key || frame.is_expedited() {
            return false;
        }
        let is_next = self.lanes[self.recent.1].is_next(frame.frame_count, octets, received, is_verified);
        if is_next {
            self.heard(0, now);
            let counts = &mut self.ledger.antennas[0].1;
            counts.received += 1;
            counts.served += 1;
        }
        is_next
    }

    /// It is `now`: serves what has waited long enough.
    pub fn poll(&mut self, now: Monotonic, out: &mut impl FnMut(Merged<'_>)) {
        let moment = Moment { now, live: self.live(now) };
        self.each_lane(out, |lane, outlet| lane.poll(moment, outlet));
    }

    /// Whether frames are held.
    #[inline]
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.ledger.antennas.iter().any(|(_, counts)| counts.pending > 0)
    }

    /// When [`Merge::poll`] has something to do; `None` while nothing is held.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Monotonic> {
        self.lanes.iter().filter_map(Lane::deadline).min()
    }

    /// This antenna delivers nothing for now (disconnected, out of lock, or records of its ring were missed): nobody waits
    /// for it until it delivers again, and frames may be missing before its next one, any number of them.
    pub fn antenna_gone(&mut self, antenna: u16, now: Monotonic, out: &mut impl FnMut(Merged<'_>)) {
        let Some(antenna) = self.spec.antennas.iter().position(|known| *known == antenna) else { return };
        self.antennas[antenna].is_gone = true;
        for lane in &mut self.lanes {
            lane.tracks[antenna].was_gone = true;
        }
        self.poll(now, out);
    }

    /// Serves everything that is held, in order.
    pub fn flush(&mut self, out: &mut impl FnMut(Merged<'_>)) {
        let moment = Moment { now: Monotonic::NEVER, live: 0 };
        self.each_lane(out, |lane, outlet| lane.flush(moment, outlet));
    }

    /// Serves everything that is held and forgets every sequence: the clock was set, and receive times before and after it
    /// say nothing of one another. Copies that are still under way come twice.
    pub fn start_anew(&mut self, out: &mut impl FnMut(Merged<'_>)) {
        self.flush(out);
        self.forget();
    }

    /// Forgets every sequence, and what is held: it counts as late.
    pub(crate) fn forget(&mut self) {
        for (_, counts) in &mut self.ledger.antennas {
            counts.late += std::mem::take(&mut counts.pending);
        }
        self.lanes.clear();
        self.index.clear();
        self.recent = (u64::MAX, 0);
    }

    /// What became of the frames.
    #[must_use]
    pub fn ledger(&self) -> &MergeLedger {
        &self.ledger
    }

    /// Its parameters.
    #[must_use]
    pub fn spec(&self) -> &MergeSpec {
        &self.spec
    }

    fn each_lane<F: FnMut(Merged<'_>)>(
        &mut self,
        out: &mut F,
        mut act: impl FnMut(&mut Lane, &mut Outlet<'_, F>),
    ) {
        let Merge { ledger, free, spec, lanes, .. } = self;
        let outlet = &mut Outlet { ledger, free, report_unserved: spec.report_unserved, out };
        for lane in lanes {
            act(lane, outlet);
        }
    }

    fn heard(&mut self, antenna: usize, now: Monotonic) {
        self.started.get_or_insert(now);
        let antenna = &mut self.antennas[antenna];
        (antenna.heard, antenna.is_gone) = (Some(now), false);
    }

    /// The antennas that are waited for.
    #[inline]
    fn live(&self, now: Monotonic) -> Antennas {
        if let Some(antenna) = self.recalled {
            return 1 << antenna;
        }
        let silence_ns = SILENCE_NS.max(SILENCE_WAITS * self.rules.wait_ns);
        let mut live = 0;
        for (place, antenna) in self.antennas.iter().enumerate() {
            let since = antenna.heard.or(self.started).unwrap_or(now);
            let is_live = !antenna.is_gone && now.ns_since(since) <= silence_ns;
            live |= Antennas::from(is_live) << place;
        }
        live
    }

    /// The lane of a virtual channel; `None` when there are too many.
    #[inline]
    fn lane(&mut self, gvcid: Gvcid, modulus: u64) -> Option<usize> {
        let key = lane_key(gvcid, modulus);
        if self.recent.0 == key {
            return Some(self.recent.1);
        }
        let lane = match self.index.get(&key) {
            Some(lane) => *lane,
            None if self.lanes.len() < LANES_MAX => {
                self.lanes.push(Lane::new(modulus, self.rules));
                self.index.insert(key, self.lanes.len() - 1);
                self.lanes.len() - 1
            }
            None => return None,
        };
        self.recent = (key, lane);
        Some(lane)
    }
}

/// One number for a virtual channel and the width of its counter.
fn lane_key(gvcid: Gvcid, modulus: u64) -> u64 {
    u64::from(gvcid.scid)
        | u64::from(gvcid.vcid) << 16
        | u64::from(gvcid.tfvn) << 24
        | u64::from(modulus.trailing_zeros()) << 32
}
