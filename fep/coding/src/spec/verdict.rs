//! What decoding found in one block, whatever the code.

use crate::rs::RsVerdict;
use crate::soft::SoftVerdict;

/// What decoding found in one block. Of a code without codewords of its own a block counts as one codeword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DecodeVerdict {
    /// Symbols corrected, in all codewords together: octets of Reed-Solomon, channel symbols of other codes. 65 535 stands
    /// for that many or more.
    pub symbols_corrected: u16,
    /// Codewords in which at least one symbol was corrected.
    pub codewords_corrected: u8,
    /// Codewords beyond correction.
    pub codewords_failed: u8,
}

impl DecodeVerdict {
    /// Nothing was wrong.
    pub const fn is_clean(&self) -> bool {
        self.codewords_corrected == 0 && self.codewords_failed == 0
    }

    /// At least one codeword is still wrong.
    pub const fn is_uncorrectable(&self) -> bool {
        self.codewords_failed != 0
    }

    /// The verdict on a block from those on its codewords. Where the code does not detect errors (turbo), a codeword that
    /// did not converge is not counted as failed: the FECF judges the frame.
    pub fn of_codewords(verdicts: &[SoftVerdict], detects_errors: bool) -> DecodeVerdict {
        let count = |which: &dyn Fn(&SoftVerdict) -> bool| {
            verdicts.iter().filter(|verdict| which(verdict)).count().min(usize::from(u8::MAX)) as u8
        };
        let corrected: u64 = verdicts.iter().map(|verdict| u64::from(verdict.symbols_corrected)).sum();
        DecodeVerdict {
            symbols_corrected: corrected.min(u64::from(u16::MAX)) as u16,
            codewords_corrected: count(&|verdict| verdict.symbols_corrected > 0),
            codewords_failed: count(&|verdict| detects_errors && !verdict.converged),
        }
    }
}

impl From<RsVerdict> for DecodeVerdict {
    fn from(verdict: RsVerdict) -> DecodeVerdict {
        let RsVerdict { symbols_corrected, codewords_corrected, codewords_failed } = verdict;
        DecodeVerdict { symbols_corrected, codewords_corrected, codewords_failed }
    }
}
