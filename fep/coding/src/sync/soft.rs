//! The frame synchroniser on soft symbols: for codes whose marker stands in the symbols themselves (131.0-B-5 9.3: turbo,
//! LDPC), often so deep in noise that hard decisions are of no use.

use serde::{Deserialize, Serialize};

use super::spec::ambiguity;
use super::stream::Stream;
use super::symbols::SymbolFinder;
use super::tracker::Rules;
use super::{Block, HELD_BLOCKS_MAX, Marker, Polarity, SLIP_WINDOW_MAX, SyncCounters, SyncState};
use crate::isa::{Isa, IsaUnavailable};
use crate::kernels::Bitwise;

/// Longest block, soft symbols.
const BLOCK_SYMBOLS_MAX: usize = 1 << 23;

/// One block of soft symbols, upright. What its fields call bits are symbols.
pub type SoftBlock<'a> = Block<'a, i8>;

/// Managed parameters of the synchroniser of one physical channel of soft symbols.
///
/// The *errors* of a marker of n bits are n(e - c)/2e to the nearest whole, c being its correlation with the symbols and e
/// the sum of their magnitudes: the symbols that disagree, each counted by its share of the confidence. Of hard symbols
/// they are the wrong bits. Of noise alone they are about n/2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftSyncSpec {
    /// The marker in front of every block.
    pub marker: Marker,
    /// Symbols between the end of a marker and the start of the next.
    pub block_symbols: usize,
    /// Errors with which a marker still counts while searching, where it can be anywhere.
    pub search_bit_errors: u32,
    /// Errors with which a marker still counts where it is due, or within the slip window of that place.
    pub lock_bit_errors: u32,
    /// Markers that must follow the first one before lock is declared; 0 locks on the first.
    pub check_markers: u32,
    /// Blocks in a row that are taken on trust where no marker was seen.
    pub flywheel_blocks: u32,
    /// How far from its place a marker is looked for, symbols to either side.
    pub slip_window_bits: u32,
    /// Which way round the symbols arrive.
    pub polarity: Polarity,
}

/// A specification that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SoftSyncSpecError {
    /// No block, or an absurd one.
    #[error("block_symbols = {0}: a block has 1 to {BLOCK_SYMBOLS_MAX} soft symbols")]
    BlockSymbols(usize),
    /// Errors among which chance is found everywhere.
    #[error(
        "{key} = {errors}: from {min} to {max} with a marker of {bits} bits, of which chance alone agrees with half"
    )]
    Errors {
        /// `search_bit_errors` or `lock_bit_errors`.
        key: &'static str,
        /// What was asked for.
        errors: u32,
        /// The least possible.
        min: u32,
        /// The largest possible.
        max: u32,
        /// Length of the marker.
        bits: u32,
    },
    /// Too much data would be held back.
    #[error("{key} = {blocks}: at most {HELD_BLOCKS_MAX}")]
    HeldBlocks {
        /// `check_markers` or `flywheel_blocks`.
        key: &'static str,
        /// What was asked for.
        blocks: u32,
    },
    /// The window reaches too far.
    #[error("slip_window_bits = {window}: at most {max} with blocks of {block_symbols} symbols")]
    SlipWindow {
        /// What was asked for.
        window: u32,
        /// The largest possible: 64, and less than half a block.
        max: u32,
        /// Length of the block.
        block_symbols: usize,
    },
    /// The marker looks like itself a few symbols away, so that its place is not clear.
    #[error(
        "marker {marker} differs from itself moved by {shift} bits in only {distance} bits: with \
         lock_bit_errors = {errors} and slip_window_bits = {window} its place is ambiguous; lower one of them"
    )]
    AmbiguousMarker {
        /// The marker.
        marker: Marker,
        /// The distance at which it is ambiguous.
        shift: u32,
        /// Bits that differ there.
        distance: u32,
        /// `lock_bit_errors`.
        errors: u32,
        /// `slip_window_bits`.
        window: u32,
    },
}

impl SoftSyncSpec {
    /// Defaults for a marker of the standard in the noise in which its code still works: the longer the marker, the lower
    /// the rate it stands for and the more of it may disagree.
    ///
    /// | marker | code | Es/N0 of its waterfall | errors there | of noise | search, lock |
    /// |---|---|---|---|---|---|
    /// | 32 | LDPC 7/8 | 3 dB | 0.3 ± 0.8 | 16 ± 3.5 | 2, 4 |
    /// | 64 | rate 1/2 | -1.5 dB | 2.8 ± 3.1 | 32 ± 4.8 | 8, 14 |
    /// | 96 | turbo 1/3 | -4.5 dB | 10 ± 4.6 | 48 ± 6.0 | 18, 26 |
    /// | 128 | turbo 1/4 | -6 dB | 18 ± 5.7 | 64 ± 7.0 | 28, 40 |
    /// | 192 | turbo 1/6 | -8 dB | 37 ± 7.5 | 96 ± 8.6 | 48, 64 |
    ///
    /// Searching, a marker is passed over once in twenty times (the next one is found) so that chance is seen less than
    /// once in a few hundred blocks; in lock a marker is missed less than once in a thousand times.
    pub fn ccsds(marker: Marker, block_symbols: usize) -> SoftSyncSpec {
        let bits = marker.bits();
        let (search_bit_errors, lock_bit_errors) = match bits {
            0..=63 => (bits / 16, bits / 8),
            64..=95 => (bits / 8, 7 * bits / 32),
            96..=127 => (3 * bits / 16, 13 * bits / 48),
            128..=159 => (7 * bits / 32, 5 * bits / 16),
            _ => (bits / 4, bits / 3),
        };
        SoftSyncSpec {
            marker,
            block_symbols,
            search_bit_errors,
            lock_bit_errors,
            // Among soft symbols a short marker alone proves little.
            check_markers: if bits < 64 { 2 } else { 1 },
            flywheel_blocks: 3,
            slip_window_bits: 8.min(slip_window_max(block_symbols)),
            polarity: Polarity::Auto,
        }
    }

