//! CLTUs with LDPC: what a channel's CLTUs are like ([`LdpcCltuSpec`]), and building them.

use serde::{Deserialize, Serialize};

use super::{ITERATIONS_MAX, START_SEQUENCE, TAIL_SEQUENCE, TcLdpc, TcLdpcEncoder};
use crate::randomizer::{Derandomizer, Randomizer};
use crate::sync::Polarity;
use crate::tc::{FILL_OCTET, FRAME_LEN_MAX, FrameLenError};

/// Where the randomiser works, which is mandatory with LDPC. The rules are known from one public implementation only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LdpcRandomization {
    /// On every codeword, restarted for each (231.0-B-4).
    #[default]
    Codewords,
    /// On the frame before it is encoded, restarted for each CLTU; not on the fill (231.0-B-3).
    Frame,
}

/// How CLTUs with LDPC are built and received on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LdpcCltuSpec {
    /// Which code.
    pub code: TcLdpc,
    /// Where the randomiser works.
    pub randomization: LdpcRandomization,
    /// CLTUs have a tail sequence; only with (128,64).
    pub tail: bool,
    /// Which polarities are looked for.
    pub polarity: Polarity,
    /// How well symbols must agree with the start sequence (or the tail), in percent: |Σ ±symbol| / Σ |symbol|. 51 to
    /// 100; of hard bits, 70 allows 9 of 64 to be wrong.
    pub threshold_percent: u32,
    /// When the decoder gives up, 1 to 200.
    pub iterations_max: u8,
    /// The most codewords of a CLTU: one that has more is ended.
    pub codewords_max: u32,
}

/// Parameters that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LdpcCltuSpecError {
    /// A tail where there is none.
    #[error("tail = true: CLTUs with LDPC (512,256) have no tail sequence (CCSDS 231.0-B-4 5)")]
    Tail,
    /// A threshold that anything or nothing passes.
    #[error("threshold_percent = {0}: 51 to 100")]
    Threshold(u32),
    /// No iteration, or too many.
    #[error("iterations_max = {0}: 1 to 200")]
    Iterations(u8),
    /// No codeword, or more than the longest frame has.
    #[error("codewords_max = {got}: 1 to {most} (65536 octets)")]
    CodewordsMax {
        /// What was asked for.
        got: u32,
        /// What is possible.
        most: u32,
    },
}

impl LdpcCltuSpec {
    /// The defaults for `code`: randomised codewords, a tail where the code has one, either polarity.
    pub const fn new(code: TcLdpc) -> LdpcCltuSpec {
        LdpcCltuSpec {
            code,
            randomization: LdpcRandomization::Codewords,
            tail: matches!(code, TcLdpc::N128),
            polarity: Polarity::Auto,
            threshold_percent: 70,
            iterations_max: 50,
            codewords_max: (FRAME_LEN_MAX / code.information_len()) as u32,
        }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`LdpcCltuSpecError`] says which is impossible and what is allowed.
    pub fn validate(&self) -> Result<(), LdpcCltuSpecError> {
        let most = (FRAME_LEN_MAX / self.code.information_len()) as u32;
        if self.tail && self.code == TcLdpc::N512 {
            Err(LdpcCltuSpecError::Tail)
        } else if !(51..=100).contains(&self.threshold_percent) {
            Err(LdpcCltuSpecError::Threshold(self.threshold_percent))
        } else if !(1..=ITERATIONS_MAX).contains(&self.iterations_max) {
            Err(LdpcCltuSpecError::Iterations(self.iterations_max))
        } else if !(1..=most).contains(&self.codewords_max) {
            Err(LdpcCltuSpecError::CodewordsMax { got: self.codewords_max, most })
        } else {
            Ok(())
        }
    }
}

/// Builds CLTUs with LDPC.
#[derive(Debug, Clone)]
pub struct LdpcCltuBuilder {
    encoder: TcLdpcEncoder,
    randomization: LdpcRandomization,
    tail: bool,
    randomizer: Derandomizer,
    frame: Vec<u8>,
}

impl LdpcCltuBuilder {
    /// By the `code`, `randomization` and `tail` of `spec`.
    ///
    /// # Errors
    /// [`LdpcCltuSpecError`] as [`LdpcCltuSpec::validate`].
    pub fn new(spec: &LdpcCltuSpec) -> Result<LdpcCltuBuilder, LdpcCltuSpecError> {
        spec.validate()?;
        let len = match spec.randomization {
            LdpcRandomization::Codewords => spec.code.codeword_len(),
            LdpcRandomization::Frame => FRAME_LEN_MAX,
        };
        Ok(LdpcCltuBuilder {
            encoder: TcLdpcEncoder::new(spec.code),
            randomization: spec.randomization,
            tail: spec.tail,
            randomizer: Derandomizer::new(Randomizer::Tc255, len),
            frame: Vec::new(),
        })
    }

    /// Octets of the CLTU of a frame of `frame_len` octets.
    pub fn cltu_len(&self, frame_len: usize) -> usize {
        let code = self.encoder.code();
        let tail = if self.tail { TAIL_SEQUENCE.len() } else { 0 };
        START_SEQUENCE.len() + frame_len.div_ceil(code.information_len()) * code.codeword_len() + tail
    }

    /// Appends the CLTU of `frame` to `out`: start sequence, codewords, tail sequence if there is one.
    ///
    /// # Errors
    /// [`FrameLenError`] for no octet at all or more than 65 536; `out` is then unchanged.
    pub fn build(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), FrameLenError> {
        if frame.is_empty() || frame.len() > FRAME_LEN_MAX {
            return Err(FrameLenError(frame.len()));
        }
        let len = self.encoder.code().information_len();
        self.frame.clear();
        self.frame.extend_from_slice(frame);
        if self.randomization == LdpcRandomization::Frame {
            self.randomizer.apply(&mut self.frame);
        }
        self.frame.resize(frame.len().next_multiple_of(len), FILL_OCTET);
        out.reserve(self.cltu_len(frame.len()));
        out.extend_from_slice(&START_SEQUENCE);
        for information in self.frame.chunks_exact(len) {
            let from = out.len();
            out.extend_from_slice(information);
            out.resize(from + 2 * len, 0);
            self.encoder.parity(information, &mut out[from + len..]);
            if self.randomization == LdpcRandomization::Codewords {
                self.randomizer.apply(&mut out[from..]);
            }
        }
        if self.tail {
            out.extend_from_slice(&TAIL_SEQUENCE);
        }
        Ok(())
    }
}
