//! Streams of sliced frames (131.0-B-5 8): the code knows nothing of where frames begin.
//!
//! On the sending side, in this order:
//! 1. every frame gets the marker 1ACFFC1D in front, whatever the code;
//! 2. the stream of these is cut into slices of k bits, across frame boundaries;
//! 3. every slice is encoded; m = 1 to 8 codewords, one behind the other, are a codeblock;
//! 4. the codeblock is randomised as one run: the sequence does not restart between its codewords;
//! 5. the code sync marker of the code ([`LdpcSpec::marker`]), not randomised, goes in front.
//!
//! On the receiving side: a synchroniser finds the code sync marker in the *symbols* and gives codeblocks of soft symbols
//! of right polarity; [`LdpcStreamDecoder`] takes the randomiser off (a flip of signs), decodes, and gives octets of the
//! stream of marker and frame, which go to a [`crate::FrameSync`] with [`LdpcStreamSpec::frame_sync`]. A codeblock that
//! was lost is a gap in that stream; its synchroniser deals with it.

use serde::{Deserialize, Serialize};

use super::{LdpcDecoder, LdpcEncoder, LdpcSpec};
use crate::isa::{Isa, IsaUnavailable};
use crate::randomizer::{Derandomizer, Randomizer};
use crate::soft::SoftVerdict;
use crate::sync::{Marker, SyncSpec};

/// The most codewords of a codeblock (131.0-B-5 12, table 12-6).
pub const CODEWORDS_MAX: u8 = 8;
/// What completes the last codeblock of a stream: alternating bits, so that the receiver sees transitions.
const FILL_OCTET: u8 = 0x55;

/// A stream of sliced frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LdpcStreamSpec {
    /// Which code.
    pub ldpc: LdpcSpec,
    /// Codewords of a codeblock, 1 to 8.
    pub codewords: u8,
    /// Over each codeblock.
    pub randomizer: Randomizer,
}

/// Parameters that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LdpcStreamSpecError {
    /// No codeword, or too many.
    #[error("codewords = {0}: a codeblock of sliced frames has 1 to 8 codewords (CCSDS 131.0-B-5 8)")]
    Codewords(u8),
    /// Kernels were asked for that this machine does not have.
    #[error(transparent)]
    Isa(#[from] IsaUnavailable),
}

impl LdpcStreamSpec {
    /// Checks the parameters.
    ///
    /// # Errors
    /// [`LdpcStreamSpecError`] says what is allowed.
    pub fn validate(&self) -> Result<(), LdpcStreamSpecError> {
        if (1..=CODEWORDS_MAX).contains(&self.codewords) {
            Ok(())
        } else {
            Err(LdpcStreamSpecError::Codewords(self.codewords))
        }
    }

    /// The code sync marker, in front of every codeblock.
    pub const fn code_marker(&self) -> Marker {
        self.ldpc.marker()
    }

    /// Bits (symbols) of a codeblock between two code sync markers.
    pub const fn codeblock_bits(&self) -> usize {
        self.codewords as usize * self.ldpc.codeword_bits()
    }

    /// Octets of the stream of frames that a codeblock carries.
    pub const fn slices_len(&self) -> usize {
        self.codewords as usize * self.ldpc.information_len()
    }

    /// What finds frames of `frame_len` octets in the decoded stream.
    pub fn frame_sync(&self, frame_len: usize) -> SyncSpec {
        SyncSpec::ccsds(Marker::CCSDS_32, frame_len)
    }
}

/// Makes codeblocks of frames.
#[derive(Debug, Clone)]
pub struct LdpcStreamEncoder {
    spec: LdpcStreamSpec,
    encoder: LdpcEncoder,
    randomizer: Derandomizer,
    /// Less than a codeblock takes.
    waiting: Vec<u8>,
}

impl LdpcStreamEncoder {
    /// With the best kernels of this machine.
    ///
    /// # Errors
    /// [`LdpcStreamSpecError`] as [`LdpcStreamSpec::validate`].
    pub fn new(spec: LdpcStreamSpec) -> Result<LdpcStreamEncoder, LdpcStreamSpecError> {
        LdpcStreamEncoder::with_isa(spec, Isa::best())
    }

    /// With the kernels of `isa`.
    ///
    /// # Errors
    /// [`LdpcStreamSpecError`] as [`LdpcStreamSpec::validate`], or when this machine lacks `isa`.
    pub fn with_isa(spec: LdpcStreamSpec, isa: Isa) -> Result<LdpcStreamEncoder, LdpcStreamSpecError> {
        spec.validate()?;
        Ok(LdpcStreamEncoder {
            encoder: LdpcEncoder::with_isa(spec.ldpc, isa)?,
            randomizer: Derandomizer::with_isa(spec.randomizer, spec.codeblock_bits() / 8, isa)?,
            waiting: Vec::with_capacity(spec.slices_len()),
            spec,
        })
    }

