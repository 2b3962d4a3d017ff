//! CLTUs with BCH: what a channel's CLTUs are like ([`CltuSpec`]), and building them.

use serde::{Deserialize, Serialize};

use super::bch::{self, BchMode, FillerRule, INFORMATION_LEN};
use super::{FRAME_LEN_MAX, START_SEQUENCE, TAIL_SEQUENCE};
use crate::randomizer::{Derandomizer, Randomizer};
use crate::sync::Polarity;

/// How CLTUs with BCH are received on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CltuSpec {
    /// What the decoder does with errors.
    pub mode: BchMode,
    /// What a filler bit of 1 means in [`BchMode::Sec`].
    pub filler: FillerRule,
    /// Wrong bits that are still a start sequence: 0 with TED, 0 or 1 with SEC.
    pub start_bit_errors: u32,
    /// Wrong bits that are still a tail sequence, 0 or 1. A tail beyond that is an ordinary rejected codeblock.
    pub tail_bit_errors: u32,
    /// Which polarities are looked for.
    pub polarity: Polarity,
    /// The frame's octets were randomised before they were encoded (231.0-B 6).
    pub randomized: bool,
    /// The most codeblocks of a CLTU: one that has more is ended.
    pub codeblocks_max: u32,
}

/// Parameters that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CltuSpecError {
    /// Too many wrong bits in the start sequence.
    #[error(
        "start_bit_errors = {got}: with {mode:?} a start sequence may have at most {most} (CCSDS 231.0-B)"
    )]
    StartBitErrors {
        /// The mode of the decoder.
        mode: BchMode,
        /// What was asked for.
        got: u32,
        /// What is possible.
        most: u32,
    },
    /// Too many wrong bits in the tail sequence.
    #[error("tail_bit_errors = {0}: 0 or 1, for two wrong bits can make a correctable codeblock of the tail")]
    TailBitErrors(u32),
    /// No codeblock, or more than the longest frame has.
    #[error("codeblocks_max = {0}: 1 to 9363 (65536 octets)")]
    CodeblocksMax(u32),
}

/// A frame that fits into no CLTU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} octets: a CLTU carries 1 to 65536")]
pub struct FrameLenError(pub usize);

/// As many codeblocks as the longest frame has.
const CODEBLOCKS_MAX: u32 = FRAME_LEN_MAX.div_ceil(INFORMATION_LEN) as u32;

impl CltuSpec {
    /// Detection only, exact start sequence, either polarity, randomised: the safest channel.
    pub const fn ted() -> CltuSpec {
        CltuSpec {
            mode: BchMode::Ted,
            filler: FillerRule::InhibitsCorrection,
            start_bit_errors: 0,
            tail_bit_errors: 1,
            polarity: Polarity::Auto,
            randomized: true,
            codeblocks_max: CODEBLOCKS_MAX,
        }
    }

    /// Correction, one wrong bit in the start sequence, either polarity, randomised.
    pub const fn sec() -> CltuSpec {
        CltuSpec { mode: BchMode::Sec, start_bit_errors: 1, ..CltuSpec::ted() }
    }

    /// Checks the parameters.
    ///
    /// # Errors
    /// [`CltuSpecError`] says which is impossible and what is allowed.
    pub fn validate(&self) -> Result<(), CltuSpecError> {
        let most = match self.mode {
            BchMode::Ted => 0,
            BchMode::Sec => 1,
        };
        if self.start_bit_errors > most {
            return Err(CltuSpecError::StartBitErrors { mode: self.mode, got: self.start_bit_errors, most });
        }
        if self.tail_bit_errors > 1 {
            return Err(CltuSpecError::TailBitErrors(self.tail_bit_errors));
        }
        if !(1..=CODEBLOCKS_MAX).contains(&self.codeblocks_max) {
            return Err(CltuSpecError::CodeblocksMax(self.codeblocks_max));
        }
        Ok(())
    }

    pub(super) fn derandomizer(&self) -> Derandomizer {
        Derandomizer::new(randomizer(self.randomized), self.codeblocks_max as usize * INFORMATION_LEN)
    }
}

fn randomizer(randomized: bool) -> Randomizer {
    if randomized { Randomizer::Tc255 } else { Randomizer::None }
}

/// Builds CLTUs with BCH.
#[derive(Debug, Clone)]
pub struct CltuBuilder {
    randomizer: Derandomizer,
    frame: Vec<u8>,
}

impl CltuBuilder {
    /// With or without the randomiser. It is applied to the frame; the fill behind it is sent as it is.
    pub fn new(randomized: bool) -> CltuBuilder {
        CltuBuilder {
            randomizer: Derandomizer::new(randomizer(randomized), FRAME_LEN_MAX),
            frame: Vec::new(),
        }
    }

    /// Octets of the CLTU of a frame of `frame_len` octets.
    pub const fn cltu_len(frame_len: usize) -> usize {
        START_SEQUENCE.len() + frame_len.div_ceil(INFORMATION_LEN) * bch::CODEBLOCK_LEN + TAIL_SEQUENCE.len()
    }

    /// Appends the CLTU of `frame` (or of several frames one behind the other) to `out`: start sequence, codeblocks, tail
    /// sequence.
    ///
    /// # Errors
    /// [`FrameLenError`] for no octet at all or more than 65 536; `out` is then unchanged.
    pub fn build(&mut self, frame: &[u8], out: &mut Vec<u8>) -> Result<(), FrameLenError> {
        if frame.is_empty() || frame.len() > FRAME_LEN_MAX {
            return Err(FrameLenError(frame.len()));
        }
        self.frame.resize(frame.len(), 0);
        self.randomizer.apply_to(frame, &mut self.frame);
        out.reserve(CltuBuilder::cltu_len(frame.len()));
        out.extend_from_slice(&START_SEQUENCE);
        bch::encode_run(&self.frame, out);
        out.extend_from_slice(&TAIL_SEQUENCE);
        Ok(())
    }
}
