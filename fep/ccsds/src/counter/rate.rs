//! How fast the frames of a channel come, measured where nothing was missing.

use serde::{Deserialize, Serialize};

use super::judge::Expected;

/// A slice of the measurement is closed when it has so many frames ...
const SLICE_FRAMES: u64 = 32;
/// ... and is so long.
const SLICE_NS: u64 = 250_000_000;
/// Slices kept, the latest.
const SLICES: usize = 8;
/// Frames from which on the slice in progress says something to [`FIRST_DOUBT`].
const FEW_FRAMES: u64 = 16;
/// A measurement of one open slice with few frames is good to this factor.
const FIRST_DOUBT: f64 = 1.25;
/// And one with hardly any.
const FEW_DOUBT: f64 = 4.0;
/// Rates are steady to this share: clocks drift, times of reception are not exact.
const STEADY: f64 = 0.02;
/// Frames of doubt of any number: the ends of the time without frames.
const DOUBT_FRAMES: f64 = 2.0;
/// And what the receive times may be wrong by.
const DOUBT_NS: f64 = 1e6;

/// The least and the greatest rate at which a channel was seen to send, in frames per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateBounds {
    /// Least.
    pub low_hz: f64,
    /// Greatest.
    pub high_hz: f64,
}

impl RateBounds {
    /// Both finite, not negative, in order: what may come back from a page that somebody else can write.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.low_hz.is_finite()
            && self.high_hz.is_finite()
            && 0.0 <= self.low_hz
            && self.low_hz <= self.high_hz
    }

    /// Frames that `ns` without frames are worth.
    pub(super) fn expected(&self, ns: u64) -> Expected {
        let (ns, second) = (ns as f64, 1e9);
        Expected {
            low: self.low_hz * (1.0 - STEADY) * (ns - DOUBT_NS).max(0.0) / second - DOUBT_FRAMES,
            high: self.high_hz * (1.0 + STEADY) * (ns + DOUBT_NS) / second + DOUBT_FRAMES,
        }
    }
}

/// Measures a rate in slices; the bounds are the slowest and the fastest of the latest.
///
/// A mean would be wrong for channels that send in bursts: how much a silence of theirs is worth nobody can say, and the
/// bounds, far apart, say so.
#[derive(Debug, Clone, Default)]
pub(super) struct FrameRate {
    frames: u64,
    ns: u64,
    slices_hz: [f64; SLICES],
    closed: usize,
    /// Bounds of the slices kept; before the first is closed those of an earlier life of the process.
    known: Option<RateBounds>,
}

impl FrameRate {
    pub(super) fn resumed(bounds: Option<RateBounds>) -> FrameRate {
        FrameRate { known: bounds.filter(RateBounds::is_valid), ..FrameRate::default() }
    }

    /// So many frames came (or are known to have been sent) in so long. A negative time is a clock that was set: no measure.
    #[inline]
    pub(super) fn add(&mut self, frames: u64, ns: i64) {
        let Ok(ns) = u64::try_from(ns) else { return };
        self.frames = self.frames.saturating_add(frames);
        self.ns = self.ns.saturating_add(ns);
        if self.frames >= SLICE_FRAMES && self.ns >= SLICE_NS {
            self.close();
        }
    }

    #[cold]
    fn close(&mut self) {
        self.slices_hz[self.closed % SLICES] = self.running_hz();
        self.closed += 1;
        (self.frames, self.ns) = (0, 0);
        let kept = &self.slices_hz[..SLICES.min(self.closed)];
        self.known = Some(RateBounds {
            low_hz: kept.iter().copied().fold(f64::INFINITY, f64::min),
            high_hz: kept.iter().copied().fold(0.0, f64::max),
        });
    }

    fn running_hz(&self) -> f64 {
        self.frames as f64 * 1e9 / self.ns as f64
    }

    #[inline]
    pub(super) fn bounds(&self) -> Option<RateBounds> {
        if self.known.is_some() {
            return self.known;
        }
        if self.frames == 0 || self.ns == 0 {
            return None;
        }
        let doubt = if self.frames >= FEW_FRAMES { FIRST_DOUBT } else { FEW_DOUBT };
        Some(RateBounds { low_hz: self.running_hz() / doubt, high_hz: self.running_hz() * doubt })
    }

    /// Time from one frame to the next, in nanoseconds; 0 when it is not known.
    pub(super) fn period_ns(&self) -> u64 {
        self.bounds().map_or(0, |bounds| {
            let middle_hz = f64::midpoint(bounds.low_hz, bounds.high_hz);
            if middle_hz > 0.0 { (1e9 / middle_hz) as u64 } else { 0 }
        })
    }
}