    /// Symbols from one marker to the next.
    pub fn period_symbols(&self) -> u64 {
        u64::from(self.marker.bits()) + self.block_symbols as u64
    }

    /// Checks that the parameters go together.
    ///
    /// # Errors
    /// [`SoftSyncSpecError`] names the parameter and what is allowed.
    pub fn validate(&self) -> Result<(), SoftSyncSpecError> {
        let bits = self.marker.bits();
        if !(1..=BLOCK_SYMBOLS_MAX).contains(&self.block_symbols) {
            return Err(SoftSyncSpecError::BlockSymbols(self.block_symbols));
        }
        // Noise alone has half of them wrong, give or take a twelfth for long markers and a sixth for short ones.
        let (search_max, lock_max) = (bits * 5 / 16, bits * 3 / 8);
        for (key, errors, min, max) in [
            ("search_bit_errors", self.search_bit_errors, 0, search_max),
            ("lock_bit_errors", self.lock_bit_errors, self.search_bit_errors, lock_max),
        ] {
            if !(min..=max).contains(&errors) {
                return Err(SoftSyncSpecError::Errors { key, errors, min, max, bits });
            }
        }
        for (key, blocks) in
            [("check_markers", self.check_markers), ("flywheel_blocks", self.flywheel_blocks)]
        {
            if blocks > HELD_BLOCKS_MAX {
                return Err(SoftSyncSpecError::HeldBlocks { key, blocks });
            }
        }
        let (window, block_symbols) = (self.slip_window_bits, self.block_symbols);
        let max = slip_window_max(block_symbols);
        if window > max {
            return Err(SoftSyncSpecError::SlipWindow { window, max, block_symbols });
        }
        let (marker, errors) = (self.marker, self.lock_bit_errors);
        match ambiguity(&marker, errors, window, self.polarity) {
            Some((shift, distance)) => {
                Err(SoftSyncSpecError::AmbiguousMarker { marker, shift, distance, errors, window })
            }
            None => Ok(()),
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            marker_bits: u64::from(self.marker.bits()),
            period: self.period_symbols(),
            lock_bit_errors: self.lock_bit_errors,
            check_markers: self.check_markers,
            flywheel_blocks: self.flywheel_blocks,
            slip_window: self.slip_window_bits,
        }
    }
}

/// A window must stay clear of the neighbouring markers' windows.
fn slip_window_max(block_symbols: usize) -> u32 {
    SLIP_WINDOW_MAX.min((block_symbols.min(BLOCK_SYMBOLS_MAX) / 2) as u32)
}

/// The synchroniser of one stream of soft symbols. Its states and rules are those of [`super::FrameSync`].
///
/// ```
/// use fep_coding::Marker;
/// use fep_coding::soft::{SoftSync, SoftSyncSpec};
/// let marker = Marker::CCSDS_64;
/// let mut stream = vec![5i8; 7];
/// for _ in 0..3 {
///     let bits = marker.as_bytes().iter().flat_map(|octet| (0..8).map(move |i| octet >> (7 - i) & 1));
///     stream.extend(bits.map(|bit| if bit == 0 { 20 } else { -20 }));
///     stream.extend([11; 100]);
/// }
/// let mut sync = SoftSync::new(SoftSyncSpec::ccsds(marker, 100))?;
/// let mut places = Vec::new();
/// sync.push(&stream, &mut |block| {
///     assert_eq!(block.data, [11; 100]);
///     places.push(block.stream_bit);
/// });
/// assert_eq!(places, [7, 171, 335]);
/// # Ok::<(), fep_coding::soft::SoftSyncSpecError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SoftSync {
    spec: SoftSyncSpec,
    stream: Stream<SymbolFinder>,
}

impl SoftSync {
    /// A synchroniser in Search, with the best kernels of this machine.
    ///
    /// # Errors
    /// As [`SoftSyncSpec::validate`].
    pub fn new(spec: SoftSyncSpec) -> Result<SoftSync, SoftSyncSpecError> {
        spec.validate()?;
        let finder = SymbolFinder::new(&spec, Bitwise::best());
        let stream = Stream::new(finder, spec.rules(), spec.block_symbols);
        Ok(SoftSync { spec, stream })
    }

    /// The same synchroniser with the kernels of `isa`.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks it.
    pub fn with_isa(mut self, isa: Isa) -> Result<SoftSync, IsaUnavailable> {
        self.stream.finder_mut().bitwise = Bitwise::with_isa(isa)?;
        Ok(self)
    }

    /// What it was made from.
    pub fn spec(&self) -> &SoftSyncSpec {
        &self.spec
    }

    /// Takes the next symbols of the stream and gives every block that they complete to `sink`.
    pub fn push(&mut self, input: &[i8], sink: &mut impl FnMut(SoftBlock<'_>)) {
        self.stream.push(input, sink);
    }

    /// The stream ends here: as [`super::FrameSync::finish`].
    pub fn finish(&mut self, sink: &mut impl FnMut(SoftBlock<'_>)) {
        self.stream.finish(sink);
    }

    /// Forgets the stream: what is held is discarded, the state is Search, positions start at 0. Counters stay.
    pub fn reset(&mut self) {
        self.stream.reset();
    }

    /// Where it is.
    pub fn state(&self) -> SyncState {
        self.stream.state()
    }

    /// What has happened so far; its bits are symbols.
    pub fn counters(&self) -> &SyncCounters {
        self.stream.counters()
    }
}
