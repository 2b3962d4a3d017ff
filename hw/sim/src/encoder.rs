//! From transfer frames to CADUs of octets: block code, randomiser, marker (131.0-B-5 2.2), line code. Codes that are radiated as
//! symbols have [`fep_coding::spec::ChannelEncoder`].

use fep_coding::differential::{DifferentialEncoder, LineCode};
use fep_coding::spec::OctetCorrection;
use fep_coding::{BlockEncoder, CodeSpec, CodeSpecError, Derandomizer, Isa, Marker, Randomizer};

use crate::channel::CaduLayout;

/// Makes channel access data units of frames.
#[derive(Debug)]
pub struct Encoder {
    marker: Marker,
    code: BlockEncoder,
    correction: Option<OctetCorrection>,
    randomizer: Derandomizer,
    line: DifferentialEncoder,
}

impl Encoder {
    /// An encoder for one physical channel.
    ///
    /// # Errors
    /// [`CodeSpecError`] when there is no such code.
    pub fn new(marker: Marker, code: &CodeSpec, randomizer: Randomizer) -> Result<Encoder, CodeSpecError> {
        let correction = code.octet_correction();
        let code = code.build_encoder(Isa::best())?;
        let randomizer = Derandomizer::new(randomizer, code.block_len());
        let line = DifferentialEncoder::new(LineCode::NrzL);
        Ok(Encoder { marker, code, correction, randomizer, line })
    }

    /// The same with a line code on markers and blocks: the CADUs then are levels of one stream, each beginning at the
    /// level at which the one before ended.
    #[must_use]
    pub fn with_line_code(mut self, line_code: LineCode) -> Encoder {
        self.line = DifferentialEncoder::new(line_code);
        self
    }

    /// Octets of the frames it takes.
    #[must_use]
    pub fn frame_len(&self) -> usize {
        self.code.frame_len()
    }

    /// Where marker and codewords lie in its CADUs.
    #[must_use]
    pub fn layout(&self) -> CaduLayout {
        CaduLayout {
            marker_len: self.marker.as_bytes().len(),
            codeblock_len: self.code.block_len(),
            interleave: self.correction.map_or(1, |code| code.interleave),
        }
    }

    /// Wrong symbols that the code corrects in one codeword; 0 without a code.
    #[must_use]
    pub fn correctable(&self) -> u16 {
        self.correction.map_or(0, |code| code.correctable.into())
    }

    /// Appends the CADU of `frame` to `out`.
    ///
    /// # Panics
    /// If `frame` is not [`Encoder::frame_len`] octets long: that is the caller's mistake.
    pub fn encode(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        let cadu = out.len();
        out.extend_from_slice(self.marker.as_bytes());
        let start = out.len();
        out.resize(start + self.code.block_len(), 0);
        let block = &mut out[start..];
        self.code.encode(frame, block);
        self.randomizer.apply(block);
        self.line.apply(&mut out[cadu..]);
    }
}
