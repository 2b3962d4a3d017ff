//! The decoder: which kernel runs.

use super::LdpcSpec;
use super::code::ParityChecks;
use super::gang::{self, Job};
use super::hard::{HardDecisions, Portable};
#[cfg(target_arch = "x86_64")]
use super::layered::VectorKernel;
use super::scalar::ScalarKernel;
use crate::isa::{Isa, IsaUnavailable};
use crate::soft::SoftVerdict;

/// The most iterations a decoder may be given.
pub const ITERATIONS_MAX: u16 = 200;

/// Decodes codewords of one code from soft symbols ([`crate::soft`]; any scale).
///
/// The signs of a block are looked at first: where they are a codeword (a bit of an erased symbol being a 0, and bits that
/// are not sent following from the others), that is the answer, after 0 iterations. All other blocks take layered corrected
/// min-sum in saturated 8-bit arithmetic, which stops as soon as all parity checks hold. Neither happens when told
/// otherwise ([`LdpcDecoder::set_early_stop`]). A codeword decodes to the same bits and verdict on every instruction set,
/// and alone or in a batch.
///
/// Verdicts: `converged` says that all parity checks hold (never of a block of nothing but erasures); the information
/// then is the decoder's, and `symbols_corrected` counts the symbols whose sign was wrong, erasures not among them. A
/// block that does not converge is given as it was received, and counts no corrections.
#[derive(Debug, Clone)]
pub struct LdpcDecoder {
    spec: LdpcSpec,
    iterations_max: u16,
    early_stop: bool,
    kernel: Set,
    hard: HardDecisions,
    word: Vec<i8>,
}

#[derive(Debug, Clone)]
enum Set {
    Scalar(ScalarKernel),
    #[cfg(target_arch = "x86_64")]
    Vector(VectorKernel),
}

impl Set {
    fn new(checks: ParityChecks, isa: Isa) -> Result<Set, IsaUnavailable> {
        isa.require()?;
        #[cfg(target_arch = "x86_64")]
        if let Some(kernel) = VectorKernel::new(&checks, isa)? {
            return Ok(Set::Vector(kernel));
        }
        Ok(Set::Scalar(ScalarKernel::new(checks)))
    }
}

impl LdpcDecoder {
    /// A decoder that gives up after `iterations_max` iterations (of which 1 to [`ITERATIONS_MAX`] are possible; values
    /// outside are brought inside), with the best kernels of this machine.
    pub fn new(spec: LdpcSpec, iterations_max: u16) -> LdpcDecoder {
        match LdpcDecoder::with_isa(spec, iterations_max, Isa::best()) {
            Ok(decoder) => decoder,
            Err(unavailable) => unreachable!("the best set of this machine: {unavailable}"),
        }
    }

    /// The same with the kernels of `isa`.
    ///
    /// # Errors
    /// [`IsaUnavailable`] when this machine lacks it.
    pub fn with_isa(spec: LdpcSpec, iterations_max: u16, isa: Isa) -> Result<LdpcDecoder, IsaUnavailable> {
        let checks = ParityChecks::new(spec);
        let (word, hard) = (vec![0; checks.bits()], HardDecisions::new(spec, &checks));
        let kernel = Set::new(checks, isa)?;
        let iterations_max = iterations_max.clamp(1, ITERATIONS_MAX);
        Ok(LdpcDecoder { spec, iterations_max, early_stop: true, kernel, hard, word })
    }

    /// Whether decoding stops when all checks hold (it does from the start). Without, every block takes all iterations,
    /// one without errors too: for measuring.
    pub fn set_early_stop(&mut self, early_stop: bool) {
        self.early_stop = early_stop;
    }

    /// Which code.
    pub fn spec(&self) -> LdpcSpec {
        self.spec
    }

    /// Decodes one block of [`LdpcSpec::codeword_bits`] symbols into its information octets.
    ///
    /// # Panics
    /// When `symbols` is not one block or `information` not [`LdpcSpec::information_len`] octets.
    pub fn decode(&mut self, symbols: &[i8], information: &mut [u8]) -> SoftVerdict {
        let mut verdict = [SoftVerdict::default()];
        self.decode_batch(symbols, information, &mut verdict);
        verdict[0]
    }

    /// Decodes as many blocks as there are verdicts, one behind the other in `symbols` and in `information`. Batches are
    /// faster: the blocks that need iterations take them side by side, those without errors leave at once.
    ///
    /// # Panics
    /// When the lengths do not match.
    pub fn decode_batch(&mut self, symbols: &[i8], information: &mut [u8], verdicts: &mut [SoftVerdict]) {
        let (n, k, count) = (self.spec.codeword_bits(), self.spec.information_len(), verdicts.len());
        assert!(
            symbols.len() == count * n && information.len() == count * k,
            "{count} blocks of {}: {n} symbols and {k} octets each, not {} and {} in all",
            self.spec,
            symbols.len(),
            information.len()
        );
        let job = Job {
            spec: self.spec,
            iterations_max: self.iterations_max,
            early_stop: self.early_stop,
            symbols,
            information,
            verdicts,
            hard: &mut self.hard,
            word: &mut self.word,
        };
        match &mut self.kernel {
            Set::Scalar(kernel) => gang::decode(kernel, Portable, job),
            #[cfg(target_arch = "x86_64")]
            Set::Vector(kernel) => kernel.decode(job),
        }
    }
}
