//! A frame within the merge, and the way out of it.

use fep_mission::Colour;
use fep_record::{FrameFlags, FrameRecord};
use fep_time::{Monotonic, Tai};
use twox_hash::XxHash3_64;

use super::{AntennaCounts, Fate, MergeInput, MergeLedger, Merged};
use crate::Quality;

/// A set of antennas, by their index in the specification.
pub(super) type Antennas = u64;

/// What is known of a frame, without its octets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) record: FrameRecord,
    pub(super) received: Tai,
    pub(super) colour: Colour,
    /// Index of the antenna in the specification.
    pub(super) antenna: usize,
    pub(super) seq: u64,
    /// When it reached the merge.
    pub(super) arrived: Monotonic,
    pub(super) hash: u64,
    /// How bad it is: less is better.
    pub(super) badness: u64,
    /// Nothing can be better.
    pub(super) is_clean: bool,
    /// A code or a FECF has verified it.
    pub(super) is_verified: bool,
    pub(super) is_idle: bool,
    /// Virtual channel count, and the frame's own number when it has none.
    pub(super) count: u64,
}

/// Octets from each end of a frame that a digest is made of.
const DIGEST_END: usize = 32;

impl Facts {
    pub(super) fn of(
        input: &MergeInput<'_>,
        antenna: usize,
        arrived: Monotonic,
        hash: u64,
        count: u64,
        is_idle: bool,
    ) -> Facts {
        let MergeInput { record, received, colour, seq, quality, .. } = *input;
        let is_verified = record.flags.contains(FrameFlags::CODED);
        let corrected = record.symbols_corrected > 0 || record.flags.contains(FrameFlags::CORRECTED);
        let is_erred = quality == Quality::Erred;
        let badness = u64::from(record.codewords_failed) << 40
            | u64::from(!is_verified) << 34
            | u64::from(is_erred) << 33
            | u64::from(corrected) << 32
            | u64::from(record.symbols_corrected) << 16
            | u64::from(record.marker_bit_errors) << 8
            | u64::from(record.flags.contains(FrameFlags::FLYWHEEL));
        let is_clean = record.codewords_failed == 0
            && !corrected
            && (is_verified || record.marker_bit_errors == 0 && !is_erred);
        Facts {
            record,
            received,
            colour,
            antenna,
            seq,
            arrived,
            hash,
            badness,
            is_clean,
            is_verified,
            is_idle,
            count,
        }
    }

    pub(super) const fn bit(&self) -> Antennas {
        1 << self.antenna
    }

    /// Whether this copy is to be preferred: the better one, and of equally good ones the earlier.
    pub(super) fn is_better_than(&self, other: &Facts) -> bool {
        (self.badness, self.received) < (other.badness, other.received)
    }
}

/// A number for the content of a frame: equal for equal octets, and of different ones once in 2^64.
pub(super) fn hash_of(octets: &[u8]) -> u64 {
    XxHash3_64::oneshot(octets)
}

/// A cheap number for the content of a frame, of its ends only: header and FECF. For telling a frame that came twice from
/// another with the same count.
pub(super) fn digest_of(octets: &[u8]) -> u64 {
    let end = octets.len().min(DIGEST_END);
    XxHash3_64::oneshot(&octets[..end]) ^ XxHash3_64::oneshot(&octets[octets.len() - end..]).rotate_left(1)
}

/// A frame that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) facts: Facts,
    octets: Vec<u8>,
}

/// Where frames leave the merge, and are counted.
pub(super) struct Outlet<'m, F> {
    pub(super) ledger: &'m mut MergeLedger,
    /// Buffers of frames that are gone, for those that come.
    pub(super) free: &'m mut Vec<Vec<u8>>,
    pub(super) report_unserved: bool,
    pub(super) out: &'m mut F,
}

impl<F: FnMut(Merged<'_>)> Outlet<'_, F> {
    fn counts(&mut self, facts: &Facts) -> &mut AntennaCounts {
        &mut self.ledger.antennas[facts.antenna].1
    }

    #[inline]
    pub(super) fn serve(&mut self, octets: &[u8], facts: &Facts) {
        self.counts(facts).served += 1;
        self.emit(octets, facts, Fate::Served);
    }

    #[inline]
    pub(super) fn duplicate(&mut self, octets: &[u8], facts: &Facts) {
        self.counts(facts).duplicates += 1;
        if self.report_unserved {
            self.emit(octets, facts, Fate::Duplicate);
        }
    }

    #[cold]
    pub(super) fn late(&mut self, octets: &[u8], facts: &Facts) {
        self.counts(facts).late += 1;
        if self.report_unserved {
            self.emit(octets, facts, Fate::Late);
        }
    }

    #[inline]
    fn emit(&mut self, octets: &[u8], facts: &Facts, fate: Fate) {
        let Facts { record, received, colour, seq, .. } = *facts;
        let antenna = self.ledger.antennas[facts.antenna].0;
        (self.out)(Merged { octets, record, received, colour, antenna, seq, fate });
    }

    /// Copies a frame that has to wait.
    pub(super) fn hold(&mut self, octets: &[u8], facts: Facts) -> Held {
        self.counts(&facts).pending += 1;
        let mut held = Held { facts, octets: self.free.pop().unwrap_or_default() };
        held.octets.clear();
        held.octets.extend_from_slice(octets);
        held
    }

    /// Another copy takes the place of a held one.
    pub(super) fn replace(&mut self, held: &mut Held, octets: &[u8], facts: Facts) {
        let counts = self.counts(&held.facts);
        counts.pending -= 1;
        counts.duplicates += 1;
        self.counts(&facts).pending += 1;
        held.facts = facts;
        held.octets.clear();
        held.octets.extend_from_slice(octets);
    }

    /// A held frame is dealt with by `deal`, and its buffer is free again.
    pub(super) fn end(&mut self, held: Held, deal: impl FnOnce(&mut Self, &[u8], &Facts)) {
        self.counts(&held.facts).pending -= 1;
        deal(self, &held.octets, &held.facts);
        self.free.push(held.octets);
    }
}
