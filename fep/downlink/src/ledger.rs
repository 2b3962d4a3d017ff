//! What became of every frame: counts that always balance.
//!
//! Three identities hold at every moment between two calls of the chain, and a test breaks when one does not:
//!
//! * `received = good + corrected + uncorrectable`: every frame has exactly one verdict on its octets. *Good*: nothing
//!   was wrong. *Corrected*: the code put symbols right. *Uncorrectable*: nothing says that the octets are right, because the
//!   code gave up, the FECF failed or the length is wrong.
//! * `received = published + dropped_idle`: every frame goes on or is dropped for a counted reason.
//! * `received = accepted + bad (all reasons)`: a frame is bad when its octets are not known to be right, or when they are but
//!   its header makes no sense on this channel (unknown spacecraft, unknown virtual channel, impossible field). Bad
//!   frames are published like any other, with the reason.

use std::collections::BTreeMap;
use std::fmt;

use fep_record::BadReason;
use serde::{Deserialize, Serialize};

/// Bad frames by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeMap<String, u64>", try_from = "BTreeMap<String, u64>")]
pub struct BadFrames([u64; BadReason::ALL.len()]);

impl BadFrames {
    /// Frames that are bad for this reason.
    pub fn of(&self, reason: BadReason) -> u64 {
        self.0[reason as usize]
    }

    /// Frames that are bad, whatever the reason.
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, frames)| frames).sum()
    }

    /// Every reason but [`BadReason::None`], with its frames.
    pub fn iter(&self) -> impl Iterator<Item = (BadReason, u64)> + '_ {
        BadReason::ALL
            .iter()
            .filter(|reason| **reason != BadReason::None)
            .map(|reason| (*reason, self.of(*reason)))
    }

    pub(crate) fn count(&mut self, reason: BadReason) {
        self.0[reason as usize] += 1;
    }

    /// For whoever rebuilds a ledger from its metrics.
    pub fn set(&mut self, reason: BadReason, frames: u64) {
        self.0[reason as usize] = frames;
    }
}

impl From<BadFrames> for BTreeMap<String, u64> {
    fn from(bad: BadFrames) -> BTreeMap<String, u64> {
        bad.iter()
            .filter(|(_, frames)| *frames > 0)
            .map(|(reason, frames)| (reason.name().to_owned(), frames))
            .collect()
    }
}

/// A reason that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason {0:?}")]
pub struct UnknownReason(String);

impl TryFrom<BTreeMap<String, u64>> for BadFrames {
    type Error = UnknownReason;

    fn try_from(map: BTreeMap<String, u64>) -> Result<BadFrames, UnknownReason> {
        let mut bad = BadFrames::default();
        for (name, frames) in map {
            match BadReason::ALL.iter().find(|reason| reason.name() == name) {
                Some(reason) => bad.set(*reason, frames),
                None => return Err(UnknownReason(name)),
            }
        }
        Ok(bad)
    }
}

/// Declares counters once: the struct, their names, and their values in the same order.
macro_rules! counts {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name { $($(#[$doc])* pub $field: u64,)* }

        impl $name {
            /// Names of the counters, in the order of `values`.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            /// Values of the counters, in the order of `NAMES`.
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$field),*]
            }

            /// The other way round; missing values are zero.
            pub fn from_values(values: impl IntoIterator<Item = u64>) -> $name {
                let mut values = values.into_iter();
                $name { $($field: values.next().unwrap_or(0),)* }
            }
        }
    };
}

counts! {
    /// Counts of frames and packets of one physical channel.
    Counts {
        /// Frames that the synchroniser or the datagrams gave.
        received,
        /// Frames in which nothing was wrong.
        good,
        /// Frames in which the code put symbols right.
        corrected,
        /// Frames whose octets are not known to be right.
        uncorrectable,
        /// Wrong symbols put right, in corrected frames.
        symbols_corrected,
        /// Codewords decoded by iteration (turbo, LDPC), whatever came of them.
        codewords,
        /// Iterations that they took together.
        iterations,
        /// Frames that nothing verified, neither code nor FECF: part of the good ones, believed because nothing better exists.
        unchecked,
        /// Frames of idle data, part of the good and corrected.
        idle,
        /// Frames handed to the sink.
        published,
        /// Idle frames dropped by configuration.
        dropped_idle,
        /// Frames that virtual channel counters say are missing; those received uncorrectable are among them.
        lost,
        /// Times that frames were missing.
        gaps,
        /// Gaps of which only the least number of frames is known.
        gaps_at_least,
        /// Frames with the count of the frame before.
        duplicates,
        /// Times that a frame counter jumped backwards.
        resets,
        /// Packets with an APID that the mission does not name, where it says what becomes of them.
        packets_undeclared,
        /// Packets handed to the sink.
        packets,
        /// Their octets.
        packet_bytes,
        /// Idle packets, not handed on.
        packets_idle,
        /// Octets of packets that could not be completed: a frame before or after was missing.
        packet_bytes_discarded,
    }
}

counts! {
    /// Counts of one virtual channel.
    VcLedger {
        /// Frames whose octets and header are good.
        frames,
        /// Frames whose octets are good and whose packet pointer lies outside of them: no packets are taken.
        pointer_invalid,
        /// Times that frames were missing.
        gaps,
        /// Gaps of which only the least number of frames is known.
        gaps_at_least,
        /// Frames that the counter says are missing; at least so many where there are gaps of which no more is known.
        lost,
        /// Frames with the count of the frame before.
        duplicates,
        /// Times that the counter jumped backwards.
        resets,
        /// Packets with an APID that the mission does not name, where it says what becomes of them.
        packets_undeclared,
        /// Packets handed to the sink.
        packets,
        /// Their octets.
        packet_bytes,
        /// Octets of packets that could not be completed.
        packet_bytes_discarded,
    }
}

/// What became of the frames of one physical channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// Bad frames by reason.
    pub bad: BadFrames,
}

impl Ledger {
    /// Frames with no complaint.
    pub fn accepted(&self) -> u64 {
        self.counts.received - self.bad.total()
    }

    /// Whether the identities of this module hold.
    pub fn is_balanced(&self) -> bool {
        let counts = &self.counts;
        counts.received == counts.good + counts.corrected + counts.uncorrectable
            && counts.received == counts.published + counts.dropped_idle
            && counts.received >= self.bad.total()
            && counts.uncorrectable <= self.bad.total()
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { received, good, corrected, uncorrectable, published, dropped_idle, .. } = self.counts;
        write!(
            out,
            "{received} received = {good} good + {corrected} corrected + {uncorrectable} uncorrectable = \
             {published} published + {dropped_idle} dropped idle"
        )
    }
}