    /// What it was made from.
    pub fn spec(&self) -> &LdpcStreamSpec {
        &self.spec
    }

    /// Takes the next frame, of any length, and appends to `out` every codeblock that it completes, code sync marker in
    /// front.
    pub fn push(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        self.take(Marker::CCSDS_32.as_bytes(), out);
        self.take(frame, out);
    }

    /// The stream ends here: what waits is completed to a codeblock with 0x55. Nothing waiting, nothing happens.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let missing = self.spec.slices_len() - self.waiting.len();
        if !self.waiting.is_empty() {
            self.take(&vec![FILL_OCTET; missing], out);
        }
    }

    fn take(&mut self, mut octets: &[u8], out: &mut Vec<u8>) {
        loop {
            let room = self.spec.slices_len() - self.waiting.len();
            let Some((now, later)) = octets.split_at_checked(room) else {
                self.waiting.extend_from_slice(octets);
                return;
            };
            self.waiting.extend_from_slice(now);
            octets = later;
            out.extend_from_slice(self.spec.code_marker().as_bytes());
            let from = out.len();
            let (k, n) = (self.spec.ldpc.information_len(), self.spec.ldpc.codeword_len());
            for slice in self.waiting.chunks_exact(k) {
                let at = out.len();
                out.resize(at + n, 0);
                self.encoder.encode(slice, &mut out[at..]);
            }
            self.randomizer.apply(&mut out[from..]);
            self.waiting.clear();
        }
    }
}

/// Gives back the stream of frames that codeblocks carry.
#[derive(Debug, Clone)]
pub struct LdpcStreamDecoder {
    spec: LdpcStreamSpec,
    decoder: LdpcDecoder,
    /// All ones where the randomiser inverts a symbol of a codeblock, else zero.
    flips: Vec<i8>,
    symbols: Vec<i8>,
}

impl LdpcStreamDecoder {
    /// With the best kernels of this machine; `iterations_max` as in [`LdpcDecoder::new`].
    ///
    /// # Errors
    /// [`LdpcStreamSpecError`] as [`LdpcStreamSpec::validate`].
    pub fn new(spec: LdpcStreamSpec, iterations_max: u16) -> Result<LdpcStreamDecoder, LdpcStreamSpecError> {
        LdpcStreamDecoder::with_isa(spec, iterations_max, Isa::best())
    }

    /// With the kernels of `isa`.
    ///
    /// # Errors
    /// [`LdpcStreamSpecError`] as [`LdpcStreamSpec::validate`], or when this machine lacks `isa`.
    pub fn with_isa(
        spec: LdpcStreamSpec,
        iterations_max: u16,
        isa: Isa,
    ) -> Result<LdpcStreamDecoder, LdpcStreamSpecError> {
        spec.validate()?;
        let sequence = spec.randomizer.sequence(spec.codeblock_bits() / 8);
        let flips = sequence.iter().flat_map(|octet| (0..8).map(move |i| ((octet << i) as i8) >> 7));
        Ok(LdpcStreamDecoder {
            decoder: LdpcDecoder::with_isa(spec.ldpc, iterations_max, isa)?,
            flips: flips.collect(),
            symbols: Vec::new(),
            spec,
        })
    }

    /// What it was made from.
    pub fn spec(&self) -> &LdpcStreamSpec {
        &self.spec
    }

    /// Decodes whole codeblocks of soft symbols, code sync markers taken off, one behind the other, into the octets of
    /// the stream: [`LdpcStreamSpec::slices_len`] a codeblock, with a verdict a codeword. The slice of a codeword that
    /// does not converge is given as received.
    ///
    /// # Panics
    /// When the lengths do not match.
    pub fn decode(&mut self, codeblocks: &[i8], stream: &mut [u8], verdicts: &mut [SoftVerdict]) {
        let count = codeblocks.len() / self.spec.codeblock_bits();
        assert!(
            codeblocks.len() == count * self.spec.codeblock_bits()
                && verdicts.len() == count * usize::from(self.spec.codewords),
            "{} symbols and {} verdicts: codeblocks have {} and {}",
            codeblocks.len(),
            verdicts.len(),
            self.spec.codeblock_bits(),
            self.spec.codewords
        );
        self.symbols.clear();
        for codeblock in codeblocks.chunks_exact(self.spec.codeblock_bits()) {
            let upright = codeblock.iter().zip(&self.flips).map(|(symbol, flip)| {
                // Two's complement; -128 has no counterpart.
                (symbol.max(&-127) ^ flip) - flip
            });
            self.symbols.extend(upright);
        }
        self.decoder.decode_batch(&self.symbols, stream, verdicts);
    }
}
