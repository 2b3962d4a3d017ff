//! The decoder: which kernel runs on how many codewords at once.

use serde::{Deserialize, Serialize};

use super::scalar::Scalar;
use super::schedule::Code;
use super::siso::{self, Job, Scratch};
use super::{TurboSpec, TurboSpecError};
#[cfg(target_arch = "x86_64")]
use super::{
    batch::Batch,
    lanes::Lanes,
    single::Single,
    x86::{avx2, avx2_single, avx512},
};
use crate::isa::{Isa, IsaUnavailable};
use crate::soft::SoftVerdict;

/// The most iterations a decoder may be given.
pub const ITERATIONS_MAX: u8 = 50;
/// From so many codewords on, a batch takes less time than one after the other.
const BATCH_MIN: usize = 6;

/// When the work on a codeword ends before the last iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TurboStop {
    /// Never.
    Never,
    /// As soon as an iteration changes no decision: neither of its halves. Never in the first.
    #[default]
    Agreement,
    /// As soon as half an iteration changes no decision and the CRC-16 holds that ends the frame (the FECF of 132.0-B-3
    /// 4.1.6 and 732.0-B-4 4.1.6). The CRC alone would be tried up to twice an iteration on bits that still change, and
    /// pass one wrong frame in 65 536 each time.
    Fecf,
}

/// How codewords are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurboDecoding {
    /// When the decoder gives up, 1 to 50. An iteration is one run of both component decoders.
    pub iterations_max: u8,
    /// When it ends earlier, and what counts as having converged.
    pub stop: TurboStop,
}

impl Default for TurboDecoding {
    fn default() -> TurboDecoding {
        TurboDecoding { iterations_max: 10, stop: TurboStop::Agreement }
    }
}

/// Decodes codewords of one code from soft symbols (8 bits, positive is a 0, any scale).
///
/// Iterated max-log-MAP in saturated octets, extrinsic information scaled by 3/4. It decodes to the same bits and verdicts
/// on every instruction set, alone and in a batch. A verdict's `converged` says that the stop rule was met (without one:
/// that the last iteration changed no decision); `iterations` counts begun iterations; erased symbols (0) never
/// count as corrected. A codeword that does not converge is given as far as it was decoded.
#[derive(Debug)]
pub struct TurboDecoder {
    code: Code,
    decoding: TurboDecoding,
    isa: Isa,
    scratch: Scratch,
    kernel: Kernel,
}

#[derive(Debug)]
enum Kernel {
    Scalar(Box<Scalar>),
    #[cfg(target_arch = "x86_64")]
    Avx2 {
        single: Box<Single<avx2_single::Vectors>>,
        batch: Box<Batch<avx2::Vectors>>,
    },
    #[cfg(target_arch = "x86_64")]
    Avx512 {
        single: Box<Single<avx2_single::Vectors>>,
        batch: Box<Batch<avx512::Vectors>>,
    },
}

impl Kernel {
    fn new(code: &Code, isa: Isa) -> Result<Kernel, IsaUnavailable> {
        Ok(match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Kernel::Avx2 {
                single: Box::new(avx2_single::kernel(code)?),
                batch: Box::new(avx2::kernel(code)?),
            },
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Kernel::Avx512 {
                single: Box::new(avx2_single::kernel(code)?),
                batch: Box::new(avx512::kernel(code)?),
            },
            _ => Kernel::Scalar(Box::new(Scalar::new(code))),
        })
    }

    /// The most codewords that are decoded together.
    fn lanes(&self) -> usize {
        match self {
            Kernel::Scalar(_) => 1,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 { .. } => avx2::Vectors::N,
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512 { .. } => avx512::Vectors::N,
        }
    }
}

impl TurboDecoder {
    /// A decoder with the best kernels of this machine.
    ///
    /// # Errors
    /// As [`TurboSpec::validate`], and for an impossible number of iterations.
    pub fn new(spec: TurboSpec, decoding: TurboDecoding) -> Result<TurboDecoder, TurboSpecError> {
        TurboDecoder::with_isa(spec, decoding, Isa::best())
    }

    /// The same with the kernels of `isa`.
    ///
    /// # Errors
    /// Also [`TurboSpecError::Isa`] when this machine lacks it.
    pub fn with_isa(
        spec: TurboSpec,
        decoding: TurboDecoding,
        isa: Isa,
    ) -> Result<TurboDecoder, TurboSpecError> {
        spec.validate()?;
        if !(1..=ITERATIONS_MAX).contains(&decoding.iterations_max) {
            return Err(TurboSpecError::Iterations(decoding.iterations_max));
        }
        let isa = isa.require()?;
        let code = Code::new(spec);
        let scratch = Scratch::new(&code);
        let kernel = Kernel::new(&code, isa)?;
        Ok(TurboDecoder { code, decoding, isa, scratch, kernel })
    }

    /// Which code.
    pub fn spec(&self) -> TurboSpec {
        self.code.spec
    }

    /// How it is decoded.
    pub fn decoding(&self) -> TurboDecoding {
        self.decoding
    }

    /// Whose kernels run.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Decodes one codeword of [`TurboSpec::codeword_bits`] symbols into its frame.
    ///
    /// # Panics
    /// When `symbols` is not one codeword or `frame` not one frame.
    pub fn decode(&mut self, symbols: &[i8], frame: &mut [u8]) -> SoftVerdict {
        let mut verdict = [SoftVerdict::default()];
        self.decode_batch(symbols, frame, &mut verdict);
        verdict[0]
    }

    /// Decodes as many codewords as there are verdicts, one behind the other in `symbols` and in `frames`.
    ///
    /// # Panics
    /// When the lengths do not match.
    pub fn decode_batch(&mut self, symbols: &[i8], frames: &mut [u8], verdicts: &mut [SoftVerdict]) {
        let spec = self.spec();
        let (bits, len, count) = (spec.codeword_bits(), spec.information_len(), verdicts.len());
        assert!(
            symbols.len() == count * bits && frames.len() == count * len,
            "{count} codewords of {spec}: {} symbols and {} octets",
            symbols.len(),
            frames.len()
        );
        let mut next = 0;
        while next < count {
            let waiting = count - next;
            let width = if waiting < BATCH_MIN { 1 } else { waiting.min(self.kernel.lanes()) };
            let job = Job {
                decoding: self.decoding,
                symbols: &symbols[next * bits..][..width * bits],
                frames: &mut frames[next * len..][..width * len],
                verdicts: &mut verdicts[next..][..width],
            };
            let (code, scratch) = (&self.code, &mut self.scratch);
            match &mut self.kernel {
                Kernel::Scalar(kernel) => siso::decode(&mut **kernel, code, scratch, job),
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx2 { single, .. } | Kernel::Avx512 { single, .. } if width == 1 => {
                    avx2_single::decode(single, code, scratch, job);
                }
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx2 { batch, .. } => avx2::decode(batch, code, scratch, job),
                #[cfg(target_arch = "x86_64")]
                Kernel::Avx512 { batch, .. } => avx512::decode(batch, code, scratch, job),
            }
            next += width;
        }
    }
}
